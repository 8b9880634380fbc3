"""The folder of golden numbers, for implementations of the network in other languages or libraries.

It has one ``.npy`` file for each tensor, C-ordered and little-endian, and an ``index.json`` that lists them in the
order of the dataflow; ``inputs/`` has weights and batch. Another implementation returns its numbers in the same kind
of folder, with any of the tensors. Nothing in such a folder is trusted.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, RunError, choice_error, did_you_mean
from glassnet.files import write_atomically
from glassnet.verify.golden.cases import GoldenCase, TensorGroup

Array = NDArray[Any]

FORMAT = 1


def dump_groups(groups: Iterable[TensorGroup], case: GoldenCase, folder: Path) -> Iterator[TensorGroup]:
    """Yield the groups and write their tensors to a new folder, ``index.json`` last: without it a dump is not valid.

    :raises RunError: if the folder holds anything but what a killed dump left.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"A dump must be a new or empty folder. Got the file {folder}.")
    leftovers = {".index.json.tmp", "inputs", "eval", "train", "steps"}
    if unexpected := sorted({path.name for path in folder.glob("*")} - leftovers):
        raise RunError(f"A dump must be a new or empty folder. Got {folder}, which holds {unexpected[0]}.")
    index: list[dict[str, Any]] = []
    for group in groups:
        tolerance = group.tolerance(case.dtype)
        for key, array in group.tensors.items():
            name = f"{group.name}/{key}"
            path = folder / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            little_endian = np.array(array, array.dtype.newbyteorder("<"), order="C")
            np.save(path, little_endian, allow_pickle=False)
            dtype = little_endian.dtype.str
            entry = {"name": name, "file": f"{name}.npy", "shape": little_endian.shape, "dtype": dtype}
            rule = {"scale": group.scales[key], "tolerance": tolerance if isfinite(tolerance) else None}
            index.append({**entry, "what": f"{key}: {group.meaning}", **rule})
        yield group
    content = {
        "format": FORMAT,
        "rule": "a tensor agrees if max |difference| <= tolerance * scale; one without a tolerance is not compared",
        "case": asdict(case),
        "versions": {name: version(name) for name in ("glassnet", "numpy")} | {"python": platform.python_version()},
        "tensors": index,
    }
    write_atomically(folder / "index.json", json.dumps(content, indent=1).encode())


class GoldenFolder:
    """The numbers of another implementation: any of the tensors, each under its name in ``index.json``.

    The index must have ``format`` and ``tensors``, a list of objects with ``name`` and ``file``. If it has ``case``,
    each field in that must be the same in this check.

    :raises DataError: if the index is missing, broken or of another case, or a file is outside the folder.
    """

    def __init__(self, folder: Path, case: GoldenCase) -> None:
        self.folder = folder
        self.index_path = folder / "index.json"
        index = self._read_index()
        expected = _flatten(json.loads(json.dumps(asdict(case))))
        for name, value in _flatten(index.get("case", {})).items():
            if name not in expected:
                raise choice_error(f"A field of the case in {self.index_path}", expected, name, DataError)
            if value != expected[name]:
                raise DataError(f"{name} in {self.index_path} must be {expected[name]!r}, as here. Got {value!r}.")
        self.paths: dict[str, Path] = {}
        for entry in index["tensors"]:
            self._add(entry)
        if not self.paths:
            raise DataError(f"{self.index_path} must list at least one tensor. Got none.")

    def _read_index(self) -> dict[str, Any]:
        path = self.index_path
        if not path.is_file():
            raise DataError(f"A folder of golden numbers must have an index. Got no {path}.")
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} must be JSON. Got: {error}.") from None
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            received = index.get("format") if isinstance(index, dict) else index
            raise DataError(f"{path} must be a JSON object of format {FORMAT}. Got {str(received)[:80]!r}.")
        for name, kind, value in (("tensors", list, index.get("tensors")), ("case", dict, index.get("case", {}))):
            if not isinstance(value, kind):
                raise DataError(f"{name} in {path} must be a {kind.__name__}. Got {str(value)[:80]!r}.")
        return index

    def _add(self, entry: Any) -> None:
        name, file = (entry.get("name"), entry.get("file")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(file, str):
            raise DataError(f"A tensor in {self.index_path} must have a name and a file. Got {str(entry)[:80]!r}.")
        if name in self.paths:
            raise DataError(f"A tensor in {self.index_path} must be listed once. Got {name!r} twice.")
        try:
            path = (self.folder / file).resolve()
            is_file = path.is_file()
        except (ValueError, OSError, RuntimeError):  # a null byte, a name too long, links in a circle
            path, is_file = self.folder, False
        if not (is_file and path.is_relative_to(self.folder.resolve())):
            raise DataError(f"The file of {name} must be in {self.folder}. Got {file!r}.")
        self.paths[name] = path

    def tensors_of(self, group: TensorGroup) -> dict[str, Array]:
        """Return the folder's arrays for the tensors of a group, in native byte order.

        :raises DataError: if a file is no plain ``.npy`` file, or has another shape or dtype than its tensor.
        """
        names = {key: f"{group.name}/{key}" for key in group.tensors}
        return {
            key: _load(self.paths.pop(name), name, group.tensors[key])
            for key, name in names.items()
            if name in self.paths
        }

    def check_no_extra(self, known: Iterable[str]) -> None:
        """Check that the index has no other tensors.

        :raises DataError: if it has one that no group has.
        """
        for name in self.paths:
            raise DataError(
                f"A tensor in {self.index_path} must be one that this check computes. "
                f"Got {name!r}{did_you_mean(name, known)}"
            )


def _load(path: Path, name: str, expected: Array) -> Array:
    try:
        # Mapped, not read: a header may claim any size, and pickled objects are refused.
        mapped = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a header is parsed as Python, and fails in as many ways
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} must be a whole .npy file of numbers. Got: {reason}.") from None
    if mapped.shape != expected.shape:
        raise DataError(f"{name} must have shape {expected.shape}. Got {mapped.shape} in {path}.")
    native = mapped.dtype.newbyteorder("=")
    if native != expected.dtype and not (native.kind in "iu" and expected.dtype.kind in "iu"):
        raise DataError(f"{name} must have dtype {expected.dtype}. Got {mapped.dtype} in {path}.")
    return np.array(mapped, native, order="C")


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"spec": {"width": 8}} as {"spec.width": 8}."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
