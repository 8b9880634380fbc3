"""Gradient checks: the gradients of ``backward`` against central differences of the results of ``forward``.

In float64, with the numerical derivative of ``finite_differences`` along d::

    analytical = ∇L · d        error = |numerical − analytical| / max(1e-4, |numerical| + |analytical|) < 1e-6

Where the difference crosses a kink, another point is drawn. A tensor for which no differentiable point is found is an
error, not a pass. Checks work on a copy: the network that they are given is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import ResNetSpec, assemble
from glassnet.compute import Compute
from glassnet.data import make_rng
from glassnet.engines.class_weights import class_weights
from glassnet.engines.threads import limit_blas_threads
from glassnet.errors import ConfigError, GlassnetError
from glassnet.initialization import initial_state_dict
from glassnet.nn import functional
from glassnet.nn.checks import check_int
from glassnet.recipe import Recipe
from glassnet.verify import layers
from glassnet.verify.faults import Fault
from glassnet.verify.finite_differences import EPS, STEP_FACTORS, GradientChecker, GradientComparison
from glassnet.verify.gradient_faults import find_gradient_fault
from glassnet.verify.gradient_report import GradientReport
from glassnet.verify.settings_of_checks import model_and_recipe, usual_batch_size

Array = NDArray[Any]


@limit_blas_threads()
def check_layer(
    layer: nn.Module,
    x: Array | tuple[int, ...],
    *,
    entries: int = 32,
    eps: float = EPS,
    seed: int = 0,
    name: str | None = None,
) -> GradientReport:
    """Check random entries of the input and of each parameter of a layer, under a random upstream gradient.

    :param x: the layer's input, or the shape of one to draw.
    :param entries: number of entries of each tensor; a tensor with fewer is checked whole.
    :param eps: the widest step of the differences, before it is divided at kinks.
    :param name: the layer's name in the report.
    :raises ConfigError: if ``entries`` is below 1, ``eps`` not above 0 or ``seed`` out of range.
    :raises GlassnetError: if too many entries of a tensor lie on kinks, or a gradient has not its tensor's shape.
    """
    check_int("entries", entries)
    rng = make_rng(seed, "gradient check")  # its own: an x drawn from the same seed must not be dy
    x = rng.standard_normal(x) if isinstance(x, tuple) else x
    name = name or type(layer).__name__
    try:
        return _check_entries(name, layer, x, entries, eps, rng)
    except GlassnetError:
        raise
    except Exception as error:  # a wrong layer may raise anything
        raise GlassnetError(f"Failure in the gradient check of {name}: {_in_one_line(error)}.") from error


def _check_entries(
    name: str, layer: nn.Module, x: Array, entries: int, eps: float, rng: np.random.Generator
) -> GradientReport:
    # At the third width rounding shows where an entry's slope is small beside the outputs; another is soon drawn.
    checker = GradientChecker(name, layer, x, eps, STEP_FACTORS[:2])
    dy = np.asarray(rng.standard_normal(checker.forward()[0].shape))
    checker.set_loss(lambda y: dy, lambda after, before: float(np.vdot(dy, after - before)))
    rows: list[GradientComparison] = []
    for key, tensor in checker.tensors.items():
        rows += checker.compare(key, _entries(tensor.shape, rng), min(entries, tensor.size))
    return GradientReport(checker.name, tuple(rows), checker.redraws)


@limit_blas_threads()
def check_network(
    network: nn.Module,
    images: Array,
    labels: Array,
    *,
    loss: nn.CrossEntropyLoss | None = None,
    directions: int = 1,
    eps: float = EPS,
    seed: int = 0,
    name: str = "the network",
) -> GradientReport:
    """Check the loss's gradient along random unit directions in the input and in each parameter of a network.

    The point is a small random step (0.01 an entry) aside from the given weights and images: fresh biases and empty
    corners of images are exactly 0, where ReLU has its kink, and equal corners are ties for a max-pool.

    :param images: (N, C, H, W).
    :param labels: integers (N,).
    :param loss: by default the mean cross-entropy.
    :param directions: number of directions for each tensor.
    :param name: the network's name in the report.
    :raises ConfigError: if ``directions`` is below 1 or ``eps`` not above 0.
    :raises GlassnetError: if the directions of a tensor cross kinks again and again, or a pass fails; names the wrong
        operation, if one is found.
    """
    check_int("directions", directions)
    rng = np.random.default_rng(seed)
    # Where a direction crosses a kink, the point moves too: a unit that close would be crossed in most directions.
    checker = GradientChecker(name, network, images, eps, rng=rng)
    loss = loss or nn.CrossEntropyLoss()

    def upstream(logits: Array) -> Array:
        loss(logits, labels)
        return loss.backward()

    try:
        report = _check_directions(checker, loss, upstream, labels, directions, rng)
    except ConfigError:
        raise
    except Exception as error:  # a wrong layer may raise anything
        fault = _find_fault(checker, loss, upstream, labels)
        if fault is None and isinstance(error, GlassnetError):
            raise
        reason = str(error) if isinstance(error, GlassnetError) else f"{_in_one_line(error)}."
        raise GlassnetError(
            f"Failure in the gradient check of {name}: {reason}" + (f" Fault: {fault}." if fault else "")
        ) from error
    return report if report.passed else replace(report, fault=_find_fault(checker, loss, upstream, labels))


def _check_directions(
    checker: GradientChecker,
    loss: nn.CrossEntropyLoss,
    upstream: Callable[[Array], Array],
    labels: Array,
    directions: int,
    rng: np.random.Generator,
) -> GradientReport:
    checker.set_loss(upstream, lambda after, before: loss(after, labels) - loss(before, labels))
    rows: list[GradientComparison] = []
    for key in checker.tensors:
        points = ((f"direction {number}", _steep_direction(checker.gradients[key], rng)) for number in count(1))
        rows += checker.compare(key, points, directions)
    return GradientReport(checker.name, tuple(rows), checker.redraws)


def _find_fault(
    checker: GradientChecker, loss: nn.CrossEntropyLoss, upstream: Callable[[Array], Array], labels: Array
) -> Fault | None:
    """Return the loss if its gradient is wrong, else the layer whose is."""
    try:
        logits, _ = checker.forward()
        weight = None if loss.weight is None else loss.weight.tolist()
        layer = layers.LossOfLogits(loss.label_smoothing, labels.tolist(), weight)
        if not check_layer(layer, logits, name="loss").passed:
            return Fault("loss", "CrossEntropyLoss", "backward", "backward returns a wrong dlogits")
    except Exception:  # the network's forward pass fails, or the loss' own, which the error says
        return None
    return find_gradient_fault(checker.module, checker.tensors["input"], upstream)


def check_gradients(
    model: str | ResNetSpec,
    *,
    recipe: Recipe | None = None,
    kernels: str = "fast",
    batch_size: int | None = None,
    directions: int = 1,
    eps: float = EPS,
    seed: int = 0,
    **fields: Any,
) -> GradientReport:
    """Check a preset or a spec with its initial weights on random images, as ``check_network`` does.

    Networks that take any size of image are checked on images of at most 64×64. The loss is the recipe's, with its
    label smoothing and class weights; its other fields change no gradient of the loss, and are ``check_parity``'s.

    :param recipe: by default one of plain cross-entropy.
    :param kernels: "fast" or "plain".
    :param batch_size: by default 2, or 5 if classes have weights.
    :param fields: fields of the model and the recipe, such as ``dropout=0.5, label_smoothing=0.1``.
    :raises ConfigError: if the preset or a field is unknown, or a value is out of its range.
    """
    chosen, recipe = model_and_recipe(model, recipe or Recipe(), fields)
    batch_size = usual_batch_size(recipe) if batch_size is None else batch_size
    rng = np.random.default_rng(seed)
    size = chosen.size if chosen.head == "flatten" else [min(64, length) for length in chosen.size]
    images = rng.standard_normal((batch_size, chosen.in_channels, *size))
    labels = rng.integers(chosen.classes, size=batch_size)
    if recipe.class_weights != "none":  # they differ then
        labels[1:2], labels[2:3] = labels[0], (labels[0] + 1) % chosen.classes
    network = _with_kernels(assemble(chosen, nn).to(np.float64), kernels)
    network.load_state_dict(initial_state_dict(chosen, seed))
    loss = nn.CrossEntropyLoss(recipe.label_smoothing, class_weights(recipe, labels, chosen.classes))
    options: dict[str, Any] = {"directions": directions, "eps": eps, "seed": seed, "name": chosen.preset}
    return check_network(network, images, labels, loss=loss, **options)


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
    """Check the NumPy network of a spec with these weights, of either engine, as ``check_network`` does."""
    network = assemble(model, nn).to(np.float64)
    network.load_state_dict(state)
    return check_network(network, images, labels, directions=directions, eps=eps, seed=seed, name=model.preset)


def check_all_layers(
    *, entries: int = 32, eps: float = EPS, seed: int = 0, kernels: str = "fast"
) -> list[GradientReport]:
    """Check every layer with its options and random parameters, as ``check_layer`` does."""
    built = {name: _with_kernels(layers.build(name, seed), kernels) for name in layers.CASES}
    return [
        check_layer(layer, layers.CASES[name][1], entries=entries, eps=eps, seed=seed, name=name)
        for name, layer in built.items()
    ]


def _with_kernels(module: nn.Module, kernels: str) -> nn.Module:
    Compute(kernels=kernels)  # type: ignore[arg-type]  # checks the name
    return module.use_kernels(functional) if kernels == "plain" else module  # type: ignore[arg-type]


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def _entries(shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Draw the entries of a tensor in random order, and the unit steps along them."""
    for flat in rng.permutation(prod(shape)):
        entry = np.unravel_index(flat, shape)
        step = np.zeros(shape)
        step[entry] = 1
        yield str(tuple(map(int, entry))), step


def _steep_direction(gradient: Array, rng: np.random.Generator) -> Array:
    """Return the steepest of eight random unit vectors: along a level one the difference would be rounding alone."""
    directions = (rng.standard_normal(gradient.shape) for _ in range(8))
    steepest: Array = max(directions, key=lambda direction: abs(float(np.vdot(gradient, direction))))
    steepest /= np.linalg.norm(steepest)
    return steepest
