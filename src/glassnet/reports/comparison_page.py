"""Page of a comparison: summary, curves, confusion matrices, disagreements and settings."""

from dataclasses import astuple
from pathlib import Path

from glassnet.formats import pluralize
from glassnet.pages.page import Page, Section, Table, write_page
from glassnet.pages.text import Cell
from glassnet.reports import comparison_figures as figures
from glassnet.reports.class_results import MANY_CLASSES, compared_class_blocks
from glassnet.reports.comparison import Comparison
from glassnet.reports.run_results import data_name, engine_title, image_names

MAX_IMAGES = 36


def write_comparison(comparison: Comparison, path: Path | str = "comparison.html") -> Path:
    """Write the comparison as one HTML file that opens offline, and replace an older one.

    :returns: the path of the file.
    :raises RunError: if the file cannot be written.
    """
    return write_page(build_page(comparison), Path(path))


def build_page(comparison: Comparison) -> Page:
    """Return the comparison as a page, not yet written."""
    results = comparison.results
    trained = [result.model for result in results if result.model.history] or [results[0].model]
    names = f"“{results[0].name}” and “{results[1].name}”" if len(results) == 2 else f"{len(results)} runs"
    key_figures = [
        (
            f"{result.test_name.capitalize()} accuracy of {result.name}",
            "–" if result.accuracy is None else f"{result.accuracy:.1%}",
        )
        for result in results
    ]
    sections = [_results(comparison), _training(comparison), *_images(comparison), _settings(comparison)]
    return Page(f"{names} on {data_name(trained[0])}", key_figures, comparison.summary, sections)


def _results(comparison: Comparison) -> Section:
    columns = ["Run", "Engine", "Accuracy", "Loss", "Parameters", "Multiply-adds", "Memory (bytes)", "Epochs"]
    rows: list[list[Cell]] = [
        [
            *(result.name, engine_title(result.model), result.accuracy, result.loss, result.parameters),
            *(result.multiply_adds, result.memory, len(result.model.history), result.epoch_seconds, result.seconds),
        ]
        for result in comparison.results
    ]
    table = Table("Runs compared", [*columns, "Seconds per epoch", "Seconds in total"], rows)
    if comparison.dataset is None:
        return Section("Results", [table])
    pairs: list[list[Cell]] = [[*astuple(pair), "yes" if pair.is_significant else "no"] for pair in comparison.pairs]
    columns = ["First run", "Second run", "Only first correct", "Only second correct", "p-value", "Significant"]
    engines = " and the ".join(sorted({result.model.network.engine_title for result in comparison.results}))
    return Section(
        "Results",
        [
            f"Accuracy and loss are measured on the {comparison.dataset.test_name} images, with each run's weights on "
            f"the {engines} engine. Multiply-adds and the memory of all layers' outputs are those of one image; "
            "seconds per epoch are the median.",
            table,
            Table("McNemar's exact test of each pair", columns, pairs, collapsed=len(pairs) > 6),
        ],
    )


def _training(comparison: Comparison) -> Section:
    histories = {result.name: result.model.history for result in comparison.results if result.model.history}
    if not histories:
        return Section("Training", ["These runs have no training record, so there are no curves."])
    test_name = comparison.results[0].model.config["data"].get("test_name", "test")
    return Section(
        "Training",
        [
            figures.loss_comparison(histories, test_name),
            figures.accuracy_comparison(histories, test_name),
            figures.epoch_time_figure(histories),
        ],
    )


def _images(comparison: Comparison) -> list[Section]:
    dataset, disagreements = comparison.dataset, comparison.disagreements
    if dataset is None:
        return []
    outcomes = {result.name: result.outcome for result in comparison.results if result.outcome is not None}
    title = "Confusion matrices" if len(dataset.classes) < MANY_CLASSES else "Results by class"
    confusion = Section(title, compared_class_blocks(outcomes, dataset.classes))
    if not disagreements:
        return [confusion, Section("Disagreements", [figures.NO_DISAGREEMENT])]
    shown = disagreements[:MAX_IMAGES]
    indices = [disagreement.index for disagreement in shown]
    images, names = dataset.test.pixels(indices), image_names(dataset.test, indices)
    which = "All of them are" if len(shown) == len(disagreements) else f"{len(shown)} of them are"
    sentence = (
        f"The runs predict different classes for {pluralize(len(disagreements), 'image')} of the {len(dataset.test):,} "
        f"in the {dataset.test_name} set. {which} shown below."
    )
    grid = figures.disagreement_figure(shown, images, list(outcomes), dataset.classes, scale=dataset.scale, names=names)
    return [confusion, Section("Disagreements", [sentence, grid])]


def _settings(comparison: Comparison) -> Section:
    if not comparison.differences:
        return Section("Settings that differ", ["All recorded settings are the same."])
    rows = [[difference.name, difference.part, *difference.values] for difference in comparison.differences]
    columns = ["Setting", "Part", *(result.name for result in comparison.results)]
    return Section("Settings that differ", [Table("All other settings are the same", columns, rows)])
