"""Central differences of what a module computes, and the gradients that its ``backward`` returns.

At a point w and along d, with L the loss::

    D(e) = (L(w + e·d) − L(w − e·d)) / (2·e)        numerical = (4·D(eps) − D(2·eps)) / 3

D(e) alone is wrong by a multiple of e², and by the rounding of L over e: with e so small that e² does not show,
rounding shows in gradients that are almost 0. The two widths together are wrong by eps⁴ only, so eps may be wide.

The difference means nothing where L has a kink between the sides. So all four points must have the same activation
pattern (the mask of each ReLU, the winners of each pool). Where they do not, or where L bends so much that the two
widths disagree, eps is divided by 10, twice at most (for a layer alone, once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.errors import ConfigError, GlassnetError
from glassnet.formats import pluralize
from glassnet.nn import functional

Array = NDArray[Any]
Difference = Callable[[Array, Array], float]

TOLERANCE = 1e-6  # upper limit of the error of a comparison
FLOOR = 1e-4  # gradients smaller than this are compared absolutely
EPS = 1e-4  # rounding is 1e-12 of the loss then
STEP_FACTORS = (1.0, 0.1, 0.01)  # multiples of eps, tried in turn: a wider step may cross a kink or bend too much
CURVATURE_LIMIT = 1e-4  # |D(eps) − D(2·eps)| relative to the slope; what is left of eps⁴ is its square
PERTURBATION_STD = 1e-2  # per entry, of weights and images before a network is checked
MAX_REDRAWS = 10  # limit for each requested comparison


@dataclass(frozen=True)
class GradientComparison:
    """One derivative, computed in two ways."""

    tensor: str  # "input", or the key of a parameter
    position: str  # the index of an entry, or the number of a direction
    numerical: float
    analytical: float

    @property
    def error(self) -> float:
        """``|numerical − analytical| / max(1e-4, |numerical| + |analytical|)``; infinite where one is not finite."""
        error = abs(self.numerical - self.analytical) / max(FLOOR, abs(self.numerical) + abs(self.analytical))
        return error if isfinite(error) else inf

    @property
    def passed(self) -> bool:
        """Whether the error is below 1e-6."""
        return self.error < TOLERANCE


class GradientChecker:
    """A float64 copy of a module in training mode, which draws the same dropout masks in every forward pass.

    :param rng: perturbs all tensors slightly, at first and after each comparison that crosses a kink.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        x: Array,
        eps: float,
        step_factors: tuple[float, ...] = STEP_FACTORS,
        rng: np.random.Generator | None = None,
    ) -> None:
        if not eps > 0:
            raise ConfigError(f"eps must be above 0. Got {eps!r}.")
        self.name, self.eps, self.rng, self.redraws = name, eps, rng, 0
        self.widths = [eps * factor for factor in step_factors]
        shared = {id(functional): functional}  # kernels="plain"; a Python module cannot be copied
        self.module = deepcopy(module, shared).to(np.float64).train()
        parameters = {key: parameter.data for key, parameter in self.module.named_parameters()}
        self.tensors: dict[str, Array] = {"input": x.astype(np.float64), **parameters}
        self._origin = {key: tensor.copy() for key, tensor in self.tensors.items()}
        generators = [m.generator.bit_generator for m in self.module.modules() if isinstance(m, nn.Dropout)]
        self._rng_states = [(generator, generator.state) for generator in generators]

    def set_loss(self, upstream: Callable[[Array], Array], difference: Difference) -> None:
        """Choose the loss by its gradient wrt the output and by its difference between two outputs."""
        self._upstream, self._difference = upstream, difference
        self._renew()

    def forward(self) -> tuple[Array, list[Array]]:
        """Return the output, and the activation pattern that led to it."""
        for generator, state in self._rng_states:
            generator.state = state
        y = self.module(self.tensors["input"]).copy()  # a plain function may return a view of the input, which moves
        return y, [choice for module in self.module.modules() for choice in module.activation_pattern()]

    def _renew(self) -> None:
        """Move the tensors if there is an ``rng``, and compute the gradient of each by ``backward``."""
        if self.rng is not None:
            for key, tensor in self.tensors.items():
                tensor[...] = self._origin[key] + PERTURBATION_STD * self.rng.standard_normal(tensor.shape)
        for parameter in self.module.parameters():
            parameter.grad[...] = np.nan  # values that backward does not fill must not pass
        self.gradients = {"input": self.module.backward(self._upstream(self.forward()[0]))}
        self.gradients |= {key: parameter.grad.copy() for key, parameter in self.module.named_parameters()}
        for key, tensor in self.tensors.items():
            if (shape := self.gradients[key].shape) != tensor.shape:
                raise GlassnetError(
                    f"The gradient of {key} in {self.name} must have shape {tensor.shape}. Got {shape}."
                )

    def numerical_derivative(self, tensor: Array, step: Array) -> float | None:
        """Return the difference quotient along ``step``; None if even the smallest eps crosses a kink."""
        derivative = None
        for eps in self.widths:
            wide = self._central(tensor, 2 * eps * step)
            narrow = None if wide is None else self._central(tensor, eps * step)
            if wide is None or narrow is None or wide[1] != narrow[1]:
                continue
            double, single = wide[0] / (4 * eps), narrow[0] / (2 * eps)
            derivative = (4 * single - double) / 3
            if abs(single - double) <= CURVATURE_LIMIT * max(FLOOR, abs(derivative)):
                break
        return derivative

    def _central(self, tensor: Array, step: Array) -> tuple[float, list[bytes]] | None:
        """Return the difference between the two sides and their pattern; None if the patterns differ."""
        origin = tensor.copy()
        tensor[...] = origin + step
        after, pattern_after = self.forward()
        tensor[...] = origin - step
        before, pattern_before = self.forward()
        tensor[...] = origin
        if not all(map(np.array_equal, pattern_after, pattern_before)):
            return None
        return self._difference(after, before), [choice.tobytes() for choice in pattern_after]

    def compare(self, key: str, points: Iterable[tuple[str, Array]], count: int) -> list[GradientComparison]:
        """Return ``count`` comparisons of a tensor at points, each a position and a step.

        :raises GlassnetError: if too many of the points cross kinks.
        """
        rows: list[GradientComparison] = []
        crossed = 0
        for position, step in points:
            numerical = self.numerical_derivative(self.tensors[key], step)
            if numerical is None:
                crossed += 1
                if self.rng is not None:
                    self._renew()
            else:
                moved = step != 0
                analytical = float(np.vdot(self.gradients[key][moved], step[moved]))
                rows.append(GradientComparison(key, position, numerical, analytical))
            if len(rows) == count or crossed == MAX_REDRAWS * count:
                break
        self.redraws += crossed
        if len(rows) < max(1, count):
            wanted, drawn = pluralize(max(1, count), "point"), pluralize(len(rows) + crossed, "draw")
            raise GlassnetError(
                f"The gradient check of {self.name} must compare {wanted} of {key} that are no kinks. Got {len(rows)} "
                f"in {drawn}. Use another input or seed, or an eps below {self.eps:g}."
            )
        return rows
