"""The steps of an optimizer, each computed on the port's own numbers before it.

Where the port has a gradient, a buffer or a weight, the step is computed from it; where it has none, the reference
computes it from the nearest ones that it has. So a wrong step does not spread to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.engines.trainer import HEAD_LAYERS
from glassnet.nn.functional import adam_step, sgd_step
from glassnet.recipe import Recipe
from glassnet.verify.golden.clipping import clipped
from glassnet.verify.golden.evaluation import Compute, PassEvaluation, PassInputs, PortTensors
from glassnet.verify.golden.kinks import open_choices
from glassnet.verify.golden.operations import LOSS
from glassnet.verify.golden.rounding import EPS, largest, tolerance_of

Array = NDArray[Any]
Arrays = Mapping[str, Array]
ARRAYS = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq"), "adamw": ("exp_avg", "exp_avg_sq")}
BETAS, ADAM_EPS = (0.9, 0.999), 1e-8  # torch's


@dataclass(frozen=True)
class Training:
    """A training whose steps all take the batch of its first pass."""

    recipe: Recipe
    rates: tuple[float, ...]  # the learning rate of each step, before ``body_lr``
    first: PassEvaluation  # the pass of step 1, in training mode
    masks: Mapping[int, Arrays] = field(default_factory=dict)  # dropout's, of the steps after the first


@dataclass(frozen=True)
class Updated:
    """Parameters and the optimizer's arrays after a step."""

    weights: Arrays
    arrays: Mapping[str, Arrays]  # by their name, then the parameter's key


class Step:
    """A step of a training: what it should return on the port's own numbers.

    :param port: the port's tensors under their names in the dump.
    :param number: 1 for the first.
    :param rule: how the step is computed.
    :param before: the step before; by default the same training's.
    :param choices: alternatives of the pass, by name of operation.
    :param deciding: the step whose pass decides at kinks; this one by default.
    :param same_pass: another step that has the same pass.
    """

    def __init__(
        self,
        training: Training,
        port: Arrays,
        number: int,
        *,
        dtype: str = "float64",
        rule: Rule | None = None,
        before: Step | None = None,
        choices: Mapping[str, Compute] | None = None,
        deciding: Step | None = None,
        same_pass: Step | None = None,
    ) -> None:
        self.training, self.port, self.number, self.dtype = training, port, number, np.dtype(dtype)
        self.rule, self.choices, self.deciding = rule or RULE, choices or {}, deciding
        self.same_pass = same_pass
        if before is None and number > 1:
            before = Step(training, port, number - 1, dtype=dtype, rule=rule)
        self.before = before
        self._measured: dict[tuple[str, bool], dict[str, tuple[float, float]]] = {}
        self.recipe, self.rates = training.recipe, training.rates
        has_arrays = self.recipe.optimizer != "sgd" or self.recipe.momentum > 0
        self.arrays = ARRAYS[self.recipe.optimizer] if has_arrays else ()
        operations = training.first.operations
        self.shapes = {key: shape for operation in operations for key, shape in operation.parameters.items()}
        self.owners = {key: op for op in operations for key in (*op.parameters, *op.buffers)}

    def with_rule(self, rule: Rule) -> Step:
        """Return the step, and those before it, computed in another way."""
        before = self.before.with_rule(rule) if self.before else None
        is_same = rule.given is self.rule.given and (self.before is None or self.before.is_complete)
        settings: dict[str, Any] = {"dtype": self.dtype.name, "rule": rule, "same_pass": self if is_same else None}
        return Step(self.training, self.port, self.number, before=before, **settings)

    @cached_property
    def in_float32(self) -> Step:
        """The same step, computed in float32."""
        before = self.before.in_float32 if self.before else None
        settings: dict[str, Any] = {"dtype": "float32", "rule": self.rule, "choices": self.choices, "deciding": self}
        settings["same_pass"] = self.same_pass and self.same_pass.in_float32
        return Step(self.training, self.port, self.number, before=before, **settings)

    def variants(self, name: str, dtype: str) -> Iterator[Step]:
        """Yield the step with each choice made the other way that rounding in ``dtype`` leaves open.

        :param name: the name of the tensors that the choices have an effect on.
        """
        settings: dict[str, Any] = {"dtype": self.dtype.name, "rule": self.rule}
        if name == "gradients" or not self._has("gradients"):
            for choices in open_choices(self.evaluation, dtype):
                yield Step(self.training, self.port, self.number, before=self.before, choices=choices, **settings)
        if self.before and not self.before.is_complete:
            for before in self.before.variants("state", dtype):
                yield Step(self.training, self.port, self.number, before=before, **settings)

    @cached_property
    def given(self) -> PassInputs:
        """The start of the step's pass."""
        if self.before is None:
            return self.training.first.given
        state = {key: self.before.after("state", key) for key in self.owners}
        return replace(self.training.first.given, state=state, masks=self.training.masks.get(self.number, {}))

    @cached_property
    def evaluation(self) -> PassEvaluation:
        """The pass, on the port's own weights."""
        if self.same_pass:
            return self.same_pass.evaluation
        first = self.training.first
        port = first.port if self.before is None else PortTensors()
        given, choices = self.rule.given(self), {**first.alternatives, **self.choices}
        deciding = self.deciding.evaluation if self.deciding else None
        return PassEvaluation(first.operations, given, port, self.dtype.name, choices, deciding)

    def expected(self, name: str, key: str) -> Array:
        """Return what a tensor should be after the step.

        :param name: ``loss``, ``gradients``, ``state``, ``average`` or the name of an array of the optimizer.
        :param key: of a parameter or buffer; empty for the loss.
        """
        with np.errstate(all="ignore"):
            if name == LOSS:
                return self.evaluation.expected(LOSS)
            if name == "average":
                return self._averaged(key)
            if name == "gradients":
                return self.rule.gradient(self, key)
            if name == "step":
                return np.array(self.number, self.dtype)
            if name != "state":
                return self.updated.arrays[name][key]
            if key in self.shapes:
                return self.updated.weights[key]
            return self.evaluation.expected_buffers(self.owners[key].name)[key]

    def tolerance(self, name: str, key: str, dtype: str) -> float:
        """Return the largest absolute difference that rounding in ``dtype`` explains.

        It is at least the median of all such tensors relative to their scales: a few numbers may round well by chance.
        """
        group = name, key in self.shapes
        if group not in self._measured:
            keys = [other for other in self.owners if (other in self.shapes) == group[1]] if key else [key]
            self._measured[group] = {other: self._measure(name, other) for other in keys}
        own, scale = self._measured[group][key]
        relative = [tolerance / scale for tolerance, scale in self._measured[group].values() if scale]
        return max(own, scale * float(np.median(relative or [0.0]))) * EPS[dtype] / EPS["float32"]

    def _measure(self, name: str, key: str) -> tuple[float, float]:
        """Return the tolerance in float32 and the scale of a tensor."""
        expected, in_float32 = self.expected(name, key), self.in_float32.expected(name, key)
        return tolerance_of(expected, in_float32, "float32"), largest(expected)

    def after(self, name: str, key: str) -> Array:
        """Return a tensor after the step: the port's own, or the reference's where the port has none."""
        array = self.of_port(name, key)
        return self._cast(self.expected(name, key) if array is None else array)

    def of_port(self, name: str, key: str) -> Array | None:
        """Return a tensor of the port after the step, None if it has none of this size."""
        array = self.port.get(f"steps/{self.number}/{name}/{key}")
        if array is None and name == "gradients" and self.number == 1:
            array = self.port.get(f"train/gradients/{key}")
        shape = self.shapes[key] if key in self.shapes else self.owners[key].buffers[key]
        return None if array is None or array.size != prod(shape) else array.reshape(shape)

    @cached_property
    def is_complete(self) -> bool:
        """Whether the port has all that the next step reads."""
        return self._has("state") and all(self._has(name) for name in self.arrays)

    def _has(self, name: str) -> bool:
        keys = self.owners if name == "state" else self.shapes
        return all(self.of_port(name, key) is not None for key in keys)

    @cached_property
    def weights(self) -> Arrays:
        """The parameters before the step."""
        return {key: self._cast(self.given.state[key]) for key in self.shapes}

    @cached_property
    def gradients(self) -> Arrays:
        """The gradients, before decay and clipping."""
        return {key: self.after("gradients", key) for key in self.shapes}

    @cached_property
    def updated(self) -> Updated:
        """Parameters and the optimizer's arrays after the step."""
        weights: dict[str, Array] = {}
        arrays: dict[str, dict[str, Array]] = {name: {} for name in self.arrays}
        clipped = self.rule.clip(self)
        update = self._sgd if self.recipe.optimizer == "sgd" else self._adam
        for key, w in self.weights.items():
            before = [self.before.after(name, key) if self.before else None for name in self.arrays]
            rate, decay = (self.dtype.type(of(self, key)) for of in (self.rule.rate, self.rule.decay))
            weights[key], *after = update(w, clipped[key], before, rate, decay)
            for name, array in zip(self.arrays, after, strict=True):
                arrays[name][key] = array
        return Updated(weights, arrays)

    def _averaged(self, key: str) -> Array:
        """Return the moving average of a parameter or buffer, from its value after the step."""
        before = self.before.after("average", key) if self.before else self._cast(self.given.state[key])
        rate = self.dtype.type(self.rule.average(self))
        averaged: Array = before + rate * (self.after("state", key) - before)
        return averaged

    def _sgd(self, w: Array, g: Array, before: list[Array | None], rate: Any, decay: Any) -> tuple[Array, ...]:
        momentum = self.dtype.type(self.recipe.momentum)
        w, v = self.rule.sgd(w, g, before[0] if before else None, rate, momentum, decay, self.recipe.nesterov)
        return (w,) if v is None else (w, v)

    def _adam(self, w: Array, g: Array, before: list[Array | None], rate: Any, decay: Any) -> tuple[Array, ...]:
        m, v = (np.zeros_like(w) if array is None else array for array in before)
        betas = self.dtype.type(BETAS[0]), self.dtype.type(BETAS[1])  # 1 − β₂ alone loses four digits in float32
        eps, decoupled = self.dtype.type(ADAM_EPS), self.recipe.optimizer == "adamw"
        return self.rule.adam(w, g, m, v, self.number, rate, betas, eps, decay, decoupled)

    def _cast(self, array: Array) -> Array:
        return array.astype(self.dtype, copy=False) if array.dtype.kind == "f" else array


def backward(step: Step, key: str) -> Array:
    """Return the gradient of the step's loss wrt a parameter."""
    return step.evaluation.backward(step.owners[key].name).parameters[key]


def clip(step: Step) -> Arrays:
    """Return the gradients, clipped as the recipe says."""
    limit = step.recipe.clip_grad_norm
    return step.gradients if limit is None else clipped(step.gradients, limit)


def rate(step: Step, key: str) -> float:
    """Return the learning rate of a parameter: the step's, times ``body_lr`` before the head."""
    return step.rates[step.number - 1] * body_factor(step, key)


def body_factor(step: Step, key: str) -> float:
    """Return the fraction of the step's learning rate that a parameter has."""
    return 1.0 if key.partition(".")[0] in HEAD_LAYERS else step.recipe.body_lr


def decay(step: Step, key: str) -> float:
    """Return the weight decay of a parameter."""
    return step.recipe.weight_decay if step.recipe.decays(len(step.shapes[key])) else 0.0


def average(step: Step) -> float:
    """Return the fraction of its distance to the weights by which the recipe's moving average moves."""
    return 1 - min(step.recipe.ema, (1 + step.number) / (10 + step.number))


@dataclass(frozen=True)
class Rule:
    """The rule of a step, in exchangeable parts; the defaults are glassnet's own, which are torch's."""

    given: Callable[[Step], PassInputs] = lambda step: step.given
    gradient: Callable[[Step, str], Array] = backward
    clip: Callable[[Step], Arrays] = clip
    rate: Callable[[Step, str], float] = rate
    decay: Callable[[Step, str], float] = decay
    sgd: Callable[..., tuple[Array, Array | None]] = sgd_step
    adam: Callable[..., tuple[Array, Array, Array]] = adam_step
    average: Callable[[Step], float] = average


RULE = Rule()
