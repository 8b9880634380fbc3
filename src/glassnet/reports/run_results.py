"""Results of several runs on the same test images, tests of each pair, and the settings that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from glassnet import measures
from glassnet.measures.significance import SIGNIFICANT, holm, mcnemar
from glassnet.pages.text import format_value
from glassnet.training.log_line import value_on_test_set

if TYPE_CHECKING:
    from glassnet.data import Dataset, Split
    from glassnet.training import Model

ENGINES = {"numpy": "NumPy", "torch": "PyTorch"}
_PARTS = {"spec": "Model", "recipe": "Recipe", "data": "Data", "versions": "Versions"}


@dataclass(frozen=True, eq=False)
class RunResult:
    """A run with its name in the comparison.

    Accuracy and loss are measured with the run's weights on the test images. Without the images (``outcome`` is None)
    they are those of the last epoch record. ``contaminated`` counts the test images that the run was trained on, and
    ``test_name`` is the name of the set: "test", "val", or "evaluated" where it tests nothing.
    """

    name: str
    model: "Model"
    outcome: measures.Outcome | None
    layers: Sequence[measures.LayerSummary]
    contaminated: int = 0
    test_name: str = "test"

    @property
    def accuracy(self) -> float | None:
        """The accuracy on the test images, a fraction."""
        return value_on_test_set(self._last_record, "accuracy") if self.outcome is None else self.outcome.accuracy

    @property
    def loss(self) -> float | None:
        """The mean cross-entropy on the test images."""
        return value_on_test_set(self._last_record, "loss") if self.outcome is None else self.outcome.loss

    @property
    def _last_record(self) -> Mapping[str, Any]:
        return self.model.history[-1] if self.model.history else {}

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return self.model.network.parameter_count

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def memory(self) -> int:
        """Bytes of all layers' outputs for one image."""
        return sum(layer.memory for layer in self.layers)

    @property
    def epoch_seconds(self) -> float | None:
        """The median seconds of an epoch, as the first one often takes longer."""
        return median(record["seconds"] for record in self.model.history) if self.model.history else None

    @property
    def seconds(self) -> float | None:
        """Seconds of all epochs; None for imported weights."""
        return training_seconds(self.model) if self.model.history else None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers; a loss may be infinite or NaN."""
        return {
            "name": self.name,
            "run": str(self.model.path),
            "engine": self.model.config["engine"],
            "accuracy": self.accuracy,
            "loss": self.loss,
            "contaminated": self.contaminated,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "memory": self.memory,
            "epochs": len(self.model.history),
            "seconds_per_epoch": self.epoch_seconds,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class PairTest:
    """Two runs, the images that only one of them classifies correctly, and the p-value of McNemar's exact test.

    The p-value is adjusted for the number of pairs with Holm's method.
    """

    first: str
    second: str
    only_first_correct: int
    only_second_correct: int
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the adjusted p-value is below 0.05."""
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class SettingDifference:
    """A setting that is not the same in all runs, and its value in each."""

    part: str
    name: str
    values: tuple[str, ...]


def short_run_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that differ; a folder that is given again gets a number."""
    folders = [path.resolve() for path in paths]
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(set(folders)):
        depth += 1
    names = []
    for index, folder in enumerate(folders):
        name, n_before = "/".join(folder.parts[-depth:]), folders[:index].count(folder)
        names.append(f"{name} ({n_before + 1})" if n_before else name)
    return names


def measure_runs(models: Sequence["Model"], dataset: "Dataset | None") -> list[RunResult]:
    """Measure each run on the dataset's test images, where there is one."""
    names = short_run_names([Path(model.path) for model in models])
    return [
        RunResult(
            name,
            model,
            None if dataset is None else measures.outcome(model, dataset.test, dataset.scale),
            measures.layer_table(model.network),
            _count_contaminated(model, dataset),
            model.name_test_set(dataset),
        )
        for name, model in zip(names, models, strict=True)
    ]


def _count_contaminated(model: "Model", dataset: "Dataset | None") -> int:
    if dataset is not None:
        return model.images.count_trained(dataset.test)
    return model.history[-1].get("contaminated", 0) if model.history else 0


def pair_tests(results: Sequence[RunResult]) -> list[PairTest]:
    """Test each pair of the runs that have an outcome."""
    pairs = list(combinations([(result.name, result.outcome.correct) for result in results if result.outcome], 2))
    counts = [(int((a & ~b).sum()), int((b & ~a).sum())) for (_, a), (_, b) in pairs]
    p_values = holm([mcnemar(*count) for count in counts])
    return [
        PairTest(first, second, *count, p_value)
        for ((first, _), (second, _)), count, p_value in zip(pairs, counts, p_values, strict=True)
    ]


def setting_differences(models: Sequence["Model"]) -> list[SettingDifference]:
    """Return the recorded settings that are not the same in all runs."""
    settings = [_flatten(model.config) for model in models]
    rows = {key: [one.get(key) for one in settings] for key in dict.fromkeys(key for one in settings for key in one)}
    return [
        SettingDifference(*key, tuple(map(format_value, values)))
        for key, values in rows.items()
        if any(value != values[0] for value in values)
    ]


def _flatten(config: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    flat: dict[tuple[str, str], Any] = {}
    for name, value in config.items():
        section = value if isinstance(value, Mapping) else {name: value}
        flat |= {(_PARTS.get(name, "Run"), key.replace("_", " ")): setting for key, setting in section.items()}
    flat.pop(("Recipe", "seed"), None)  # the run's own
    flat.pop(("Data", "fingerprint"), None)  # differs only for imported weights, which have no data
    return flat


def training_seconds(model: "Model") -> float:
    """Return the seconds of all epochs."""
    return sum(record.get("seconds") or 0.0 for record in model.history)


def engine_title(model: "Model") -> str:
    """Return the name of the run's engine in texts."""
    name = model.config["engine"]
    return ENGINES.get(name, str(name))


def image_names(split: "Split", indices: Sequence[int]) -> list[str]:
    """Return the names of a split's images, such as paths, or their numbers if they have none."""
    return [f"image {index}" if split.names is None else split.names[index] for index in indices]


def data_name(model: "Model") -> str:
    """Return ``digits``, or the last part of a path."""
    source = str(model.config["data"].get("source", "own data"))
    return Path(source).name or source
