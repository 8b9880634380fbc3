"""Bundles of single operations, one folder for each case: a port is checked by operation before it is a network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, as_path, choice_error
from glassnet.verify.golden.bundle_files import finish_folder, needed_bytes, prepare_folder, write_tensors
from glassnet.verify.golden.conventions import CONVENTIONS
from glassnet.verify.golden.manifest import FORMAT, MANIFEST
from glassnet.verify.golden.operation_cases import OperationCase, operation_cases
from glassnet.verify.golden.operations import LOSS
from glassnet.verify.golden.reference import compute
from glassnet.verify.golden.rounding import direct_tolerances
from glassnet.verify.golden.writing import TOLERANCE_RULE, manifest_start

Array = NDArray[Any]

COLLECTION = "glassnet golden operations"
_DIFFERS_IN_EVALUATION = ("BatchNorm2d", "Dropout")


def write_layers(folder: str | PathLike[str], *, dtype: str = "float64", seed: int = 0) -> Path:
    """Write a bundle of every kind of operation with its options, forward and backward, each in a folder of its own.

    :param folder: a new or empty folder.
    :param dtype: type of the numbers, float64 or float32.
    :param seed: seed of inputs, parameters and gradients.
    :returns: the folder.
    :raises ConfigError: if the dtype is unknown.
    :raises RunError: if the folder has something in it, or its disk is too full.
    """
    if dtype not in ("float64", "float32"):
        raise choice_error("dtype", ("float64", "float32"), dtype)
    path = as_path("folder", folder)
    cases = {_folder_name(name): (name, case) for name, case in operation_cases(seed).items()}
    tensors = {name: _case_tensors(case, np.dtype(np.float64)) for name, (_, case) in cases.items()}
    prepare_folder(path, sum(needed_bytes([a.nbytes for a in arrays.values()]) for arrays in tensors.values()), cases)
    for name, (title, case) in cases.items():
        _write_case(path / name, title, case, dtype)
    finish_folder(path, {**manifest_start(), "format": COLLECTION, "operations": list(cases)})
    return path


def collection_names(folder: Path) -> list[str] | None:
    """Return the names of the bundles in a folder that ``write_layers`` wrote; None for another folder.

    :raises DataError: if its manifest is broken.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # the reader of single bundles says what is wrong
    if not isinstance(content, dict) or content.get("format") != COLLECTION:
        return None
    names = content.get("operations")
    if content.get("format_version") != FORMAT or not isinstance(names, list) or not names:
        raise DataError(
            f"{path} must be {COLLECTION} of format_version {FORMAT} with their names. Got {str(names)[:80]}."
        )
    for name in names:
        if not isinstance(name, str) or _folder_name(name) != name:
            raise DataError(f"operations in {path} must be names of folders. Got {str(name)[:80]!r}.")
    return names


def _folder_name(title: str) -> str:
    """Return "conv2d-stride-2" for "Conv2d, stride 2"."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _write_case(folder: Path, title: str, case: OperationCase, dtype: str) -> None:
    exact, rounded = (_case_tensors(case, np.dtype(name)) for name in ("float64", "float32"))
    arrays = exact if dtype == "float64" else rounded
    prepare_folder(folder, 0)
    shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    files, together = write_tensors(folder, shapes, iter(arrays.items()))
    listed = [
        {
            "name": name,
            **files[name],
            "shape": list(array.shape),
            "dtype": array.dtype.newbyteorder("<").str,
            "operation": case.operation.name,
            "direction": _direction(name),
            "finite": bool(np.isfinite(array).all()),
            **direct_tolerances(exact[name], rounded[name], dtype),
        }
        for name, array in arrays.items()
    ]
    manifest = {
        **manifest_start(),
        "title": title,
        "spec": None,
        "recipe": None,
        "dtype": dtype,
        "batch_size": len(next(iter(case.inputs.values()))),
        "steps": 0,
        "learning_rates": [],
        "conventions": CONVENTIONS,
        "operations": [asdict(case.operation)],
        "tolerance_rule": TOLERANCE_RULE,
        "safetensors": together,
        "tensors": listed,
    }
    finish_folder(folder, manifest)


def _direction(name: str) -> str:
    if name.startswith("inputs/"):
        return "input"
    return "backward" if "gradients/" in name else "forward"


def _case_tensors(case: OperationCase, dtype: np.dtype[Any]) -> dict[str, Array]:
    """Return all tensors of a case, computed in a dtype, in the order of the dataflow."""
    return {name: _cast(array, dtype) for name, array in _tensors(case.cast(dtype))}


def _tensors(case: OperationCase) -> Iterator[tuple[str, Array]]:
    name = case.operation.name
    yield from ((f"inputs/{key}", array) for key, array in case.inputs.items())
    yield from ((f"inputs/state/{key}", array) for key, array in case.state.items())
    optional: Mapping[str, Array | None] = {
        "inputs/labels": case.labels,
        "inputs/class_weights": case.class_weights,
        f"inputs/dropout/{name}": case.mask,
        "inputs/output_gradient": case.output_gradient,
    }
    yield from ((key, array) for key, array in optional.items() if array is not None)
    if case.operation.kind in _DIFFERS_IN_EVALUATION:
        yield f"eval/activations/{name}", compute(case.site(training=False)).output
    computed = compute(case.site())
    yield (f"train/{LOSS}" if name == LOSS else f"train/activations/{name}"), computed.output
    yield from ((f"train/buffers/{key}", array) for key, array in computed.buffers.items())
    gradients = computed.backward(case.output_gradient)
    yield from ((f"train/gradients/{key}", array) for key, array in gradients.parameters.items())
    for source, gradient in zip(case.operation.inputs, gradients.inputs, strict=True):
        yield f"train/activation_gradients/{source}", gradient


def _cast(array: Array, dtype: np.dtype[Any]) -> Array:
    return np.asarray(array, dtype if array.dtype.kind == "f" else array.dtype)
