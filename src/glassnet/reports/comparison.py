"""Comparison of runs on the same data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from glassnet.errors import ConfigError, DataError, GlassnetError
from glassnet.measures.significance import Disagreement, disagreements
from glassnet.pages.text import finite, first_names
from glassnet.reports.comparison_summary import summarize
from glassnet.reports.run_results import (
    PairTest,
    RunResult,
    SettingDifference,
    data_name,
    measure_runs,
    pair_tests,
    setting_differences,
)

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.training import Model


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Runs measured on the same test images.

    Without a dataset there are neither pairs nor disagreements; ``missing`` gives the reason.
    """

    results: Sequence[RunResult]
    dataset: "Dataset | None"
    missing: str
    pairs: Sequence[PairTest]
    disagreements: Sequence[Disagreement]
    differences: Sequence[SettingDifference]

    def __repr__(self) -> str:
        runs = ", ".join(
            result.name if result.accuracy is None else f"{result.name} {result.accuracy:.1%}"
            for result in self.results
        )
        return f"Comparison({runs})"

    @property
    def summary(self) -> list[str]:
        """Sentences computed from the numbers."""
        n_test = None if self.dataset is None else len(self.dataset.test)
        return summarize(self.results, self.pairs, self.differences, n_test, self.missing)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them."""
        return {
            "runs": [result.to_dict() | {"loss": finite(result.loss)} for result in self.results],
            "pairs": [asdict(pair) for pair in self.pairs],
            "disagreements": len(self.disagreements) if self.dataset else None,
            "differences": [asdict(difference) for difference in self.differences],
            "summary": self.summary,
        }


def compare(models: Sequence["Model"], dataset: "Dataset | None" = None) -> Comparison:
    """Compare runs on the test images of their data. The runs stay as they are.

    :param models: at least two runs as ``glassnet.load`` returns them.
    :param dataset: their data; by default loaded again from the source that one of the runs recorded.
    :raises ConfigError: if there are fewer than two runs.
    :raises DataError: if the runs have different data, or the dataset is not theirs.
    """
    if len(models) < 2:
        raise ConfigError(f"A comparison must have at least two runs. Got {len(models)}.")
    _check_same_data(models, dataset)
    missing = ""
    if dataset is None:
        dataset, missing = _load_dataset(models)
    results = measure_runs(models, dataset)
    outcomes = [result.outcome for result in results if result.outcome is not None]
    differing = disagreements(outcomes) if outcomes else []
    return Comparison(results, dataset, missing, pair_tests(results), differing, setting_differences(models))


def _check_same_data(models: Sequence["Model"], dataset: "Dataset | None") -> None:
    """Imported weights have no data: of them only the classes are compared."""
    first = next((model for model in models if model.config["data"]["fingerprint"]), models[0])
    fingerprint = first.config["data"]["fingerprint"]
    for model in models:
        if model.config["data"]["fingerprint"] not in (fingerprint, None):
            raise DataError(
                f"The runs of a comparison must have the same data. Got {_describe_data(first)} in {first.path} and "
                f"{_describe_data(model)} in {model.path}."
            )
        if model.classes != first.classes:
            raise DataError(
                f"The runs of a comparison must have the same classes. Got {first_names(first.classes)} in "
                f"{first.path} and {first_names(model.classes)} in {model.path}."
            )
    if dataset is None:
        return
    if dataset.fingerprint != (fingerprint or dataset.fingerprint) or dataset.classes != first.classes:
        raise DataError(
            f"The data of a comparison must be that of {first.path}, {_describe_data(first)}. Got a data set with "
            f"{len(dataset.train):,} training and {len(dataset.test):,} test images, classes "
            f"{first_names(dataset.classes)} and fingerprint {dataset.fingerprint[:8]}."
        )


def _describe_data(model: "Model") -> str:
    data = model.config["data"]
    return (
        f"{data_name(model)} ({data['train']:,} training and {data['test']:,} test images, fingerprint "
        f"{str(data['fingerprint'])[:8]})"
    )


def _load_dataset(models: Sequence["Model"]) -> "tuple[Dataset | None, str]":
    """Load the data from the first run whose source is still there; otherwise return the first reason."""
    missing = ""
    for model in models:
        try:
            return model.load_dataset(), ""
        except GlassnetError as error:
            missing = missing or str(error)
    return None, missing
