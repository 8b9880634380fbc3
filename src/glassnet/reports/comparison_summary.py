"""Summary of a comparison in sentences: accuracy, significance, settings, size and speed."""

from collections.abc import Sequence
from pathlib import Path

from glassnet.formats import join_words, pluralize
from glassnet.measures.significance import accuracy_difference_interval
from glassnet.pages.text import format_factor, format_points, format_seconds, format_test
from glassnet.reports.run_results import PairTest, RunResult, SettingDifference
from glassnet.training.early_stopping import describe_stop

_SAME_SPEED = 1.1  # smaller ratios of times mean nothing on a machine that does other work, too
_COMPUTE = frozenset({"engine", "device", "precision", "threads", "compile", "channels last"})
_MIN_IMAGES = 6  # with fewer images even the most uneven split has a p-value above 0.05
_MAX_NAMES = 8
_TEST = "McNemar's exact test"


def summarize(
    results: Sequence[RunResult],
    pairs: Sequence[PairTest],
    differences: Sequence[SettingDifference],
    n_test: int | None,
    missing: str,
) -> list[str]:
    """Return sentences computed from the numbers; what is missing is left out, and the reason is given.

    :param n_test: the number of test images; None if they could not be loaded, for the reason ``missing``.
    """
    ranked = sorted((result for result in results if result.accuracy is not None), key=lambda r: -(r.accuracy or 0))
    sentences = [_ranking(ranked, n_test)] if len(ranked) > 1 else []
    if n_test is None:
        sentences.append(
            "The test images could not be loaded, so the confusion matrices, the disagreements and the significance "
            f"test are missing. Accuracy and loss are those of each run's last epoch. {missing}"
        )
    elif len(results) == 2:
        sentences.append(_summarize_pair(ranked, pairs[0], n_test))
    else:
        sentences.append(_summarize_leader(ranked, pairs))
    sentences += [_settings(differences, len(results)), _parameters(results)]
    return [*sentences, *_speed(results, same_settings=not differences), *_notes(results)]


def _ranking(ranked: Sequence[RunResult], n_test: int | None) -> str:
    accuracies = []
    for result in ranked:
        counts = "" if result.outcome is None else f" ({result.outcome.n_correct:,} of {n_test:,})"
        accuracies.append(f"{_quote(result)} {result.accuracy:.1%}{counts}")
    name = next((result.test_name for result in ranked if result.contaminated), ranked[0].test_name).capitalize()
    return f"{name} accuracy{' after the last epoch' * (n_test is None)}, best first: {', '.join(accuracies)}."


def _summarize_pair(ranked: Sequence[RunResult], pair: PairTest, n_test: int) -> str:
    first, second = map(_quote, ranked)
    fewer, more = sorted((pair.only_first_correct, pair.only_second_correct))
    if not more:
        return "Both runs classify the same images correctly."
    if more == fewer:
        return f"Each run classifies {pluralize(more, 'image')} correctly that the other misclassifies."
    low, high = accuracy_difference_interval(more, fewer, n_test)
    few = f" With fewer than {_MIN_IMAGES} such images the test is never significant." * (more + fewer < _MIN_IMAGES)
    return (
        f"{first} classifies {pluralize(more, 'image')} correctly that {second} misclassifies; the reverse holds for "
        f"{fewer:,}. Its accuracy is {format_points((more - fewer) / n_test)} percentage points higher (95% confidence "
        f"interval {format_points(low)} to {format_points(high)}; "
        f"{format_test(pair.p_value, _TEST)}).{few}"
    )


def _summarize_leader(ranked: Sequence[RunResult], pairs: Sequence[PairTest]) -> str:
    leader, *others = ranked
    significant = {frozenset((pair.first, pair.second)): pair.is_significant for pair in pairs}
    beaten = [other for other in others if significant[frozenset((leader.name, other.name))]]
    close = [other for other in others if other not in beaten]
    parts = []
    if beaten:
        parts.append(f"significantly higher than that of {join_words([_quote(other) for other in beaten])}")
    if close:
        parts.append(f"not significantly different from that of {join_words([_quote(other) for other in close])}")
    test = f"{_TEST} at 5%, with Holm's correction for {pluralize(len(pairs), 'pair')}"
    return f"The accuracy of {_quote(leader)} is {', and '.join(parts)} ({test})."


def _settings(differences: Sequence[SettingDifference], n_runs: int) -> str:
    relevant = [difference for difference in differences if difference.part != "Versions"]
    if not relevant:
        return f"All {'settings but the versions' if differences else 'recorded settings'} are the same."
    names = [difference.name for difference in relevant]
    if names == ["seed"]:
        return "The runs differ only in the seed. The difference shows how much results vary between seeds."
    if _COMPUTE.issuperset(names):
        return (
            f"The runs differ only in {join_words(names)}. They start from the same weights and see the same batches, "
            "so results differ only by rounding."
        )
    if n_runs == 2 and len(names) <= 4:
        names = [f"{one.name} ({one.values[0]} against {one.values[1]})" for one in relevant]
    elif len(names) > _MAX_NAMES + 1:
        names = [*names[:_MAX_NAMES], f"{len(names) - _MAX_NAMES} more"]
    return (
        f"The runs differ in {join_words(names)}. Each is one network from one seed: train every variant with several "
        "seeds before you attribute a difference to a setting."
    )


def _parameters(results: Sequence[RunResult]) -> str:
    smallest, *_, largest = sorted(results, key=lambda result: result.parameters)
    if smallest.parameters == largest.parameters:
        return f"{_all(results)} have {smallest.parameters:,} parameters."
    factor = format_factor(largest.parameters / smallest.parameters)
    return (
        f"{_quote(largest)} has {largest.parameters:,} parameters, {factor} times as many as {_quote(smallest)} "
        f"({smallest.parameters:,})."
    )


def _speed(results: Sequence[RunResult], *, same_settings: bool) -> list[str]:
    timed = sorted(((seconds, result) for result in results if (seconds := result.epoch_seconds)), key=lambda x: x[0])
    if len(timed) < 2:
        return []
    (least, fastest), (most, slowest) = timed[0], timed[-1]
    if most < _SAME_SPEED * least:
        return [f"{_all(timed)} take about {format_seconds(least)} per epoch."]
    sentence = (
        f"{_quote(fastest)} is the {'faster' if len(timed) == 2 else 'fastest'}, with {format_seconds(least)} per "
        f"epoch (median); {_quote(slowest)} takes {format_seconds(most)}, {format_factor(most / least)} times as long."
    )
    machines = {(result.model.config["device"], result.model.config["versions"]["platform"]) for _, result in timed}
    if same_settings:
        sentence += " No recorded setting differs, so other work on the machine may be the reason."
    elif len(machines) > 1:
        sentence += " The runs used different machines."
    return [sentence]


def _notes(results: Sequence[RunResult]) -> list[str]:
    notes: list[str] = []
    folders: dict[Path, RunResult] = {}
    for result in results:
        recipe, history = result.model.config.get("recipe") or {}, result.model.history
        folder = result.model.path.resolve()
        if result.contaminated:
            notes.append(
                f"{_quote(result)}, or a run that its weights come from, was trained on {result.contaminated:,} of the "
                "images, so its accuracy on them is no test accuracy."
            )
        if folder in folders:
            notes.append(f"{_quote(result)} and {_quote(folders[folder])} are the same run folder.")
        folders.setdefault(folder, result)
        if 0 < len(history) < recipe.get("epochs", 0):
            notes.append(f"{_quote(result)} {describe_stop(recipe, history)}.")
        has_validation = recipe.get("validation_fraction") or result.model.config["data"].get("validation")
        if has_validation and result.outcome is not None:
            notes.append(f"The weights of {_quote(result)} were selected on its validation set.")
    return notes


def _all(items: Sequence[object]) -> str:
    return "Both" if len(items) == 2 else "All"


def _quote(result: RunResult) -> str:
    return f"“{result.name}”"  # a run may be called a
