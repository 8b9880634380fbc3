"""Grids of equal tiles: every grid of images is one trace, in the coordinates of its own pixels.

So thirty-six images cost no more than one, and keep their proportions at any width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.pages.theme import CATEGORY_AXIS, LABEL_SIZE, TITLE_HEIGHT, new_figure


@dataclass(frozen=True)
class TileGrid:
    """The layout of equal tiles: ``gap`` pixels between them and ``label_height`` pixels for text below each."""

    count: int
    height: int
    width: int
    columns: int
    gap: int
    label_height: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the grid, in image pixels."""
        rows = -(-self.count // self.columns)
        return rows * (self.height + self.gap + self.label_height), self.columns * (self.width + self.gap)

    def corner(self, index: int) -> tuple[int, int]:
        """Return row and column of a tile's first pixel."""
        row, column = divmod(index, self.columns)
        return row * (self.height + self.gap + self.label_height), column * (self.width + self.gap)

    def paste(self, tiles: npt.NDArray[Any], empty: float) -> npt.NDArray[Any]:
        """Return tiles (count, height, width, ...) as one array of ``size``, with ``empty`` between them."""
        canvas = np.full((*self.size, *tiles.shape[3:]), empty, tiles.dtype)
        for index, tile in enumerate(tiles):
            y, x = self.corner(index)
            canvas[y : y + self.height, x : x + self.width] = tile
        return canvas


def tile_grid_figure(
    title: str,
    grid: TileGrid,
    *,
    labels: list[list[str]],
    hover: list[str],
    tile: tuple[float, float],
    below: float,
    left: float,
    caption: str,
    alt: str,
) -> go.Figure:
    """Return a grid with its texts, but without the pixels.

    :param labels: lines of text below each tile.
    :param hover: text of each tile under the pointer; empty for none.
    :param tile: the smallest and the usual width of a tile, in pixels.
    :param below, left: margins in pixels.
    """
    height, width = grid.size
    min_width, usual_width = (width / grid.width * pixels for pixels in tile)
    figure = new_figure(
        title,
        caption=caption,
        alt=alt,
        width=usual_width + left + 8,
        height=usual_width * height / width + TITLE_HEIGHT + below,
        min_width=min_width + left + 8,
        margin={"l": left, "r": 8, "t": TITLE_HEIGHT, "b": below},
    )
    if labels:
        _add_texts(
            figure,
            grid,
            ["<br>".join(lines) for lines in labels],
            grid.height - 0.5 + grid.label_height / 8,
            mode="text",
            textposition="bottom center",
            textfont={"size": LABEL_SIZE},
            hoverinfo="skip",
        )
    if any(hover):
        invisible = {"mode": "markers", "marker": {"opacity": 0}, "hovertemplate": "%{text}<extra></extra>"}
        _add_texts(figure, grid, hover, (grid.height - 1) / 2, **invisible)
    figure.update_xaxes(visible=False, range=[-0.5, width - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, range=[height - 0.5, -0.5], scaleanchor="x", constrain="domain")
    return figure.update_layout(hoverdistance=40)


def _add_texts(figure: go.Figure, grid: TileGrid, texts: Sequence[str], down: float, **style: Any) -> None:
    """Add the texts that are not empty in the middle of their tiles, ``down`` pixels below the top."""
    marks = [(grid.corner(index), text) for index, text in enumerate(texts) if text]
    figure.add_scatter(
        x=[x + (grid.width - 1) / 2 for (_, x), _ in marks],
        y=[y + down for (y, _), _ in marks],
        text=[text for _, text in marks],
        showlegend=False,
        **style,
    )


def label_rows(figure: go.Figure, labels: Sequence[tuple[float, str]]) -> None:
    """Write names to the left of the grid.

    :param labels: row in image pixels, and the name.
    """
    rows, names = zip(*labels, strict=True)
    figure.update_yaxes(visible=True, tickvals=rows, ticktext=names, **CATEGORY_AXIS)
