"""Checks of a training's result: capacity and generalization."""

from __future__ import annotations

import math
from typing import ClassVar

from glassnet.classification import accuracy_interval
from glassnet.doctor.check import Check, CheckResult, CheckSkippedError, confidence_level
from glassnet.doctor.context import CheckContext
from glassnet.doctor.learning_rate_checks import STUCK, LearningRateTooLow
from glassnet.doctor.remedy import Remedy
from glassnet.doctor.short_runs import ShortRun, count_steps, run_short_training
from glassnet.formats import pluralize
from glassnet.pages.text import format_points


class TooLittleCapacity(Check):
    """A low training accuracy, and that of a wider network after no more steps."""

    name = "too little capacity"
    requires = ("recipe", "history", "data")
    expected = (
        "training accuracy above 85%, or less than 18 percentage points more with a network four times as wide, or a "
        "wide network that classifies the test images no better"
    )
    source = "an experiment: a network four times as wide, trained for as many steps; benchmarks/doctor.md"
    min_accuracy, min_gain = 0.85, 0.18
    width_factor, min_steps, max_steps, max_seconds = 4, 60, 400, 20.0

    def run(self, context: CheckContext) -> CheckResult:
        accuracy = context.history[-1].get("train_accuracy") or 0.0
        if accuracy >= self.min_accuracy:
            return CheckResult(0.0, f"training accuracy {accuracy:.1%}")
        if not math.isfinite(context.loss_ratio):
            raise CheckSkippedError("the training failed")
        if context.loss_ratio > STUCK:
            raise CheckSkippedError("the network learned nothing, which a lack of capacity does not explain")
        steps = min(self.max_steps, count_steps(context))
        if steps < self.min_steps:
            raise CheckSkippedError(f"the run has {pluralize(steps, 'step')}, too few to judge its capacity")
        width = self.width_factor * context.spec.width
        wide = self._train_wide(context, width, steps)
        gain = wide.accuracy - accuracy
        measured = (
            f"training accuracy {accuracy:.1%} at width {context.spec.width}, {wide.accuracy:.1%} at width {width} "
            f"after {pluralize(len(wide.losses), 'step')}"
        )
        confidence = "high" if gain >= self.min_gain else None
        excess = accuracy_excess(context)
        if excess is not None and excess >= Overfitting.medium and wide.test_accuracy <= accuracy - excess:
            confidence = None  # the wider network, too, fits the training images alone
            measured += f", with a test accuracy of {wide.test_accuracy:.1%}"
        return CheckResult(gain, measured, confidence, f"The network reaches {measured}.", {"width": width})

    def _train_wide(self, context: CheckContext, width: int, steps: int) -> ShortRun:
        runs: dict[tuple[str, float], ShortRun] = context.short_runs
        if ("width", width) not in runs:
            spec = context.spec.replace(width=width)
            runs["width", width] = run_short_training(context, steps, self.max_seconds, spec=spec)
        return runs["width", width]

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        remedies = [Remedy("train a network with more channels", result.settings)]
        if context.spec.skip:
            blocks = [number + 1 for number in context.spec.blocks]
            remedies.append(Remedy("or one with another block in each stage", {"blocks": blocks}))
        return [*remedies, Remedy("then train for more epochs", {"epochs": 2 * context.recipe.epochs})]


def accuracy_excess(context: CheckContext) -> float | None:
    """Return how far the training accuracy is above the 95% confidence interval of the test accuracy, after the last
    epoch; None without accuracies."""
    last, count = context.history[-1], context.config.data.test
    train, test = (last.get(name) for name in ("train_accuracy", "test_accuracy"))
    if train is None or test is None:
        return None
    return float(train - accuracy_interval(round(test * count), count)[1])


class Overfitting(Check):
    """The difference between training and test accuracy."""

    name = "overfitting"
    requires = ("recipe", "history")
    expected = (
        "training accuracy less than 8 percentage points above the upper end of the test accuracy's 95% confidence "
        "interval"
    )
    source = "Wilson's interval (measures.accuracy_interval); benchmarks/doctor.md"
    medium, high = 0.08, 0.12
    regularization: ClassVar[dict[str, float]] = {"weight_decay": 5e-4, "label_smoothing": 0.1}
    dropout = 0.3

    def run(self, context: CheckContext) -> CheckResult:
        excess = accuracy_excess(context)
        if excess is None:
            contaminated = context.history[-1].get("contaminated")
            missing = "test accuracy: test images were trained on" if contaminated else "accuracies"
            raise CheckSkippedError(f"the last epoch has no {missing}")
        confidence = confidence_level(excess, self.medium, self.high)
        if confidence and LearningRateTooLow().finds(context):
            raise CheckSkippedError("at this learning rate the training is not finished, which must be mended first")
        if confidence and TooLittleCapacity().finds(context):
            raise CheckSkippedError("a wider network classifies more test images correctly: capacity is missing first")
        train, test = (context.history[-1][name] for name in ("train_accuracy", "test_accuracy"))
        measured = f"{format_points(train - test)} percentage points ({train:.1%} and {test:.1%})"
        message = f"The training accuracy is {train:.1%}, the test accuracy {test:.1%}."
        return CheckResult(train - test, measured, confidence, message)

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        recipe = context.recipe
        stronger = {name: value for name, value in self.regularization.items() if value > getattr(recipe, name)}
        if context.spec.dropout < self.dropout:
            stronger["dropout"] = self.dropout
        remedies = [Remedy("collect more images")]
        if stronger:
            remedies.append(Remedy("regularize more", stronger))
        if recipe.augment == "none":
            remedies.append(
                Remedy("if a mirrored image still belongs to its class, augment the images", {"augment": "flip-crop"})
            )
        if not (recipe.validation_fraction or context.config.data.validation):
            remedies.append(Remedy("stop at the epoch that validation selects", {"validation_fraction": 0.1}))
        return remedies
