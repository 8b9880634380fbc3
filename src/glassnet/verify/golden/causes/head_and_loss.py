"""Causes in the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn import functional
from glassnet.verify.golden.causes.alternative import Alternative, InapplicableError, only_backward, scaled
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]

LOSS = ("CrossEntropyLoss",)
USUAL_SMOOTHING = 0.1


def _labels(site: Site) -> Array:
    assert site.labels is not None
    return site.labels


def _weights(site: Site) -> Array:
    """Return the weight of each class."""
    K = site.x.shape[1]
    given = np.ones(K) if site.class_weights is None else site.class_weights
    return given.astype(site.x.dtype)


def _total(site: Site) -> float:
    """Return the divisor of the mean: N, or the sum of the images' weights."""
    return float(_weights(site)[_labels(site)].sum())


def _one_hot(site: Site) -> Array:
    one_hot: Array = np.eye(site.x.shape[1], dtype=site.x.dtype)[_labels(site)]
    return one_hot


def _targets(site: Site) -> Array:
    """Return q, the targets times the weights of their classes: (N, K)."""
    K, smoothing = site.x.shape[1], site.label_smoothing
    targets: Array = _weights(site) * ((1 - smoothing) * _one_hot(site) + site.x.dtype.type(smoothing / K))
    return targets


def _cross_entropy(site: Site, targets: Array) -> Computed:
    """Return the loss with other targets (N, K), weighted as they are."""
    log_p, total = functional.log_softmax(site.x), _total(site)
    gradient = (np.exp(log_p) * targets.sum(axis=1, keepdims=True) - targets) / site.x.dtype.type(total)
    return _computed(site, -(targets * log_p).sum() / total, gradient)


def _computed(site: Site, loss: Any, gradient: Array) -> Computed:
    return Computed(np.asarray(loss, site.x.dtype), lambda dy: Gradients((np.asarray(dy * gradient),)))


def _times(site: Site, factor: float) -> Computed:
    right = compute(site)
    return Computed(np.asarray(right.output * factor), lambda dy: scaled(right.backward(dy), factor))


# What the logits go through.


def _softmax_twice(site: Site) -> Computed:
    p = functional.softmax(site.x)
    again = compute(site.with_inputs(p))

    def backward(dy: Array) -> Gradients:
        dp = again.backward(dy).inputs[0]
        return Gradients((p * (dp - (dp * p).sum(axis=1, keepdims=True)),))

    return Computed(again.output, backward)


def _without_log_softmax(site: Site) -> Computed:
    targets, total = _targets(site), _total(site)
    return _computed(site, -(targets * site.x).sum() / total, -targets / total)


def _without_logarithm(site: Site) -> Computed:
    p, targets, total = functional.softmax(site.x), _targets(site), _total(site)
    return _computed(
        site, -(targets * p).sum() / total, -p * (targets - (targets * p).sum(axis=1, keepdims=True)) / total
    )


# Targets.


def _smoothed_otherwise(site: Site) -> Computed:
    """Leave smoothing out, or smooth by a usual factor where the recipe does not."""
    return compute(replace(site, label_smoothing=0.0 if site.label_smoothing else USUAL_SMOOTHING))


def _smoothed_over_others(site: Site) -> Computed:
    """Share the smoothing among the K − 1 other classes."""
    K, smoothing = site.x.shape[1], site.label_smoothing
    if not smoothing or K < 2:
        raise InapplicableError
    one_hot = _one_hot(site)
    shared = (1 - smoothing) * one_hot + (1 - one_hot) * site.x.dtype.type(smoothing / (K - 1))
    return _cross_entropy(site, _weights(site) * shared)


def _smoothed_only_target(site: Site) -> Computed:
    """Lower the label's target, and leave those of the other classes 0."""
    if not site.label_smoothing:
        raise InapplicableError
    return _cross_entropy(site, _weights(site) * (1 - site.label_smoothing) * _one_hot(site))


def _shifted_labels(site: Site, by: int) -> Computed:
    return compute(replace(site, labels=(_labels(site) + by) % site.x.shape[1]))


def _without_target(site: Site) -> Computed:
    """Leave the target out of the gradient."""
    weight = _targets(site).sum(axis=1, keepdims=True)
    return _computed(site, compute(site).output, functional.softmax(site.x) * weight / _total(site))


# Class weights.


def _without_weights(site: Site) -> Computed:
    if site.class_weights is None:
        raise InapplicableError
    return compute(replace(site, class_weights=None))


def _mean_over_images(site: Site) -> Computed:
    """Divide the weighted sum by the number of images."""
    if site.class_weights is None:
        raise InapplicableError
    return _times(site, _total(site) / len(site.x))


# Means.


def _summed(site: Site) -> Computed:
    return _times(site, _total(site))


def _mean_over_classes(site: Site) -> Computed:
    return _times(site, 1 / site.x.shape[1])


def _other_base(site: Site, base: float) -> Computed:
    return _times(site, 1 / log(base))


def _alternatives() -> Iterator[Alternative]:
    yield Alternative("summed loss", LOSS, "forward", _summed)
    yield Alternative("missing mean", LOSS, "backward", only_backward(_summed))
    yield Alternative("missing target", LOSS, "backward", _without_target)
    for key, function in (
        ("softmax twice", _softmax_twice),
        ("label smoothing", _smoothed_otherwise),
        ("label smoothing", _smoothed_over_others),
        ("label smoothing", _smoothed_only_target),
        ("one-hot off by one", partial(_shifted_labels, by=1)),
        ("one-hot off by one", partial(_shifted_labels, by=-1)),
        ("class weights", _without_weights),
        ("class weights", _mean_over_images),
        ("mean over classes", _mean_over_classes),
        ("logarithm base", partial(_other_base, base=2)),
        ("logarithm base", partial(_other_base, base=10)),
        ("missing log-softmax", _without_log_softmax),
        ("missing logarithm", _without_logarithm),
    ):
        yield Alternative(key, LOSS, "forward", function)
        yield Alternative(key, LOSS, "backward", only_backward(function))


ALTERNATIVES = tuple(_alternatives())
