"""What the numbers of a comparison say, in words: who is better, by how much, and whether chance explains it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glassnet.measures.significance import SIGNIFICANT
from glassnet.pages.text import pluralize
from glassnet.progress import format_duration

if TYPE_CHECKING:
    from glassnet.reports.comparison import Comparison, Entry, Pair

_SAME_SPEED = 1.1  # times that differ by less say nothing on a machine that does other things, too
_COMPUTED = frozenset({"engine", "device", "precision", "threads", "compile", "channels last"})  # how, not what
_FEWEST = 6  # below six images not even the most uneven split has a p-value under 0.05


def in_words(comparison: "Comparison") -> list[str]:
    """Sentences, each computed from the numbers; what cannot be said is left out, and why is said."""
    entries = comparison.entries
    measured = sorted((entry for entry in entries if entry.accuracy is not None), key=lambda entry: -_accuracy(entry))
    sentences = [_ranking(comparison, measured)] if len(measured) > 1 else []
    if comparison.dataset is None:
        sentences.append(
            "The test images could not be loaded again, so the confusion matrices, the images on which the runs "
            "disagree and the test of whether chance explains a difference are missing here; accuracy and loss are "
            f"those of each run's last epoch. {comparison.missing}"
        )
    elif len(entries) == 2:
        sentences.append(_pair_in_words(measured, comparison.pairs[0]))
    else:
        sentences.append(_leader_in_words(measured, comparison.pairs))
    return [*sentences, *_settings(comparison), *_effort(comparison), *_notes(comparison)]


def _ranking(comparison: "Comparison", best_first: Sequence["Entry"]) -> str:
    if comparison.dataset is None:
        results = ", ".join(f"{_quoted(entry)} {_accuracy(entry):.1%}" for entry in best_first)
        return f"Test accuracy after the last epoch, best first: {results}."
    count = len(comparison.dataset.test)
    right = [round(_accuracy(entry) * count) for entry in best_first]
    if len(best_first) > 2:
        results = ", ".join(
            f"{_quoted(entry)} {number:,} ({number / count:.1%})"
            for entry, number in zip(best_first, right, strict=True)
        )
        return f"Of {pluralize(count, 'test image')} the runs name correctly, best first: {results}."
    first, second = map(_quoted, best_first)
    if right[0] == right[1]:
        return f"{first} and {second} both name {_of(right[0], count)}."
    points = 100 * (right[0] - right[1]) / count
    return (
        f"{first} names {_of(right[0], count)}, {second} {right[1]:,} ({right[1] / count:.1%}): {first} is better by "
        f"{points:.1f} percentage points."
    )


def _pair_in_words(best_first: Sequence["Entry"], pair: "Pair") -> str:
    first, second = map(_quoted, best_first)
    more, fewer = max(pair.first_only, pair.second_only), min(pair.first_only, pair.second_only)
    if more == 0:
        return "Both are right and wrong on the very same images: nothing says that either is better."
    if more == fewer:
        return f"Each is right on {pluralize(more, 'image')} that the other gets wrong: the numbers favour neither."
    verdict = "more than chance explains" if pair.p_value < SIGNIFICANT else "within what chance explains"
    few = " With so few of them, no split could be more." if more + fewer < _FEWEST else ""
    return (
        f"{first} is right on {pluralize(more, 'image')} that {second} gets wrong, and wrong on {fewer:,} that "
        f"{second} gets right. If the two were equally good, chance would split such images at least so unevenly in "
        f"{_share(pair.p_value)} of all cases (McNemar's exact test): the difference is {verdict}.{few}"
    )


def _leader_in_words(best_first: Sequence["Entry"], pairs: Sequence["Pair"]) -> str:
    leader, *others = best_first
    p_values = {frozenset((pair.first, pair.second)): pair.p_value for pair in pairs}
    beaten = [entry for entry in others if p_values[frozenset((leader.name, entry.name))] < SIGNIFICANT]
    close = [entry for entry in others if entry not in beaten]
    parts = []
    if beaten:
        parts.append(f"{_quoted(leader)} is better than {_series(map(_quoted, beaten))} by more than chance explains.")
    if close:
        both = f"{_quoted(leader)} and {_series(map(_quoted, close))}"
        parts.append(f"Between {both} any difference is within what chance explains.")
    test = f"McNemar's exact test at 5%, corrected for {pluralize(len(pairs), 'pair')} as Holm does"
    return f"{' '.join(parts)} ({test}; every pair stands below.)"


def _settings(comparison: "Comparison") -> list[str]:
    differences = [one for one in comparison.differences if one.part != "Versions"]
    if not differences:
        same = "recorded settings" if not comparison.differences else "settings but the versions"
        return [f"All {same} are the same."]
    names = [one.name for one in differences]
    if names == ["seed"]:
        return ["The runs differ in the seed alone: this is how far chance in training moves a result."]
    if _COMPUTED.issuperset(names):
        return [
            f"The runs differ in {_series(names)} alone. They start from the same weights and see the same batches, so "
            "what separates them is rounding."
        ]
    told = names
    if len(comparison.entries) == 2 and len(names) <= 4:
        told = [f"{one.name} ({one.values[0]} against {one.values[1]})" for one in differences]
    shown = [*told[:8], f"{len(told) - 8} more"] if len(told) > 9 else told
    return [
        f"The runs differ in {_series(shown)}. Each is one network from one seed: before you credit a setting with a "
        "difference, train every variant with several seeds."
    ]


def _effort(comparison: "Comparison") -> list[str]:
    few_first = sorted(comparison.entries, key=lambda entry: entry.parameters)
    return [*_parameters(few_first), *_speed(comparison.entries, alike=not comparison.differences)]


def _parameters(few_first: Sequence["Entry"]) -> list[str]:
    fewest, most = few_first[0], few_first[-1]
    if fewest.parameters == most.parameters:
        return [f"{'Both' if len(few_first) == 2 else 'All'} have {fewest.parameters:,} parameters."]
    return [
        f"{_quoted(most)} has {most.parameters:,} parameters, {_times(most.parameters / fewest.parameters)} as many as "
        f"{_quoted(fewest)} with {fewest.parameters:,}."
    ]


def _speed(entries: Sequence["Entry"], *, alike: bool) -> list[str]:
    timed = sorted(
        ((entry.epoch_seconds, entry) for entry in entries if entry.epoch_seconds), key=lambda measured: measured[0]
    )
    if len(timed) < 2:
        return []
    (least, fastest), (most, slowest) = timed[0], timed[-1]
    if most < _SAME_SPEED * least:
        return [f"{'Both' if len(timed) == 2 else 'All'} take about {_brief(least)} an epoch."]
    who = f"{_quoted(fastest)} is the {'faster' if len(timed) == 2 else 'fastest'}"
    sentence = (
        f"{who}: an epoch takes {_brief(least)} (median), of {_quoted(slowest)} {_brief(most)}, "
        f"{_times(most / least)} as long."
    )
    if alike:
        return [f"{sentence} No recorded setting explains that; other work on the machine may."]
    places = {(entry.model.config["device"], entry.model.config["versions"]["platform"]) for _, entry in timed}
    return [f"{sentence} They did not all run on the same kind of machine." if len(places) > 1 else sentence]


def _notes(comparison: "Comparison") -> list[str]:
    """What a reader must know before trusting the numbers."""
    notes: list[str] = []
    seen: dict[Path, Entry] = {}
    for entry in comparison.entries:
        recipe, epochs = entry.model.config.get("recipe") or {}, len(entry.model.history)
        folder = entry.model.path.resolve()
        if folder in seen:
            notes.append(f"{_quoted(entry)} and {_quoted(seen[folder])} are the same run folder, given twice.")
        seen.setdefault(folder, entry)
        if 0 < epochs < recipe.get("epochs", epochs):
            notes.append(f"{_quoted(entry)} is not finished: {epochs} of {recipe['epochs']} epochs are recorded.")
        if recipe.get("validation") and comparison.dataset is not None:
            notes.append(f"Of {_quoted(entry)} the weights are those that its validation images chose.")
    return notes


def _accuracy(entry: "Entry") -> float:
    return entry.accuracy or 0.0


def _of(right: int, count: int) -> str:
    return f"{right:,} of {count:,} test images correctly ({right / count:.1%})"


def _quoted(entry: "Entry") -> str:
    return f"“{entry.name}”"  # a run called a is no article


def _series(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _share(p_value: float) -> str:
    return "less than 0.1%" if p_value < 0.001 else f"{p_value:.1%}" if p_value < 0.1 else f"{p_value:.0%}"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:,.0f} times"


def _brief(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else format_duration(seconds)
