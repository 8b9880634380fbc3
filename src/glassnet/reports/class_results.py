"""Results by class: figures where there are few classes, tables of the worst ones where there are many."""

from collections.abc import Mapping, Sequence

import numpy as np

from glassnet import measures
from glassnet.classification import CALIBRATION_BINS
from glassnet.formats import agree
from glassnet.measures import ClassScore, Outcome
from glassnet.pages import figures
from glassnet.pages.page import Block, Table
from glassnet.pages.text import NOT_MEASURED, Cell, format_points, isolate, shorten
from glassnet.reports.comparison_figures import confusion_comparison

MANY_CLASSES = 30  # from here on the cells of a matrix are too small, and its figure too large
_MAX_ROWS = 20
_MAX_NAME = 40  # columns of a class name
_CLASS_COLUMNS = ("Class", "Precision", "Recall", "Images")


def class_blocks(outcome: Outcome, classes: Sequence[str]) -> list[Block]:
    """Return the confusions, and precision and recall of each class."""
    scores = measures.class_scores(outcome)
    blocks: list[Block] = []
    if len(classes) < MANY_CLASSES:
        blocks.append(figures.confusion_figure(measures.confusion_matrix(outcome), classes))
        blocks.append(figures.precision_recall_figure(scores, classes))
    elif outcome.n_correct < outcome.count:
        blocks += _worst_tables(outcome, scores, classes)
    sentences = [_summary(outcome, scores), *_unmeasured_sentence(scores, classes)]
    return [*sentences, *blocks, _class_table(scores, classes)]


def compared_class_blocks(outcomes: Mapping[str, Outcome], classes: Sequence[str]) -> list[Block]:
    """Return the confusions of several runs, and for many classes those whose recall differs most.

    :param outcomes: by the name of the run, on the same images.
    """
    if len(classes) < MANY_CLASSES:
        matrices = {run: measures.confusion_matrix(outcome) for run, outcome in outcomes.items()}
        return [confusion_comparison(matrices, classes)]
    return [_compared_confusions(outcomes, classes), _compared_recalls(outcomes, classes)]


def _worst_tables(outcome: Outcome, scores: Sequence[ClassScore], classes: Sequence[str]) -> list[Block]:
    names = [shorten(name, _MAX_NAME) for name in classes]
    pairs = measures.confusions(outcome, _MAX_ROWS)
    confusions: list[list[Cell]] = [[names[p.true], names[p.predicted], p.count, p.fraction] for p in pairs]
    worst: list[list[Cell]] = [
        [names[index], *_precision_and_recall(scores[index]), scores[index].count]
        for index in measures.worst_classes(scores, _MAX_ROWS)
    ]
    columns = ["True class", "Predicted class", "Images", "Fraction of the true class"]
    return [
        Table("Most frequent confusions", columns, confusions),
        Table("Classes of lowest recall", _CLASS_COLUMNS, worst),
    ]


def _summary(outcome: Outcome, scores: Sequence[ClassScore]) -> str:
    """Return the accuracies and the calibration as sentences."""
    balanced, error = measures.balanced_accuracy(scores), measures.calibration_error(outcome)
    accuracies = [f"top-{k} accuracy {value:.1%}" for k, value in measures.top_k_accuracies(outcome).items()]
    parts = [f"accuracy {outcome.accuracy:.1%}", *accuracies, f"mean recall of the classes {balanced:.1%}"]
    text = f"{', '.join(parts).capitalize()}."
    if error is None:
        return text
    return (
        f"{text} The expected calibration error, the mean gap between confidence and accuracy in "
        f"{CALIBRATION_BINS} bins of confidence, is {format_points(error)} percentage points."
    )


def _unmeasured_sentence(scores: Sequence[ClassScore], classes: Sequence[str]) -> list[str]:
    absent = [isolate(shorten(name, _MAX_NAME)) for name, score in zip(classes, scores, strict=True) if not score.count]
    if not absent:
        return []
    shown = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
    has, is_ = agree(len(absent), "has", "have"), agree(len(absent), "is", "are")
    return [f"{len(absent):,} of {len(classes):,} classes {has} no image here and {is_} not measured: {shown}."]


def _class_table(scores: Sequence[ClassScore], classes: Sequence[str]) -> Table:
    rows: list[list[Cell]] = [
        [shorten(name, _MAX_NAME), *_precision_and_recall(score), score.count]
        for name, score in zip(classes, scores, strict=True)
    ]
    return Table("Classes", _CLASS_COLUMNS, rows, collapsed=True)


def _precision_and_recall(score: ClassScore) -> tuple[Cell, Cell]:
    return (score.precision, score.recall) if score.count else (NOT_MEASURED, NOT_MEASURED)


def _compared_confusions(outcomes: Mapping[str, Outcome], classes: Sequence[str]) -> Table:
    """Return a table of the pairs that are most frequent in any run, with their counts in each."""
    most: dict[tuple[int, int], int] = {}
    for outcome in outcomes.values():
        for pair in measures.confusions(outcome, _MAX_ROWS):
            most[pair.true, pair.predicted] = max(pair.count, most.get((pair.true, pair.predicted), 0))
    pairs = sorted(most, key=lambda pair: (-most[pair], pair))[:_MAX_ROWS]
    rows: list[list[Cell]] = [
        [
            *(shorten(classes[index], _MAX_NAME) for index in pair),
            *(int(((run.labels == pair[0]) & (run.predicted == pair[1])).sum()) for run in outcomes.values()),
        ]
        for pair in pairs
    ]
    return Table("Most frequent confusions, in images", ["True class", "Predicted class", *outcomes], rows)


def _compared_recalls(outcomes: Mapping[str, Outcome], classes: Sequence[str]) -> Table:
    """Return a table of the classes whose recall differs most between the runs."""
    scores = [measures.class_scores(outcome) for outcome in outcomes.values()]
    correct = np.array([[score.correct for score in of_run] for of_run in scores])  # (runs, classes)
    counts = np.array([score.count for score in scores[0]])
    spread = np.ptp(correct, axis=0) / np.maximum(counts, 1)
    worst = [index for index in np.lexsort((-counts, -spread))[:_MAX_ROWS].tolist() if spread[index]]
    rows: list[list[Cell]] = [
        [shorten(classes[index], _MAX_NAME), int(counts[index]), *(of_run[index].recall for of_run in scores)]
        for index in worst
    ]
    return Table("Classes whose recall differs most", ["Class", "Images", *outcomes], rows)
