"""What the numbers of a sweep say, in words: the best setting, what each field brings, and what chance may explain."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glassnet.measures.seed_stats import PairedDifference, fraction_difference
from glassnet.measures.significance import SIGNIFICANT, holm
from glassnet.pages.text import pluralize
from glassnet.studies.grid import told

if TYPE_CHECKING:
    from glassnet.studies.sweep import Setting, SweepStudy


def in_words(study: "SweepStudy") -> list[str]:
    """Sentences, each computed from the numbers; what one seed cannot say is left out, and why is said."""
    ranked = [one for one in study.best_first if one.spread is not None]
    sentences = [_best(study, ranked[0])] if ranked else []
    if len(ranked) > 1:
        sentences.append(_rivals(study, ranked))
    return [*sentences, *_fields(study), *_diverged(study), _judged(study)]


def _best(study: "SweepStudy", best: "Setting") -> str:
    accuracy = best.spread.format() if best.spread else "none"
    return (
        f"Of {pluralize(len(study.settings), 'setting')} of {study.model} on {study.data}, “{best.name}” is the best: "
        f"{study.split} accuracy {accuracy} over {pluralize(len(study.seeds), 'seed')}."
    )


def _rivals(study: "SweepStudy", ranked: Sequence["Setting"]) -> str:
    best, *others = (one.spread.values for one in ranked if one.spread)
    differences = [fraction_difference(best, other) for other in others]
    follows = f"“{ranked[1].name}” follows, {_points(differences[0])} behind"
    if len(study.seeds) == 1:
        return f"{follows}; whether chance explains that, one seed does not tell."
    p_values = holm([1.0 if one.p_value is None else one.p_value for one in differences])
    close = sum(p_value >= SIGNIFICANT for p_value in p_values)
    if not close:
        rest = "All others are behind by more than chance explains"
    elif close == len(others):
        rest = "These seeds do not tell the best from any other"
    else:
        rest = f"These seeds do not tell the best from {close} of the {len(others)} others"
    return f"{follows}{_interval(differences[0])}. {rest}."


def _fields(study: "SweepStudy") -> list[str]:
    """For each field the two values that are furthest apart."""
    sentences = []
    for name, _ in study.swept:
        own = [effect for effect in study.effects if effect.field == name]
        if not own:
            continue
        largest = max(own, key=lambda effect: abs(effect.difference.mean))
        if largest.difference.mean == 0:
            sentences.append(f"{name}: all values do equally well in the mean of all other settings.")
            continue
        better, worse = map(told, (largest.first, largest.second))
        if largest.difference.mean < 0:
            better, worse = worse, better
        chance = ", more than chance explains" if largest.beyond_chance else ", which chance may explain"
        sentences.append(
            f"{name}: {better} is {_points(largest.difference)} better than {worse} in the mean of all other "
            f"settings{_interval(largest.difference)}{chance if len(study.seeds) > 1 else ''}."
        )
    return sentences


def _diverged(study: "SweepStudy") -> list[str]:
    lost = [one for one in study.settings if one.spread is None]
    if not lost:
        return []
    names = "; ".join(f"“{one.name}”" for one in lost[:5]) + ("; …" if len(lost) > 5 else "")
    return [f"Training diverged in {pluralize(len(lost), 'setting')}, left out of all means: {names}."]


def _judged(study: "SweepStudy") -> str:
    if study.split == "validation":
        where = (
            f"All accuracies are those of {study.images:,} validation images, held out of the training images, after "
            "the last epoch. The test images were not used, so that a chosen setting can still be tested on them."
        )
    else:
        where = (
            f"All accuracies are those of the {study.images:,} test images after the last epoch: a setting that is "
            "chosen by them must be tested on others."
        )
    if len(study.seeds) == 1:
        return where
    return f"{where} Chance is judged at 5%, by Student's t over the seeds, corrected for the comparisons (Holm)."


def _points(difference: PairedDifference) -> str:
    return f"{100 * abs(difference.mean):.2f} percentage points"


def _interval(difference: PairedDifference) -> str:
    """Of the difference, taken so that it is positive."""
    if difference.low is None or difference.high is None:
        return ""
    low, high = (difference.low, difference.high) if difference.mean >= 0 else (-difference.high, -difference.low)
    return f" (95% interval {100 * low:+.2f} to {100 * high:+.2f})".replace("-", "−")
