"""The writing of bundles: every tensor of a case, its tolerances, and a manifest that says what it means."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.errors import DivergedError, as_path
from glassnet.formats import format_bytes
from glassnet.progress import current_progress
from glassnet.recipe import Recipe
from glassnet.training.schedule import learning_rates
from glassnet.verify.golden.bundle import Bundle
from glassnet.verify.golden.bundle_files import finish_folder, needed_bytes, prepare_folder, write_tensors
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.conventions import CONVENTIONS
from glassnet.verify.golden.listing import GoldenTensor, listed_tensors
from glassnet.verify.golden.manifest import FORMAT, KIND
from glassnet.verify.golden.margins import TARGET, Margin, redraw_until_far
from glassnet.verify.golden.operations import operations
from glassnet.verify.golden.recording import CaseRun, inputs_of
from glassnet.verify.golden.request import requested_case
from glassnet.verify.golden.rounding import EPS, FACTOR, ULPS, direct_tolerances

Array = NDArray[Any]

TOLERANCE_RULE = {
    "text": "A direct comparison: a tensor agrees if max |port - bundle| <= tolerance * scale. scale is its largest "
    "absolute number. deviation is the largest difference, in units of scale, between the whole case in float64 and in "
    "float32: how much the operations up to there amplify rounding. tolerance = eps * (factor * deviation / "
    "eps_float32 + ulps).",
    "factor": FACTOR,
    "ulps": ULPS,
    "eps": {dtype: EPS[dtype] for dtype in ("float64", "float32")},
}


def write(
    spec: str | ResNetSpec,
    folder: str | PathLike[str],
    *,
    steps: int = 2,
    dtype: str = "float64",
    batch_size: int | None = None,
    seed: int = 0,
    recipe: Recipe | None = None,
    **fields: Any,
) -> Bundle:
    """Write a golden reference: every number of a network on one batch and of some training steps.

    :param spec: a preset or a spec. If its head takes images of any size and ``image_size`` is not among the fields,
        they are small, with an even height and an odd width.
    :param folder: a new or empty folder.
    :param steps: number of steps of the recipe's optimizer, all on the same batch.
    :param dtype: type of the numbers, float64 or float32.
    :param batch_size: number of images. Default: a few, and neither the channels, the height nor the width.
    :param seed: seed of weights, pixels, labels and dropout masks.
    :param recipe: settings of the steps. Default: SGD with momentum, decay and a schedule that all show in float32.
    :param fields: fields of the model and of the recipe that differ.
    :raises ConfigError: if an argument or a field is unknown or out of its range, or shards above 1.
    :raises DivergedError: if a number is not finite.
    :raises RunError: if the folder has something in it, or its disk is too full.
    """
    path = as_path("folder", folder)
    case = requested_case(spec, steps, dtype, batch_size, seed, recipe, fields)
    tensors = listed_tensors(case)
    needed = needed_bytes([tensor.size for tensor in tensors])
    prepare_folder(path, needed)
    current_progress().log(f"{path} needs about {format_bytes(needed)} on the disk")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is an error below
        _write(path, case, tensors)
    return Bundle.read(path)


def _write(path: Path, case: GoldenCase, tensors: list[GoldenTensor]) -> None:
    case, margin = redraw_until_far(case)
    inputs = inputs_of(case)
    entries: dict[str, dict[str, Any]] = {}
    shapes = {tensor.name: (tensor.shape, tensor.dtype) for tensor in tensors}
    runs = CaseRun(case, inputs, "float64"), CaseRun(case, inputs, "float32")
    files, together = write_tensors(path, shapes, _computed(*runs, tensors, entries))
    listed = [{"name": name, **files[name], **entry} for name, entry in entries.items()]
    finish_folder(path, _header(runs[0], margin) | {"safetensors": together, "tensors": listed})


def _computed(
    in_float64: CaseRun, in_float32: CaseRun, tensors: list[GoldenTensor], entries: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, Array]]:
    """Yield the arrays, and enter what the manifest says of each."""
    case = in_float64.case
    for tensor in tensors:
        exact, rounded = in_float64.tensor(tensor.name), in_float32.tensor(tensor.name)
        array = np.asarray(exact if case.dtype == "float64" else rounded)
        for dtype, numbers in (("float64", exact), ("float32", rounded)):
            if not (is_finite := np.isfinite(numbers)).all():
                raise DivergedError(
                    f"Numbers of a golden reference must be finite in float64 and in float32. Got "
                    f"{np.asarray(numbers)[~is_finite].flat[0]} in {tensor.name} in {dtype}. Lower lr or steps."
                )
        entries[tensor.name] = {
            "shape": list(tensor.shape),
            "dtype": tensor.dtype.newbyteorder("<").str,
            "operation": tensor.operation,
            "direction": tensor.direction,
            **direct_tolerances(exact, rounded, case.dtype),
        }
        yield tensor.name, array


def _header(run: CaseRun, margin: Margin) -> dict[str, Any]:
    case = run.case
    rates = learning_rates(case.recipe, case.steps).tolist()
    return {
        **manifest_start(),
        "spec": json.loads(json.dumps(case.spec.to_dict())),
        "recipe": case.recipe.to_dict(),
        "dtype": case.dtype,
        "batch_size": case.batch_size,
        "steps": case.steps,
        "seed": case.seed,
        "draw": case.draw,
        "margin": _margin_entry(margin),
        "learning_rates": rates,
        "optimizer": run.optimizer_settings(),
        "updates": run.update_settings(),
        "normalization": asdict(case.normalization()),
        "conventions": CONVENTIONS,
        "operations": [asdict(operation) for operation in operations(case.spec)],
        "tolerance_rule": TOLERANCE_RULE,
    }


def manifest_start() -> dict[str, Any]:
    """Return what every manifest begins with."""
    versions = {name: version(name) for name in ("glassnet", "numpy")} | {"python": platform.python_version()}
    return {"format": KIND, "format_version": FORMAT, "versions": versions}


def _margin_entry(margin: Margin) -> dict[str, Any]:
    text = (
        "Distances of ReLU inputs from 0, and half the differences between the two largest numbers of each pooling "
        "window, in units of the tensor's rounding: the largest difference between the case in float64 and in float32. "
        "smallest is the least of them, in the pass 'of' at 'operation'; near counts those below target, which more "
        "draws did not avoid; ties are equal in any precision, such as zeros behind a ReLU."
    )
    return {"text": text, "target": TARGET, **asdict(margin), "smallest": min(margin.smallest, 1e300)}
