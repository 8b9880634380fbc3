"""Parity: both engines are the same network, shown tensor by tensor.

The NumPy engine is the reference; the other side is the PyTorch engine, or a folder of golden numbers that another
implementation wrote. Of each tensor, with o ours and t theirs::

    absolute = max |t − o|        relative = absolute / max |o|        needed = absolute / scale ≤ tolerance

``scale`` is max |o| too; of gradients, and of what an optimizer gathers from them, it is at least a millionth of the
largest one in the network, because below that there is rounding alone. The tolerances stand in ``golden.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from glassnet.recipe import Recipe
from glassnet.verify.golden import Case, GoldenFolder, Group, compute, largest, written

Array = NDArray[Any]
LR = 1e-4  # so small that the steps do not amplify the gradients' rounding, even on a tiny batch
WEIGHT_DECAY = 0.1  # so large that it shows all the same


@dataclass(frozen=True)
class TensorDifference:
    """How far one tensor is from the reference; infinitely where a number is not finite."""

    tensor: str
    absolute: float
    relative: float
    needed: float  # the tolerance with which it would just pass
    tolerance: float

    @property
    def passed(self) -> bool:
        return isfinite(self.needed) and self.needed <= self.tolerance

    @property
    def judged(self) -> bool:
        """Whether there is a tolerance; what is not finite is wrong without one too."""
        return isfinite(self.tolerance) or not self.passed


@dataclass(frozen=True)
class ParityReport:
    """All differences, in the order of the dataflow.

    :raises GlassnetError: where nothing was compared, or nothing judged: a check of nothing must not pass.
    """

    subject: str
    other: str  # what was compared with the NumPy engine
    rows: tuple[TensorDifference, ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise GlassnetError(f"The parity check of {self.subject} compared nothing.")
        if not self.judged:
            raise GlassnetError(
                f"The parity check of {self.subject} judged none of {len(self.rows)} tensors: in float32 rounding "
                "moves gradients, and what follows from them, by whole parts. Use float64, or compare activations too."
            )

    @property
    def judged(self) -> tuple[TensorDifference, ...]:
        """The rows with a verdict."""
        return tuple(row for row in self.rows if row.judged)

    @property
    def first(self) -> TensorDifference | None:
        """The first tensor that exceeds its tolerance: what went wrong went wrong there, or just before."""
        return next((row for row in self.rows if not row.passed), None)

    @property
    def passed(self) -> bool:
        return self.first is None

    @property
    def worst(self) -> TensorDifference:
        """Of the judged, the tensor that needs most of its tolerance."""
        return max(self.judged, key=lambda row: row.needed / row.tolerance if isfinite(row.needed) else inf)

    def table(self) -> list[dict[str, Any]]:
        """The rows as plain data: tensor, absolute, relative, needed, tolerance, passed, judged; None for infinite."""
        rows = ({**asdict(row), "passed": row.passed, "judged": row.judged} for row in self.rows)
        return [{name: None if value == inf else value for name, value in row.items()} for row in rows]

    def raise_if_failed(self) -> None:
        """:raises GlassnetError: where a tensor exceeds its tolerance; names the first in the order of the dataflow."""
        if (row := self.first) is not None:
            failed = sum(not row.passed for row in self.rows)
            raise GlassnetError(
                f"{self.subject} is not the same network in NumPy and in {self.other}: {failed} of {len(self.judged)} "
                f"tensors differ, first {row.tensor}, by {row.absolute:.3g}; it would need a tolerance of "
                f"{row.needed:.1e} and has {row.tolerance:.0e}."
            )


def check_parity(
    model: str | ResNetSpec,
    *,
    dtype: str = "float64",
    batch_size: int = 2,
    steps: int = 2,
    optimizer: str | Recipe = "sgd",
    seed: int = 0,
    dump: str | PathLike[str] | None = None,
    against: str | PathLike[str] | None = None,
) -> ParityReport:
    """Compute the same case in both engines, on the CPU, and compare every tensor.

    In evaluation mode all activations; in training mode all activations, BatchNorm's buffers, the loss, and the
    gradients wrt all activations and parameters; after ``steps`` of the ``optimizer`` ("sgd", "adam", "adamw" or a
    Recipe) all weights, buffers and optimizer buffers. ``dump`` is a new folder for the NumPy engine's numbers;
    ``against`` is one with another implementation's, which takes the PyTorch engine's place.

    :raises ConfigError: an unknown model, dtype or optimizer, or counts too small.
    :raises DataError: a folder ``against`` that cannot be used.
    :raises RunError: a folder ``dump`` that is not empty.
    :raises GlassnetError: the PyTorch engine without PyTorch.
    """
    if isinstance(optimizer, str):
        optimizer = Recipe().replace(optimizer=optimizer, lr=LR, weight_decay=WEIGHT_DECAY)
    chosen = spec(model) if isinstance(model, str) else model
    network = build(chosen, "numpy", seed, dtype)
    case = Case(chosen, network.dtype.name, batch_size, steps, optimizer, seed)
    ours = compute(network, case)
    if dump is not None:
        ours = written(ours, case, Path(dump))
    other: GoldenFolder | _Engine
    other = _Engine(case) if against is None else GoldenFolder(Path(against), case)
    rows: list[TensorDifference] = []
    known: list[str] = []
    for group in ours:
        known += [f"{group.name}/{key}" for key in group.tensors]
        theirs = other.take(group)
        tolerance = group.tolerance(case.dtype)
        rows += [_difference(group, key, array, tolerance) for key, array in theirs.items()]
    other.check_all_taken(known)
    return ParityReport(chosen.preset, "PyTorch" if against is None else str(against), tuple(rows))


class _Engine:
    """The PyTorch engine, as the other side of a check."""

    def __init__(self, case: Case) -> None:
        self.groups = compute(build(case.spec, "torch", case.seed, case.dtype, "cpu"), case)

    def take(self, group: Group) -> Mapping[str, Array]:
        """The same group; all of its tensors must be there.

        :raises GlassnetError: a tensor that only one of the engines has.
        """
        theirs = next(self.groups)
        if odd := group.tensors.keys() ^ theirs.tensors.keys():
            raise GlassnetError(f"Only one of the engines has {group.name}/{min(odd)}.")
        return {key: theirs.tensors[key] for key in group.tensors}

    def check_all_taken(self, known: list[str]) -> None:
        if (group := next(self.groups, None)) is not None:
            raise GlassnetError(f"Only one of the engines has {group.name}.")


def _difference(group: Group, key: str, theirs: Array, tolerance: float) -> TensorDifference:
    name, ours = f"{group.name}/{key}", group.tensors[key]
    if ours.shape != theirs.shape:
        raise GlassnetError(f"{name} has shape {ours.shape}. Got {theirs.shape}.")
    with np.errstate(over="ignore", invalid="ignore"):
        absolute = largest(theirs.astype(np.float64) - ours.astype(np.float64))

    def share(scale: float) -> float:
        if absolute == 0:
            return 0.0
        return absolute / scale if isfinite(absolute) and 0 < scale < inf else inf

    own = share(largest(ours))
    return TensorDifference(name, absolute if isfinite(absolute) else inf, own, share(group.scales[key]), tolerance)
