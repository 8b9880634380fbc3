"""Inside the network: the filters of the first layer, and the feature maps of one image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.measures.layers import most_variable_channels
from glassnet.pages.figures.tile_grid import TileGrid, label_rows, tile_grid_figure
from glassnet.pages.theme import COLOUR_BAR_HEIGHT, colour_bar, shorten_label, text_width

MAX_PIXELS = 48  # of a feature map's longer side


def filter_figure(weight: npt.NDArray[np.floating[Any]]) -> go.Figure:
    """The filters of the first convolution, eight across, on one scale that is symmetric about zero.

    :param weight: (out_channels, in_channels, height, width).
    """
    filters, channels, height, width = weight.shape
    columns = 8
    limit = float(np.abs(weight[np.isfinite(weight)]).max(initial=0)) or 1.0
    stacked = np.full((filters, channels * (height + 1) - 1, width), np.nan, np.float64)
    for channel in range(channels):
        top = channel * (height + 1)
        stacked[:, top : top + height] = weight[:, channel]
    tiling = TileGrid(filters, stacked.shape[1], width, columns, gap=1, label_height=2 if channels > 1 else 1)
    figure = tile_grid_figure(
        "First-layer filters",
        tiling,
        labels=[[str(number)] for number in range(filters)],
        hover=[],  # each weight tells itself
        tile=(30, 56),
        below=COLOUR_BAR_HEIGHT,
        left=28 if channels > 1 else 8,
        caption=(
            "Under blue weights bright pixels raise the answer, under red ones they lower it. A filter that is blue on "
            "one side and red on the other finds an edge between them; one of a single colour measures brightness."
            + (" Each filter has a row for every input channel." if channels > 1 else "")
        ),
        alt=f"{filters} filters of {height} by {width} weights, the largest weight {limit:.2g} in size.",
    )
    figure.add_heatmap(
        z=tiling.paste(stacked, np.nan),
        colorscale="RdBu",
        zmid=0,
        zmin=-limit,
        zmax=limit,
        hovertemplate="weight %{z:.4g}<extra></extra>",
        colorbar=colour_bar("weight", exponentformat="power"),
    )
    if channels > 1:
        names = "RGB" if channels == 3 else [str(channel) for channel in range(channels)]
        places = [
            (tiling.corner(first)[0] + channel * (height + 1) + (height - 1) / 2, names[channel])
            for first in range(0, filters, columns)
            for channel in range(channels)
        ]
        label_rows(figure, places)
    return figure


def feature_map_figure(activations: Mapping[str, npt.NDArray[np.floating[Any]]], *, most: int = 8) -> go.Figure:
    """Feature maps of one image, a row for each stage of the network.

    :param activations: {stage: (C, H, W)} in forward order; of each the ``most`` channels that vary most are drawn.
    """
    sides = np.array([maps.shape[1:] for maps in activations.values()]).max(axis=0)
    height, width = (max(1, round(side)) for side in sides * min(1.0, MAX_PIXELS / sides.max()))
    tiles, hover = [], []
    for stage, maps in activations.items():
        channels = most_variable_channels(maps, most)
        chosen = np.nan_to_num(maps[channels].astype(np.float64))
        low, high = chosen.min(), chosen.max()
        relative = (chosen - low) / ((high - low) or 1)
        tiles += [*resize_nearest(relative, height, width)] + [np.full((height, width), np.nan)] * (
            most - len(channels)
        )
        hover += [
            f"{stage}, channel {channel}<br>{image.min():.3g} to {image.max():.3g}"
            for channel, image in zip(channels, chosen, strict=True)
        ] + [""] * (most - len(channels))
    tiling = TileGrid(len(tiles), height, width, most, gap=max(1, width // 12), label_height=0)
    stage_names = [shorten_label(stage) for stage in activations]
    figure = tile_grid_figure(
        "Feature maps of one test image",
        tiling,
        labels=[],
        hover=hover,
        tile=(30, 72),
        below=COLOUR_BAR_HEIGHT,
        left=16 + text_width(stage_names),
        caption=(
            "The image's way through the network, from top to bottom: early maps still look like it, later ones are "
            f"coarser and say where something was found. Each row shows the channels that vary most (at most {most}), "
            "on its own range; a map without any contrast is a channel that does not answer to this image."
        ),
        alt=f"Feature maps of one image after {', '.join(activations)}.",
    )
    bar = colour_bar("activation, within its row's range", tickvals=[0, 1], ticktext=["lowest", "highest"])
    figure.add_heatmap(
        z=tiling.paste(np.array(tiles, np.float32), np.nan),
        colorscale="Viridis",
        zmin=0,
        zmax=1,
        hoverinfo="skip",
        colorbar=bar,
    )
    label_rows(
        figure, [(tiling.corner(row * most)[0] + (height - 1) / 2, name) for row, name in enumerate(stage_names)]
    )
    return figure


def resize_nearest(images: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Resize (..., h, w) to (..., height, width): each pixel takes the value of the nearest one."""
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), images.shape[-2:], strict=True))
    result: npt.NDArray[Any] = images[..., rows[:, np.newaxis], columns]
    return result
