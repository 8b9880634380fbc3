"""What others get wrong: an operation computed in another way, under the key of the cause that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]


class InapplicableError(Exception):
    """Raised by an alternative at an operation where it is the same as the reference, or impossible."""


@dataclass(frozen=True)
class Alternative:
    """A way in which others compute an operation of some kinds; ``compute`` may raise ``InapplicableError``."""

    key: str  # of causes.KEYS
    kinds: tuple[str, ...]
    direction: Literal["forward", "backward"]  # where the result differs first
    compute: Callable[[Site], Computed]


def with_output(site: Site, output: Array) -> Computed:
    """Return the operation with another output; a fault forward is not followed backward."""
    right = compute(site)
    return Computed(output, right.backward, right.buffers)


def with_backward(site: Site, change: Callable[[Gradients, Array], Gradients]) -> Computed:
    """Return the operation with another backward pass, made of the right one and the output's gradient."""
    right = compute(site)
    return Computed(right.output, lambda dy: change(right.backward(dy), dy), right.buffers)


def scaled(gradients: Gradients, factor: float) -> Gradients:
    """Return all gradients times a factor."""
    return Gradients(
        tuple(np.asarray(dx * factor) for dx in gradients.inputs),
        {key: np.asarray(dw * factor) for key, dw in gradients.parameters.items()},
    )
