"""The numbers of several runs on the same data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassnet import measures
from glassnet.errors import ConfigError, DataError, GlassnetError
from glassnet.measures import significance
from glassnet.pages.text import first_names, format_value
from glassnet.reports.comparison_summary import in_words
from glassnet.reports.report import data_name, training_seconds

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.training import Model

_PARTS = {"spec": "Model", "recipe": "Recipe", "data": "Data", "versions": "Versions"}


@dataclass(frozen=True)
class Entry:
    """One run of a comparison under the name that it has there.

    Accuracy and loss are those of its weights on the test images; where the images are gone, those of its last record.
    """

    name: str
    model: "Model"
    outcome: measures.Outcome | None  # on the test images
    accuracy: float | None
    loss: float | None
    multiply_adds: int  # of one image
    memory: int  # bytes of all layers' outputs for one image

    @property
    def parameters(self) -> int:
        return self.model.network.parameter_count

    @property
    def epoch_seconds(self) -> float | None:
        """The median; the first epoch often takes longer."""
        return median(record["seconds"] for record in self.model.history) if self.model.history else None

    @property
    def seconds(self) -> float | None:
        return training_seconds(self.model) if self.model.history else None


@dataclass(frozen=True)
class Pair:
    """Two runs, image by image: on how many test images one alone is right, and how likely mere chance splits them at
    least so unevenly (McNemar's exact test, corrected for the number of pairs as Holm does)."""

    first: str
    second: str
    first_only: int
    second_only: int
    p_value: float


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same in all runs, and its value in each."""

    part: str
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found. Without a dataset there are neither pairs nor disagreements; ``missing`` says why."""

    entries: Sequence[Entry]
    dataset: "Dataset | None"
    missing: str
    pairs: Sequence[Pair]
    disagreements: Sequence[significance.Disagreement]
    differences: Sequence[Difference]

    @property
    def words(self) -> list[str]:
        """What the numbers say, in sentences."""
        return in_words(self)

    def numbers(self) -> dict[str, Any]:
        """The numbers as JSON holds them."""
        runs = [
            {"name": entry.name, "run": str(entry.model.path), "engine": entry.model.config["engine"]}
            | {"accuracy": entry.accuracy, "loss": _finite(entry.loss), "parameters": entry.parameters}
            | {"multiply_adds": entry.multiply_adds, "memory": entry.memory, "epochs": len(entry.model.history)}
            | {"seconds_per_epoch": entry.epoch_seconds, "seconds": entry.seconds}
            for entry in self.entries
        ]
        return {
            "runs": runs,
            "pairs": [asdict(pair) for pair in self.pairs],
            "disagreements": len(self.disagreements) if self.dataset else None,
            "differences": [asdict(difference) for difference in self.differences],
            "words": self.words,
        }


def compare(models: Sequence["Model"], dataset: "Dataset | None" = None) -> Comparison:
    """Compares runs on the test images of their data. Looks at their weights and changes nothing.

    :param models: at least two runs as ``glassnet.load`` returns them.
    :param dataset: what they were trained on; by default loaded again from where one of the runs says.
    :raises ConfigError: fewer than two runs.
    :raises DataError: runs on different data, or a dataset that is not theirs.
    """
    if len(models) < 2:
        raise ConfigError(f"A comparison needs at least two runs. Got {len(models)}.")
    _check_same_data(models, dataset)
    missing = ""
    if dataset is None:
        dataset, missing = _loaded(models)
    names = run_names([Path(model.path) for model in models])
    entries = [_measured(name, model, dataset) for name, model in zip(names, models, strict=True)]
    pairs: list[Pair] = []
    disagreements: list[significance.Disagreement] = []
    if dataset is not None:
        outcomes = [entry.outcome for entry in entries if entry.outcome is not None]
        pairs = _pairs(names, [outcome.correct for outcome in outcomes])
        disagreements = significance.disagreements(outcomes)
    return Comparison(entries, dataset, missing, pairs, disagreements, _differences(models))


def run_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart; a folder given again gets a number."""
    folders = [path.resolve() for path in paths]
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(set(folders)):
        depth += 1
    names = []
    for position, folder in enumerate(folders):
        name, before = "/".join(folder.parts[-depth:]), folders[:position].count(folder)
        names.append(f"{name} ({before + 1})" if before else name)
    return names


def _check_same_data(models: Sequence["Model"], dataset: "Dataset | None") -> None:
    """Imported weights come without data: of them only the classes are known."""
    first = next((model for model in models if model.config["data"]["fingerprint"]), models[0])
    own = first.config["data"]["fingerprint"]
    for model in models:
        if model.config["data"]["fingerprint"] not in (own, None):
            raise DataError(
                f"Runs on different data cannot be compared: {first.path} has {_described(first)}, {model.path} has "
                f"{_described(model)}."
            )
        if model.classes != first.classes:
            raise DataError(
                f"Runs with different classes cannot be compared: {first.path} has {first_names(first.classes)}, "
                f"{model.path} has {first_names(model.classes)}."
            )
    if dataset is None:
        return
    if dataset.fingerprint != (own or dataset.fingerprint) or dataset.classes != first.classes:
        raise DataError(
            f"A comparison needs the data of its runs: {first.path} has {_described(first)}. Got a data set with "
            f"{len(dataset.train):,} training and {len(dataset.test):,} test images, classes "
            f"{first_names(dataset.classes)} and fingerprint {dataset.fingerprint[:8]}."
        )


def _described(model: "Model") -> str:
    data = model.config["data"]
    return (
        f"{data_name(model)} ({data['train']:,} training and {data['test']:,} test images, fingerprint "
        f"{str(data['fingerprint'])[:8]})"
    )


def _loaded(models: Sequence["Model"]) -> "tuple[Dataset | None, str]":
    """The data from wherever one of the runs still finds it, or why none does."""
    missing = ""
    for model in models:
        try:
            return model.load_dataset(), ""
        except GlassnetError as error:
            missing = missing or str(error)
    return None, missing


def _measured(name: str, model: "Model", dataset: "Dataset | None") -> Entry:
    layers = measures.layer_table(model.network)
    work = sum(layer.multiply_adds for layer in layers), sum(layer.memory for layer in layers)
    if dataset is None:
        last = model.history[-1] if model.history else {}
        return Entry(name, model, None, last.get("test_accuracy"), last.get("test_loss"), *work)
    outcome = measures.outcome(model, dataset.test, dataset.scale)
    return Entry(name, model, outcome, outcome.accuracy, outcome.loss, *work)


def _pairs(names: Sequence[str], right: Sequence[npt.NDArray[np.bool_]]) -> list[Pair]:
    both = list(combinations(range(len(names)), 2))
    alone = [(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in both]
    p_values = significance.holm([significance.mcnemar(*counts) for counts in alone])
    return [
        Pair(names[a], names[b], *counts, p_value)
        for (a, b), counts, p_value in zip(both, alone, p_values, strict=True)
    ]


def _differences(models: Sequence["Model"]) -> list[Difference]:
    settings = [_flat(model.config) for model in models]
    keys = dict.fromkeys(key for one in settings for key in one)
    rows = {key: [one.get(key) for one in settings] for key in keys}
    return [
        Difference(*key, tuple(map(format_value, values)))
        for key, values in rows.items()
        if any(value != values[0] for value in values)
    ]


def _flat(config: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    flat: dict[tuple[str, str], Any] = {}
    for name, value in config.items():
        inner = value if isinstance(value, Mapping) else {name: value}
        part = _PARTS.get(name, "Run")
        flat |= {(part, key.replace("_", " ")): setting for key, setting in inner.items()}
    flat.pop(("Recipe", "seed"), None)  # the run's own
    flat.pop(("Data", "fingerprint"), None)  # unlike only where weights were imported, without data
    return flat


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
