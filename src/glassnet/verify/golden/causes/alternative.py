"""Alternatives: operations computed as others do by mistake, each under the key of the cause that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]


class InapplicableError(Exception):
    """Raised by an alternative at an operation where it is the same as the reference, or impossible."""


@dataclass(frozen=True)
class Alternative:
    """A way in which others compute an operation of some kinds; ``compute`` may raise ``InapplicableError``."""

    key: str  # of causes.KEYS
    kinds: tuple[str, ...]  # none: every kind
    direction: Literal["forward", "backward"]  # where the result differs first
    compute: Callable[[Site], Computed]

    def explains(self, judgement: Judgement, operation: Operation) -> bool:
        """Whether the tensor is right if the operation is computed in this way."""
        return judgement.agrees_with({operation.name: self.compute})


@dataclass(frozen=True)
class TensorAlternative:
    """A way in which others store, round or make a tensor, which is told from the port's tensor itself.

    ``explains`` is given a tensor and the operation that may be at fault, and may raise ``InapplicableError``.
    """

    key: str
    kinds: tuple[str, ...]
    direction: Literal["forward", "backward"]
    explains: Callable[[Judgement, Operation], bool]


def solved(solve: Callable[[Site], Callable[[Site], Computed]]) -> Callable[[Judgement, Operation], bool]:
    """Return ``explains`` of an alternative whose constants ``solve`` reads from what the port has."""

    def explains(judgement: Judgement, operation: Operation) -> bool:
        return judgement.agrees_with({operation.name: solve(judgement.evaluation.site(operation.name))})

    return explains


AnyAlternative = Alternative | TensorAlternative


def with_output(site: Site, output: Array) -> Computed:
    """Return the operation with another output; a fault forward is not followed backward."""
    right = compute(site)
    return Computed(output, right.backward, right.buffers)


def with_backward(site: Site, change: Callable[[Gradients, Array], Gradients]) -> Computed:
    """Return the operation with another backward pass, made of the right one and the output's gradient."""
    right = compute(site)
    return Computed(right.output, lambda dy: change(right.backward(dy), dy), right.buffers)


def only_backward(wrong: Callable[[Site], Computed]) -> Callable[[Site], Computed]:
    """Return the function that computes the output as the reference does, and the gradients as another function."""

    def compute_backward(site: Site) -> Computed:
        right, other = compute(site), wrong(site)
        if right.output.shape != other.output.shape:
            raise InapplicableError
        return Computed(right.output, other.backward, right.buffers)

    return compute_backward


def scaled(gradients: Gradients, factor: float) -> Gradients:
    """Return all gradients times a factor."""
    return Gradients(
        tuple(np.asarray(dx * factor) for dx in gradients.inputs),
        {key: np.asarray(dw * factor) for key, dw in gradients.parameters.items()},
    )
