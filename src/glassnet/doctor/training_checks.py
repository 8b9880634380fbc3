"""What can be wrong with how a network was trained: its step size, its capacity, its length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from glassnet.doctor.check import Diagnosis, Reading, graded, rounded
from glassnet.doctor.context import Evidence
from glassnet.doctor.short_runs import FEWEST_STEPS, Trial, try_training
from glassnet.measures.significance import accuracy_interval

STUCK = 0.9  # of chance's loss: nothing was learned
CLEARLY = 0.7  # a trial whose loss is below this share of another's is clearly better
_SECONDS = 8.0  # of the processor, for each short training
_MOST_STEPS = 80


def steps_taken(evidence: Evidence) -> int:
    """How many steps the run's whole epochs had; those of one epoch where it did not come so far."""
    assert evidence.recipe is not None
    count = len(evidence.dataset.train) if evidence.dataset is not None else evidence.config["data"]["train"]
    return max(1, len(evidence.history)) * math.ceil(count / evidence.recipe.batch_size)


@dataclass(frozen=True)
class Rates:
    """Short trainings from the run's own beginning: its learning rate, and others."""

    own: float
    trials: dict[float, Trial]  # by learning rate

    @property
    def best(self) -> float:
        return min(self.trials, key=lambda lr: self.trials[lr].loss)

    @property
    def gain(self) -> float:
        """The best loss as a share of the own rate's; 1 where no other is better."""
        own, best = self.trials[self.own].loss, self.trials[self.best].loss
        return 1.0 if not math.isfinite(best) or best >= own else best / own

    def __str__(self) -> str:
        told = {lr: f"{_told(trial.loss)} at lr {rounded(lr, 3)}" for lr, trial in self.trials.items()}
        other = told[self.best] if self.gain < 1 else "not less at any other"
        return f"loss {told[self.own]}, {other}"


def try_rates(evidence: Evidence, factors: tuple[float, ...]) -> Rates | str:
    """The same beginning with the recipe's learning rate and with multiples of it, one after the other until one
    learns clearly more; for as many steps each."""
    assert evidence.recipe is not None
    own = evidence.recipe.lr
    steps = min(_MOST_STEPS, steps_taken(evidence))
    if steps < FEWEST_STEPS:
        return f"{steps} steps are too few to compare learning rates"
    rates = Rates(own, {own: try_training(evidence, steps, _SECONDS)})
    taken = len(rates.trials[own].losses)
    if taken < FEWEST_STEPS and math.isfinite(rates.trials[own].losses[-1]):
        return f"{FEWEST_STEPS} steps of this network take longer than {_SECONDS:.0f} s"
    for factor in factors:
        trial = rates.trials[own * factor] = try_training(evidence, steps, _SECONDS, lr=own * factor)
        if evidence.share_of_chance(trial.loss) < STUCK and rates.gain < CLEARLY:
            break
    return rates


class RateTooHigh(Diagnosis):
    """The history shows trouble, and the same beginning with a tenth or less of the rate goes clearly better."""

    name = "learning rate too high"
    needs = ("recipe",)
    normal = (
        "finite, never above 1.2 times what guessing gives after the first epoch, at most one rise in four epochs, at "
        "the end below 90% of what guessing gives"
    )
    source = "an experiment: the run's own first steps again with smaller rates (Smith 2017); benchmarks/doctor.md"
    advice = (
        "train again with the smaller lr named above",
        "then try clip_grad_norm=1, and the schedule one-cycle, which begins with small steps",
        "see the whole range of rates: 'glassnet study lr-range' with this data and model",
    )
    above = 1.2  # of chance's loss
    rise, noise = 1.1, 0.2  # a rise is to this multiple of the last epoch's loss, and above this share of chance's
    smaller = (1 / 3, 0.1, 0.01, 1e-3, 1e-4)

    def read(self, evidence: Evidence) -> Reading | str:
        assert evidence.recipe is not None
        if not evidence.history and evidence.failure is None:
            return evidence.missing["history"]
        trouble, failed = self._trouble(evidence), evidence.failure is not None
        if not trouble:
            return Reading(0.0, "none of these")
        begun = f"At lr {evidence.recipe.lr:g} {trouble}."
        if evidence.dataset is None:
            return Reading(1.0, trouble, "high" if failed else "medium", begun)
        rates = try_rates(evidence, self.smaller)
        if isinstance(rates, str):
            return Reading(1.0, f"{trouble}; no trial: {rates}", "high", begun) if failed else rates
        sure = "high" if rates.gain < CLEARLY else "medium" if failed else None
        measured = f"{trouble}; in a short trial {rates}"
        return Reading(rates.gain, measured, sure, f"{begun} The same first steps reach {rates}.")

    def _trouble(self, evidence: Evidence) -> str:
        """What of the history looks like steps that are too large; nothing where nothing does."""
        if failure := evidence.failure:
            return f"the {failure['name']} became {failure['value']} in epoch {failure['epoch']}"
        recorded = [record["loss"] for record in evidence.history if record.get("loss") is not None]
        losses = [evidence.share_of_chance(loss) for loss in recorded]
        if not losses:
            return ""
        highest = max([losses[0] / 3, *losses[1:]])  # fresh weights may begin somewhat above chance's loss
        if highest > self.above:
            return f"the loss stood at {rounded(max(losses))} times what guessing gives"
        rises = sum(after > max(self.rise * before, self.noise) for before, after in pairwise(losses))
        if rises > (len(losses) - 1) / 4 and rises > 1:
            return f"the loss rose in {rises} of {len(losses) - 1} epochs"
        if losses[-1] > STUCK:
            return f"the loss is still {losses[-1]:.0%} of what guessing gives"
        return ""


class RateTooLow(Diagnosis):
    name = "learning rate too low"
    needs = ("recipe", "history", "data")
    normal = "the loss falls below half of what guessing gives, or larger rates are no better"
    source = "an experiment: the run's own first steps again with larger rates (Smith 2017); benchmarks/doctor.md"
    advice = ("train again with the larger lr named above", "or train for many more epochs")
    unlearned = 0.5  # of chance's loss
    larger = (10.0, 100.0, 1e3, 1e4, 1e5)

    def read(self, evidence: Evidence) -> Reading | str:
        if evidence.loss < self.unlearned:
            return Reading(0.0, f"loss {rounded(evidence.loss)} times what guessing gives")
        if not math.isfinite(evidence.loss):
            return "the training failed"
        rates = try_rates(evidence, self.larger)
        if isinstance(rates, str):
            return rates
        sure = "high" if rates.gain < CLEARLY else None
        measured = f"loss {rounded(evidence.loss)} times what guessing gives; in a short trial {rates}"
        says = f"The loss is still {evidence.loss:.0%} of what guessing gives. The same first steps reach {rates}."
        return Reading(rates.gain, measured, sure, says)


class LowCapacity(Diagnosis):
    """Train and test both low and level, and a wider network gets further in no more steps."""

    name = "too little capacity"
    needs = ("recipe", "history", "data")
    normal = "training accuracy above 85%, or a network four times as wide is not 18 points better"
    source = "an experiment: a network four times as wide, for as many steps; benchmarks/doctor.md"
    advice = (
        "more channels: width twice, then four times as large",
        "a second block in each stage (blocks=2)",
        "then more epochs",
    )
    low, gain = 0.85, 0.18
    factor, fewest_steps, most_steps, seconds = 4, 60, 400, 20.0

    def read(self, evidence: Evidence) -> Reading | str:
        assert evidence.spec is not None
        accuracy = evidence.history[-1].get("train_accuracy") or 0.0
        if accuracy >= self.low:
            return Reading(0.0, f"training accuracy {accuracy:.1%}")
        if not math.isfinite(evidence.loss):
            return "the training failed"
        if evidence.loss > STUCK:
            return "it learned nothing, which no lack of capacity explains"
        steps = min(self.most_steps, steps_taken(evidence))
        if steps < self.fewest_steps:
            return f"{steps} steps are too few to use up a network's capacity"
        wide = evidence.spec.replace(width=self.factor * evidence.spec.width)
        trial = try_training(evidence, steps, self.seconds, spec=wide)
        gain = trial.accuracy - accuracy
        wider = f"{trial.accuracy:.1%} at width {wide.width} in {len(trial.losses)} steps"
        measured = f"training accuracy {accuracy:.1%}; {wider}"
        says = f"Training accuracy is {accuracy:.1%} at width {evidence.spec.width}, and {wider}."
        return Reading(gain, measured, "high" if gain >= self.gain else None, says)


class Overfitting(Diagnosis):
    name = "overfitting"
    needs = ("recipe", "history")
    normal = "training accuracy less than 8 points above the upper end of the test accuracy's 95% interval"
    source = "Wilson's interval (measures.accuracy_interval); benchmarks/doctor.md"
    advice = (
        "more images, or augment='flip-crop' where a mirrored image is still one of its class",
        "set weight_decay=5e-4, dropout=0.3, label_smoothing=0.1",
        "fewer epochs: validation=0.1 keeps the best one",
    )
    medium, high = 0.08, 0.12

    def read(self, evidence: Evidence) -> Reading | str:
        last, data = evidence.history[-1], evidence.config["data"]
        train, test = (last.get(name) for name in ("train_accuracy", "test_accuracy"))
        if train is None or test is None:
            return "the last epoch has no accuracies"
        gap, certain = train - test, train - accuracy_interval(round(test * data["test"]), data["test"])[1]
        sure = graded(certain, self.medium, self.high)
        says = f"It names {train:.1%} of the training images correctly and {test:.1%} of the test images."
        return Reading(gap, f"{100 * gap:+.0f} points ({train:.1%} and {test:.1%})".replace("-", "−"), sure, says)


def _told(loss: float) -> str:
    return rounded(loss, 3) if math.isfinite(loss) else "not finite"
