"""Gradient checks: what ``backward`` returns against central differences of what ``forward`` returns.

In float64, at a point w and along d, with L the loss::

    D(e)    = (L(w + e·d) − L(w − e·d)) / (2·e)

    numeric = (4·D(eps) − D(2·eps)) / 3        analytic = ∇L · d

    error   = |numeric − analytic| / max(1e-4, |numeric| + |analytic|), which must stay below 1e-6

D(e) alone is wrong by a multiple of e², and by the rounding of L over e: with e so small that e² does not show,
rounding shows in gradients that are almost 0. The two widths together are wrong by eps⁴ only, so eps may be wide.

The difference means nothing where L has a kink between the sides. So all four points must make the same decisions
(the mask of each ReLU, the winners of each pool). Where they do not, or where L bends so much that the two widths
disagree, eps is divided by 10, twice at most (for a layer alone, once). Where it still crosses a kink, another place
is drawn, and a tensor that has only kinks to offer is an error, not a pass. Checks work on a copy: the network that
they are given is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import count
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import ResNetSpec, assemble, spec
from glassnet.data import make_rng
from glassnet.engines.threads import limit_blas_threads
from glassnet.errors import ConfigError, GlassnetError
from glassnet.initialization import initial_state_dict
from glassnet.nn.checks import check_int
from glassnet.verify import layers

Array = NDArray[Any]
Difference = Callable[[Array, Array], float]

TOLERANCE = 1e-6
FLOOR = 1e-4  # of the error's denominator: gradients smaller than this are compared absolutely
DRAWS = 10  # at most, for each comparison asked for, before a tensor counts as lying on kinks
EPS = 1e-4  # rounding is 1e-12 of the loss then
SHRINK = (1.0, 0.1, 0.01)  # of eps, in turn: where a wider step crosses a kink or L bends too much
BEND = 1e-4  # |D(eps) − D(2·eps)| relative to the slope; what is left of eps⁴ is its square, far below TOLERANCE
ASIDE = 1e-2  # standard deviation of ``check_network``'s step aside, per entry


@dataclass(frozen=True)
class Comparison:
    """One slope, computed in two ways."""

    tensor: str  # "input", or the key of a parameter
    place: str  # the index of an entry, or the number of a direction
    numeric: float
    analytic: float

    @property
    def error(self) -> float:
        """|numeric − analytic| / max(1e-4, |numeric| + |analytic|); infinite where one of them is not finite."""
        error = abs(self.numeric - self.analytic) / max(FLOOR, abs(self.numeric) + abs(self.analytic))
        return error if isfinite(error) else inf

    @property
    def passed(self) -> bool:
        return self.error < TOLERANCE


@dataclass(frozen=True)
class GradientReport:
    """All comparisons of one check, and how many more were thrown away because they crossed a kink.

    :raises GlassnetError: where nothing, or nothing but zeros, was compared: a check of nothing must not pass.
    """

    subject: str
    rows: tuple[Comparison, ...]
    redraws: int

    def __post_init__(self) -> None:
        if not any(row.numeric or row.analytic for row in self.rows):
            raise GlassnetError(
                f"The gradient check of {self.subject} compared nothing but zeros, in {len(self.rows)} places."
            )

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> Comparison:
        return max(self.rows, key=lambda row: row.error)

    def table(self) -> list[dict[str, Any]]:
        """The rows as plain data: tensor, place, numeric, analytic, error, passed."""
        return [{**asdict(row), "error": row.error, "passed": row.passed} for row in self.rows]

    def raise_if_failed(self) -> None:
        """:raises GlassnetError: where a comparison failed; names the worst."""
        if not self.passed:
            row = self.worst
            raise GlassnetError(
                f"The gradients of {self.subject} are wrong: at {row.tensor}, {row.place}, backward gives"
                f" {row.analytic:.9g} and differences give {row.numeric:.9g}, an error of {row.error:.1e};"
                f" it must be below {TOLERANCE:.0e}."
            )


@limit_blas_threads()
def check_layer(
    layer: nn.Module,
    x: Array | tuple[int, ...],
    *,
    entries: int = 32,
    eps: float = EPS,
    seed: int = 0,
    subject: str | None = None,
) -> GradientReport:
    """Check random ``entries`` of the input and of each parameter of a layer, under a random upstream gradient.

    ``x`` is the layer's input, or the shape of one to draw. A tensor with fewer entries is checked whole.

    :raises ConfigError: where ``entries`` is below 1, ``eps`` not above 0 or ``seed`` out of range.
    :raises GlassnetError: where too many entries of a tensor lie on kinks, or a gradient has not its tensor's shape.
    """
    wanted = check_int("entries", entries)
    rng = make_rng(seed, "gradient check")  # its own: an x drawn from the same seed must not be dy
    x = rng.standard_normal(x) if isinstance(x, tuple) else x
    # At the third width rounding shows where an entry's slope is small beside the outputs; another is soon drawn.
    probe = _Probe(subject or type(layer).__name__, layer, x, eps, SHRINK[:2])
    dy = np.asarray(rng.standard_normal(probe.forward()[0].shape))
    gradients = probe.gradients(lambda y: dy)

    def attempts(tensor: Array, gradient: Array) -> Iterator[Comparison | None]:
        for flat in rng.permutation(tensor.size):
            entry = np.unravel_index(flat, tensor.shape)
            step = np.zeros(tensor.shape)
            step[entry] = 1
            slope = probe.slope(tensor, step, lambda after, before: float(np.vdot(dy, after - before)))
            place = str(tuple(map(int, entry)))
            yield None if slope is None else Comparison(name, place, slope, float(gradient[entry]))

    rows: list[Comparison] = []
    for name, tensor in probe.tensors.items():
        rows += probe.collect(name, min(wanted, tensor.size), attempts(tensor, gradients[name]))
    return GradientReport(probe.subject, tuple(rows), probe.redraws)


@limit_blas_threads()
def check_network(
    network: nn.Module,
    images: Array,
    labels: Array,
    *,
    directions: int = 1,
    eps: float = EPS,
    seed: int = 0,
    subject: str = "the network",
) -> GradientReport:
    """Check the loss's gradient along random unit ``directions`` in the input and in each parameter of a network.

    The point is a small random step (0.01 an entry) aside from the weights and images that are given: fresh biases
    and empty corners of images are exactly 0, where ReLU has its kink, and equal corners are ties for a max-pool.

    :raises ConfigError: where ``directions`` is below 1 or ``eps`` not above 0.
    :raises GlassnetError: where the two sides of a tensor's directions cross kinks again and again.
    """
    wanted = check_int("directions", directions)
    rng = np.random.default_rng(seed)
    probe = _Probe(subject, network, images, eps)
    loss = nn.CrossEntropyLoss()

    def upstream(logits: Array) -> Array:
        loss(logits, labels)
        return loss.backward()

    gradients: dict[str, Array] = {}

    def step_aside() -> None:
        probe.step_aside(rng)
        gradients.update(probe.gradients(upstream))

    def attempts(name: str) -> Iterator[Comparison | None]:
        for number in count(1):
            step = _steep_direction(gradients[name], rng)
            slope = probe.slope(
                probe.tensors[name], step, lambda after, before: loss(after, labels) - loss(before, labels)
            )
            if slope is None:
                yield None
                step_aside()  # a unit that close to its kink would be crossed in most directions
            else:
                yield Comparison(name, f"direction {number}", slope, float(np.vdot(gradients[name], step)))

    step_aside()
    rows: list[Comparison] = []
    for name in probe.tensors:
        rows += probe.collect(name, wanted, attempts(name))
    return GradientReport(subject, tuple(rows), probe.redraws)


def check_preset(
    model: str | ResNetSpec, *, batch_size: int = 2, directions: int = 1, eps: float = EPS, seed: int = 0
) -> GradientReport:
    """``check_network`` for a preset or a spec, with its initial weights, on random images.

    Networks that take any size of image are checked on images of at most 64×64.

    :raises ConfigError: an unknown preset.
    """
    chosen = spec(model) if isinstance(model, str) else model
    rng = np.random.default_rng(seed)
    size = chosen.size if chosen.head == "flatten" else [min(64, length) for length in chosen.size]
    images = rng.standard_normal((batch_size, chosen.in_channels, *size))
    labels = rng.integers(chosen.classes, size=batch_size)
    state = initial_state_dict(chosen, seed)
    return check_state(chosen, state, images, labels, directions=directions, eps=eps, seed=seed)


def check_state(
    model: ResNetSpec,
    state: Mapping[str, Array],
    images: Array,
    labels: Array,
    *,
    directions: int = 1,
    eps: float = EPS,
    seed: int = 0,
) -> GradientReport:
    """``check_network`` for the NumPy network of a spec with the weights of ``state``, whichever engine made them."""
    network = assemble(model, nn).to(np.float64)
    network.load_state_dict(state)
    return check_network(network, images, labels, directions=directions, eps=eps, seed=seed, subject=model.preset)


def check_all_layers(*, entries: int = 32, eps: float = EPS, seed: int = 0) -> list[GradientReport]:
    """``check_layer`` for every layer with its options, with random parameters."""
    return [
        check_layer(layers.build(name, seed), shape, entries=entries, eps=eps, seed=seed, subject=name)
        for name, (_, shape) in layers.CASES.items()
    ]


def _steep_direction(gradient: Array, rng: np.random.Generator) -> Array:
    """Of eight random unit vectors the steepest: along a level one the difference would be rounding alone."""
    directions = (rng.standard_normal(gradient.shape) for _ in range(8))
    steepest: Array = max(directions, key=lambda direction: abs(float(np.vdot(gradient, direction))))
    steepest /= np.linalg.norm(steepest)
    return steepest


class _Probe:
    """A float64 copy of a module in training mode, which draws the same dropout masks in every forward pass."""

    def __init__(
        self, subject: str, module: nn.Module, x: Array, eps: float, shrink: tuple[float, ...] = SHRINK
    ) -> None:
        if not eps > 0:
            raise ConfigError(f"The eps of a gradient check must be above 0. Got {eps!r}.")
        self.subject, self.eps, self.redraws = subject, eps, 0
        self.widths = [eps * share for share in shrink]
        self.module = deepcopy(module).to(np.float64).train()
        parameters = {name: parameter.data for name, parameter in self.module.named_parameters()}
        self.tensors: dict[str, Array] = {"input": x.astype(np.float64), **parameters}
        self._given = {name: tensor.copy() for name, tensor in self.tensors.items()}
        generators = [m.generator.bit_generator for m in self.module.modules() if isinstance(m, nn.Dropout)]
        self._random_states = [(generator, generator.state) for generator in generators]

    def step_aside(self, rng: np.random.Generator) -> None:
        for name, tensor in self.tensors.items():
            tensor[...] = self._given[name] + ASIDE * rng.standard_normal(tensor.shape)

    def forward(self) -> tuple[Array, list[Array]]:
        """The output, and the activation pattern that led to it."""
        for generator, state in self._random_states:
            generator.state = state
        y = self.module(self.tensors["input"])
        return y, [choice for module in self.module.modules() for choice in module.activation_pattern()]

    def gradients(self, upstream: Callable[[Array], Array]) -> dict[str, Array]:
        """The gradient of each tensor by ``backward``."""
        for parameter in self.module.parameters():
            parameter.grad[...] = np.nan  # what backward does not fill must not pass
        gradients = {"input": self.module.backward(upstream(self.forward()[0]))}
        gradients |= {name: parameter.grad.copy() for name, parameter in self.module.named_parameters()}
        for name, tensor in self.tensors.items():
            if gradients[name].shape != tensor.shape:
                raise GlassnetError(
                    f"The gradient of {name} of {self.subject} must have {name}'s shape {tensor.shape}."
                    f" Got {gradients[name].shape}."
                )
        return gradients

    def slope(self, tensor: Array, step: Array, difference: Difference) -> float | None:
        """The difference quotient along ``step``; None where even the smallest eps crosses a kink."""
        slope = None
        for eps in self.widths:
            wide = self._central(tensor, 2 * eps * step, difference)
            narrow = None if wide is None else self._central(tensor, eps * step, difference)
            if wide is None or narrow is None or wide[1] != narrow[1]:
                continue
            double, single = wide[0] / (4 * eps), narrow[0] / (2 * eps)
            slope = (4 * single - double) / 3
            if abs(single - double) <= BEND * max(FLOOR, abs(slope)):
                break
        return slope

    def _central(self, tensor: Array, step: Array, difference: Difference) -> tuple[float, list[bytes]] | None:
        """The difference between the two sides, and their decisions; None where these differ."""
        origin = tensor.copy()
        tensor[...] = origin + step
        after, decided_after = self.forward()
        tensor[...] = origin - step
        before, decided_before = self.forward()
        tensor[...] = origin
        if not all(map(np.array_equal, decided_after, decided_before)):
            return None
        return difference(after, before), [decision.tobytes() for decision in decided_after]

    def collect(self, name: str, wanted: int, attempts: Iterable[Comparison | None]) -> list[Comparison]:
        """``wanted`` comparisons, from as many attempts and a bounded number of redraws."""
        rows: list[Comparison] = []
        crossed = 0
        for attempt in attempts:
            if attempt is None:
                crossed += 1
            else:
                rows.append(attempt)
            if len(rows) == wanted or crossed == DRAWS * wanted:
                break
        self.redraws += crossed
        if len(rows) < max(1, wanted):
            raise GlassnetError(
                f"The gradient check of {self.subject} needs {max(1, wanted)} places in {name} that are no kinks, and"
                f" found {len(rows)} in {len(rows) + crossed} draws: use another input or seed, or an eps below"
                f" {self.eps:g}."
            )
        return rows
