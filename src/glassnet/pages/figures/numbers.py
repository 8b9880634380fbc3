"""Small arrays as cells with their numbers: an image, a window of it, a kernel."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.pages.colours import DIVERGING, TEXT
from glassnet.pages.theme import LABEL_SIZE, TITLE_HEIGHT, new_figure, text_width

_CELL, _MIN_CELL, _LABEL_HEIGHT, _MARGIN = 34, 19, 24, 8  # pixels


def number_figure(
    title: str,
    tiles: Mapping[str, npt.NDArray[Any]],
    *,
    caption: str,
    alt: str,
    white: float | None = None,
    unnumbered: Collection[str] = (),
) -> go.Figure:
    """Draw small arrays next to each other, each with its label above and a number in every cell.

    In the coordinates of the figure, the cell in row i and column j of the first array is at x = j, y = i.

    :param tiles: {label: (H, W)}, from left to right.
    :param white: the value of white, for arrays that are gray images; by default cells are red below 0, blue above.
    :param unnumbered: labels of the arrays whose numbers are not written.
    """
    canvas, texts, starts = _paste(tiles, unnumbered)
    height, width = canvas.shape
    margin: dict[str, float] = {"l": _MARGIN, "r": _MARGIN, "t": TITLE_HEIGHT + _LABEL_HEIGHT, "b": _MARGIN}
    figure = new_figure(
        title,
        caption=caption,
        alt=alt,
        width=width * _CELL + 2 * _MARGIN,
        height=height * _CELL + margin["t"] + margin["b"],
        min_width=width * _MIN_CELL + 2 * _MARGIN,
        margin=margin,
    )
    style = {"showscale": False, "hoverinfo": "skip", "xgap": 1, "ygap": 1} | _colours(canvas, white)
    for cells, colour in _text_colours(canvas, white):
        text = {"text": np.where(cells, texts, ""), "texttemplate": "%{text}"}
        figure.add_heatmap(
            z=np.where(cells, canvas, np.nan), **text, textfont={"color": colour, "size": LABEL_SIZE}, **style
        )
    for label, left in zip(tiles, starts, strict=True):
        place = {"x": left - 0.5, "y": -0.5, "xanchor": "left", "yanchor": "bottom"}
        figure.add_annotation(text=label, showarrow=False, **place)
    figure.update_xaxes(visible=False, range=[-0.5, width - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, range=[height - 0.5, -0.5], scaleanchor="x", constrain="domain")
    return figure


def _paste(
    tiles: Mapping[str, npt.NDArray[Any]], unnumbered: Collection[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_], list[int]]:
    """Return the values of all cells with NaN in the gaps, their texts, and the first column of each array."""
    starts, end = [], 0
    for label, array in tiles.items():
        starts.append(end)
        label_cells = int(np.ceil(text_width([label]) / _MIN_CELL))
        end += max(array.shape[1], label_cells) + 1
    canvas = np.full((max(len(array) for array in tiles.values()), end - 1), np.nan)
    texts = np.full(canvas.shape, "", object)
    for (label, array), left in zip(tiles.items(), starts, strict=True):
        cells = slice(len(array)), slice(left, left + array.shape[1])
        canvas[cells] = array
        if label not in unnumbered:
            texts[cells] = [[_format(value) for value in row] for row in array]
    return canvas, texts, starts


def _colours(values: npt.NDArray[np.float64], white: float | None) -> dict[str, Any]:
    if white is not None:
        return {"colorscale": "gray", "zmin": 0, "zmax": white}
    limit = float(np.nanmax(np.abs(values))) or 1.0
    return {"colorscale": DIVERGING, "zmid": 0, "zmin": -limit, "zmax": limit}


def _text_colours(values: npt.NDArray[np.float64], white: float | None) -> list[tuple[npt.NDArray[np.bool_], str]]:
    """Return masks of cells, and the colour of the text on them."""
    if white is None:
        return [(np.ones(values.shape, bool), TEXT)]
    dark = values < 0.46 * white  # there white has the same contrast as black, 4.6
    return [(dark, "white"), (~dark, "black")]  # in both schemes, as the image


def _format(value: float) -> str:
    return f"{value + 0.0:.3g}".replace("-", "−")  # + 0.0 makes 0 of −0
