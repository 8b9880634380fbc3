"""The checker: what is wrong with a port, where first, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, as_path, choice_error
from glassnet.training.schedule import learning_rates
from glassnet.verify.golden.bundle import Bundle
from glassnet.verify.golden.dump import Dump, Expected
from glassnet.verify.golden.evaluation import PassEvaluation, PassInputs, PortTensors
from glassnet.verify.golden.fault import AnyJudgement
from glassnet.verify.golden.inputs import InputJudgement, judge_inputs, masks_of, with_inputs_of
from glassnet.verify.golden.judging import PassTensors, judge_pass
from glassnet.verify.golden.mapping import Mapped
from glassnet.verify.golden.operation_bundles import collection_names
from glassnet.verify.golden.operations import IMAGES, LOSS, Operation
from glassnet.verify.golden.report import GoldenReport, NotJudged, report_of
from glassnet.verify.golden.rounding import EPS
from glassnet.verify.golden.steps import judge_steps
from glassnet.verify.golden.updates import Training

Array = NDArray[Any]


def check(
    folder: str | PathLike[str],
    dump: str | PathLike[str],
    *,
    mapping: Mapped | None = None,
    dtype: str | None = None,
) -> GoldenReport:
    """Judge the tensors of a port: each operation on the port's own inputs, in the order of the dataflow.

    :param folder: the bundle, written by ``golden.write``, or a folder of bundles of single operations.
    :param dump: a folder of .npy files, an .npz or a .safetensors file with any of the bundle's tensors, of any float
        type. A tensor that it lacks is computed from the nearest ones that it has.
    :param mapping: names of the bundle to names of the dump, or a JSON file with such an object; ``{name}`` in both
        stands for any text.
    :param dtype: the type in which the port computed: float64, float32, float16 or bfloat16. Default: that of each
        tensor.
    :raises ConfigError: if the dtype is unknown.
    :raises DataError: if the bundle, the dump or the mapping cannot be read, or no result of the port can be judged.
    """
    if dtype is not None and dtype not in EPS:
        raise choice_error("dtype", EPS, dtype)
    path, dump_path = as_path("A bundle", folder), as_path("A dump", dump)
    names = collection_names(path)
    if names is None:
        bundle = Bundle.read(path)
        report = _report(bundle, port := Dump.read(dump_path, _expected(bundle), mapping), dtype)
        report = replace(report, notes=port.notes())
    else:
        report = _check_collection({name: Bundle.read(path / name) for name in names}, dump_path, mapping, dtype)
    if all(row.direction == "input" or row.not_judged for row in report.rows):
        raise DataError(
            f"{dump_path} must have a tensor that can be judged. Got inputs and such without a verdict alone. "
            "Dump outputs or gradients of operations, too."
        )
    return report


def _check_collection(
    bundles: Mapping[str, Bundle], dump: Path, mapping: Mapped | None, dtype: str | None
) -> GoldenReport:
    """Judge the dumps of single operations, whose names begin with that of their bundle."""
    expected = {f"{of}/{name}": entry for of, bundle in bundles.items() for name, entry in _expected(bundle).items()}
    port = Dump.read(dump, expected, mapping)
    reports = [_report(bundle, port.within(of), dtype).within(of) for of, bundle in bundles.items()]
    wrong = next((report for report in reports if report.first), GoldenReport(()))
    return replace(
        wrong,
        rows=tuple(row for report in reports for row in report.rows),
        operations=(),
        not_judged=tuple(tensor for report in reports for tensor in report.not_judged),
        notes=port.notes(),
    )


def _report(bundle: Bundle, port: Dump, dtype: str | None) -> GoldenReport:
    with np.errstate(all="ignore"):  # a port's numbers may be anything
        judgements = list(_judgements(bundle, port, dtype))
        rows = [judgement.row for judgement in judgements]
        reasons = _not_judged(bundle, port, {row.tensor for row in rows})
        reasons += [NotJudged(row.tensor, row.not_judged) for row in rows if row.not_judged]
        return report_of(judgements, bundle.operations, tuple(reasons))


def _expected(bundle: Bundle) -> dict[str, Expected]:
    return {
        name: Expected(tuple(entry["shape"]), np.dtype(entry["dtype"]).kind in "iu")
        for name, entry in bundle.entries.items()
    }


def _judgements(bundle: Bundle, port: Dump, dtype: str | None) -> Iterator[AnyJudgement]:
    """Yield all judgements in the order of the dataflow."""

    def dtype_of(name: str) -> str:
        return dtype or port.dtype(name)

    inputs = {judgement.tensor: judgement for judgement in judge_inputs(bundle, port, dtype_of)}
    yield from inputs.values()
    for prefix in ("eval", "train"):
        tensors = _pass_tensors(bundle.operations, port, prefix)
        if any((tensors.outputs, tensors.gradients, tensors.parameter_gradients, tensors.buffers)):
            given = with_inputs_of(bundle.pass_inputs(prefix), inputs, _classes(bundle))
            yield from judge_pass(evaluate_pass(bundle.operations, given, tensors), tensors, dtype_of)
    yield from _judge_training(bundle, port, inputs, dtype_of)


def _judge_training(
    bundle: Bundle, port: Dump, inputs: Mapping[str, InputJudgement], dtype_of: Callable[[str], str]
) -> Iterator[AnyJudgement]:
    """Yield the judgements of the recipe's steps, the first of which takes the training pass."""
    of_steps = {name: port.get(name) for name in port.names if name.startswith(("steps/", "train/gradients/"))}
    if bundle.recipe is None or not any(name.startswith("steps/") for name in of_steps):
        return
    given = with_inputs_of(bundle.pass_inputs("train"), inputs, _classes(bundle))
    first = evaluate_pass(bundle.operations, given, _pass_tensors(bundle.operations, port, "train"))
    masks = {step: masks_of(bundle.masks(step), inputs, step) for step in range(1, bundle.steps + 1)}
    rates = tuple(learning_rates(bundle.recipe, bundle.steps).tolist())
    tensors = {name: array for name, array in of_steps.items() if array is not None}
    yield from judge_steps(Training(bundle.recipe, rates, first, masks), tensors, dtype_of)


def _classes(bundle: Bundle) -> int:
    last = bundle.operations[-1]
    names = {operation.name: operation for operation in bundle.operations}
    return names[last.inputs[0]].output_shape[0] if last.name == LOSS and last.inputs[0] in names else 1


def _pass_tensors(operations: tuple[Operation, ...], port: Dump, prefix: str) -> PassTensors:
    """Return all that a dump has of one pass."""

    def tensors(folder: str, keys: Iterator[str]) -> dict[str, Array]:
        found = ((key, port.get(f"{prefix}/{folder}{key}")) for key in keys)
        return {key: array for key, array in found if array is not None}

    outputs = tensors("activations/", (operation.name for operation in operations))
    return PassTensors(
        prefix,
        outputs | tensors("", iter((LOSS,))),
        tensors("activation_gradients/", (name for operation in operations for name in operation.inputs)),
        tensors("gradients/", (key for operation in operations for key in operation.parameters)),
        tensors("buffers/", (key for operation in operations for key in operation.buffers)),
    )


def _not_judged(bundle: Bundle, port: Dump, judged: set[str]) -> list[NotJudged]:
    """Return the tensors without a verdict; the bundle's inputs are no task of a port, and need not be in its dump."""
    present = set(port.names)
    return [
        NotJudged(name, "the checker has no rule for it" if name in present else "not in the dump")
        for name in bundle.names
        if name not in judged and (name in present or not name.startswith("inputs/"))
    ]


def evaluate_pass(listed: tuple[Operation, ...], given: PassInputs, port: PassTensors) -> PassEvaluation:
    """Return the evaluation of a pass on those of the port's tensors that have their operation's size."""
    shapes = {operation.name: (len(given.images), *operation.output_shape) for operation in listed}
    shapes |= {name: array.shape for name, array in {IMAGES: given.images, **given.added}.items()} | {LOSS: ()}
    shapes |= {key: shape for operation in listed for key, shape in operation.buffers.items()}

    def fitting(tensors: Mapping[str, Array]) -> dict[str, Array]:
        return {key: array.reshape(shapes[key]) for key, array in tensors.items() if array.size == prod(shapes[key])}

    return PassEvaluation(listed, given, PortTensors(*map(fitting, (port.outputs, port.gradients, port.buffers))))
