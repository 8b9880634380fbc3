"""Causes in batch normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.causes.alternative import Alternative, InapplicableError, with_backward, with_output
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]

BATCH = (0, 2, 3)  # the axes of a batch's statistics
OTHER_AXES = ((2, 3), (1, 2, 3), (1,), (0,))  # per image and channel, per image, per pixel, over the batch only
USUAL_EPS = (1e-3, 1e-5, 1e-6, 1e-8, 2e-5, 1.001e-5)  # of Keras, torch, JAX and those who write by hand
TINY = float(np.finfo(np.float64).tiny)
BETTER = 0.5  # an eps that is solved for must leave less than this fraction of the best usual form's error


def _per_channel(array: Array) -> Array:
    return array.reshape(1, -1, 1, 1)


def _count(site: Site) -> int:
    """Return M, the number of values of a channel."""
    return site.x.size // site.x.shape[1]


def _argument(site: Site, name: str, default: float) -> float:
    return float(site.operation.attributes.get(name, default))


def _parameter(site: Site, name: str) -> Array:
    """Return γ, β or a running statistic, to be broadcast over the images."""
    array = site.parameter(name)
    if array is None:
        raise InapplicableError
    return _per_channel(array)


def _statistics(site: Site) -> tuple[Array, Array]:
    """Return the mean and the variance by which the pass normalizes."""
    if not site.training:
        return _parameter(site, "running_mean"), _parameter(site, "running_var")
    return site.x.mean(BATCH, keepdims=True), site.x.var(BATCH, keepdims=True)


def _normalized(site: Site, mean: Array, deviation: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        normalized: Array = _parameter(site, "weight") * ((site.x - mean) / deviation) + _parameter(site, "bias")
    return normalized


def _deviation(site: Site, variance: Array) -> Array:
    deviation: Array = np.sqrt(variance + site.x.dtype.type(_argument(site, "eps", 1e-5)))
    return deviation


# eps.


def _deviations(site: Site) -> Iterator[tuple[str, Array]]:
    """Yield what others divide by, under the key of the cause."""
    variance, eps = _statistics(site)[1], _argument(site, "eps", 1e-5)
    real = site.x.dtype.type
    yield "eps outside", np.sqrt(variance) + real(eps)
    yield "no eps", np.sqrt(variance)
    for usual in USUAL_EPS:
        if usual != eps:
            yield "eps value", np.sqrt(variance + real(usual))


def _solved_deviation(site: Site) -> Array | None:
    """Return √(σ² + eps) for the one eps that explains all channels of the port's output best."""
    if site.port is None or site.x.shape[1] < 2:  # the eps of one channel explains any error of its scale
        return None
    mean, variance = _statistics(site)
    weighted = _parameter(site, "weight") * (site.x - mean)  # what the port divides
    of_channel = (weighted**2).sum(BATCH), (weighted * (site.port - _parameter(site, "bias"))).sum(BATCH)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        each = (of_channel[0] / of_channel[1]) ** 2 - variance.ravel()
    if not (usable := np.isfinite(each)).any():
        return None
    eps = each[usable][variance.ravel()[usable].argmin()]  # where it counts most, it is known best
    return np.sqrt(variance + eps) if eps > 0 else None


def _divided_otherwise(site: Site, key: str) -> Computed:
    """Return the output with the deviation of ``key``, if no other form is nearer to the port's output."""
    mean = _statistics(site)[0]
    forms = [(form, _normalized(site, mean, deviation)) for form, deviation in _deviations(site)]
    if site.port is None:
        return with_output(site, next(output for form, output in forms if form == key))
    distances = [_distance(output, site.port) for _, output in forms]
    nearest, output = forms[int(np.argmin(distances))]
    solved = _solved_deviation(site)
    if solved is not None:
        other = _normalized(site, mean, solved)
        if _distance(other, site.port) < BETTER * min(distances):
            nearest, output = "eps value", other
    if nearest != key:
        raise InapplicableError
    return with_output(site, output)


def _distance(output: Array, port: Array) -> float:
    distance = float(np.linalg.norm((output - port).ravel()))
    return distance if np.isfinite(distance) else np.inf


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
    mean, variance = _parameter(site, "running_mean"), _parameter(site, "running_var")
    deviation = _deviation(site, variance)
    normalized = (site.x - mean) / deviation

    def backward(dy: Array) -> Gradients:
        dgamma, dbeta = (dy * normalized).sum(BATCH), dy.sum(BATCH)
        return Gradients((_parameter(site, "weight") / deviation * dy,), _by_key(site, weight=dgamma, bias=dbeta))

    return Computed(_normalized(site, mean, deviation), backward, _buffers(site))


def _over(axes: tuple[int, ...], site: Site) -> Computed:
    mean, variance = site.x.mean(axes, keepdims=True), site.x.var(axes, keepdims=True)
    return with_output(site, _normalized(site, mean, _deviation(site, variance)))


# Running statistics.


def _buffers(site: Site) -> Mapping[str, Array]:
    prefix = f"{site.operation.name}."
    return {key: array for key, array in site.state.items() if key.removeprefix(prefix) not in ("weight", "bias")}


def _by_key(site: Site, **arrays: Array) -> dict[str, Array]:
    return {f"{site.operation.name}.{name}": array for name, array in arrays.items()}


def _momentum(site: Site) -> float:
    momentum = site.operation.attributes.get("momentum", 0.1)
    if momentum is None or not site.training:
        raise InapplicableError
    return float(momentum)


def _not_updated(site: Site) -> Computed:
    _momentum(site)
    right = compute(site)
    return Computed(right.output, right.backward, _buffers(site))


def _biased_running_variance(site: Site) -> Computed:
    momentum, right = _momentum(site), compute(site)
    old, biased = _parameter(site, "running_var").ravel(), site.x.var(BATCH)
    running = _by_key(site, running_var=(1 - momentum) * old + momentum * biased)
    return Computed(right.output, right.backward, {**right.buffers, **running})


def _turned_momentum(site: Site) -> Computed:
    return compute(site.with_attributes(momentum=1 - _momentum(site)))


def _other_momentum(site: Site) -> Computed:
    """Return the layer with the one momentum that explains the port's running mean and variance best."""
    _momentum(site)
    new = compute(site.with_attributes(momentum=1.0)).buffers  # the batch's own
    names = [name for name in ("running_mean", "running_var") if f"{site.operation.name}.{name}" in site.port_buffers]
    if not names:
        raise InapplicableError
    key = f"{site.operation.name}.{{}}".format
    old, batch, port = (
        np.concatenate([source[key(name)] for name in names]) for source in (site.state, new, site.port_buffers)
    )
    if port.size < 2:  # a momentum explains any single number
        raise InapplicableError
    return compute(site.with_attributes(momentum=float((port - old) @ (batch - old) / ((batch - old) @ (batch - old)))))


# γ and β.


def _with(site: Site, change: Callable[[Array, Array], tuple[Array, Array]]) -> Computed:
    gamma, beta = change(_parameter(site, "weight").ravel(), _parameter(site, "bias").ravel())
    return compute(site.with_state(weight=gamma, bias=beta))


def _left_out(site: Site) -> Computed:
    def backward(dy: Array) -> Gradients:
        return Gradients((dy,), {key: np.zeros_like(site.state[key]) for key in site.operation.parameters})

    return Computed(site.x, backward, _buffers(site))


# The backward pass.


def _hold_constant(site: Site, mean: bool, variance: bool) -> Computed:
    """Leave out the gradient through the batch's mean, variance or both."""
    center, sigma2 = _statistics(site)
    deviation = _deviation(site, sigma2)
    normalized, M = (site.x - center) / deviation, _count(site)

    def change(right: Gradients, dy: Array) -> Gradients:
        through_mean = 0.0 if mean else dy.mean(BATCH, keepdims=True)
        through_variance = 0.0 if variance else normalized * ((dy * normalized).sum(BATCH, keepdims=True) / M)
        dx = _parameter(site, "weight") / deviation * (dy - through_mean - through_variance)
        return replace(right, inputs=(dx,))

    return with_backward(site, change)


def _without_gamma(site: Site) -> Computed:
    other = compute(site.with_state(weight=np.ones_like(_parameter(site, "weight").ravel())))
    return with_backward(site, lambda right, dy: replace(right, inputs=other.backward(dy).inputs))


def _changed_parameters(site: Site, change: Callable[[Site, Array, Mapping[str, Array]], dict[str, Array]]) -> Computed:
    def changed(right: Gradients, dy: Array) -> Gradients:
        by_name = {key.rpartition(".")[2]: array for key, array in right.parameters.items()}
        return replace(right, parameters={**right.parameters, **_by_key(site, **change(site, dy, by_name))})

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
    return Alternative(key, ("BatchNorm2d",), "forward", function)


def _backward(key: str, function: Callable[[Site], Computed]) -> Alternative:
    return Alternative(key, ("BatchNorm2d",), "backward", function)


ALTERNATIVES = (
    _forward("evaluation mode", _by_running_statistics),
    _forward("training mode", _of_batch),
    _forward("unbiased variance", _unbiased),
    *(_forward(key, partial(_divided_otherwise, key=key)) for key in ("eps outside", "no eps", "eps value")),
    _forward("running statistics not updated", _not_updated),
    _forward("biased variance", _biased_running_variance),
    _forward("momentum convention", _turned_momentum),
    _forward("momentum value", _other_momentum),
    _forward("missing BatchNorm", _left_out),
    _forward("missing gamma", partial(_with, change=lambda gamma, beta: (np.ones_like(gamma), beta))),
    _forward("missing beta", partial(_with, change=lambda gamma, beta: (gamma, np.zeros_like(beta)))),
    _forward("missing gamma", partial(_with, change=lambda gamma, beta: (np.ones_like(gamma), np.zeros_like(beta)))),
    _forward("swapped gamma and beta", partial(_with, change=lambda gamma, beta: (beta, gamma))),
    _forward("one plus gamma", partial(_with, change=lambda gamma, beta: (1 + gamma, beta))),
    *(_forward("statistics over other axes", partial(_over, axes)) for axes in OTHER_AXES),
    *(
        _backward("missing mean terms", partial(_hold_constant, mean=mean, variance=variance))
        for mean, variance in ((True, True), (True, False), (False, True))
    ),
    _backward("missing gamma", _without_gamma),
    *(_backward("unnormalized dgamma", partial(_changed_parameters, change=c)) for c in (_of_input, _of_centered_input)),
    _backward("averaged dgamma", partial(_changed_parameters, change=_averaged)),
    _backward("swapped gamma and beta", partial(_changed_parameters, change=_swapped)),
)
