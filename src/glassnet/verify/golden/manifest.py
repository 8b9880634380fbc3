"""The manifest of a bundle, read and checked: every name, shape and type in it may be anything at first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.errors import ConfigError, DataError, choice_error
from glassnet.recipe import Recipe
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.listing import listed_tensors
from glassnet.verify.golden.operations import ADDED, IMAGES, Operation, operations

KIND = "glassnet golden bundle"
FORMAT = 1
MANIFEST = "manifest.json"
DTYPES = ("<f8", "<f4", "<i8", "|u1")
DIRECTIONS = ("input", "forward", "backward", "update")
KINDS = ("Sum", "Block", *(name for name in nn.__all__ if isinstance(getattr(nn, name), type)))


class Manifest:
    """The content of ``manifest.json`` with its parts checked.

    :raises DataError: if the folder has no manifest, or a part of it is missing or impossible.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST
        self.content = self._read()
        self._check_scalars()
        self.spec, self.recipe = self._settings(ResNetSpec, "spec"), self._settings(Recipe, "recipe")
        self.operations = self._operations()
        self._operation_names = [None, *(operation.name for operation in self.operations)]
        self.entries = self._entries()
        if self.spec is not None:
            self._check_listing(self.spec)

    def _read(self) -> dict[str, Any]:
        if not self.path.is_file():
            raise DataError(f"A bundle must have a manifest. Got no {self.path}.")
        try:
            content = json.loads(self.path.read_bytes(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path} must be JSON. Got: {str(error).splitlines()[0]}.") from None
        received = (content.get("format"), content.get("format_version")) if isinstance(content, dict) else content
        if received != (KIND, FORMAT):
            raise DataError(f"{self.path} must be a {KIND} of format_version {FORMAT}. Got {_short(received)}.")
        return dict(content)

    def error(self, name: str, allowed: str, received: Any) -> DataError:
        """Return the error of a value in the manifest."""
        return DataError(f"{name} in {self.path} must be {allowed}. Got {_short(received)}.")

    def _check_scalars(self) -> None:
        content = self.content
        if content.get("dtype") not in ("float64", "float32"):
            raise self.error("dtype", "'float64' or 'float32'", content.get("dtype"))
        for name, minimum in (("batch_size", 1), ("steps", 0)):
            if not _is_integer(value := content.get(name), minimum):
                raise self.error(name, f"an integer of at least {minimum}", value)
        rates: Any = content.get("learning_rates")
        if not _are_numbers(rates) or len(rates) != content["steps"]:
            raise self.error("learning_rates", f"a list of {content['steps']} numbers", rates)
        self._check_normalization(content.get("normalization"))

    def _check_normalization(self, given: Any) -> None:
        if given is None and self.content.get("spec") is None:  # that of a single operation
            return
        parts = given if isinstance(given, dict) else {}
        is_valid = _are_numbers([parts.get("scale")]) and _are_numbers(parts.get("mean"), parts.get("std"))
        if not (is_valid and min([parts["scale"], *parts["std"]]) > 0 and len(parts["mean"]) == len(parts["std"]) > 0):
            allowed = "an object with a scale above 0, and mean and std above 0 of each channel"
            raise self.error("normalization", allowed, given)

    def _settings(self, kind: Any, name: str) -> Any:
        value = self.content.get(name)
        try:
            return None if value is None else kind.from_dict(value, f"{self.path}: ")
        except ConfigError as error:
            raise DataError(str(error)) from None

    def _operations(self) -> tuple[Operation, ...]:
        listed = self.content.get("operations")
        if self.spec is not None:
            if not isinstance(listed, list) or len(listed) < sum(self.spec.blocks):  # never lists billions of blocks
                raise self.error("operations", f"those of its spec, with {sum(self.spec.blocks)} blocks", listed)
            expected = operations(self.spec)
            if listed != json.loads(json.dumps([asdict(operation) for operation in expected])):
                raise self.error("operations", f"those of its spec, {len(expected)} of them", listed)
            return expected
        if not isinstance(listed, list) or len(listed) != 1:
            raise self.error("operations", "a list of one operation where there is no spec", listed)
        return (self._operation(listed[0], {IMAGES, ADDED}),)

    def _operation(self, entry: Any, known: set[str]) -> Operation:
        """Return an operation that reads ``known`` tensors; where there is no spec, it may be any."""
        part = entry if isinstance(entry, dict) else {}
        name: Any = part.get("name")
        inputs, attributes = part.get("inputs"), part.get("attributes")
        if not (_is_name(name) and name not in known and part.get("kind") in KINDS and isinstance(attributes, dict)):
            raise self.error("An operation", "an object with a new name, a kind and attributes", entry)
        if not (isinstance(inputs, list) and inputs and all(isinstance(i, str) and i in known for i in inputs)):
            raise self.error(f"inputs of {_short(name)}", "names of its inputs", inputs)
        shapes: dict[str, Any] = {of: part.get(of) for of in ("parameters", "buffers")}
        for of, value in shapes.items():
            if not (isinstance(value, dict) and all(map(_is_name, value)) and all(map(_is_shape, value.values()))):
                raise self.error(f"{of} of {_short(name)}", "an object of shapes", value)
        if not _is_shape(part.get("output_shape")):
            raise self.error(f"output_shape of {_short(name)}", "a list of integers", part.get("output_shape"))
        parameters, buffers = ({key: tuple(shape) for key, shape in value.items()} for value in shapes.values())
        pairs = {key: _as_tuples(value) for key, value in attributes.items()}
        return Operation(name, part["kind"], tuple(inputs), tuple(part["output_shape"]), pairs, parameters, buffers)

    def _entries(self) -> dict[str, Mapping[str, Any]]:
        listed = self.content.get("tensors")
        if not isinstance(listed, list) or not listed:
            raise self.error("tensors", "a list of at least one tensor", listed)
        entries: dict[str, Mapping[str, Any]] = {}
        for entry in listed:
            name: Any = entry.get("name") if isinstance(entry, dict) else None
            if not _is_name(name):
                raise self.error("A tensor", "an object with a name", entry)
            if name in entries:
                raise self.error("A tensor", "listed once", name)
            self._check_entry(name, entry)
            entries[name] = entry
        return entries

    def _check_listing(self, spec: ResNetSpec) -> None:
        """Check that the tensors of a network are those of its spec, recipe, batch and steps."""
        content = self.content
        if self.recipe is None or len(content["normalization"]["mean"]) != spec.in_channels:
            raise self.error("recipe and normalization", "those of the network", self.recipe)
        case = GoldenCase(spec, content["dtype"], content["batch_size"], content["steps"], self.recipe)
        expected = {tensor.name: tensor for tensor in listed_tensors(case)}
        for name in self.entries:
            if name not in expected:
                raise choice_error(f"A tensor in {self.path}", expected, name, DataError)
        for name, tensor in expected.items():
            if name not in self.entries:
                raise self.error("tensors", f"all of the network, with {name}", f"{len(self.entries)} of them")
            entry = self.entries[name]
            stated = tuple(entry["shape"]), np.dtype(entry["dtype"]), entry["operation"], entry["direction"]
            required = tensor.shape, tensor.dtype, tensor.operation, tensor.direction
            if stated != required:
                raise self.error(name, " ".join(map(str, required)), " ".join(map(str, stated)))

    def _check_entry(self, name: str, entry: Mapping[str, Any]) -> None:
        tolerance = entry.get("tolerance")
        rules = {
            "file": (_is_inside(entry.get("file")), "a .npy file in the folder"),
            "shape": (_is_shape(entry.get("shape")), "a list of integers of at least 0"),
            "dtype": (entry.get("dtype") in DTYPES, f"one of {', '.join(DTYPES)}"),
            "operation": (entry.get("operation") in self._operation_names, "the name of an operation, or null"),
            "direction": (entry.get("direction") in DIRECTIONS, f"one of {', '.join(DIRECTIONS)}"),
            "scale": (_are_numbers([entry.get("scale")]), "a number"),
            "tolerance": (
                isinstance(tolerance, dict) and _are_numbers([tolerance.get("float64"), tolerance.get("float32")]),
                "an object with numbers for float64 and float32",
            ),
            "sha256": (_is_hash(entry.get("sha256")), "64 hexadecimal digits"),
        }
        for field, (is_valid, allowed) in rules.items():
            if not is_valid:
                raise self.error(f"{field} of {_short(name)}", allowed, entry.get(field))


def _as_tuples(value: Any) -> Any:
    """Return pairs as the layers take them; JSON has lists alone."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_constant(name: str) -> None:
    raise ValueError(f"the number {name}")


def _is_integer(value: Any, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _are_numbers(*lists: Any) -> bool:
    return all(
        isinstance(numbers, list)
        and all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e308 for n in numbers)
        for numbers in lists
    )


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(_is_integer(length, 0) for length in value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _is_inside(file: Any) -> bool:
    if not _is_name(file) or "\\" in file or ":" in file:
        return False
    path = PurePosixPath(file)
    return path.suffix == ".npy" and not path.is_absolute() and ".." not in path.parts


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
