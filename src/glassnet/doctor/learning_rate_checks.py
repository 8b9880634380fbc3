"""Checks of the learning rate. One experiment decides between too high and too low, so that both cannot be found.

The chance level of a loss is ln(classes), the loss of a network that gives every class the same probability.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from glassnet.doctor.check import Check, CheckResult, CheckSkippedError, format_significant
from glassnet.doctor.context import CheckContext
from glassnet.doctor.remedy import Remedy
from glassnet.doctor.short_runs import ShortRun, count_steps, run_short_training
from glassnet.formats import pluralize

STUCK = 0.9  # fraction of the chance level: a network with a larger loss has learned nothing
CLEARLY_BETTER = 0.7  # ratio of the losses of two short runs
_MIN_STEPS, _MAX_STEPS, _MAX_SECONDS = 10, 80, 8.0  # limits of a short run; seconds of processor time
_SMALLER = (1 / 3, 0.1, 0.01, 1e-3, 1e-4)
_LARGER = (10.0, 100.0, 1e3, 1e4, 1e5)


@dataclass(frozen=True)
class RateTrial:
    """The losses of short runs by learning rate: the run's own rate, and those that were tried in its place."""

    lr: float
    losses: Mapping[float, float]

    @property
    def best_lr(self) -> float:
        """The rate with the smallest loss; the run's own if no other has a smaller one."""
        return min(self.losses, key=lambda lr: (self.losses[lr], lr != self.lr))

    @property
    def ratio(self) -> float:
        """The loss with the best rate as a fraction of that with the run's own; 1 if no other rate is better."""
        return 1.0 if self.best_lr == self.lr else self.losses[self.best_lr] / self.losses[self.lr]

    def __str__(self) -> str:
        """Return the losses with both rates in words."""
        own = _loss_at(self.lr, self.losses[self.lr])
        other = "no other is better" if self.best_lr == self.lr else _loss_at(self.best_lr, self.losses[self.best_lr])
        return f"training loss {own}, {other}"


def _loss_at(lr: float, loss: float) -> str:
    return f"{format_significant(loss, 3) if math.isfinite(loss) else 'not finite'} at lr {lr:g}"


def try_learning_rates(context: CheckContext) -> RateTrial:
    """Repeat the run's first steps with its learning rate and with others, as far as one is clearly better.

    Smaller rates are tried if the training looks as with a too high one, larger rates if it looks as with a too low
    one, and both if it may be either. A larger rate counts only if the network learns with it.

    :raises CheckSkippedError: if the run has too few steps, or its steps take too long.
    """
    own_lr, steps = context.recipe.lr, min(_MAX_STEPS, count_steps(context))
    if steps < _MIN_STEPS:
        raise CheckSkippedError(f"the run has {pluralize(steps, 'step')}, too few to compare learning rates")
    own = _short_run(context, own_lr, steps)
    if len(own.losses) < _MIN_STEPS and math.isfinite(own.losses[-1]):
        raise CheckSkippedError(f"{_MIN_STEPS} steps of this network take longer than {_MAX_SECONDS:.0f} s")
    losses = {own_lr: own.loss}
    for is_suspected, factors in ((_too_high_symptom(context), _SMALLER), (_looks_too_low(context), _LARGER)):
        for lr in (round_rate(own_lr * factor) for factor in factors if is_suspected):
            loss = _short_run(context, lr, steps).loss
            has_learned = context.loss_ratio_to_chance(loss) < STUCK
            if lr < own_lr or has_learned:
                losses[lr] = loss
            if has_learned and loss < CLEARLY_BETTER * own.loss:
                break
    return RateTrial(own_lr, losses)


def _short_run(context: CheckContext, lr: float, steps: int) -> ShortRun:
    runs: dict[tuple[str, float], ShortRun] = context.short_runs
    if ("lr", lr) not in runs:
        runs["lr", lr] = run_short_training(context, steps, _MAX_SECONDS, lr=lr)
    return runs["lr", lr]


def round_rate(lr: float) -> float:
    """Return a learning rate of two digits, as people type it."""
    return float(f"{lr:.2g}")


def _too_high_symptom(context: CheckContext) -> str:
    """Return what in the history suggests too large steps; an empty text if nothing does."""
    if failure := context.failure:
        return f"the {failure['name']} became {failure['value']} in epoch {failure['epoch']}"
    ratios = _loss_ratios(context)
    check = LearningRateTooHigh
    if max([ratios[0] / 3, *ratios[1:]]) > check.max_ratio:  # random weights may start far above the chance level
        return f"the loss was {format_significant(max(ratios))} times the chance level"
    rises = _count_rises(ratios)
    if rises > (len(ratios) - 1) / 4 and rises > 1:
        return f"the loss rose in {rises} of {pluralize(len(ratios) - 1, 'epoch')}"
    if ratios[-1] > STUCK:
        return f"the loss is still {_of_chance(ratios[-1])}"
    return ""


def _loss_ratios(context: CheckContext) -> list[float]:
    recorded = [record["loss"] for record in context.history if record.get("loss") is not None]
    if not recorded:
        raise CheckSkippedError("the run recorded no loss")
    return [context.loss_ratio_to_chance(loss) for loss in recorded]


def _count_rises(ratios: list[float]) -> int:
    check = LearningRateTooHigh
    return sum(after > max(check.rise * before, check.noise) for before, after in pairwise(ratios))


def _of_chance(ratio: float) -> str:
    text = f"{ratio:.0%} of" if ratio < 2 else f"{format_significant(ratio)} times"
    return f"{text} the chance level"


def _looks_too_low(context: CheckContext) -> bool:
    return math.isfinite(context.loss_ratio) and context.loss_ratio >= LearningRateTooLow.max_ratio


class LearningRateTooHigh(Check):
    """Losses that rise or stay, and the same first steps with smaller learning rates."""

    name = "learning rate too high"
    requires = ("recipe",)
    expected = (
        "the loss is finite, after the first epoch at most 1.2 times the chance level ln(classes), rises in at most "
        "one of four epochs and ends below 90% of the chance level; or smaller rates are not better"
    )
    source = "an experiment: the run's first steps again with smaller rates (Smith 2017); benchmarks/doctor.md"
    max_ratio = 1.2  # loss / chance level
    rise, noise = 1.1, 0.2  # a loss rises if it is more than this multiple of the one before and of the chance level

    def run(self, context: CheckContext) -> CheckResult:
        failed = context.failure is not None
        if not context.history and not failed:
            raise CheckSkippedError(context.missing["history"])
        symptom = _too_high_symptom(context)
        if not symptom:
            ratios = _loss_ratios(context)
            rises = f"the loss rises in {_count_rises(ratios)} of {pluralize(len(ratios) - 1, 'epoch')}"
            return CheckResult(0.0, f"{rises} and ends at {_of_chance(ratios[-1])}")
        message, lr = f"At lr {context.recipe.lr:g} {symptom}.", round_rate(context.recipe.lr / 10)
        if not context.has("data"):
            return CheckResult(1.0, symptom, "high" if failed else "medium", message, {"lr": lr})
        try:
            trial = try_learning_rates(context)
        except CheckSkippedError as reason:
            if not failed:
                raise
            return CheckResult(1.0, f"{symptom}; no short runs: {reason}", "high", message, {"lr": lr})
        ratio, lr = (trial.ratio, trial.best_lr) if trial.best_lr < trial.lr else (1.0, lr)
        confidence = "high" if ratio < CLEARLY_BETTER else "medium" if failed else None
        message = f"{message} The same first steps reach {trial}."
        return CheckResult(ratio, f"{symptom}; in short runs {trial}", confidence, message, {"lr": lr})

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        remedies = [Remedy("train again with a smaller learning rate", result.settings)]
        if context.recipe.clip_grad_norm is None:
            remedies.append(Remedy("then scale large gradients down", {"clip_grad_norm": 1}))
        if context.recipe.schedule != "one-cycle" and not context.recipe.warmup:
            remedies.append(Remedy("then begin with small steps", {"schedule": "one-cycle"}))
        if context.has("weights", "data") and context.config.data.source != "arrays":
            remedies.append(Remedy(f"see the whole range of rates: glassnet study lr-range --run {context.path}"))
        return remedies


class LearningRateTooLow(Check):
    """A loss that stays high, and the same first steps with larger learning rates."""

    name = "learning rate too low"
    requires = ("recipe", "history", "data")
    expected = "the loss falls below half of the chance level ln(classes), or larger rates are not better"
    source = "an experiment: the run's first steps again with larger rates (Smith 2017); benchmarks/doctor.md"
    max_ratio = 0.5  # loss / chance level

    def run(self, context: CheckContext) -> CheckResult:
        ratio = context.loss_ratio
        measured = f"the loss ends at {_of_chance(ratio)}"
        if ratio < self.max_ratio:
            return CheckResult(0.0, measured)
        if not math.isfinite(ratio):
            raise CheckSkippedError("the training failed")
        trial = try_learning_rates(context)
        ratio = trial.ratio if trial.best_lr > trial.lr else 1.0
        confidence = "high" if ratio < CLEARLY_BETTER else None
        message = f"{measured[:1].upper()}{measured[1:]}. The same first steps reach {trial}."
        return CheckResult(ratio, f"{measured}; in short runs {trial}", confidence, message, {"lr": trial.best_lr})

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        return [
            Remedy("train again with a larger learning rate", result.settings),
            Remedy("or train for many more epochs", {"epochs": 10 * context.recipe.epochs}),
        ]
