"""Checks of a training: learning rate, capacity and generalization.

The chance level of a loss is ln(classes), the loss of a network that gives every class the same probability.
"""

from __future__ import annotations

import math
from itertools import pairwise

from glassnet.doctor.check import Check, CheckResult, CheckSkippedError, confidence_level, format_significant
from glassnet.doctor.context import CheckContext
from glassnet.doctor.short_runs import run_short_training
from glassnet.measures.significance import accuracy_interval
from glassnet.pages.text import format_points, pluralize

STUCK = 0.9  # fraction of the chance level: a network with a larger loss has learned nothing
CLEARLY_BETTER = 0.7  # ratio of the losses of two short runs
_MIN_STEPS, _MAX_STEPS, _MAX_SECONDS = 10, 80, 8.0  # limits of a short run; seconds of processor time


def count_steps(context: CheckContext) -> int:
    """Return how many steps the run's finished epochs had, or those of one epoch if none finished."""
    count = len(context.dataset.train) if context.has("data") else context.config.data.train
    return max(1, len(context.history)) * math.ceil(count / context.recipe.batch_size)


def try_learning_rates(context: CheckContext, factors: tuple[float, ...]) -> tuple[float, str]:
    """Repeat the run's first steps with its learning rate and with multiples of it, until one is clearly better.

    :returns: the loss with the best rate as a fraction of that with the run's own, 1 if no other rate is better; and
        both losses in words.
    :raises CheckSkippedError: if the run has too few steps, or its steps take too long.
    """
    own_lr = context.recipe.lr
    steps = min(_MAX_STEPS, count_steps(context))
    if steps < _MIN_STEPS:
        raise CheckSkippedError(f"the run has {pluralize(steps, 'step')}, too few to compare learning rates")
    own = run_short_training(context, steps, _MAX_SECONDS)
    if len(own.losses) < _MIN_STEPS and math.isfinite(own.losses[-1]):
        raise CheckSkippedError(f"{_MIN_STEPS} steps of this network take longer than {_MAX_SECONDS:.0f} s")
    best, best_lr, ratio = own.loss, own_lr, 1.0
    for lr in (own_lr * factor for factor in factors):
        loss = run_short_training(context, steps, _MAX_SECONDS, lr=lr).loss
        if loss < best:
            best, best_lr, ratio = loss, lr, loss / own.loss
        if context.loss_ratio_to_chance(loss) < STUCK and ratio < CLEARLY_BETTER:
            break
    other = _loss_at(best_lr, best) if ratio < 1 else "not less at any other"
    return ratio, f"loss {_loss_at(own_lr, own.loss)}, {other}"


def _loss_at(lr: float, loss: float) -> str:
    text = format_significant(loss, 3) if math.isfinite(loss) else "not finite"
    return f"{text} at lr {format_significant(lr, 3)}"


class LearningRateTooHigh(Check):
    """Losses that rise or stay, and the same first steps with smaller learning rates."""

    name = "learning rate too high"
    requires = ("recipe",)
    expected = (
        "the loss is finite, after the first epoch at most 1.2 times the chance level ln(classes), rises in at most "
        "one of four epochs and ends below 90% of the chance level"
    )
    source = "an experiment: the run's first steps again with smaller rates (Smith 2017); benchmarks/doctor.md"
    advice = (
        "train again with the smaller lr named above",
        "then try clip_grad_norm=1, and the schedule one-cycle, which starts with small steps",
        "see the whole range of rates: 'glassnet study lr-range' with this data and model",
    )
    max_ratio = 1.2  # loss / chance level
    rise, noise = 1.1, 0.2  # a loss rises if it is more than this multiple of the one before and of the chance level
    factors = (1 / 3, 0.1, 0.01, 1e-3, 1e-4)

    def run(self, context: CheckContext) -> CheckResult:
        failed = context.failure is not None
        if not context.history and not failed:
            raise CheckSkippedError(context.missing["history"])
        symptom = self._symptom(context)
        if not symptom:
            return CheckResult(0.0, f"the loss ends at {context.loss_ratio:.0%} of the chance level")
        message = f"At lr {context.recipe.lr:g} {symptom}."
        if not context.has("data"):
            return CheckResult(1.0, symptom, "high" if failed else "medium", message)
        try:
            ratio, losses = try_learning_rates(context, self.factors)
        except CheckSkippedError as reason:
            if not failed:
                raise
            return CheckResult(1.0, f"{symptom}; no short runs: {reason}", "high", message)
        confidence = "high" if ratio < CLEARLY_BETTER else "medium" if failed else None
        measured = f"{symptom}; in short runs {losses}"
        return CheckResult(ratio, measured, confidence, f"{message} The same first steps reach {losses}.")

    def _symptom(self, context: CheckContext) -> str:
        """Return what in the history suggests too large steps; an empty text if nothing does."""
        if failure := context.failure:
            return f"the {failure['name']} became {failure['value']} in epoch {failure['epoch']}"
        recorded = [record["loss"] for record in context.history if record.get("loss") is not None]
        ratios = [context.loss_ratio_to_chance(loss) for loss in recorded]
        if not ratios:
            raise CheckSkippedError("the run recorded no loss")
        if max([ratios[0] / 3, *ratios[1:]]) > self.max_ratio:  # random weights may start far above the chance level
            return f"the loss was {format_significant(max(ratios))} times the chance level"
        rises = sum(after > max(self.rise * before, self.noise) for before, after in pairwise(ratios))
        if rises > (len(ratios) - 1) / 4 and rises > 1:
            return f"the loss rose in {rises} of {len(ratios) - 1} epochs"
        if ratios[-1] > STUCK:
            return f"the loss is still {ratios[-1]:.0%} of the chance level"
        return ""


class LearningRateTooLow(Check):
    """A loss that stays high, and the same first steps with larger learning rates."""

    name = "learning rate too low"
    requires = ("recipe", "history", "data")
    expected = "the loss falls below half of the chance level ln(classes), or larger rates are not better"
    source = "an experiment: the run's first steps again with larger rates (Smith 2017); benchmarks/doctor.md"
    advice = ("train again with the larger lr named above", "or train for many more epochs")
    max_ratio = 0.5  # loss / chance level
    factors = (10.0, 100.0, 1e3, 1e4, 1e5)

    def run(self, context: CheckContext) -> CheckResult:
        ratio = context.loss_ratio
        measured = f"the loss ends at {ratio:.0%} of the chance level"
        if ratio < self.max_ratio:
            return CheckResult(0.0, measured)
        if not math.isfinite(ratio):
            raise CheckSkippedError("the training failed")
        best_ratio, losses = try_learning_rates(context, self.factors)
        confidence = "high" if best_ratio < CLEARLY_BETTER else None
        message = f"The loss ends at {ratio:.0%} of the chance level. The same first steps reach {losses}."
        return CheckResult(best_ratio, f"{measured}; in short runs {losses}", confidence, message)


class TooLittleCapacity(Check):
    """A low training accuracy, and that of a wider network after no more steps."""

    name = "too little capacity"
    requires = ("recipe", "history", "data")
    expected = "training accuracy above 85%, or less than 18 percentage points more with a network four times as wide"
    source = "an experiment: a network four times as wide, trained for as many steps; benchmarks/doctor.md"
    advice = (
        "more channels: width twice, then four times as large",
        "a second block in each stage (blocks=2)",
        "then more epochs",
    )
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
        spec = context.spec.replace(width=self.width_factor * context.spec.width)
        wide = run_short_training(context, steps, self.max_seconds, spec=spec)
        gain = wide.accuracy - accuracy
        measured = (
            f"training accuracy {accuracy:.1%} at width {context.spec.width}, "
            f"{wide.accuracy:.1%} at width {spec.width} after {len(wide.losses)} steps"
        )
        return CheckResult(
            gain, measured, "high" if gain >= self.min_gain else None, f"The network reaches {measured}."
        )


class Overfitting(Check):
    """The difference between training and test accuracy."""

    name = "overfitting"
    requires = ("recipe", "history")
    expected = (
        "training accuracy less than 8 percentage points above the upper end of the test accuracy's 95% confidence "
        "interval"
    )
    source = "Wilson's interval (measures.accuracy_interval); benchmarks/doctor.md"
    advice = (
        "use more images, or augment='flip-crop' if a mirrored image still belongs to its class",
        "set weight_decay=5e-4, dropout=0.3, label_smoothing=0.1",
        "train for fewer epochs: validation_fraction=0.1 keeps the best one",
    )
    medium, high = 0.08, 0.12

    def run(self, context: CheckContext) -> CheckResult:
        last, count = context.history[-1], context.config.data.test
        train, test = (last.get(name) for name in ("train_accuracy", "test_accuracy"))
        if train is None or test is None:
            raise CheckSkippedError("the last epoch has no accuracies")
        gap = train - test
        excess = train - accuracy_interval(round(test * count), count)[1]
        measured = f"{format_points(gap)} percentage points ({train:.1%} and {test:.1%})"
        message = f"The training accuracy is {train:.1%}, the test accuracy {test:.1%}."
        return CheckResult(gap, measured, confidence_level(excess, self.medium, self.high), message)
