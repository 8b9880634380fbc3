"""Sweep: any fields of the spec or the recipe over values and seeds, a full grid, compared seed by seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import Any

from glassnet.architecture import ResNetSpec, parameter_count
from glassnet.data import Dataset, load_data, stratified_split
from glassnet.errors import ConfigError
from glassnet.measures.seed_stats import PairedDifference, SeedStats, fraction_difference
from glassnet.measures.significance import SIGNIFICANT, holm
from glassnet.pages.page import Code, Page, Section, Table
from glassnet.pages.text import format_cell, pluralize
from glassnet.progress import Progress
from glassnet.studies import grid
from glassnet.studies import sweep_figures as figures
from glassnet.studies.grid import Axes, told
from glassnet.studies.study import Study, to_builtin
from glassnet.studies.sweep_summary import in_words
from glassnet.studies.trials import TrialResult, run_trials

SEEDS, VALIDATION = 3, 0.2
MAX_OPEN_ROWS = 24


@dataclass(frozen=True)
class Setting:
    """One combination of values: its parameters, and for each seed what its training ended at; None if it diverged."""

    values: tuple[tuple[str, Any], ...]
    parameters: int
    accuracy: tuple[float | None, ...]
    loss: tuple[float | None, ...]
    seconds: float  # of a run, in the mean

    @property
    def name(self) -> str:
        return str(grid.Combination(self.values))

    @property
    def label(self) -> str:
        """Its values alone, for where the fields are named once."""
        return " · ".join(told(value) for _, value in self.values) or "defaults"

    @property
    def spread(self) -> SeedStats | None:
        """The accuracy over the seeds; None where one diverged."""
        return _spread(self.accuracy)


@dataclass(frozen=True)
class Effect:
    """What one value of a field brings over another: accuracy with ``first`` − with ``second``, a mean over the
    settings that differ in nothing else, paired by seed; ``p_value`` is corrected for all effects, as Holm does."""

    field: str
    first: Any
    second: Any
    difference: PairedDifference
    p_value: float | None

    @property
    def beyond_chance(self) -> bool:
        return self.p_value is not None and self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class SweepStudy(Study):
    """A full grid of settings, each trained with every seed, compared on images that no training saw."""

    data: str
    model: str
    split: str  # "validation" or "test": the images that are compared on
    images: int
    seeds: tuple[int, ...]
    axes: tuple[tuple[str, tuple[Any, ...]], ...]
    settings: tuple[Setting, ...]

    @property
    def best_first(self) -> list[Setting]:
        """The settings by their mean accuracy, those that diverged last."""
        return sorted(self.settings, key=lambda one: -one.spread.mean if one.spread else 1.0)

    @property
    def swept(self) -> list[tuple[str, tuple[Any, ...]]]:
        """The fields that have more than one value."""
        return [(name, values) for name, values in self.axes if len(values) > 1]

    @property
    def effects(self) -> list[Effect]:
        """Every two values of every field."""
        found = []
        for name, values in self.swept:
            for first, second in combinations(values, 2):
                sides = self._sides(name, first, second)
                if sides:
                    found.append((name, first, second, fraction_difference(*sides)))
        p_values = [difference.p_value for *_, difference in found if difference.p_value is not None]
        corrected: list[float] | list[None] = holm(p_values) if p_values else [None] * len(found)
        return [Effect(*parts, p_value) for parts, p_value in zip(found, corrected, strict=True)]

    def _sides(self, name: str, first: Any, second: Any) -> list[list[float]]:
        """For each seed the mean accuracy with either value, over all pairs of settings that differ in nothing else;
        a pair of which one diverged does not count. Nothing without a pair."""
        with_first, with_second = (
            {
                tuple(pair for pair in one.values if pair[0] != name): one.spread.values
                for one in self.settings
                if one.spread is not None and dict(one.values)[name] == value
            }
            for value in (first, second)
        )
        both = [rest for rest in with_first if rest in with_second]
        sides = ([side[rest] for rest in both] for side in (with_first, with_second))
        return [[fmean(by_seed) for by_seed in zip(*side, strict=True)] for side in sides] if both else []

    @property
    def means(self) -> dict[str, dict[str, list[float]]]:
        """By field and value, for each seed the mean accuracy of all settings that have it and did not diverge."""
        found: dict[str, dict[str, list[float]]] = {}
        for name, values in self.swept:
            for value in values:
                own = [one.spread.values for one in self.settings if one.spread and dict(one.values)[name] == value]
                found.setdefault(name, {})[told(value)] = [fmean(column) for column in zip(*own, strict=True)]
        return found

    @property
    def summary(self) -> list[str]:
        return in_words(self)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"effects": to_builtin(self.effects)}


def run_study(
    data: str | Dataset,
    axes: Axes,
    *,
    model: str | ResNetSpec | None = None,
    recipe: str = "default",
    seeds: int = SEEDS,
    validation: float = VALIDATION,
    folder: Path | str | None = None,
    engine: str = "numpy",
    workers: int = 1,
    progress: Progress | None = None,
    **fixed: Any,
) -> SweepStudy:
    """Trains every combination of values with every seed and compares what comes out.

    Each training is a run folder below ``folder``, by default ``studies/sweep-DATA``, named by what it differs in
    from the preset; a run that is there is not run again, from whatever grid it comes.

    :param data: a Dataset or what ``load_data`` takes.
    :param axes: fields of ResNetSpec and Recipe and their values: ``{"blocks": [1, 2], "norm": ["none", "batch"]}``.
    :param model: a preset's name or a spec; None takes the preset that suits the images' size.
    :param recipe: the name of one of the preset's.
    :param seeds: so many, from 0 on.
    :param validation: share of the training images on which settings are compared, drawn by the seed; with 0 these
        are the test images.
    :param workers: processes that train side by side; see ``run_trials``.
    :param fixed: further fields, the same for all.
    :raises ConfigError: an unknown field, or a combination that cannot be trained, named.
    :raises RunError: a run in the folder that was begun with other settings.
    """
    if seeds < 1:
        raise ConfigError(f"A sweep needs at least one seed. Got {seeds}.")
    for name in fixed:
        grid.check_field(name)
        if name in axes:
            raise ConfigError(f"The field {name} cannot be swept and fixed at {fixed[name]!r} at once.")
    dataset = data if isinstance(data, Dataset) else load_data(data)
    source = Path(str(dataset.source["source"])).name
    found = grid.combinations(axes)
    shared = {"validation": validation, **fixed}
    trials = {
        (combination, seed): grid.trial(combination, dataset, model, recipe, seed, shared)
        for combination, seed in product(found, range(seeds))
    }
    folder = Path("studies", f"sweep-{source}") if folder is None else folder
    results = run_trials(list(trials.values()), dataset, folder, engine=engine, workers=workers, progress=progress)
    split = "validation" if validation else "test"
    by_key = dict(zip(trials, results, strict=True))
    settings = tuple(
        _setting(combination, [by_key[combination, seed] for seed in range(seeds)], split) for combination in found
    )
    first = next(iter(trials.values()))
    images = len(dataset.test)
    if validation:
        _, held_out = stratified_split(dataset.train.labels, validation, 0, dataset.classes)
        images = len(held_out)
    return SweepStudy(
        source,
        first.spec.preset,
        split,
        images,
        tuple(range(seeds)),
        tuple((name, tuple(values)) for name, values in axes.items()),
        settings,
    )


def _setting(combination: grid.Combination, results: Sequence[TrialResult], split: str) -> Setting:
    ends = [result.last for result in results]
    times = [sum(record["seconds"] for record in result.history) for result in results]
    return Setting(
        combination.values,
        parameter_count(results[0].trial.spec),
        tuple(None if end is None else end[f"{split}_accuracy"] for end in ends),
        tuple(None if end is None else end[f"{split}_loss"] for end in ends),
        fmean(times),
    )


def _spread(values: Iterable[float | None]) -> SeedStats | None:
    there = tuple(value for value in values if value is not None)
    return SeedStats(there) if len(there) == len(tuple(values)) else None


def rows(study: SweepStudy) -> list[dict[str, str | int | float]]:
    """The table of settings, best first: values, parameters, accuracy and loss as mean ± standard deviation."""

    def ends(values: Sequence[float | None]) -> str:
        spread = _spread(values)
        return "diverged" if spread is None else spread.format()

    return [
        {
            **{field: told(value) for field, value in one.values},
            "parameters": one.parameters,
            f"{study.split} accuracy": ends(one.accuracy),
            f"{study.split} loss": ends(one.loss),
            "seconds": round(one.seconds, 1),
        }
        for one in study.best_first
    ]


def markdown(study: SweepStudy) -> str:
    """The table of settings, to paste."""
    found = rows(study)
    cells = [[format_cell(cell) for cell in row.values()] for row in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*found[0]], ["---"] * len(found[0]), *cells))


def build_page(study: SweepStudy) -> Page:
    """The study as a page, not yet written."""
    best, found, count = study.best_first[0], rows(study), len(study.settings)
    key_figures = [
        ("Settings", f"{count:,}"),
        ("Runs", f"{count * len(study.seeds):,}"),
        ("Best accuracy", best.spread.format() if best.spread else "–"),
    ]
    cells = [
        (
            effect.field,
            f"{told(effect.first)} − {told(effect.second)}",
            effect.difference.mean,
            effect.difference.low,
            effect.difference.high,
            effect.p_value,
            "yes" if effect.beyond_chance else "no",
        )
        for effect in study.effects
    ]
    columns = ["Field", "Values", f"Difference in {study.split} accuracy", "95% from", "to", "p-value", "Beyond chance"]
    every = Table(
        f"Every setting, best first; mean ± standard deviation over {pluralize(len(study.seeds), 'seed')}",
        [name.capitalize() for name in found[0]],
        [list(row.values()) for row in found],
        collapsed=count > MAX_OPEN_ROWS,
        nowrap=True,
    )
    pasted = Code("The table as Markdown", markdown(study))
    sections = [Section("Every setting", [figures.settings_figure(study), every, pasted])]
    if study.swept:
        title = "Every two values of a field, paired by seed"
        effects = Table(title, columns, cells, collapsed=len(cells) > MAX_OPEN_ROWS, nowrap=True)
        sections.insert(0, Section("Field by field", [figures.field_figure(study), effects]))
    fields = ", ".join(name for name, _ in study.swept) or "its defaults"
    return Page(f"Sweep of {study.model} on {study.data}: {fields}", key_figures, study.summary, sections)
