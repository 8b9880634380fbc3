"""The page that shows several runs side by side: words, curves, confusion matrices, disagreements, settings."""

from pathlib import Path

from glassnet import measures
from glassnet.measures.significance import SIGNIFICANT
from glassnet.pages.page import Page, Section, Table, write_page
from glassnet.pages.text import pluralize
from glassnet.reports import comparison_figures as figures
from glassnet.reports.comparison import Comparison
from glassnet.reports.report import data_name, engine_title

MAX_IMAGES = 36


def write_comparison(comparison: Comparison, path: Path | str = "comparison.html") -> Path:
    """Writes the comparison as one HTML file that opens offline; an older one is replaced.

    :returns: The path written.
    :raises RunError: the file cannot be written.
    """
    return write_page(compose(comparison), Path(path))


def compose(comparison: Comparison) -> Page:
    """The comparison as a page, not yet written."""
    entries = comparison.entries
    trained = [entry.model for entry in entries if entry.model.history] or [entries[0].model]
    named = f"“{entries[0].name}” and “{entries[1].name}”" if len(entries) == 2 else f"{len(entries)} runs"
    key_figures = [
        (f"Test accuracy of {entry.name}", "–" if entry.accuracy is None else f"{entry.accuracy:.1%}")
        for entry in entries
    ]
    sections = [_results(comparison), _training(comparison), *_images(comparison), _settings(comparison)]
    return Page(f"{named} on {data_name(trained[0])}", key_figures, comparison.words, sections)


def _results(comparison: Comparison) -> Section:
    columns = {
        "Run": [entry.name for entry in comparison.entries],
        "Engine": [engine_title(entry.model) for entry in comparison.entries],
        "Accuracy": [entry.accuracy for entry in comparison.entries],
        "Loss": [entry.loss for entry in comparison.entries],
        "Parameters": [entry.parameters for entry in comparison.entries],
        "Multiply-adds": [entry.multiply_adds for entry in comparison.entries],
        "Memory (bytes)": [entry.memory for entry in comparison.entries],
        "Epochs": [len(entry.model.history) for entry in comparison.entries],
        "Seconds per epoch": [entry.epoch_seconds for entry in comparison.entries],
        "Seconds in all": [entry.seconds for entry in comparison.entries],
    }
    table = Table("Every run in numbers", list(columns), list(zip(*columns.values(), strict=True)))
    if comparison.dataset is None:
        return Section("Results", [table])
    pairs = [
        (
            pair.first,
            pair.second,
            pair.first_only,
            pair.second_only,
            pair.p_value,
            "yes" if pair.p_value < SIGNIFICANT else "no",
        )
        for pair in comparison.pairs
    ]
    titles = ["First run", "Second run", "Right: first alone", "Right: second alone", "p-value", "Beyond chance"]
    engines = " and the ".join(sorted({entry.model.network.engine_title for entry in comparison.entries}))
    return Section(
        "Results",
        [
            f"Accuracy and loss are measured anew on the test images, with each run's weights on the {engines} engine. "
            "Multiply-adds and the memory of all layers' outputs are those of one image, seconds per epoch the median.",
            table,
            Table("Every pair, image by image", titles, pairs, collapsed=len(pairs) > 6),
        ],
    )


def _training(comparison: Comparison) -> Section:
    histories = {entry.name: entry.model.history for entry in comparison.entries if entry.model.history}
    if not histories:
        return Section("Training", ["These runs have no record of a training, so there are no curves."])
    return Section(
        "Training",
        [
            figures.loss_comparison(histories),
            figures.accuracy_comparison(histories),
            figures.epoch_time_figure(histories),
        ],
    )


def _images(comparison: Comparison) -> list[Section]:
    dataset, disagreements = comparison.dataset, comparison.disagreements
    if dataset is None:
        return []
    classes = dataset.classes
    matrices = {
        entry.name: measures.confusion_matrix(entry.outcome)
        for entry in comparison.entries
        if entry.outcome is not None
    }
    confusion = Section("Confusion matrices", [figures.confusion_comparison(matrices, classes)])
    if not disagreements:
        return [confusion, Section("Disagreements", [figures.NO_DISAGREEMENT])]
    shown = disagreements[:MAX_IMAGES]
    images = dataset.test.images[[one.index for one in shown]]
    which = "all of them" if len(shown) == len(disagreements) else f"{len(shown)} of them"
    sentence = (
        f"The runs do not agree on {pluralize(len(disagreements), 'test image')} of {len(dataset.test):,}; below "
        f"{'is' if len(shown) == 1 else 'are'} {which}."
    )
    grid = figures.disagreement_figure(shown, images, list(matrices), classes, scale=dataset.scale)
    return [confusion, Section("Disagreements", [sentence, grid])]


def _settings(comparison: Comparison) -> Section:
    if not comparison.differences:
        return Section("Settings that differ", ["None: all recorded settings are the same."])
    rows = [[one.name, one.part, *one.values] for one in comparison.differences]
    columns = ["Setting", "Part", *(entry.name for entry in comparison.entries)]
    return Section("Settings that differ", [Table("All other settings are the same", columns, rows)])
