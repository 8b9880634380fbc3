"""Filters of the first layer, and feature maps of one image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.measures.layers import most_variable_channels
from glassnet.pages.colours import DIVERGING
from glassnet.pages.figures.tile_grid import TileGrid, label_rows, tile_grid_figure
from glassnet.pages.theme import COLOUR_BAR_HEIGHT, colour_bar, shorten_label, text_width

MAX_PIXELS = 48  # longer side of a feature map
_COLUMNS = 8


def filter_figure(weight: npt.NDArray[np.floating[Any]]) -> go.Figure:
    """Draw the filters of the first convolution, eight to a row, on one scale that is symmetric about zero.

    :param weight: (out_channels, in_channels, height, width).
    """
    filters, channels, height, width = weight.shape
    limit = float(np.abs(weight[np.isfinite(weight)]).max(initial=0)) or 1.0
    # Each filter's channels below each other, with an empty row after each but the last.
    stacked = np.pad(weight.astype(np.float64), ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=np.nan)
    stacked = stacked.reshape(filters, -1, width)[:, :-1]
    in_colour = channels > 1
    grid = TileGrid(filters, stacked.shape[1], width, _COLUMNS, gap=1, label_height=2 if in_colour else 1)
    figure = tile_grid_figure(
        "First-layer filters",
        grid,
        labels=[[str(number)] for number in range(filters)],
        hover=[],  # the heatmap shows each weight
        tile=(30, 56),
        below=COLOUR_BAR_HEIGHT,
        left=28 if in_colour else 8,
        caption=(
            "Weights of the filters of the first convolution"
            + ("; each filter has a row for every input channel" if in_colour else "")
            + ". Bright pixels under blue weights raise the response, under red ones they lower it. A filter that is "
            "blue on one side and red on the other detects an edge; one of a single colour measures brightness."
        ),
        alt=f"{filters} filters of {height} by {width} weights; the largest absolute weight is {limit:.2g}.",
    )
    scale = {"colorscale": DIVERGING, "zmid": 0, "zmin": -limit, "zmax": limit}
    bar, hover = colour_bar("weight", exponentformat="power"), "weight %{z:.4g}<extra></extra>"
    figure.add_heatmap(z=grid.paste(stacked, np.nan), colorbar=bar, hovertemplate=hover, **scale)
    if in_colour:
        names = "RGB" if channels == 3 else [str(channel) for channel in range(channels)]
        tops = [grid.corner(first)[0] + (height - 1) / 2 for first in range(0, filters, _COLUMNS)]
        label_rows(figure, [(top + k * (height + 1), name) for top in tops for k, name in enumerate(names)])
    return figure


def feature_map_figure(activations: Mapping[str, npt.NDArray[np.floating[Any]]], *, max_channels: int = 8) -> go.Figure:
    """Draw feature maps of one image, a row for each layer.

    :param activations: {layer: (C, H, W)} in forward order.
    :param max_channels: the number of channels to draw of each layer; those that vary most.
    """
    sides = np.array([maps.shape[1:] for maps in activations.values()]).max(axis=0)
    height, width = (max(1, round(side)) for side in sides * min(1.0, MAX_PIXELS / sides.max()))
    tiles = np.full((len(activations), max_channels, height, width), np.nan, np.float32)
    hover = []
    for row, (layer, maps) in enumerate(activations.items()):
        channels = most_variable_channels(maps, max_channels)
        chosen = np.nan_to_num(maps[channels].astype(np.float64))
        low, high = chosen.min(), chosen.max()
        tiles[row, : len(channels)] = resize_nearest((chosen - low) / ((high - low) or 1), height, width)
        texts = [
            f"{layer}, channel {channel}<br>{image.min():.3g} to {image.max():.3g}"
            for channel, image in zip(channels, chosen, strict=True)
        ]
        hover += texts + [""] * (max_channels - len(channels))
    grid = TileGrid(len(hover), height, width, max_channels, gap=max(1, width // 12), label_height=0)
    names = [shorten_label(layer) for layer in activations]
    figure = tile_grid_figure(
        "Feature maps of one image",
        grid,
        labels=[],
        hover=hover,
        tile=(30, 72),
        below=COLOUR_BAR_HEIGHT,
        left=16 + text_width(names),
        caption=(
            f"Activations of one image after the first layers and after each block: the channels that vary most (at "
            f"most {max_channels}), each row on its own range. Early maps resemble the image; later ones are coarser "
            "and show where a feature occurs. A map without contrast is a channel that does not respond to this image."
        ),
        alt=f"Feature maps of one image after {', '.join(activations)}.",
    )
    bar = colour_bar("activation, within its row's range", tickvals=[0, 1], ticktext=["lowest", "highest"])
    canvas = grid.paste(tiles.reshape(-1, height, width), np.nan)
    figure.add_heatmap(z=canvas, colorscale="Viridis", zmin=0, zmax=1, hoverinfo="skip", colorbar=bar)
    middle = (height - 1) / 2
    label_rows(figure, [(grid.corner(row * max_channels)[0] + middle, name) for row, name in enumerate(names)])
    return figure


def resize_nearest(images: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Return images (..., h, w) as (..., height, width), each pixel the nearest of the image."""
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), images.shape[-2:], strict=True))
    resized: npt.NDArray[Any] = images[..., rows, :][..., columns]
    return resized
