"""Accuracies of a full grid of settings, the effects of its fields, and the tests of these."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import Any

from glassnet.architecture import ResNetSpec
from glassnet.data import Dataset, load_data
from glassnet.errors import ConfigError
from glassnet.formats import format_accuracy, pluralize
from glassnet.layer_graph import parameter_count
from glassnet.measures.seed_stats import PairedDifference, SeedStats, fraction_difference
from glassnet.measures.significance import SIGNIFICANT, holm
from glassnet.nn.checks import check_int
from glassnet.pages.text import first_names, format_points
from glassnet.progress import Progress
from glassnet.studies.study import Study, format_paired_test, to_builtin
from glassnet.studies.sweep.grid import GridPoint, ParamGrid, check_field, format_setting, grid_points, make_trial
from glassnet.studies.trials import TrialResult, run_trials
from glassnet.training.log_line import name_test_set
from glassnet.training.loop import split_validation
from glassnet.training.run_files import Record

SEEDS, VALIDATION = 3, 0.2
TEST = "paired t-test with Holm's correction"


@dataclass(frozen=True)
class Setting:
    """One value for every field, with the final accuracy and loss of each seed (None for a run that diverged)."""

    values: tuple[tuple[str, Any], ...]
    parameters: int
    accuracy: tuple[float | None, ...]
    loss: tuple[float | None, ...]
    seconds: float  # mean training time of a run

    @property
    def name(self) -> str:
        """The fields and their values: ``norm=none, pool=max``."""
        return str(GridPoint(self.values))

    @property
    def label(self) -> str:
        """The values alone, for figures that list the fields once."""
        return " · ".join(format_setting(value) for _, value in self.values) or "defaults"

    @property
    def stats(self) -> SeedStats | None:
        """Accuracy over the seeds; None if a run diverged."""
        return seed_stats(self.accuracy)


def seed_stats(values: Iterable[float | None]) -> SeedStats | None:
    """Return statistics of one number for each seed, or None if one is missing."""
    numbers = tuple(values)
    known = tuple(number for number in numbers if number is not None)
    return SeedStats(known) if len(known) == len(numbers) else None


@dataclass(frozen=True)
class Effect:
    """Accuracy with one value of a field − that with another, averaged over the settings that differ in nothing else.

    The difference is paired by seed. Its p-value is corrected for the number of effects by Holm's method.
    """

    field: str
    first: Any
    second: Any
    difference: PairedDifference

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p-value is below 0.05; False for a single seed, which is not tested."""
        return self.difference.p_value is not None and self.difference.p_value < SIGNIFICANT

    def __str__(self) -> str:
        first, second, difference = self.first, self.second, self.difference
        if difference.mean < 0:
            first, second, difference = second, first, difference.reversed()
        first, second = (f"{self.field}={format_setting(value)}" for value in (first, second))
        return (
            f"{first} has {format_points(difference.mean)} percentage points higher accuracy than {second}, averaged "
            f"over the other settings ({format_paired_test(difference, TEST)})."
        )


@dataclass(frozen=True, repr=False)
class SweepStudy(Study):
    """A full grid of settings, each trained with every seed and evaluated on images that no run trained on."""

    data: str
    model: str
    split: str  # "validation" or "test": the images of the accuracies
    images: int  # number of images in that split
    seeds: tuple[int, ...]
    param_grid: tuple[tuple[str, tuple[Any, ...]], ...]
    settings: tuple[Setting, ...]

    @property
    def ranked(self) -> list[Setting]:
        """The settings by their mean accuracy, best first; those that diverged are last."""
        return sorted(self.settings, key=lambda setting: -setting.stats.mean if setting.stats else 1.0)

    @property
    def varied(self) -> list[tuple[str, tuple[Any, ...]]]:
        """The fields that have more than one value."""
        return [(name, values) for name, values in self.param_grid if len(values) > 1]

    @property
    def effects(self) -> list[Effect]:
        """The effects of every two values of every field, where a pair of settings did not diverge."""
        pairs, differences = [], []
        for name, values in self.varied:
            for first, second in combinations(values, 2):
                sides = [self._by_other_values(name, value) for value in (first, second)]
                shared = [others for others in sides[0] if others in sides[1]]
                if shared:
                    means = (_mean_by_seed([side[others] for others in shared]) for side in sides)
                    pairs.append((name, first, second))
                    differences.append(fraction_difference(*means))
        return [Effect(*pair, difference) for pair, difference in zip(pairs, _correct(differences), strict=True)]

    def _by_other_values(self, name: str, value: Any) -> dict[tuple[tuple[str, Any], ...], tuple[float, ...]]:
        """Return the accuracies of the settings that have a value, without the diverged, by their other values."""
        return {
            tuple(pair for pair in setting.values if pair[0] != name): setting.stats.values
            for setting in self.settings
            if setting.stats is not None and dict(setting.values)[name] == value
        }

    @property
    def means(self) -> dict[str, dict[str, list[float]]]:
        """Accuracies by field and value: for each seed the mean of the settings that have it and did not diverge."""
        return {
            name: {
                format_setting(value): _mean_by_seed(self._by_other_values(name, value).values()) for value in values
            }
            for name, values in self.varied
        }

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"effects": to_builtin(self.effects)}

    @property
    def summary(self) -> list[str]:
        ranked = [(setting.name, setting.stats) for setting in self.ranked if setting.stats is not None]
        sentences = [self._best_summary(*ranked[0])] if ranked else []
        if len(ranked) > 1:
            sentences.append(self._second_summary(ranked))
        for name, _ in self.varied:
            effects = [effect for effect in self.effects if effect.field == name]
            if effects:
                largest = max(effects, key=lambda effect: abs(effect.difference.mean))
                is_equal = largest.difference.mean == 0
                sentences.append(f"All values of {name} have the same mean accuracy." if is_equal else str(largest))
        diverged = [f"“{setting.name}”" for setting in self.settings if setting.stats is None]
        if diverged:
            count = pluralize(len(diverged), "setting")
            sentences.append(f"Training diverged in {count}, left out of all means: {first_names(diverged)}.")
        return [*sentences, self._evaluation_summary()]

    def _best_summary(self, name: str, stats: SeedStats) -> str:
        count, seeds = pluralize(len(self.settings), "setting"), pluralize(len(self.seeds), "seed")
        return (
            f"The best of {count} of {self.model} on {self.data} is “{name}”: {self.split} accuracy "
            f"{stats.format(format_accuracy)} over {seeds}."
        )

    def _second_summary(self, ranked: Sequence[tuple[str, SeedStats]]) -> str:
        (_, best), *others = ranked
        gaps = _correct([fraction_difference(best.values, stats.values) for _, stats in others])
        sentence = (
            f"The second best is “{others[0][0]}”, {format_points(gaps[0].mean)} percentage points lower "
            f"({format_paired_test(gaps[0], TEST)})."
        )
        if len(self.seeds) == 1:
            return sentence
        n_worse = sum(gap.p_value is not None and gap.p_value < SIGNIFICANT for gap in gaps)
        return f"{sentence} The best is significantly better than {n_worse} of {pluralize(len(others), 'other')}."

    def _evaluation_summary(self) -> str:
        if self.split == "validation":
            return (
                f"Accuracies are those of {pluralize(self.images, 'validation image')}, which no run trains on, after "
                "the last epoch. The test images were not used and can still test the selected setting."
            )
        return (
            f"Accuracies are those of the {pluralize(self.images, f'{self.split} image')} after the last epoch. A "
            "setting selected by them must be tested on other images."
        )


def _mean_by_seed(accuracies: Iterable[Sequence[float]]) -> list[float]:
    """Return the mean over settings for each seed."""
    return [fmean(column) for column in zip(*accuracies, strict=True)]


def _correct(differences: Sequence[PairedDifference]) -> list[PairedDifference]:
    """Return the differences with p-values corrected for their number by Holm's method."""
    p_values = [difference.p_value for difference in differences if difference.p_value is not None]
    if not p_values:  # one seed
        return list(differences)
    return [replace(gap, p_value=p_value) for gap, p_value in zip(differences, holm(p_values), strict=True)]


def run_study(
    data: str | Dataset,
    param_grid: ParamGrid,
    *,
    model: str | ResNetSpec | None = None,
    recipe: str = "default",
    seeds: int = SEEDS,
    validation_fraction: float = VALIDATION,
    folder: Path | str | None = None,
    engine: str = "numpy",
    workers: int = 1,
    progress: Progress | None = None,
    **fixed: Any,
) -> SweepStudy:
    """Train every combination of values with every seed, and compare the accuracies.

    Each run folder is named by what differs from the preset. Finished runs in the folder are reused, from any grid.

    :param data: a Dataset, or a source as ``load_data`` takes it.
    :param param_grid: fields of ResNetSpec and Recipe, and their values: ``{"blocks": [1, 2], "norm": ["batch"]}``.
    :param model: the name of a preset, or a spec; None takes the preset that suits the image size.
    :param recipe: the name of a recipe of the preset.
    :param seeds: number of seeds, from 0.
    :param validation_fraction: fraction of the training images that is held out to compare the settings, drawn by the
        seed. With 0 they are compared on the test images. Validation images that the data has are taken instead.
    :param folder: folder of the runs; None means ``studies/sweep-DATA``.
    :param workers: number of processes that train at the same time; see ``run_trials``.
    :param progress: receives the progress of all runs together; None is silent.
    :param fixed: further fields, with the same value for all settings.
    :raises ConfigError: if a field is unknown, or a combination cannot be trained; the error names it.
    :raises RunError: if a run in the folder has other settings.
    """
    check_int("seeds", seeds)
    for name in fixed:
        check_field(name)
        if name in param_grid:
            raise ConfigError(f"{name} must be either in the grid or fixed. Got both.")
    dataset = data if isinstance(data, Dataset) else load_data(data)
    validation_fraction = validation_fraction if dataset.validation is None else 0.0
    source = Path(str(dataset.source["source"])).name
    points = grid_points(param_grid)
    trials = [
        make_trial(point, dataset, model, recipe, seed, {"validation_fraction": validation_fraction, **fixed})
        for point, seed in product(points, range(seeds))
    ]
    folder = Path("studies", f"sweep-{source}") if folder is None else folder
    results = run_trials(trials, dataset, folder, engine=engine, workers=workers, progress=progress)
    _, validation = split_validation(dataset, trials[0].recipe)
    settings = [
        _setting(point, results[index * seeds : (index + 1) * seeds], validation is not None)
        for index, point in enumerate(points)
    ]
    last: Record = next((result.last for result in results if result.last), {})
    split, images = (name_test_set(last, dataset.test_name), dataset.test)
    if validation is not None:
        split, images = ("validation", validation)
    values = tuple((name, tuple(values)) for name, values in param_grid.items())
    return SweepStudy(source, trials[0].spec.preset, split, len(images), tuple(range(seeds)), values, tuple(settings))


def _setting(point: GridPoint, results: Sequence[TrialResult], has_validation: bool) -> Setting:
    ends = [result.last for result in results]
    splits = ["validation" if has_validation else name_test_set(end or {}) for end in ends]
    seconds = [sum(record["seconds"] for record in result.history) for result in results]
    return Setting(
        point.values,
        parameter_count(results[0].trial.spec),
        tuple(None if end is None else end[f"{split}_accuracy"] for end, split in zip(ends, splits, strict=True)),
        tuple(None if end is None else end[f"{split}_loss"] for end, split in zip(ends, splits, strict=True)),
        fmean(seconds),
    )
