"""Figures by class: the confusion matrix, and precision and recall."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.classification import ClassScore
from glassnet.formats import agree, pluralize
from glassnet.pages.colours import SEQUENTIAL, TEST, TEXT, TRAIN
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    COLOUR_BAR_HEIGHT,
    LABEL_SIZE,
    TICK_SIZE,
    TITLE_HEIGHT,
    buttons,
    colour_bar,
    fraction_axis,
    legend,
    name_rows,
    new_figure,
    shorten_label,
    text_width,
)

MIN_SIDE = 150  # pixels of a confusion matrix: the colour bar below it has room for its numbers


def confusion_figure(matrix: npt.NDArray[np.int64], classes: Sequence[str], *, normalized: bool = False) -> go.Figure:
    """Draw the confusion matrix as counts and, at the press of a button, as fractions of each true class.

    :param matrix: (classes, classes) counts, true class by row, predicted class by column.
    :param normalized: show the fractions first.
    """
    names = [shorten_label(name) for name in classes]
    cell = min_cell(matrix, ".00")
    side = max(len(classes) * max(cell, min(48, 560 / len(classes))), MIN_SIDE)
    below = 48 + (text_width(names) if text_width(names) > cell else TICK_SIZE)
    left, top, bottom = 48 + text_width(names), TITLE_HEIGHT + BUTTONS_HEIGHT, below + COLOUR_BAR_HEIGHT
    figure = new_figure(
        "Confusion matrix",
        caption=(
            "Number of images by true class (row) and predicted class (column); an empty cell counts none. A "
            "perfect classifier fills only the diagonal. A filled cell off the diagonal is a pair of classes that the "
            "network confuses; compare it with the cell mirrored on the diagonal."
        ),
        alt=f"Confusion matrix of {len(classes)} classes. {describe_matrix(matrix, classes)}",
        width=left + 16 + side,
        height=top + bottom + side,
        min_width=left + 16 + len(classes) * cell,
        margin={"l": left, "r": 16, "t": top, "b": bottom},
    )
    totals = matrix.sum(axis=1, keepdims=True)
    fractions = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    texts = [[_format_fraction(value) for value in row] for row in fractions.tolist()]
    figure.add_heatmap(**count_cells(matrix, classes, below), visible=not normalized)
    unit = "fraction of the true class"
    figure.add_heatmap(**_cells(fractions, texts, unit, classes, below), visible=normalized)
    horizontal, vertical = class_axes(names, cell)
    figure.update_xaxes(**horizontal)
    figure.update_yaxes(**vertical, scaleanchor="x")
    choices = {"Counts": {"visible": [True, False]}, unit.capitalize(): {"visible": [False, True]}}
    return figure.update_layout(updatemenus=buttons("restyle", choices, active=int(normalized)))


def precision_recall_figure(scores: Sequence[ClassScore], classes: Sequence[str]) -> go.Figure:
    """Draw precision and recall of every class on one axis that ends at 1; a class without images has no marks."""
    names = [shorten_label(name) for name in classes]
    recalls = [(score.recall, name) for score, name in zip(scores, classes, strict=True) if score.count]
    lowest = f" The lowest recall is {min(recalls)[0]:.2f}, of class {min(recalls)[1]}." if recalls else ""
    figure = new_figure(
        "Precision and recall per class",
        caption=(
            "Recall is the fraction of a class's images that are predicted as the class. Precision is the fraction of "
            "the images predicted as the class that belong to it. Low recall with high precision: the network predicts "
            "the class too rarely; the reverse: too often."
            + " A class without marks has no image here and is not measured."
            * any(not score.count for score in scores)
        ),
        alt=f"Dot chart of precision and recall of {len(names)} classes.{lowest}",
        height=TITLE_HEIGHT + 88 + 26 * len(names),
        margin={"l": 52 + text_width(names), "b": 88},
    )
    hover = [
        f"{shorten_label(name, 60)} ({pluralize(score.count, 'image')})"
        for name, score in zip(classes, scores, strict=True)
    ]
    drawn = []
    for kind, symbol, size, colour in (("precision", "circle-open", 13, TRAIN), ("recall", "diamond", 7, TEST)):
        values = [getattr(score, kind) if score.count else None for score in scores]
        drawn += [value for value in values if value is not None]
        figure.add_scatter(
            x=values,
            y=list(range(len(names))),
            name=kind,
            mode="markers",
            marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}},
            cliponaxis=False,
            text=hover,
            hovertemplate=f"%{{text}}<br>{kind} %{{x:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title_text="fraction", **fraction_axis(min(drawn, default=0)))
    figure.update_yaxes(title_text="class", **name_rows(names) | {"showgrid": True, "ticklen": 8})
    return figure.update_layout(legend=legend())


def class_axes(names: Sequence[str], cell: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the horizontal and the vertical axis of a confusion matrix, with a class at every tick.

    :param names: as ``shorten_label`` returns them.
    :param cell: side of a cell in pixels; where names are wider, the horizontal ones are turned.
    """
    axis = name_rows(names) | {"constrain": "domain", "automargin": False}
    predicted, true = ({"text": f"{kind} class", "standoff": 8} for kind in ("predicted", "true"))
    angle = -90 if text_width(names) > cell else 0
    horizontal = {"range": [-0.5, len(names) - 0.5], "title": predicted, "tickangle": angle}
    return axis | horizontal, axis | {"title": true}


def min_cell(matrix: npt.NDArray[np.int64], *texts: str) -> float:
    """Return the smallest side of a cell, in pixels, that holds every count of the matrix and these texts."""
    return max(TICK_SIZE + 4, 4 + text_width([str(int(matrix.max(initial=0))), *texts], LABEL_SIZE))


def count_cells(matrix: npt.NDArray[np.int64], classes: Sequence[str], below: float) -> dict[str, Any]:
    """Return the heatmap of a confusion matrix, its colour bar ``below`` pixels under the plotting area."""
    texts = [[f"{count}" if count else "" for count in row] for row in matrix.tolist()]
    return _cells(matrix, texts, "images", classes, below)


def describe_matrix(matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return the number of correct images and the most frequent confusion in sentences."""
    n_correct, images = int(np.trace(matrix)), pluralize(int(matrix.sum()), "image")
    correct = f"{n_correct:,} of {images} {agree(n_correct, 'is', 'are')} on the diagonal."
    errors = matrix - np.diag(np.diag(matrix))
    if not errors.any():
        return correct
    true, predicted = (int(index) for index in np.unravel_index(errors.argmax(), errors.shape))
    return f"{correct} Most frequent error: {classes[true]} predicted as {classes[predicted]}, {errors.max()} times."


def _cells(
    values: npt.NDArray[Any], texts: list[list[str]], unit: str, classes: Sequence[str], below: float
) -> dict[str, Any]:
    names = [shorten_label(name, 60) for name in classes]
    return {
        "z": values,
        "zmin": 0,
        "zmax": float(values.max(initial=0)) or 1,
        "colorscale": SEQUENTIAL,
        "text": texts,
        "texttemplate": "%{text}",
        "textfont": {"size": LABEL_SIZE, "color": TEXT},
        "hovertext": [[f"true {true}<br>predicted {predicted}" for predicted in names] for true in names],
        "hovertemplate": f"%{{hovertext}}<br>%{{z:.3~g}} {unit}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
        "colorbar": colour_bar(unit, below),
    }


def _format_fraction(value: float) -> str:
    """Return .07 for 0.07: three characters fit the narrowest cell."""
    return "" if value == 0 else "1" if value > 0.995 else f"{value:.2f}"[1:]
