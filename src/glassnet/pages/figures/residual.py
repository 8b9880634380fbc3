"""Feature maps of one residual block: its input, what its layers add, and the result."""

from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.pages.colours import DIVERGING
from glassnet.pages.figures.tile_grid import TileGrid, label_rows, tile_grid_figure
from glassnet.pages.theme import COLOUR_BAR_HEIGHT, colour_bar, text_width

ROWS = ("x", "F(x)", "x + F(x)", "ReLU of the sum")


def residual_block_figure(
    x: npt.NDArray[np.floating[Any]], body: npt.NDArray[np.floating[Any]], *, max_channels: int = 8
) -> go.Figure:
    """Draw x, F(x), their sum and the ReLU of the sum for one image, a column per channel, all on one scale.

    :param x: what the shortcut brings to the sum, (C, H, W).
    :param body: F(x), what the block's layers add, (C, H, W).
    :param max_channels: the number of channels to draw, from the first.
    """
    x, body = x[:max_channels].astype(np.float64), body[:max_channels].astype(np.float64)
    channels, height, width = x.shape
    tiles = np.concatenate([x, body, x + body, np.maximum(x + body, 0)])
    limit = float(np.abs(tiles).max(initial=0)) or 1.0
    grid = TileGrid(len(tiles), height, width, channels, gap=max(1, width // 12), label_height=0)
    figure = tile_grid_figure(
        "One residual block, channel by channel",
        grid,
        labels=[],
        hover=[f"{row}, channel {channel}" for row in ROWS for channel in range(channels)],
        tile=(30, 72),
        below=COLOUR_BAR_HEIGHT,
        left=16 + text_width(ROWS),
        caption=(
            "Feature maps of one image in a residual block, a column per channel, all on one scale: blue above 0, red "
            "below. The first row plus the second is the third; the last row is the block's output."
        ),
        alt=f"Four rows of {channels} feature maps: {', '.join(ROWS)}. The largest absolute value is {limit:.2g}.",
    )
    bar = colour_bar("activation")
    canvas = grid.paste(tiles, np.nan)
    figure.add_heatmap(z=canvas, colorscale=DIVERGING, zmid=0, zmin=-limit, zmax=limit, hoverinfo="skip", colorbar=bar)
    label_rows(figure, [(grid.corner(row * channels)[0] + (height - 1) / 2, name) for row, name in enumerate(ROWS)])
    return figure
