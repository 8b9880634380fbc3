"""Equal tiles in rows and columns, drawn as one mosaic.

Every grid of images is one trace, in the coordinates of its own pixels, so that thirty-six images cost
no more than one and keep their proportions at any width.
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
        """Height and width of the whole, in image pixels."""
        rows = -(-self.count // self.columns)
        return rows * (self.height + self.gap + self.label_height), self.columns * (self.width + self.gap)

    def corner(self, index: int) -> tuple[int, int]:
        """Row and column of a tile's first pixel."""
        row, column = divmod(index, self.columns)
        return row * (self.height + self.gap + self.label_height), column * (self.width + self.gap)

    def paste(self, tiles: npt.NDArray[Any], empty: float) -> npt.NDArray[Any]:
        """(count, height, width, ...) -> one array of ``size``, ``empty`` between the tiles."""
        canvas = np.full((*self.size, *tiles.shape[3:]), empty, tiles.dtype)
        for index, tile in enumerate(tiles):
            y, x = self.corner(index)
            canvas[y : y + self.height, x : x + self.width] = tile
        return canvas


def tile_grid_figure(
    title: str,
    tiling: TileGrid,
    *,
    labels: list[list[str]],
    hover: list[str],
    tile: tuple[float, float],
    below: float,
    left: float,
    caption: str,
    alt: str,
) -> go.Figure:
    """A mosaic but for its pixels: its texts, and its size for tiles that are ``tile`` = (least, usual) pixels wide."""
    high, wide = tiling.size
    least, usual = (wide / tiling.width * pixels for pixels in tile)
    margin = {"l": left, "r": 8, "t": TITLE_HEIGHT, "b": below}
    figure = new_figure(
        title,
        caption=caption,
        alt=alt,
        width=usual + left + 8,
        height=usual * high / wide + TITLE_HEIGHT + below,
        min_width=least + left + 8,
        margin=margin,
    )
    corners = [tiling.corner(index) for index in range(tiling.count)]
    middle = [x + (tiling.width - 1) / 2 for _, x in corners]
    if labels:
        figure.add_scatter(
            x=middle,
            y=[y + tiling.height - 0.5 + tiling.label_height / 8 for y, _ in corners],
            text=["<br>".join(lines) for lines in labels],
            mode="text",
            textposition="bottom center",
            textfont={"size": LABEL_SIZE},
            hoverinfo="skip",
            showlegend=False,
        )
    told = [index for index, text in enumerate(hover) if text]
    if told:
        figure.add_scatter(
            x=[middle[index] for index in told],
            y=[corners[index][0] + (tiling.height - 1) / 2 for index in told],
            text=[hover[index] for index in told],
            mode="markers",
            marker={"opacity": 0},
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )
    figure.update_xaxes(visible=False, range=[-0.5, wide - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, range=[high - 0.5, -0.5], scaleanchor="x", constrain="domain")
    return figure.update_layout(hoverdistance=40)


def label_rows(figure: go.Figure, places: Sequence[tuple[float, str]]) -> None:
    figure.update_yaxes(
        visible=True,
        tickvals=[place for place, _ in places],
        ticktext=[name for _, name in places],
        **CATEGORY_AXIS,
    )
