"""Curves of runs that differ in their seed alone: their mean and their range."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from glassnet.formats import pluralize
from glassnet.pages.colours import RUN_COLOURS
from glassnet.pages.figures.curves import Records, epoch_axis
from glassnet.pages.text import finite
from glassnet.pages.theme import BUTTONS_HEIGHT, TITLE_HEIGHT, buttons, legend, line_style, new_figure, shorten_label

_SYMBOLS = ("circle", "diamond", "square")


def seed_range_figure(settings: Mapping[str, Sequence[Records]]) -> go.Figure:
    """Draw the mean test accuracy over the seeds of each setting by epoch, and the range from lowest to highest.

    :param settings: by the name of the setting one history for each seed, all of the same epochs; a single history is
        drawn as a line. A value that is not finite leaves a gap.
    """
    figure = new_figure(
        "Test accuracy by seed",
        caption="Test accuracy by epoch: the mean over the seeds (line), and the range from the lowest to the highest "
        "seed (band). Bands that overlap in the last epoch mean that a single run cannot tell the settings apart.",
        alt=f"Line chart with bands. Test accuracy after the last epoch: {_ends(settings)}.",
        height=TITLE_HEIGHT + BUTTONS_HEIGHT + 340,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": 88},
    )
    for number, (name, histories) in enumerate(settings.items()):
        colour, symbol = RUN_COLOURS[number % len(RUN_COLOURS)], _SYMBOLS[number % len(_SYMBOLS)]
        epochs = [record["epoch"] for record in histories[0]]
        values = [_accuracies(histories, index) for index in range(len(epochs))]
        if len(histories) > 1:
            figure.add_scatter(**_band(epochs, values), fillcolor=colour)
        hover = "%{fullData.name}, epoch %{x}: %{y:.4f}"
        figure.add_scatter(
            x=epochs,
            y=[fmean(at) if at else None for at in values],
            cliponaxis=False,
            **line_style(shorten_label(name, 28), colour, symbol=symbol, hover=hover),
        )
    epoch_axis(figure, [record["epoch"] for histories in settings.values() for record in histories[0]])
    figure.update_yaxes(title_text="accuracy (fraction of images)", tickformat=".3~f")
    return figure.update_layout(legend=legend(), **_views(settings))


def _band(epochs: Sequence[int], values: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the area between the lowest and the highest of each epoch's values."""
    drawn = [(epoch, min(at), max(at)) for epoch, at in zip(epochs, values, strict=True) if at]
    outline = {
        "x": [epoch for epoch, _, _ in drawn] + [epoch for epoch, _, _ in reversed(drawn)],
        "y": [lowest for _, lowest, _ in drawn] + [highest for _, _, highest in reversed(drawn)],
    }
    style = {"mode": "lines", "line": {"width": 0}, "fill": "toself", "opacity": 0.2}
    return outline | style | {"hoverinfo": "skip", "showlegend": False}


def _accuracies(histories: Sequence[Records], index: int) -> list[float]:
    """Return the finite test accuracies of all seeds in one epoch."""
    values = (finite(history[index].get("test_accuracy")) for history in histories if history)
    return [value for value in values if value is not None]


def _ends(settings: Mapping[str, Sequence[Records]]) -> str:
    """Return the mean and the range of each setting in the last epoch as text."""
    ends = {name: _accuracies(histories, -1) for name, histories in settings.items()}
    texts = [
        f"{name} {fmean(values):.3f}"
        + (f" ({min(values):.3f} to {max(values):.3f}, {pluralize(len(values), 'seed')})" if len(values) > 1 else "")
        for name, values in ends.items()
        if values
    ]
    return "; ".join(texts) or "no values"


def _views(settings: Mapping[str, Sequence[Records]]) -> dict[str, Any]:
    """Return the layout with a button for the end of the runs, which is drawn first, and one for all."""
    last = [value for histories in settings.values() for value in _accuracies(histories, -1)]
    bottom = min(0.98, max(0.0, 2 * min(last, default=0.0) - 1))  # the lowest result is at half the height
    ranges = {"Close-up of the end": [bottom, 1], "From 0 to 1": [0, 1]}
    views = {label: {"yaxis.range": ends} for label, ends in ranges.items()}
    return {"updatemenus": buttons("relayout", views), "yaxis.range": [bottom, 1]}
