"""What a classifier mixes up: the confusion matrix, and precision and recall of every class."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.measures.outcomes import ClassScore
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    CATEGORY_AXIS,
    COLOUR_BAR_HEIGHT,
    LABEL_SIZE,
    TEST,
    TICK_SIZE,
    TITLE_HEIGHT,
    TRAIN,
    buttons,
    colour_bar,
    new_figure,
    shorten_label,
    text_width,
)


def confusion_figure(matrix: npt.NDArray[np.int64], classes: Sequence[str], *, normalized: bool = False) -> go.Figure:
    """The confusion matrix as counts and, at the press of a button, as shares of each true class.

    :param matrix: (classes, classes) counts, true class by row, predicted class by column.
    :param normalized: begin with the shares.
    """
    names = [shorten_label(name) for name in classes]
    largest, right = int(matrix.max(initial=0)), int(np.trace(matrix))
    cell = max(TICK_SIZE + 4, 4 + text_width([str(largest), ".00"], LABEL_SIZE))
    upright = text_width(names) > cell
    below = 48 + (text_width(names) if upright else TICK_SIZE)
    margin = {
        "l": 48 + text_width(names),
        "r": 16,
        "t": TITLE_HEIGHT + BUTTONS_HEIGHT,
        "b": below + COLOUR_BAR_HEIGHT,
    }
    across, tall = margin["l"] + margin["r"], margin["t"] + margin["b"]
    side = len(classes) * max(cell, min(48, 560 / len(classes)))
    figure = new_figure(
        "Confusion matrix",
        caption=(
            "A perfect classifier fills only the diagonal. A dark cell off the diagonal is a pair of classes that the "
            "network mixes up; compare it with the cell mirrored on the diagonal. An empty cell counts no image."
        ),
        alt=(
            f"Confusion matrix of {len(classes)} classes on {matrix.sum():,} images: {right:,} stand on the diagonal. "
            + worst_pair(matrix, classes)
        ),
        width=across + side,
        height=tall + side,
        min_width=across + len(classes) * cell,
        margin=margin,
    )
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    figure.add_heatmap(**count_cells(matrix, classes, below), visible=not normalized)
    texts = [[_share(value) for value in row] for row in shares.tolist()]
    figure.add_heatmap(**_cells(shares, texts, "fraction of the true class", classes, below), visible=normalized)
    ticks = class_axis(names)
    figure.update_xaxes(**ticks, title={"text": "predicted class", "standoff": 8}, tickangle=-90 if upright else 0)
    figure.update_yaxes(**ticks, title={"text": "true class", "standoff": 8}, scaleanchor="x")
    figure.update_yaxes(range=[len(names) - 0.5, -0.5])
    choices = {"Counts": {"visible": [True, False]}, "Fraction of the true class": {"visible": [False, True]}}
    figure.update_layout(updatemenus=buttons("restyle", choices, active=int(normalized)))
    return figure


def precision_recall_figure(scores: Sequence[ClassScore], classes: Sequence[str]) -> go.Figure:
    """Precision and recall of every class, on one axis from 0 to 1; what cannot be divided has no mark."""
    names = [shorten_label(name) for name in classes]
    places = list(range(len(names)))
    known = [(score.recall, name) for score, name in zip(scores, classes, strict=True) if score.count]
    lowest = f" The lowest recall is {min(known)[0]:.2f}, of class {min(known)[1]}." if known else ""
    figure = new_figure(
        "Precision and recall per class",
        caption=(
            "Recall: of the images of a class, how many got its name. Precision: of the images that got the name, how "
            "many deserve it. Low recall with high precision means a class named too seldom; the reverse, too often."
        ),
        alt=f"Dot chart of precision and recall of {len(names)} classes.{lowest}",
        height=TITLE_HEIGHT + 88 + 26 * len(names),
        margin={"l": 52 + text_width(names), "b": 88},
    )
    for kind, symbol, size, colour in (("precision", "circle-open", 13, TRAIN), ("recall", "diamond", 7, TEST)):
        values = [getattr(score, kind) for score in scores]
        figure.add_scatter(
            x=[None if math.isnan(value) else value for value in values],
            y=places,
            name=kind,
            mode="markers",
            marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}},
            cliponaxis=False,
            text=[
                f"{shorten_label(name, 60)} ({score.count} images)" for name, score in zip(classes, scores, strict=True)
            ],
            hovertemplate=f"%{{text}}<br>{kind} %{{x:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title_text="share", range=[0, 1], dtick=0.2, tickformat=".1f", zeroline=False)
    figure.update_yaxes(
        title_text="class",
        tickvals=places,
        ticktext=names,
        tickfont={"size": TICK_SIZE},
        range=[len(names) - 0.5, -0.5],
        **CATEGORY_AXIS | {"showgrid": True, "ticklen": 8},
    )
    below = {"yref": "container", "y": 0, "yanchor": "bottom"}
    figure.update_layout(legend={"orientation": "h", "x": 0, "xanchor": "left", **below})
    return figure


def class_axis(names: Sequence[str]) -> dict[str, Any]:
    """An axis of a confusion matrix, with a class at every tick; names as ``shorten_label`` returns them."""
    return CATEGORY_AXIS | {
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "tickfont": {"size": TICK_SIZE},
        "range": [-0.5, len(names) - 0.5],
        "constrain": "domain",
        "automargin": False,
    }


def count_cells(matrix: npt.NDArray[np.int64], classes: Sequence[str], below: float) -> dict[str, Any]:
    """A confusion matrix's heatmap, its colour bar so many pixels ``below`` the plotting area."""
    texts = [[f"{count}" if count else "" for count in row] for row in matrix.tolist()]
    return _cells(matrix, texts, "images", classes, below)


def _cells(
    values: npt.NDArray[Any], texts: list[list[str]], unit: str, classes: Sequence[str], below: float
) -> dict[str, Any]:
    hover = [shorten_label(name, 60) for name in classes]
    return {
        "z": values,
        "zmin": 0,
        "zmax": float(values.max(initial=0)) or 1,
        "colorscale": "Blues",
        "text": texts,
        "texttemplate": "%{text}",
        "textfont": {"size": LABEL_SIZE},
        "hovertext": [[f"true {true}<br>predicted {predicted}" for predicted in hover] for true in hover],
        "hovertemplate": f"%{{hovertext}}<br>%{{z:.3~g}} {unit}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
        "colorbar": colour_bar(unit, below),
    }


def _share(value: float) -> str:
    """.07 for 0.07: three characters fit the narrowest cell."""
    return "" if value == 0 else "1" if value > 0.995 else f"{value:.2f}"[1:]


def worst_pair(matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> str:
    """The pair of classes that is mixed up most often, in a sentence."""
    mixed = matrix - np.diag(np.diag(matrix))
    if not mixed.any():
        return "No image stands off it."
    true, predicted = (int(place) for place in np.unravel_index(mixed.argmax(), mixed.shape))
    return f"Most often mixed up: {classes[true]}, taken {mixed.max()} times for {classes[predicted]}."
