"""Causes in batch normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from math import isfinite
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.causes.alternative import (
    Alternative,
    AnyAlternative,
    InapplicableError,
    TensorAlternative,
    with_backward,
    with_output,
)
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]
Term = Literal["mean", "sum", "left out"]  # of BatchNorm's backward pass
Divisor = tuple[float, float]  # what is added to σ, and to σ² before its root

BATCH_NORM = ("BatchNorm2d",)
BATCH = (0, 2, 3)  # the axes of a batch's statistics
OTHER_AXES = ((2, 3), (1, 2, 3), (1,), (0,))  # per image and channel, per image, per pixel, over the batch only
USUAL_EPS = (1e-3, 1e-5, 1e-6, 1e-8, 2e-5, 1.001e-5)  # of Keras, torch, JAX and those who write by hand
AS_NEAR = 2.0  # times the distance of the nearest divisor: rounding may put a wrong one nearer


def unchanged_buffers(site: Site) -> Mapping[str, Array]:
    """Return the running statistics as they were, by key."""
    prefix = f"{site.operation.name}."
    return {key: array for key, array in site.state.items() if key.removeprefix(prefix) not in ("weight", "bias")}


def by_key(site: Site, **arrays: Array) -> dict[str, Array]:
    """Return parameters or buffers of the operation under their keys."""
    return {f"{site.operation.name}.{name}": array for name, array in arrays.items()}


def _per_channel(array: Array) -> Array:
    return array.reshape(1, -1, 1, 1)


def _count(site: Site) -> int:
    """Return M, the number of values of a channel."""
    return int(site.x.size // site.x.shape[1])


def _eps(site: Site) -> float:
    return float(site.operation.attributes.get("eps", 1e-5))


def parameter(site: Site, name: str) -> Array:
    """Return γ, β or a running statistic, to be broadcast over the images."""
    array = site.parameter(name)
    if array is None:
        raise InapplicableError
    return _per_channel(array)


def _statistics(site: Site) -> tuple[Array, Array]:
    """Return the mean and the variance by which the pass normalizes."""
    if not site.training:
        return parameter(site, "running_mean"), parameter(site, "running_var")
    return site.x.mean(BATCH, keepdims=True), site.x.var(BATCH, keepdims=True)


def _normalized(site: Site, mean: Array, deviation: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        normalized: Array = parameter(site, "weight") * ((site.x - mean) / deviation) + parameter(site, "bias")
    return normalized


def _deviation(site: Site, variance: Array) -> Array:
    deviation: Array = np.sqrt(variance + site.x.dtype.type(_eps(site)))
    return deviation


# eps.


def _divided(site: Site, divisor: Divisor) -> Computed:
    mean, variance = _statistics(site)
    (outside, inside), real = divisor, site.x.dtype.type
    return with_output(site, _normalized(site, mean, np.sqrt(variance + real(inside)) + real(outside)))


def _usual_divisors(site: Site) -> Iterator[tuple[str, Divisor]]:
    """Yield what others divide by, under the key of the cause."""
    eps = _eps(site)
    yield "eps outside", (eps, 0.0)
    yield "no eps", (0.0, 0.0)
    for usual in USUAL_EPS:
        if usual != eps:
            yield "eps value", (0.0, usual)


def _solved_eps(site: Site) -> float:
    """Return the eps that explains the port's output in the channel where it counts most, 0 if there is none."""
    if site.port is None or site.x.shape[1] < 2:  # the eps of one channel explains any error of its scale
        return 0.0
    mean, variance = _statistics(site)
    divided = parameter(site, "weight") * (site.x - mean)
    quotient = site.port - parameter(site, "bias")
    with np.errstate(divide="ignore", invalid="ignore"):
        each = ((divided**2).sum(BATCH) / (divided * quotient).sum(BATCH)) ** 2 - variance.ravel()
    if not (usable := np.isfinite(each)).any():
        return 0.0
    return float(each[usable][variance.ravel()[usable].argmin()])


def _has_divisor(judgement: Judgement, operation: Operation, key: str) -> bool:
    """Whether the port divides otherwise, and the simplest divisor that comes as near as any has this key."""
    site = judgement.evaluation.site(operation.name)
    divisors = list(_usual_divisors(site))
    if (eps := _solved_eps(site)) > 0:
        divisors.append(("eps value", (0.0, eps)))
    functions = [partial(_divided, divisor=divisor) for _, divisor in divisors]
    distances = [_distance(judgement, operation, function) for function in functions]
    if not (finite := [distance for distance in distances if isfinite(distance)]):
        raise InapplicableError  # the port's numbers are not
    nearest = next(i for i, distance in enumerate(distances) if distance <= AS_NEAR * min(finite))
    return divisors[nearest][0] == key and judgement.agrees_with({operation.name: functions[nearest]})


def _distance(judgement: Judgement, operation: Operation, function: Callable[[Site], Computed]) -> float:
    evaluation = judgement.evaluation.with_alternatives({operation.name: function})
    return float(
        np.linalg.norm((judgement.expect(evaluation) - judgement.port.reshape(judgement.expected.shape)).ravel())
    )


# Statistics.


def _unbiased(site: Site) -> Computed:
    if not site.training:
        raise InapplicableError
    mean, variance = _statistics(site)
    M = _count(site)
    return with_output(site, _normalized(site, mean, _deviation(site, variance * (M / (M - 1)))))


def _of_batch(site: Site) -> Computed:
    if site.training:
        raise InapplicableError
    return compute(replace(site, training=True))


def _by_running_statistics(site: Site) -> Computed:
    """Normalize a training batch by the running statistics, which are constants in the backward pass."""
    if not site.training:
        raise InapplicableError
    mean, variance = parameter(site, "running_mean"), parameter(site, "running_var")
    deviation = _deviation(site, variance)
    normalized = (site.x - mean) / deviation

    def backward(dy: Array) -> Gradients:
        dgamma, dbeta = (dy * normalized).sum(BATCH), dy.sum(BATCH)
        return Gradients((parameter(site, "weight") / deviation * dy,), by_key(site, weight=dgamma, bias=dbeta))

    return Computed(_normalized(site, mean, deviation), backward, unchanged_buffers(site))


def _over(axes: tuple[int, ...], site: Site) -> Computed:
    mean, variance = site.x.mean(axes, keepdims=True), site.x.var(axes, keepdims=True)
    return with_output(site, _normalized(site, mean, _deviation(site, variance)))


# γ and β.


def _with(site: Site, change: Callable[[Array, Array], tuple[Array, Array]]) -> Computed:
    gamma, beta = change(parameter(site, "weight").ravel(), parameter(site, "bias").ravel())
    return compute(site.with_state(weight=gamma, bias=beta))


def _left_out(site: Site) -> Computed:
    def backward(dy: Array) -> Gradients:
        return Gradients((dy,), {key: np.zeros_like(site.state[key]) for key in site.operation.parameters})

    return Computed(site.x, backward, unchanged_buffers(site))


# The backward pass.


def _with_terms(site: Site, mean: Term, variance: Term) -> Computed:
    """Take the terms through the batch's mean and variance as means, which is right, as sums, or leave them out."""
    center, sigma2 = _statistics(site)
    deviation = _deviation(site, sigma2)
    normalized, M = (site.x - center) / deviation, _count(site)

    def change(right: Gradients, dy: Array) -> Gradients:
        factors: dict[Term, float] = {"mean": 1 / M, "sum": 1, "left out": 0}
        through_mean = factors[mean] * dy.sum(BATCH, keepdims=True)
        through_variance = factors[variance] * normalized * (dy * normalized).sum(BATCH, keepdims=True)
        dx = parameter(site, "weight") / deviation * (dy - through_mean - through_variance)
        return replace(right, inputs=(dx,))

    return with_backward(site, change)


def _without_gamma(site: Site) -> Computed:
    other = compute(site.with_state(weight=np.ones_like(parameter(site, "weight").ravel())))
    return with_backward(site, lambda right, dy: replace(right, inputs=other.backward(dy).inputs))


def _changed_parameters(site: Site, change: Callable[[Site, Array, Mapping[str, Array]], dict[str, Array]]) -> Computed:
    def changed(right: Gradients, dy: Array) -> Gradients:
        by_name = {key.rpartition(".")[2]: array for key, array in right.parameters.items()}
        return replace(right, parameters={**right.parameters, **by_key(site, **change(site, dy, by_name))})

    return with_backward(site, changed)


def _of_input(site: Site, dy: Array, right: Mapping[str, Array]) -> dict[str, Array]:
    return {"weight": (dy * site.x).sum(BATCH)}


def _of_centered_input(site: Site, dy: Array, right: Mapping[str, Array]) -> dict[str, Array]:
    return {"weight": (dy * (site.x - _statistics(site)[0])).sum(BATCH)}


def _averaged(site: Site, dy: Array, right: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array / _count(site) for name, array in right.items()}


def _swapped(site: Site, dy: Array, right: Mapping[str, Array]) -> dict[str, Array]:
    return {"weight": right["bias"], "bias": right["weight"]}


def _forward(key: str, function: Callable[[Site], Computed]) -> Alternative:
    return Alternative(key, BATCH_NORM, "forward", function)


def _backward(key: str, function: Callable[[Site], Computed]) -> Alternative:
    return Alternative(key, BATCH_NORM, "backward", function)


ALTERNATIVES: tuple[AnyAlternative, ...] = (
    _forward("evaluation mode", _by_running_statistics),
    _forward("training mode", _of_batch),
    _forward("unbiased variance", _unbiased),
    *(
        TensorAlternative(key, BATCH_NORM, "forward", partial(_has_divisor, key=key))
        for key in ("eps outside", "no eps", "eps value")
    ),
    _forward("missing BatchNorm", _left_out),
    _forward("missing gamma", partial(_with, change=lambda gamma, beta: (np.ones_like(gamma), beta))),
    _forward("missing beta", partial(_with, change=lambda gamma, beta: (gamma, np.zeros_like(beta)))),
    _forward("missing gamma", partial(_with, change=lambda gamma, beta: (np.ones_like(gamma), np.zeros_like(beta)))),
    _forward("swapped gamma and beta", partial(_with, change=lambda gamma, beta: (beta, gamma))),
    _forward("one plus gamma", partial(_with, change=lambda gamma, beta: (1 + gamma, beta))),
    *(_forward("statistics over other axes", partial(_over, axes)) for axes in OTHER_AXES),
    *(
        _backward(key, partial(_with_terms, mean=mean, variance=variance))
        for key, wrong in (("missing mean terms", "left out"), ("sums for means", "sum"))
        for mean, variance in product(get_args(Term), repeat=2)
        if {mean, variance} in ({wrong}, {wrong, "mean"})
    ),
    _backward("missing gamma", _without_gamma),
    *(
        _backward("unnormalized dgamma", partial(_changed_parameters, change=c))
        for c in (_of_input, _of_centered_input)
    ),
    _backward("averaged dgamma", partial(_changed_parameters, change=_averaged)),
    _backward("swapped gamma and beta", partial(_changed_parameters, change=_swapped)),
)
