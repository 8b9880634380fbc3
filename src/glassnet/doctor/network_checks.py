"""Checks inside the network: gradients, initial weights and ReLUs."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from glassnet.doctor.check import Check, CheckResult, CheckSkippedError, confidence_level, format_significant
from glassnet.doctor.context import CheckContext
from glassnet.doctor.learning_rate_checks import LearningRateTooHigh, LearningRateTooLow, round_rate
from glassnet.doctor.remedy import Remedy
from glassnet.engines import Network
from glassnet.formats import pluralize
from glassnet.initialization import initial_state_dict
from glassnet.measures.layers import stages
from glassnet.verify import check_state
from glassnet.verify.finite_differences import TOLERANCE

_MAX_PARAMETERS = 2_000_000  # the check of a larger network takes minutes
_LEARNED = 0.5  # a smaller loss ratio shows that a fault did not keep the network from learning


class WrongGradient(Check):
    """The NumPy engine's gradients beside differences of the loss."""

    name = "wrong gradient"
    requires = ("run", "data")
    expected = f"every tensor's gradient within {TOLERANCE:.0e} of central differences"
    source = "verify.gradients: float64, the same check as 'glassnet check gradients'"
    advice = (
        "run 'glassnet check gradients': it names the layer",
        "correct that layer's backward (its docstring has the equation) and train again; no setting can replace this",
    )

    def run(self, context: CheckContext) -> CheckResult:
        spec, engine = context.spec, context.config.engine
        if engine != "numpy":
            raise CheckSkippedError(f"the {engine} engine's gradients come from autograd, not from glassnet's layers")
        state = initial_state_dict(spec, 0)  # the check is of the code: trained weights may have dead layers
        if sum(array.size for array in state.values()) > _MAX_PARAMETERS:
            raise CheckSkippedError(
                f"the check takes minutes at this size; run 'glassnet check gradients {spec.preset}'"
            )
        images, labels = context.batch(2)
        checked = check_state(spec, state, images / max(1.0, float(np.abs(images).max())), labels)
        worst = checked.worst
        message = f"At {worst.tensor} backward gives {worst.analytical:.4g}, differences {worst.numerical:.4g}."
        confidence = None if checked.passed else "high"
        return CheckResult(worst.error, f"largest relative error {worst.error:.1e}", confidence, message)


class DeadReluAtInit(Check):
    """Channels behind ReLUs that are 0 for every image before the first step."""

    name = "dead ReLUs before training"
    requires: ClassVar[tuple[str, ...]] = ("recipe", "data")
    expected = "fewer than a quarter of the channels behind a ReLU are 0 for every image"
    source = "Lu et al. 2019, Dying ReLU and Initialization; benchmarks/doctor.md"
    medium, high = 0.25, 0.35
    min_images = 32  # with fewer, a living channel may be 0 for all of them

    def run(self, context: CheckContext) -> CheckResult:
        fraction = self._dead_fraction(context, context.initial_network)
        measured = f"{fraction:.0%} of the channels behind a ReLU"
        return self.grade(fraction, measured, f"Before the first step {measured} are 0 for every image.")

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        remedies = _without_init(context)
        if remedies:
            remedies.insert(0, Remedy("look at the biases of the weights in --init: they silence these channels"))
        return [*remedies, *_with_batch_norm(context)]

    def _dead_fraction(self, context: CheckContext, network: Network) -> float:
        images, _ = context.batch(256)
        if len(images) < self.min_images:
            raise CheckSkippedError(
                f"at this image size {pluralize(len(images), 'image')} can be used, too few to call a channel dead"
            )
        return dead_fraction(network, images)


class DeadReluAfterTraining(DeadReluAtInit):
    """Channels behind ReLUs that are 0 for every image after training."""

    name = "dead ReLUs after training"
    requires = ("run", "weights", "data")
    expected = "the training silences fewer than a quarter of the channels behind a ReLU"

    def run(self, context: CheckContext) -> CheckResult:
        fraction = self._dead_fraction(context, context.network)
        before = self._dead_fraction(context, context.initial_network) if context.has("recipe") else 0.0
        measured = f"{fraction:.0%} of the channels behind a ReLU, {before:.0%} before the training"
        message = f"{measured}, are 0 for every image; their weights learn no more."
        return self.grade(fraction - before, measured, message)

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        if not context.has("recipe"):
            return [Remedy("train with smaller steps, which push fewer biases below every input")]
        remedies = []
        if not LearningRateTooLow().finds(context):
            remedies.append(Remedy("take smaller steps, which push fewer biases below every input", _smaller(context)))
        if context.recipe.clip_grad_norm is None:
            remedies.append(Remedy("or scale large gradients down", {"clip_grad_norm": 1}))
        return [*remedies, *_with_batch_norm(context)]


class BadInitialization(Check):
    """Root mean squares of activations and gradients through the residual stages at the first step."""

    name = "bad initialization"
    requires = ("recipe", "data")
    expected = "from the input to the last block, activations change less than 30 times in size; so do gradients back"
    source = "He et al. 2015b, eq. 10: the variance must stay about the same from layer to layer; benchmarks/doctor.md"
    medium, high = 30.0, 100.0

    def run(self, context: CheckContext) -> CheckResult:
        forward, backward = signal_change(context.initial_network, *context.batch(64))
        name, change = max((("activations", forward), ("gradients", backward)), key=lambda item: _factor(item[1]))
        factor = _factor(change)
        confidence = confidence_level(factor, self.medium, self.high)
        if confidence and context.loss_ratio < _LEARNED:
            confidence = "low"
        verb = "explode" if change > 1 else "vanish"
        measured = f"activations ×{format_significant(forward)}, gradients ×{format_significant(backward)}"
        message = (
            f"At the first step {name} {verb}: through the network their size changes ×{format_significant(change)}."
        )
        return CheckResult(factor, measured, confidence, message)

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        remedies = [*_without_init(context), *_with_batch_norm(context)]
        if not context.spec.skip:
            remedies.append(Remedy("keep the shortcuts", {"skip": True}))
            if max(context.spec.blocks) > 1:
                remedies.append(Remedy("or use fewer blocks", {"blocks": [1] * len(context.spec.blocks)}))
        return remedies


def _without_init(context: CheckContext) -> list[Remedy]:
    if context.config.init is None:
        return []
    return [Remedy("start from new random weights (He et al. 2015b): leave --init out", {"init": None})]


def _with_batch_norm(context: CheckContext) -> list[Remedy]:
    if context.spec.norm == "batch":
        return []
    return [Remedy("use BatchNorm, which makes activations independent of the weights' scale", {"norm": "batch"})]


def _smaller(context: CheckContext) -> dict[str, float]:
    """Return the learning rate that short runs found better, or a third of the run's."""
    too_high = LearningRateTooHigh()
    if too_high.finds(context):
        return dict(too_high.run(context).settings)
    return {"lr": round_rate(context.recipe.lr / 3)}


def _factor(change: float) -> float:
    """Return how many times larger or smaller; infinite for a signal that is 0 or not finite."""
    if not math.isfinite(change) or change <= 0:
        return math.inf
    return max(change, 1 / change)


def dead_fraction(network: Network, images: NDArray[Any]) -> float:
    """Return the fraction of channels behind ReLUs that are 0 in every image and pixel, in evaluation mode.

    :param images: normalized floats (N, C, H, W).
    """
    names = [name for name in network.activation_names if name.rpartition(".")[2].startswith("relu")]
    outputs = network.activations(images, names)
    dead = np.concatenate([~(output > 0).any(axis=(0, 2, 3)) for output in outputs.values()])  # NaN counts as dead
    return float(dead.mean())


def signal_change(network: Network, images: NDArray[Any], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Return two ratios of root mean squares, each NaN if its denominator is 0.

    The first is that of the last block's output to the images, the second that of the gradient at the stem to the
    gradient at the last block.

    :param images: normalized floats (N, C, H, W), with labels (N,).
    """
    traced = network.trace(images, labels)
    names = stages(network.activation_names)
    stem, last = (_rms(traced.activation_gradients[name]) for name in (names[0], names[-1]))
    return _ratio(_rms(traced.activations[names[-1]]), _rms(images)), _ratio(stem, last)


def _ratio(size: float, reference: float) -> float:
    return size / reference if reference > 0 else math.nan


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))
