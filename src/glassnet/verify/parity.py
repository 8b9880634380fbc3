"""Parity: both engines are the same network, shown tensor by tensor.

The NumPy engine computes what is expected; the other side is the PyTorch engine, or a folder of golden numbers that
another implementation wrote. For each tensor, with e expected and t the other side's::

    absolute = max |t − e|        relative = absolute / max |e|        required_tolerance = absolute / scale

``scale`` is max |e| too; of gradients, and of what an optimizer gathers from them, it is at least a millionth of the
largest one in the network, because below that there is rounding alone. ``golden.py`` has the tolerances.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec, spec
from glassnet.engines import build
from glassnet.errors import GlassnetError
from glassnet.formats import agree, pluralize
from glassnet.recipe import Recipe
from glassnet.verify.golden.cases import GoldenCase, TensorGroup, compute_groups, max_abs, with_small_images
from glassnet.verify.golden_folder import GoldenFolder, dump_groups

Array = NDArray[Any]
LR = 1e-4  # so small that the steps do not amplify the gradients' rounding, even on a tiny batch
WEIGHT_DECAY = 0.1  # so large that it shows all the same


@dataclass(frozen=True)
class TensorDifference:
    """The difference of one tensor from what is expected; infinite if a number is not finite."""

    tensor: str
    absolute: float
    relative: float
    required_tolerance: float  # the smallest tolerance with which the tensor would pass
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return isfinite(self.required_tolerance) and self.required_tolerance <= self.tolerance

    @property
    def has_tolerance(self) -> bool:
        """Whether the tensor counts; what is not finite is wrong without a tolerance, too."""
        return isfinite(self.tolerance) or not self.passed


@dataclass(frozen=True, repr=False)
class ParityReport:
    """All differences, in the order of the dataflow.

    :raises GlassnetError: if nothing was compared, or nothing has a tolerance: a check of nothing must not pass.
    """

    name: str
    other: str  # name of the other implementation
    rows: tuple[TensorDifference, ...]

    def __post_init__(self) -> None:
        if not self.rows_with_tolerance:
            raise GlassnetError(
                f"The parity check of {self.name} must compare a tensor that has a tolerance. Got none among "
                f"{len(self.rows)}. Use float64, in which gradients have one, or compare activations too."
            )

    @property
    def rows_with_tolerance(self) -> tuple[TensorDifference, ...]:
        """The rows that count."""
        return tuple(row for row in self.rows if row.has_tolerance)

    @property
    def first(self) -> TensorDifference | None:
        """The first tensor that exceeds its tolerance: the fault is there, or just before."""
        return next((row for row in self.rows if not row.passed), None)

    @property
    def passed(self) -> bool:
        """Whether no tensor exceeds its tolerance."""
        return self.first is None

    @property
    def worst(self) -> TensorDifference:
        """The tensor that requires most of its tolerance."""

        def exhaustion(row: TensorDifference) -> float:
            return row.required_tolerance / row.tolerance if isfinite(row.required_tolerance) else inf

        return max(self.rows_with_tolerance, key=exhaustion)

    def table(self) -> list[dict[str, Any]]:
        """Return the rows as plain data; None stands for infinite.

        The keys are tensor, absolute, relative, required_tolerance, tolerance, passed and has_tolerance.
        """
        rows = ({**asdict(row), "passed": row.passed, "has_tolerance": row.has_tolerance} for row in self.rows)
        return [{name: None if value == inf else value for name, value in row.items()} for row in rows]

    def raise_if_failed(self) -> None:
        """Raise if a tensor exceeds its tolerance.

        :raises GlassnetError: if one does; names the first in the order of the dataflow.
        """
        if (row := self.first) is not None:
            failed = sum(not row.passed for row in self.rows)
            tensors = pluralize(len(self.rows_with_tolerance), "tensor")
            raise GlassnetError(
                f"Different numbers of {self.name} in NumPy and in {self.other}: {failed} of {tensors} "
                f"{agree(failed, 'differs', 'differ')}, first {row.tensor}, by {row.absolute:.3g}. "
                f"It requires a tolerance of {row.required_tolerance:.1e} and has {row.tolerance:.0e}."
            )

    def __repr__(self) -> str:
        return (
            f"ParityReport({self.name} in NumPy and {self.other}: {'passed' if self.passed else 'FAILED'}, "
            f"{pluralize(len(self.rows_with_tolerance), 'tensor')}, worst {self.worst.tensor}, "
            f"which requires a tolerance of {self.worst.required_tolerance:.1e})"
        )


def check_parity(
    model: str | ResNetSpec,
    *,
    dtype: str = "float64",
    batch_size: int = 2,
    steps: int = 2,
    optimizer: str | Recipe = "sgd",
    seed: int = 0,
    device: str = "cpu",
    dump: str | PathLike[str] | None = None,
    against: str | PathLike[str] | None = None,
) -> ParityReport:
    """Compute the same case in both engines, and compare every tensor.

    In evaluation mode all activations; in training mode all activations, BatchNorm's buffers, the loss, and the
    gradients wrt all activations and parameters; after the steps all weights, buffers and optimizer buffers.

    :param model: a preset or a spec.
    :param dtype: "float64", or "float32", in which gradients are shown but have no tolerance.
    :param steps: number of steps of the optimizer on the one batch.
    :param optimizer: "sgd", "adam", "adamw" or a Recipe.
    :param device: the PyTorch engine's device.
    :param dump: a new folder for the NumPy engine's numbers.
    :param against: a folder with another implementation's numbers, which replaces the PyTorch engine.
    :raises ConfigError: if the model, dtype or optimizer is unknown, or a count too small.
    :raises DataError: if the folder ``against`` cannot be used.
    :raises RunError: if the folder ``dump`` is not empty.
    :raises GlassnetError: if PyTorch is needed but not installed, or only one of the engines has a tensor.
    """
    if isinstance(optimizer, str):
        optimizer = Recipe().replace(optimizer=optimizer, lr=LR, weight_decay=WEIGHT_DECAY)
    chosen = with_small_images(spec(model) if isinstance(model, str) else model)
    network = build(chosen, "numpy", seed, dtype)
    case = GoldenCase(chosen, network.dtype.name, batch_size, steps, optimizer, seed)
    groups = compute_groups(network, case)
    if dump is not None:
        groups = dump_groups(groups, case, Path(dump))
    other: GoldenFolder | _TorchTensors
    other = _TorchTensors(case, device) if against is None else GoldenFolder(Path(against), case)
    rows: list[TensorDifference] = []
    known: list[str] = []
    for group in groups:
        known += [f"{group.name}/{key}" for key in group.tensors]
        tolerance = group.tolerance(case.dtype)
        rows += [_difference(group, key, array, tolerance) for key, array in other.tensors_of(group).items()]
    other.check_no_extra(known)
    return ParityReport(chosen.preset, "PyTorch" if against is None else str(against), tuple(rows))


class _TorchTensors:
    """The numbers of the PyTorch engine."""

    def __init__(self, case: GoldenCase, device: str) -> None:
        self.groups = compute_groups(build(case.spec, "torch", case.seed, case.dtype, device=device), case)

    def tensors_of(self, group: TensorGroup) -> Mapping[str, Array]:
        """Return the tensors of the same group.

        :raises GlassnetError: if only one of the engines has a tensor.
        """
        tensors = next(self.groups).tensors
        if unpaired := group.tensors.keys() ^ tensors.keys():
            raise GlassnetError(f"Both engines must have {group.name}/{min(unpaired)}. Got it from one alone.")
        return {key: tensors[key] for key in group.tensors}

    def check_no_extra(self, known: Iterable[str]) -> None:
        """Check that there is no other group.

        :raises GlassnetError: if there is one.
        """
        if (group := next(self.groups, None)) is not None:
            raise GlassnetError(f"Both engines must have {group.name}. Got it from one alone.")


def _difference(group: TensorGroup, key: str, array: Array, tolerance: float) -> TensorDifference:
    name, expected = f"{group.name}/{key}", group.tensors[key]
    if array.shape != expected.shape:
        raise GlassnetError(f"{name} must have shape {expected.shape}. Got {array.shape}.")
    with np.errstate(over="ignore", invalid="ignore"):
        absolute = max_abs(array.astype(np.float64) - expected.astype(np.float64))

    def relative_to(scale: float) -> float:
        if absolute == 0:
            return 0.0
        return absolute / scale if isfinite(absolute) and 0 < scale < inf else inf

    relative, required = relative_to(max_abs(expected)), relative_to(group.scales[key])
    return TensorDifference(name, absolute if isfinite(absolute) else inf, relative, required, tolerance)
