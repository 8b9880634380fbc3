"""The distance of a case from its kinks: ReLU inputs near 0, and pooling windows whose two largest numbers are near.

At a kink rounding decides which pixel gets a gradient, so two right implementations differ there by whole parts. The
distances of a tensor from its kinks are in units of its rounding: the largest difference of the tensor between the
whole case in float64 and in float32, as for the tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import windows_of
from glassnet.progress import track
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.evaluation import KINKED
from glassnet.verify.golden.recording import CaseRun, inputs_of
from glassnet.verify.golden.reference import Site
from glassnet.verify.golden.rounding import EPS, largest

Array = NDArray[Any]

MAX_DRAWS = 50
TARGET = 4.0  # units of rounding; another order of the same sums, on other threads say, rounds by about one
HOPELESS = 7  # near kinks at the first draw: with 7 expected, one of 50 draws has none in 4 % of the cases


@dataclass(frozen=True)
class Margin:
    """The smallest distance of a case from its kinks, in units of rounding, and where it is.

    ``near`` counts the kinks nearer than TARGET, and ``ties`` the ties in any precision, such as zeros behind a ReLU in
    one pooling window.
    """

    smallest: float = inf
    of: str = ""  # the pass: eval, train, steps/2, ...
    operation: str = ""
    near: int = 0
    ties: int = 0
    draws: int = 1  # number of the drawing

    def __or__(self, other: Margin) -> Margin:
        nearest = self if self.smallest <= other.smallest else other
        near, ties = self.near + other.near, self.ties + other.ties
        return Margin(nearest.smallest, nearest.of, nearest.operation, near, ties, self.draws)


def redraw_until_far(case: GoldenCase) -> tuple[GoldenCase, Margin]:
    """Return the case, drawn again until no kink is nearer than TARGET, or the draw with the fewest near ones.

    There are at most MAX_DRAWS, and one alone of networks so deep that none of them would do.
    """
    best, best_margin, draws = case, margin_of(case), 1
    with track("drawing inputs", MAX_DRAWS, "draws") as advance:
        while best_margin.near > 0 and (draws > 1 or best_margin.near < HOPELESS) and draws < MAX_DRAWS:
            drawn = case.redrawn(draws)
            margin = margin_of(drawn, enough=best_margin.near)
            draws += 1
            advance(1)
            if margin.near < best_margin.near:
                best, best_margin = drawn, margin
    return best, Margin(**{**vars(best_margin), "draws": draws})


def margin_of(case: GoldenCase, enough: float = inf) -> Margin:
    """Measure all passes of a case, or the first of them in which there are ``enough`` near kinks."""
    inputs = inputs_of(case)
    runs = CaseRun(case, inputs, "float64"), CaseRun(case, inputs, "float32")
    margin = Margin()
    for number in range(max(case.steps, 1) + 1):
        exact, rounded = (run.evaluation(number) for run in runs)
        of = ("eval", "train")[number] if number < 2 else f"steps/{number}"
        for operation in exact.operations:
            if operation.kind in KINKED:
                distances, ties = _distances(exact.site(operation.name), rounded.site(operation.name))
                near = int((distances < TARGET).sum())
                margin |= Margin(float(distances.min(initial=inf)), of, operation.name, near, ties)
                if margin.near >= enough:
                    return margin
    return margin


def _distances(exact: Site, rounded: Site) -> tuple[Array, int]:
    """Return the distances of an operation from its kinks in units of its input's rounding, and the number of ties."""
    rounding = max(largest(exact.x - rounded.x.astype(np.float64)), EPS["float32"] / 2 * largest(exact.x))
    gaps, gaps_in_float32 = (np.abs(site.x) if site.kind == "ReLU" else _half_gaps(site) for site in (exact, rounded))
    is_tied = (gaps == 0) & (gaps_in_float32 == 0)
    return gaps[~is_tied] / (rounding or 1.0), int(is_tied.sum())


def _half_gaps(site: Site) -> Array:
    """Return half of the difference between the two largest numbers of each pooling window."""
    kernel, stride, padding = (site.operation.attributes[name] for name in ("kernel_size", "stride", "padding"))
    windows = windows_of(site.x, kernel, stride, padding, dilation=1, border=-np.inf)
    flat = np.sort(windows.reshape(*windows.shape[:2], kernel**2, -1), axis=2)
    return np.asarray((flat[:, :, -1] - flat[:, :, -2]) / 2)
