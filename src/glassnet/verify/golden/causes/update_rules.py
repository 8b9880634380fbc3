"""Steps of an optimizer as others compute them, under the keys of the causes that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import adam_step, sgd_step
from glassnet.verify.golden.causes.alternative import InapplicableError
from glassnet.verify.golden.clipping import clipped, total_norm
from glassnet.verify.golden.evaluation import PassInputs
from glassnet.verify.golden.updates import RULE, Arrays, Rule, Step, backward, body_factor, decay

Array = NDArray[Any]

# Decay.


def _decaying(scope: str, *groups: str) -> Rule:
    """Return a rule in which parameters of some groups decay, where the recipe has a scope."""

    def decay(step: Step, key: str) -> float:
        _require(step.recipe.weight_decay_scope == scope)
        _require(any(_group(step, other) == groups[-1] for other in step.shapes))  # or another rule is the same
        return step.recipe.weight_decay if _group(step, key) in groups else 0.0

    return replace(RULE, decay=decay)


def _group(step: Step, key: str) -> str:
    """Return the group of a parameter: matrix (a kernel, too), gamma, beta or bias."""
    if len(step.shapes[key]) > 1:
        return "matrix"
    if step.owners[key].kind != "BatchNorm2d":
        return "bias"
    return "beta" if key.endswith(".bias") else "gamma"


def _scaled_decay(factor: float) -> Rule:
    return replace(RULE, decay=lambda step, key: decay(step, key) * factor)


def _require(is_applicable: Any) -> None:
    if not is_applicable:
        raise InapplicableError


def _decay_before_clipping(step: Step) -> Arrays:
    limit = step.recipe.clip_grad_norm
    _require(limit is not None)
    assert limit is not None
    sums = {key: g + step.dtype.type(decay(step, key)) * step.weights[key] for key, g in step.gradients.items()}
    return clipped(sums, limit)


def _decoupled_sgd(w: Array, g: Array, v: Any, lr: Any, momentum: Any, decay: Any, nesterov: bool) -> Any:
    return sgd_step(w * (1 - lr * decay), g, v, lr, momentum, 0.0, nesterov)


def _decoupled_adam(
    w: Array, g: Array, m: Array, v: Array, t: int, lr: Any, betas: Any, eps: Any, *settings: Any
) -> Any:
    weight_decay, decoupled = settings
    _require(not decoupled)
    return adam_step(w, g, m, v, t, lr, betas, eps, weight_decay, True)


def _coupled_adam(w: Array, g: Array, m: Array, v: Array, t: int, lr: Any, betas: Any, eps: Any, *settings: Any) -> Any:
    weight_decay, decoupled = settings
    _require(decoupled)
    return adam_step(w, g, m, v, t, lr, betas, eps, weight_decay, False)


def _decay_by_itself(step: Step, key: str) -> float:
    """Return the decay with which AdamW's 1 − lr·decay is 1 − decay."""
    _require(step.recipe.optimizer == "adamw")
    return decay(step, key) / RULE.rate(step, key)


# Momentum. A function returns the next buffer v and the change of w, from g with its decay.

Momentum = Callable[[Array, Any, Any, Any, bool], tuple[Array, Array]]


def _momentum(change: Momentum) -> Rule:
    def sgd(w: Array, g: Array, v: Any, lr: Any, momentum: Any, decay: Any, nesterov: bool) -> tuple[Array, Array]:
        _require(momentum)
        v, moved = change(g + decay * w, v, lr, momentum, nesterov)
        return w - moved, v

    return replace(RULE, sgd=sgd)


def _direction(of: Callable[[Array, Array, Any], Array], *, nesterov: bool = True) -> Rule:
    """Return a rule that moves w by ``of(g, v, μ)``, where the recipe has Nesterov's momentum or not."""

    def change(g: Array, v: Any, lr: Any, momentum: Any, is_nesterov: bool) -> tuple[Array, Array]:
        _require(is_nesterov == nesterov)
        v = g if v is None else momentum * v + g
        return v, lr * of(g, v, momentum)

    return _momentum(change)


def _dampening(starts_whole: bool) -> Momentum:
    def change(g: Array, v: Any, lr: Any, momentum: Any, nesterov: bool) -> tuple[Array, Array]:
        new = g * (1 - momentum)
        v = (g if starts_whole else new) if v is None else momentum * v + new
        return v, lr * (g + momentum * v if nesterov else v)

    return change


def _rate_in_velocity(sign: int) -> Momentum:
    def change(g: Array, v: Any, lr: Any, momentum: Any, nesterov: bool) -> tuple[Array, Array]:
        new = lr * g
        v = new if v is None else momentum * v * sign + new
        return sign * v, new + momentum * v if nesterov else v

    return change


def _no_momentum(g: Array, v: Any, lr: Any, momentum: Any, nesterov: bool) -> tuple[Array, Array]:
    return g, lr * g


def _momentum_value(value: float) -> Rule:
    def sgd(w: Array, g: Array, v: Any, lr: Any, momentum: Any, decay: Any, nesterov: bool) -> Any:
        _require(momentum)
        return sgd_step(w, g, v, lr, type(momentum)(value), decay, nesterov)

    return replace(RULE, sgd=sgd)


# Adam. A function returns the direction of w from m and v.


def _adam(direction: Callable[[Array, Array, Any, Any, Any], Array]) -> Rule:
    """Return a rule that moves w by lr·``direction(m, v, 1 − β₁ᵗ, 1 − β₂ᵗ, eps)``."""

    def adam(w: Array, g: Array, m: Array, v: Array, t: int, lr: Any, betas: Any, eps: Any, *settings: Any) -> Any:
        weight_decay, decoupled = settings
        _, m, v = adam_step(w, g, m, v, t, lr, betas, eps, *settings)
        return (
            w * (1 - lr * weight_decay if decoupled else 1)
            - lr * direction(m, v, 1 - betas[0] ** t, 1 - betas[1] ** t, eps),
            m,
            v,
        )

    return replace(RULE, adam=adam)


def _eps(value: float) -> Rule:
    def adam(w: Array, g: Array, m: Array, v: Array, t: int, lr: Any, betas: Any, eps: Any, *settings: Any) -> Any:
        return adam_step(w, g, m, v, t, lr, betas, type(eps)(value), *settings)

    return replace(RULE, adam=adam)


# The learning rate.


def _rate_of_step(index: Callable[[int], int]) -> Callable[[Step, str], float]:
    """Return the learning rate of an optimizer that takes that of another step."""

    def rate(step: Step, key: str) -> float:
        last = len(step.rates) - 1
        return step.rates[min(max(index(step.number - 1), 0), last)] * body_factor(step, key)

    return rate


def _rate_after_peak(step: Step, key: str) -> float:
    """Return the rate of an optimizer that schedules one step late, and begins with the recipe's rate."""
    return (step.rates[step.number - 2] if step.number > 1 else step.recipe.lr) * body_factor(step, key)


def _peak_rate(step: Step, key: str) -> float:
    return step.recipe.lr * body_factor(step, key)


def _head_rate(step: Step, key: str) -> float:
    return step.rates[step.number - 1]


# Clipping.


def _unclipped(step: Step) -> Arrays:
    return step.gradients


def _clip_each(step: Step) -> Arrays:
    """Return gradients each of which is scaled down by itself."""
    limit = _limit(step)
    return {key: clipped({key: g}, limit)[key] for key, g in step.gradients.items()}


def _clip_values(step: Step) -> Arrays:
    limit = _limit(step)
    return {key: g.clip(-limit, limit) for key, g in step.gradients.items()}


def _clip_without_eps(step: Step) -> Arrays:
    scale = min(step.dtype.type(1), _limit(step) / total_norm(step.gradients))
    return {key: g * scale for key, g in step.gradients.items()}


def _limit(step: Step) -> Any:
    _require(step.recipe.clip_grad_norm is not None)
    return step.dtype.type(step.recipe.clip_grad_norm)


# The gradient.


def _summed(step: Step, key: str) -> Array:
    return backward(step, key) * len(step.given.images)


def _accumulated(step: Step, key: str) -> Array:
    return backward(step, key) + (step.before.after("gradients", key) if step.before else 0)


def _sum_of_all(step: Step) -> Arrays:
    """Return the sums of the gradients of all steps, clipped as the recipe says."""
    sums, earlier = dict(step.gradients), step.before
    while earlier:
        sums = {key: g + earlier.gradients[key] for key, g in sums.items()}
        earlier = earlier.before
    limit = step.recipe.clip_grad_norm
    return sums if limit is None else clipped(sums, limit)


def _masks_of_first(step: Step) -> PassInputs:
    _require(step.training.first.given.masks)
    return replace(step.given, masks=step.training.first.given.masks)


def _in_evaluation_mode(step: Step) -> PassInputs:
    return step.given if step.before is None else replace(step.given, training=False)


def _rules() -> Iterator[tuple[str, Rule]]:
    """Yield the rules that others follow, under the keys of their causes; the more common ones first."""
    yield "no decay", replace(RULE, decay=lambda step, key: 0.0)
    yield "decay on BatchNorm", _decaying("weights", "matrix", "bias", "beta", "gamma")
    yield "decay on BatchNorm", _decaying("weights", "matrix", "beta", "gamma")
    yield "decay on BatchNorm", _decaying("weights", "matrix", "gamma")
    yield "decay on biases", _decaying("weights", "matrix", "beta", "bias")
    yield "decay on biases", _decaying("weights", "matrix", "bias")
    yield "decay on nothing but weights", _decaying("all", "matrix")
    yield "decay on nothing but weights", _decaying("all", "matrix", "bias")
    yield "decay on nothing but weights", _decaying("all", "matrix", "gamma")
    yield "coupled decay", replace(RULE, adam=_coupled_adam)
    yield "decoupled decay", replace(RULE, adam=_decoupled_adam, sgd=_decoupled_sgd)
    yield "decay before clipping", replace(RULE, clip=_decay_before_clipping, decay=lambda step, key: 0.0)
    yield "decay value", replace(RULE, decay=_decay_by_itself)
    yield "decay value", _scaled_decay(2.0)
    yield "decay value", _scaled_decay(0.5)

    yield "Nesterov form", _direction(lambda g, v, momentum: v)
    yield "Nesterov form", _direction(lambda g, v, momentum: g + momentum * v, nesterov=False)
    yield "Nesterov form", _direction(lambda g, v, momentum: momentum * v)
    yield "Nesterov form", _direction(lambda g, v, momentum: v + momentum * g)
    yield "Nesterov form", _direction(lambda g, v, momentum: g + v)
    yield "Nesterov form", _direction(lambda g, v, momentum: v + momentum * v)
    yield "dampening", _momentum(_dampening(starts_whole=True))
    yield "dampening", _momentum(_dampening(starts_whole=False))
    yield "learning rate in momentum", _momentum(_rate_in_velocity(1))
    yield "learning rate in momentum", _momentum(_rate_in_velocity(-1))
    yield "no momentum", _momentum(_no_momentum)
    for value in (0.9, 0.99, 0.95, 0.8, 0.5, 0.1, 0.999):
        yield "SGD momentum", _momentum_value(value)

    yield "no bias correction", _adam(lambda m, v, first, second, eps: m / (np.sqrt(v) + eps))
    yield "no bias correction", _adam(lambda m, v, first, second, eps: m / (np.sqrt(v / second) + eps))
    yield "no bias correction", _adam(lambda m, v, first, second, eps: m / first / (np.sqrt(v) + eps))
    yield "eps inside", _adam(lambda m, v, first, second, eps: m / first / np.sqrt(v / second + eps))
    hat = _adam(lambda m, v, first, second, eps: m / first * np.sqrt(second) / (np.sqrt(v) + eps))
    yield "eps before bias correction", hat
    for eps in (1e-7, 1e-6, 1e-5, 1e-3, 1e-10, 1e-12, 0.0):
        yield "Adam's eps", _eps(eps)

    yield "late schedule", replace(RULE, rate=_rate_of_step(lambda index: index - 1))
    yield "late schedule", replace(RULE, rate=_rate_after_peak)
    yield "early schedule", replace(RULE, rate=_rate_of_step(lambda index: index + 1))
    yield "constant rate", replace(RULE, rate=_rate_of_step(lambda index: 0))
    yield "constant rate", replace(RULE, rate=_peak_rate)
    yield "no body_lr", replace(RULE, rate=_head_rate)

    yield "no clipping", replace(RULE, clip=_unclipped)
    yield "clipping by parameter", replace(RULE, clip=_clip_each)
    yield "clipping by value", replace(RULE, clip=_clip_values)
    yield "clipping without eps", replace(RULE, clip=_clip_without_eps)

    yield "average decay", replace(RULE, average=lambda step: 1 - step.recipe.ema)
    yield "accumulated gradients", replace(RULE, gradient=_accumulated)
    yield "accumulated gradients", replace(RULE, clip=_sum_of_all)
    yield "summed loss", replace(RULE, gradient=_summed)
    yield "dropout mask", replace(RULE, given=_masks_of_first)
    yield "evaluation mode", replace(RULE, given=_in_evaluation_mode)


RULES = tuple(_rules())
