"""Causes before the first operation: images that were scaled or turned in another way, other labels, other weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Normalization
from glassnet.verify.golden.causes.alternative import Alternative, AnyAlternative, InapplicableError, TensorAlternative
from glassnet.verify.golden.causes.fitted import is_of_other_inputs, is_of_other_weights
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import IMAGES, Operation
from glassnet.verify.golden.reference import Computed, Site, compute

Array = NDArray[Any]

IMAGENET = Normalization(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Normalization(255.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def other_normalizations(images: Array, given: Normalization) -> Iterator[tuple[str, Array]]:
    """Yield what others make of the pixels of normalized images (N, C, H, W), each under its cause."""
    mean, std = (np.reshape(values, (-1, 1, 1)).astype(images.dtype) for values in (given.mean, given.std))
    unit = images * std + mean  # 0 to 1
    pixels = unit * given.scale
    yield from (("not normalized", values) for values in (unit, pixels, unit - mean, unit / std, (pixels - mean) / std))
    yield from (("scaled twice", values) for values in ((unit / given.scale - mean) / std, (images - mean) / std))
    yield "scaled twice", unit / given.scale
    yield "mean and std", (unit - std) / mean
    yield "mean and std", (unit - mean) / std**2
    yield "mean and std", (unit - mean[::-1]) / std[::-1]
    yield "mean and std", (unit - mean.mean()) / std.mean()
    for other in (IMAGENET, HALF):
        other_mean, other_std = (np.resize(values, mean.shape) for values in (other.mean, other.std))
        yield "mean and std", (unit - other_mean) / other_std
    for axes in ((2, 3), (1, 2, 3), (0, 2, 3), (0, 1, 2, 3)):
        yield "mean and std", (unit - unit.mean(axes, keepdims=True)) / unit.std(axes, keepdims=True)
    if len(mean) == 3:
        yield "BGR", (unit[:, ::-1] - mean) / std


def other_images(images: Array) -> Iterator[tuple[str, Array]]:
    """Yield what others make of images (N, C, H, W), each under its cause."""
    if images.ndim != 4:
        return
    if images.shape[1] == 3:
        yield "BGR", images[:, ::-1]
    yield from (("turned images", images[turn]) for turn in TURNS)
    turned = images.swapaxes(2, 3)
    yield "turned images", turned.reshape(images.shape)  # the same axes if H is W; otherwise its memory
    if images.shape[2] == images.shape[3]:
        yield from (("turned images", turned[turn]) for turn in TURNS)
    else:
        yield "turned images", images.reshape(turned.shape).swapaxes(2, 3)
    yield "other inputs", images[::-1]


ALL = slice(None)
BACK = slice(None, None, -1)
TURNS = ((ALL, ALL, BACK), (ALL, ALL, ALL, BACK), (ALL, ALL, BACK, BACK))


def _variants(site: Site) -> Iterator[tuple[str, Array]]:
    yield from other_images(site.x)
    if site.normalization and site.x.ndim == 4 and site.x.shape[1] == len(site.normalization.mean):
        with np.errstate(divide="ignore", invalid="ignore"):
            yield from other_normalizations(site.x, site.normalization)


def _on(site: Site, images: Array) -> Computed:
    return compute(site.with_inputs(images.astype(site.x.dtype)))


def _reads(key: str) -> Callable[[Judgement, Operation], bool]:
    """Return whether the first operation agrees if it reads one of the variants of the images under a key."""

    def explains(judgement: Judgement, operation: Operation) -> bool:
        if operation.inputs != (IMAGES,):
            raise InapplicableError
        variants = [images for name, images in _variants(judgement.evaluation.site(operation.name)) if name == key]
        return any(judgement.agrees_with({operation.name: partial(_on, images=images)}) for images in variants)

    return explains


def _other_labels(judgement: Judgement, operation: Operation) -> bool:
    """Whether the loss, and its gradient, are those of other labels: moved by one, or told by the port's gradient."""
    site = judgement.evaluation.site(operation.name)
    assert site.labels is not None
    classes = site.x.shape[1]
    candidates = [(site.labels + 1) % classes, (site.labels - 1) % classes, site.labels[::-1]]
    candidates += [(site.labels + 1).clip(0, classes - 1), (site.labels - 1).clip(0, classes - 1)]
    dz = judgement.evaluation.port.gradients.get(operation.inputs[0])
    if dz is not None:
        candidates.append(dz.argmin(axis=1))  # softmax(z) − 1 at the label, positive elsewhere

    def labelled(site: Site, labels: Array) -> Computed:
        return compute(replace(site, labels=labels))

    return any(
        judgement.agrees_with({operation.name: partial(labelled, labels=labels)})
        for labels in candidates
        if not np.array_equal(labels, site.labels)
    )


def _swapped_weights(judgement: Judgement, operation: Operation) -> bool:
    """Whether the operation has the weights of another one of the same shapes."""
    state, shapes = judgement.evaluation.given.state, list(operation.parameters.values())
    for other in judgement.evaluation.operations:
        if other.name == operation.name or not shapes or list(other.parameters.values()) != shapes:
            continue

        def swapped(site: Site, other: Operation = other) -> Computed:
            keys = (*other.parameters, *other.buffers)
            arrays = {key.removeprefix(f"{other.name}."): state[key] for key in keys}
            floats = {name: a.astype(site.x.dtype) for name, a in arrays.items() if a.dtype.kind == "f"}
            return compute(site.with_state(**floats))

        if judgement.agrees_with({operation.name: swapped}):
            return True
    return False


def _initial_statistics(site: Site) -> Computed:
    """Return BatchNorm with the running statistics that it starts from, mean 0 and variance 1."""
    mean, variance = site.parameter("running_mean"), site.parameter("running_var")
    if mean is None or variance is None:
        raise InapplicableError
    return compute(site.with_state(running_mean=np.zeros_like(mean), running_var=np.ones_like(variance)))


IMAGE_KEYS = ("BGR", "not normalized", "scaled twice", "mean and std", "turned images", "other inputs")

ALTERNATIVES: tuple[AnyAlternative, ...] = (
    *(TensorAlternative(key, (), "forward", _reads(key)) for key in IMAGE_KEYS),
    TensorAlternative("other weights", (), "forward", _swapped_weights),
    Alternative("other weights", ("BatchNorm2d",), "forward", _initial_statistics),
)

# Tried last: what is solved for explains the results of many other causes, too.
FITTED: tuple[AnyAlternative, ...] = (
    TensorAlternative("other labels", ("CrossEntropyLoss",), "forward", _other_labels),
    TensorAlternative("other labels", ("CrossEntropyLoss",), "backward", _other_labels),
    TensorAlternative("other weights", ("Conv2d", "Linear"), "forward", is_of_other_weights),
    TensorAlternative("other inputs", ("Conv2d",), "forward", is_of_other_inputs),
)
