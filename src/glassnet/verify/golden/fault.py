"""The first fault of a port in words: which operation returned what, and how its numbers differ."""

from __future__ import annotations

from math import isfinite
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glassnet.formats import agree, pluralize
from glassnet.verify.golden.causes.search import Cause
from glassnet.verify.golden.error_statistics import ErrorStatistics, measure
from glassnet.verify.golden.judging import TRIVIAL, GoldenRow, Judgement
from glassnet.verify.golden.operations import LOSS, Operation
from glassnet.verify.golden.rounding import differences
from glassnet.verify.golden.steps import StepJudgement

Array = NDArray[Any]
MAX_NAMED = 5  # operations in a sentence


class OtherJudgement(Protocol):
    """An input of the port, and its verdict."""

    @property
    def row(self) -> GoldenRow:
        """The verdict."""

    @property
    def port(self) -> Array:
        """The port's tensor."""

    @property
    def expected(self) -> Array:
        """The reference's."""

    @property
    def sentence(self) -> str:
        """The fault in words, without the numbers."""

    def find_cause(self) -> Cause:
        """Return the likely cause."""


AnyJudgement = Judgement | StepJudgement | OtherJudgement


def sentence_of(fault: AnyJudgement, settled: Operation | None, judged_before: int) -> str:
    """Return what is wrong first.

    :param settled: the operation at fault, if a cause has told it.
    :param judged_before: number of tensors before it, all of which are right.
    """
    row = fault.row
    numbers = row.sentence or _error(fault)
    before = f" The {pluralize(judged_before, 'tensor')} before it {agree(judged_before, 'agrees', 'agree')}."
    if judged_before == 1:
        before = " The tensor before it agrees."
    if not isinstance(fault, Judgement):
        return f"{fault.sentence} ({row.tensor}: {numbers}).{before if judged_before else ''}"
    candidates = [settled] if settled else _candidates(fault)
    names = [operation.name for operation in candidates]
    wanted = _missing_between(fault) if len(candidates) > 1 else []
    way_on = f" To see which, dump {first_names(wanted)} too." if wanted else ""
    return f"{_returned(fault, names)} ({row.tensor}: {numbers}).{before if judged_before else ''}{way_on}"


def _error(fault: AnyJudgement) -> str:
    row = fault.row
    if not isfinite(row.error):
        return _not_finite(fault.port.reshape(fault.expected.shape), fault.expected)
    is_one = fault.port.size == 1
    values = f"{fault.port.item():.9g} in place of {fault.expected.item():.9g}, " if is_one else ""
    return f"{values}error {row.error:.1e}, tolerance {row.tolerance:.1e}"


def _not_finite(port: Array, expected: Array) -> str:
    """Return the first number that the port or the reference alone has as NaN or infinite."""
    place = int(np.isinf(differences(port, expected)).argmax())
    at = f"at {list(map(int, np.unravel_index(place, port.shape)))} " if port.ndim else ""
    return f"{at}the port has {port.flat[place]:.6g}, the reference {expected.flat[place]:.6g}"


def _candidates(fault: Judgement) -> list[Operation]:
    """Return the operations that may be at fault; those that only pass numbers on only if there are no others."""
    return [o for o in fault.sources if o.kind not in TRIVIAL] or list(fault.sources)


def _returned(fault: Judgement, names: list[str]) -> str:
    *_, group, name = ("", *fault.tensor.split("/"))
    who = names[0] if len(names) == 1 else f"one of {first_names(names)}"
    if fault.direction == "backward":
        who = f"{who}.backward" if len(names) == 1 else f"The backward pass of {who}"
        return f"{who} returned a wrong " + (f"gradient of {name}" if group == "gradients" else "input gradient")
    who = f"O{who[1:]}" if len(names) > 1 else who
    if group == "buffers":
        return f"{who} left a wrong {name.rpartition('.')[2]}"
    return f"{who} returned a wrong {'value' if name == LOSS else 'output'}"


def first_names(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _missing_between(fault: Judgement) -> list[str]:
    """Return the tensors that the port lacks between a wrong one and the nearest ones before it."""
    parts = fault.tensor.split("/")
    prefix = "/".join(parts[: 2 if parts[0] == "steps" else 1])
    port = fault.evaluation.port
    own = parts[-1]
    if fault.direction == "forward":
        return [f"{prefix}/activations/{o.name}" for o in fault.sources if o.name not in (own, *port.outputs)]
    between = [o.name for o in fault.sources if o.name not in (own, LOSS, *port.gradients)]
    return [f"{prefix}/activation_gradients/{name}" for name in between]


def statistics_of(fault: AnyJudgement) -> ErrorStatistics | None:
    """Return which numbers are wrong, None if the shape is another."""
    row, expected = fault.row, fault.expected
    if fault.port.size != expected.size:
        return None
    port = fault.port.reshape(expected.shape)
    difference = fault.difference() if isinstance(fault, Judgement) else differences(port, expected)
    parts = row.tensor.split("/")
    of_images = "activations" in parts or "activation_gradients" in parts or row.tensor in ("inputs/images",)
    return measure(port, expected, np.asarray(difference > row.tolerance), of_images=of_images)
