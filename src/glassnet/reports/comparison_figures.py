"""Figures of several runs: curves, times, confusion matrices on one scale, and disagreements."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.measures.significance import Disagreement
from glassnet.pages.colours import RUN_COLOURS, TEXT
from glassnet.pages.figures.classes import MIN_SIDE, class_axes, count_cells, describe_matrix, min_cell
from glassnet.pages.figures.curves import Records, epoch_axis
from glassnet.pages.figures.images import image_grid
from glassnet.pages.text import finite
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    COLOUR_BAR_HEIGHT,
    LABEL_SIZE,
    TICK_SIZE,
    TITLE_HEIGHT,
    buttons,
    fraction_axis,
    legend,
    line_style,
    name_rows,
    new_figure,
    shorten_label,
    text_figure,
    text_width,
)

# The marker identifies the run, as its colour does.
RUN_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "hexagon")
NO_DISAGREEMENT = "All runs predict the same class for every image."
PAGE_WIDTH = 940  # pixels that panels side by side may take
LEGEND_ROW = 20


def loss_comparison(histories: Mapping[str, Records], test_name: str = "test") -> go.Figure:
    """Draw the cross-entropy of every run on the training and test images after each epoch, on shared axes.

    :param histories: epoch records by the name of the run; a value that is not finite leaves a gap.
    :param test_name: the name of the test set.
    """
    figure = _curves(
        "Loss of every run",
        histories,
        ("loss", "test_loss"),
        {"Linear": {"yaxis.type": "linear"}, "Logarithmic": {"yaxis.type": "log"}},
        f"Cross-entropy by epoch: {test_name} loss solid with filled markers, training loss dotted with open markers. "
        f"Dropout and label smoothing raise the training loss, and label smoothing raises the {test_name} loss too. "
        "Compare runs that differ in it by their accuracy.",
        test_name,
    )
    return figure.update_yaxes(title_text="cross-entropy (nats per image)", rangemode="tozero")


def accuracy_comparison(histories: Mapping[str, Records], test_name: str = "test") -> go.Figure:
    """Draw the fraction of images that every run classifies correctly after each epoch, on shared axes.

    :param histories: epoch records by the name of the run; a value that is not finite leaves a gap.
    :param test_name: the name of the test set.
    """
    last = [value for history in histories.values() if (value := finite(history[-1].get("test_accuracy"))) is not None]
    lowest = max(0.0, 2 * min(last, default=0.0) - 1)  # the lowest result is at half the height
    figure = _curves(
        "Accuracy of every run",
        histories,
        ("train_accuracy", "test_accuracy"),
        {"From 0 to 1": _zoom(0), "Close-up of the end": _zoom(lowest)},
        f"Fraction of correctly classified images by epoch: {test_name} accuracy solid with filled markers, training "
        "accuracy dotted with open markers. Compare the last points, and the number of epochs that a run needs. Solid "
        "curves that cross again and again belong to runs of equal accuracy.",
        test_name,
    )
    return figure.update_yaxes(title_text="accuracy (fraction of images)", tickformat=".3~f", zeroline=False)


def _zoom(lowest: float) -> dict[str, Any]:
    """Return the change of the layout that lets the accuracy's axis begin at ``lowest``."""
    axis = fraction_axis(lowest)
    return {f"yaxis.{key}": axis[key] for key in ("range", "dtick")}


def epoch_time_figure(histories: Mapping[str, Records]) -> go.Figure:
    """Draw the seconds of every epoch of every run, and their median.

    :param histories: epoch records by the name of the run.
    """
    seconds = {run: [record["seconds"] for record in history] for run, history in histories.items() if history}
    medians = {run: median(values) for run, values in seconds.items()}
    names = [shorten_label(run, 24) for run in seconds]
    described = ", ".join(f"{run} {value:.3g}" for run, value in medians.items())
    figure = new_figure(
        "Time per epoch",
        caption=(
            "Seconds of each epoch (dots) and their median (bar), including evaluation on the test images and saving. "
            "An outlier is often the first epoch, or other work on the machine."
        ),
        alt=f"Dot chart of the seconds per epoch. Median: {described}.",
        height=TITLE_HEIGHT + 96 + 34 * len(names),
        margin={"l": 24 + text_width(names), "b": 88},
    )
    points = [(row, value) for row, values in enumerate(seconds.values()) for value in values]
    for name, marks, marker, line in (
        ("each epoch", points, {"symbol": "circle", "size": 8, "opacity": 0.55}, 0),
        ("median", list(enumerate(medians.values())), {"symbol": "line-ns", "size": 20}, 3),
    ):
        colours = [RUN_COLOURS[row % len(RUN_COLOURS)] for row, _ in marks]
        figure.add_scatter(
            x=[value for _, value in marks],
            y=[row for row, _ in marks],
            name=name,
            mode="markers",
            marker={**marker, "color": colours, "line": {"width": line, "color": colours}},
            cliponaxis=False,
            text=[names[row] for row, _ in marks],
            hovertemplate=f"%{{text}}, {name}: %{{x:.3g}} s<extra></extra>",
        )
    figure.update_xaxes(title_text="seconds", rangemode="tozero", zeroline=False)
    return figure.update_yaxes(**name_rows(names)).update_layout(legend=legend())


def confusion_comparison(matrices: Mapping[str, npt.NDArray[np.int64]], classes: Sequence[str]) -> go.Figure:
    """Draw the confusion matrices of several runs side by side, on one scale of colours.

    :param matrices: by the name of the run (classes, classes) counts, true class by row, predicted class by column.
    """
    names = [shorten_label(name) for name in classes]
    largest = np.maximum.reduce(list(matrices.values()))
    left, gap, head, cell = 48 + text_width(names), 16, 28, min_cell(largest)
    max_columns = max(1, min(3, int(PAGE_WIDTH / (left + gap + len(names) * cell))))
    rows = -(-len(matrices) // max_columns)
    columns = -(-len(matrices) // rows)
    cell = max(cell, min(36, (PAGE_WIDTH / columns - left - gap) / len(names)))
    side = max(len(names) * cell, MIN_SIDE)
    below = 48 + (text_width(names) if text_width(names) > cell else TICK_SIZE)
    width, height = columns * (left + side + gap), rows * (head + side + below)
    figure = new_figure(
        "Confusion matrices",
        caption=(
            "Number of images by true class (row) and predicted class (column), on one scale of colours. Look for "
            "cells off the diagonal that are filled in one matrix and empty in another: a pair of classes that only "
            "one run confuses."
        ),
        alt=" ".join(f"{run}: {describe_matrix(matrix, classes)}" for run, matrix in matrices.items()),
        width=width + 8,
        height=height + TITLE_HEIGHT + COLOUR_BAR_HEIGHT,
        min_width=width + 8,
        margin={"l": 0, "r": 8, "t": TITLE_HEIGHT, "b": COLOUR_BAR_HEIGHT},
    )
    horizontal, vertical = class_axes(names, cell)
    for index, (run, matrix) in enumerate(matrices.items()):
        row, column = divmod(index, columns)
        x, y = (column * (left + side + gap) + left) / width, 1 - (row * (head + side + below) + head) / height
        cells = count_cells(matrix, classes, below=8) | {"zmax": int(largest.max()) or 1, "showscale": index == 0}
        figure.add_heatmap(**cells, name=shorten_label(run, 60), xaxis=f"x{index + 1}", yaxis=f"y{index + 1}")
        figure.layout[f"xaxis{index + 1}"] = horizontal | {"domain": [x, x + side / width], "anchor": f"y{index + 1}"}
        figure.layout[f"yaxis{index + 1}"] = vertical | {"domain": [y - side / height, y], "anchor": f"x{index + 1}"}
        title = f"{shorten_label(run, 24)}: accuracy {np.trace(matrix) / max(1, matrix.sum()):.1%}"
        is_wide = text_width([title], 12) > side  # then there is room for it above the names
        place = {"x": x + is_wide * side / width, "xanchor": "right" if is_wide else "left", "y": y}
        figure.add_annotation(text=title, showarrow=False, xref="paper", yref="paper", yanchor="bottom", **place)
    return figure


def disagreement_figure(
    disagreements: Sequence[Disagreement],
    images: npt.NDArray[np.uint8],
    runs: Sequence[str],
    classes: Sequence[str],
    *,
    scale: float = 255.0,
    names: Sequence[str] | None = None,
) -> go.Figure:
    """Draw images for which the runs predict different classes, in the given order; without any, a sentence.

    :param disagreements: as ``glassnet.measures.significance.disagreements`` returns them.
    :param images: uint8 (len(disagreements), H, W, C), the images of these disagreements.
    :param runs: the names of the runs, in the order of each disagreement's predictions.
    :param names: of the images, by default their numbers in the split.
    """
    if not disagreements:
        return text_figure("Disagreements", NO_DISAGREEMENT)
    labels, details = zip(*(_describe_disagreement(one, runs, classes) for one in disagreements), strict=True)
    names = names or [f"image {disagreement.index}" for disagreement in disagreements]
    widest = text_width([line for lines in labels for line in lines], LABEL_SIZE)
    return image_grid(
        "Disagreements: true and predicted class",
        images,
        scale=scale,
        columns=max(2, min(6, int(PAGE_WIDTH / (1.15 * widest + 16)))),
        labels=list(labels),
        hover=[f"{shorten_label(name, 60)}<br>{text}" for name, text in zip(names, details, strict=True)],
        caption=(
            "Images with their true class, then the class that each run predicts with its probability; × marks a "
            "misclassification. Images for which all runs have high confidence come first."
        ),
        alt=f"{len(images)} images with their true class and the predictions of {len(runs)} runs.",
    )


def _describe_disagreement(
    disagreement: Disagreement, runs: Sequence[str], classes: Sequence[str]
) -> tuple[list[str], str]:
    """Return the lines below the image of a disagreement, and the text under the pointer."""
    true = classes[disagreement.true]
    lines, details = [f"true: {shorten_label(true, 10)}"], f"true: {shorten_label(true, 60)}"
    for run, index, p in zip(runs, disagreement.predicted, disagreement.probabilities, strict=True):
        mark = "" if index == disagreement.true else " ×"
        lines.append(f"{shorten_label(run, 10)}: {shorten_label(classes[index], 10)} {p:.2f}{mark}")
        details += f"<br>{shorten_label(run, 60)}: {shorten_label(classes[index], 60)} ({p:.4f})"
    return lines, details


def _curves(
    title: str,
    histories: Mapping[str, Records],
    keys: tuple[str, str],
    choices: Mapping[str, Mapping[str, Any]],
    caption: str,
    test_name: str,
) -> go.Figure:
    """Draw two curves of every run: the first key's values dotted (train), the second's solid (test).

    :param choices: for each button the change of the layout; the first one is the initial state.
    """
    names = [shorten_label(run, 20) for run in histories]
    last = {run: finite(history[-1].get(keys[1])) for run, history in histories.items()}
    ends = ", ".join(f"{run} {value:.3f}" for run, value in last.items() if value is not None)
    below = 56 + LEGEND_ROW * -(-sum(48 + text_width([name], 12) for name in [*names, test_name, "train"]) // 220)
    height = TITLE_HEIGHT + BUTTONS_HEIGHT + 280 + below
    figure = new_figure(
        title,
        caption=caption,
        alt=f"Line chart, {title.lower()}. On the {test_name} images after the last epoch: {ends}.",
        height=height,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": below},
    )
    for number, (name, history) in enumerate(zip(names, histories.values(), strict=True)):
        colour, symbol = RUN_COLOURS[number % len(RUN_COLOURS)], RUN_SYMBOLS[number % len(RUN_SYMBOLS)]
        for key, split in zip(keys, ("train", test_name), strict=True):
            figure.add_scatter(
                x=[record["epoch"] for record in history],
                y=[finite(record.get(key)) for record in history],
                legendgroup=str(number),
                showlegend=split != "train",
                cliponaxis=False,
                **_style(split, name, colour, symbol),
            )
    for split in (test_name, "train"):
        figure.add_scatter(x=[None], y=[None], **_style(split, split, TEXT, "circle"))
    epoch_axis(figure, [record["epoch"] for history in histories.values() for record in history])
    place = {"yref": "container", "y": (below - 52) / height, "yanchor": "top", "tracegroupgap": 0}
    return figure.update_layout(
        legend=legend() | place, updatemenus=buttons("relayout", choices), **next(iter(choices.values()))
    )


def _style(split: str, name: str, colour: str, symbol: str) -> dict[str, Any]:
    hover = f"%{{fullData.name}}, {split}, epoch %{{x}}: %{{y:.4f}}"
    if split != "train":
        return line_style(name, colour, "solid", symbol, hover=hover)
    return line_style(name, colour, "dot", f"{symbol}-open", hover=hover, width=1.25)
