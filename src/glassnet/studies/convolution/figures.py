"""Figures of a convolution: kernel responses, output sizes, and receptive fields."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from glassnet.pages.colours import DEPTH, DIVERGING, TEST, TEXT, TRAIN, VALIDATION
from glassnet.pages.figures.curves import layer_axis
from glassnet.pages.figures.tile_grid import TileGrid, tile_grid_figure
from glassnet.pages.text import format_shape
from glassnet.pages.theme import (
    COLOUR_BAR_HEIGHT,
    LABEL_SIZE,
    colour_bar,
    legend,
    line_style,
    new_figure,
    shorten_label,
    text_width,
)
from glassnet.studies.convolution.kernels import Kernel
from glassnet.studies.convolution.measure import Array, ConvolutionStudy, KernelResponse, LayerField

MAX_RECTANGLES = 6
OVERLAY_WIDTH = 300  # pixels
_DIVERGING = {"colorscale": DIVERGING, "zmid": 0, "zmin": -1, "zmax": 1, "showscale": False, "hoverinfo": "skip"}
_GRAY = {"colorscale": "gray", "zmin": 0, "zmax": 1, "showscale": False, "hoverinfo": "skip"}


def kernel_response_figure(study: ConvolutionStudy) -> go.Figure:
    """Draw the image, then each kernel with its numbers beside its response, each response on its own range."""
    height, width = study.image.shape
    side = max(height, width)
    gap = max(1, side // 16)
    size = f"{height}×{width} pixels"
    labels = [[shorten_label(study.name), size, "0 to 1"], *map(_response_label, study.responses)]
    figure, grid = _tile_grid(
        "Kernels and their responses",
        (len(labels), side, 2 * side + gap),
        columns=3,
        labels=labels,
        hover=["<br>".join(lines) for lines in labels],
        caption=(
            "Each kernel and its response to the image, with the size of the response and its range: blue is positive, "
            "red negative, and 0 has no colour. Sobel x is blue where the image is brighter on the left, red where it "
            "is brighter on the right, and does not respond to horizontal edges."
        ),
        alt=f"The image in gray and the responses of {len(study.responses)} kernels: "
        f"{', '.join(response.kernel.name for response in study.responses)}.",
        usual=1.7,
    )
    image, tiles = np.full(grid.size, np.nan), np.full((len(labels), side, 2 * side + gap), np.nan)
    _paste(image, study.image, 0, (side + gap) // 2, side)
    for index, (tile, response) in enumerate(zip(tiles[1:], study.responses, strict=True), start=1):
        values = response.response / (max(-response.lowest, response.highest) or 1.0)
        _paste(tile, values, 0, side + gap, side)
        _add_kernel(figure, response.kernel, grid.corner(index), side)
    figure.add_heatmap(z=image, **_GRAY)
    ticks = {"tickvals": [-1, 0, 1], "ticktext": ["−largest", "0", "largest"]}
    return _add_diverging(figure, grid.paste(tiles, np.nan), "response, within its tile's range", **ticks)


def _response_label(response: KernelResponse) -> list[str]:
    kernel = response.kernel
    low, high = (round(value, 1) + 0.0 for value in (response.lowest, response.highest))
    factor = "" if kernel.divisor == 1 else f", times 1/{kernel.divisor}"
    size = format_shape(response.response.shape)
    return [f"{kernel.name}{factor}", kernel.responds_to, f"{size}: {low:g} to {high:g}".replace("-", "−")]


def _paste(canvas: Array, values: Array, top: int, left: int, side: int) -> None:
    """Write values into the middle of a square of the canvas."""
    height, width = values.shape
    top, left = top + (side - height) // 2, left + (side - width) // 2
    canvas[top : top + height, left : left + width] = values


def _add_kernel(figure: go.Figure, kernel: Kernel, corner: tuple[int, int], side: int) -> None:
    """Draw a kernel with its numbers in a square of the grid."""
    numbers = np.array(kernel.numerators)
    limit, cell = np.abs(numbers).max(), side / len(numbers)
    centres = (np.arange(len(numbers)) + 0.5) * cell - 0.5
    figure.add_heatmap(
        z=numbers / limit,
        x=corner[1] + centres,
        y=corner[0] + centres,
        xgap=1,
        ygap=1,
        **_DIVERGING,
        **_numbers(numbers),
    )


def correlation_figure(study: ConvolutionStudy) -> go.Figure:
    """Draw an asymmetric kernel, one white pixel, and the responses with the kernel as it is and turned by 180°."""
    kernel = np.full(study.point.shape, np.nan)
    kernel[1:-1, 1:-1] = study.kernel
    tiles = np.stack([kernel, study.point, study.correlated, study.flipped])
    labels = [["kernel", "3×3"], ["one pixel", "5×5"], ["Conv2d", "5×5"], ["flipped", "5×5"]]
    shown, other = (
        ("the kernel itself", "turned") if study.flips else ("the kernel turned by 180°", "the kernel itself")
    )
    figure, grid = _tile_grid(
        "One white pixel",
        tiles.shape,
        columns=4,
        labels=labels,
        hover=[],
        caption=(
            f"Responses to one white pixel. That of Conv2d is {shown}; a flipped kernel gives {other}, which is the "
            "convolution of mathematics. A network learns its kernels, so a flip would only store them turned."
        ),
        alt=f"Four tiles of numbers: {', '.join(map(' '.join, labels))}. Conv2d’s response is {shown}.",
        usual=1.6,
    )
    values = grid.paste(tiles, np.nan)
    limit = float(np.nanmax(np.abs(values)))
    _add_diverging(figure, values / limit, "value", tickvals=[-1, 0, 1], ticktext=[f"−{limit:g}", "0", f"{limit:g}"])
    return figure.update_traces(**_numbers(values), selector={"type": "heatmap"})


def kernel_size_figure(study: ConvolutionStudy) -> go.Figure:
    """Draw the output height over the kernel size, one line for each padding, stride and dilation."""
    height = study.image.shape[0]
    described = [f"{name}: {', '.join('–' if h is None else str(h) for h in hs)}" for name, hs in study.heights.items()]
    figure = new_figure(
        "Kernel size and output size",
        caption=(
            f"Output height for an image {height} pixels high. Padding “same” keeps the height. Without padding each "
            "pixel of the kernel costs one, with a dilation of 2 it costs two, and a stride of 2 keeps half. A line "
            "ends where the kernel no longer fits."
        ),
        alt=f"Line chart of the output height for kernels from size 1 on. {'; '.join(described)}.",
        height=360,
    )
    styles = (
        (TRAIN, "circle", "solid"),
        (TEST, "diamond", "solid"),
        (VALIDATION, "square", "dash"),
        (TEXT, "x", "dot"),
    )
    for (name, heights), (colour, symbol, dash) in zip(study.heights.items(), styles, strict=True):
        style = line_style(name, colour, dash, symbol, hover=f"{name}, kernel %{{x}}: %{{y}} pixels")
        figure.add_scatter(x=list(range(1, len(heights) + 1)), y=list(heights), cliponaxis=False, **style)
    figure.update_xaxes(title_text="kernel size (pixels)", dtick=1, zeroline=False)
    figure.update_yaxes(title_text="output height (pixels)", rangemode="tozero")
    return figure.update_layout(legend=legend())


def receptive_field_overlay_figure(study: ConvolutionStudy) -> go.Figure:
    """Draw the image, and around its middle the receptive fields of some layers."""
    height, width = study.image.shape
    fields = _select_fields(study.fields)
    names = [f"{field.layer}: {field.receptive_field.size[0]}×{field.receptive_field.size[1]}" for field in fields]
    foot = 28 + 22 * len(fields)
    figure = new_figure(
        "Receptive fields of the middle outputs",
        caption=(
            "Part of the image that determines the output in the middle of each layer's map. A rectangle that reaches "
            "the border is cut off there; the rest of it lies in the padding."
        ),
        alt=f"The image with rectangles around its middle, in pixels: {'; '.join(names)}.",
        width=OVERLAY_WIDTH + 16,
        height=52 + OVERLAY_WIDTH * height / width + foot,
        margin={"l": 8, "r": 8, "b": foot},
    )
    figure.add_heatmap(z=study.image, **_GRAY)
    colours = sample_colorscale(DEPTH, np.linspace(0, 1, len(fields)).tolist())
    for index, (field, name, colour) in enumerate(zip(fields, names, colours, strict=True)):
        (top, bottom), (left, right) = field.rows, field.columns
        inset = -0.5 + index * 0.004 * width * (field.rows == (0, height))  # so that equal rectangles stay visible
        x0, x1, y0, y1 = left + inset, right - 1 - inset, top + inset, bottom - 1 - inset
        style = line_style(name, colour, hover=name, width=3)
        figure.add_scatter(x=[x0, x1, x1, x0, x0], y=[y0, y0, y1, y1, y0], cliponaxis=False, **style)
    figure.update_xaxes(visible=False, range=[-0.5, width - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, range=[height - 0.5, -0.5], scaleanchor="x", constrain="domain")
    return figure.update_layout(legend=legend() | {"orientation": "v", "font": {"size": 11}})


def receptive_field_growth_figure(study: ConvolutionStudy) -> go.Figure:
    """Draw the height of the receptive field layer by layer, beside the height of the image."""
    names = [field.layer for field in study.fields]
    sizes, height = [field.receptive_field.size[0] for field in study.fields], study.image.shape[0]
    figure = new_figure(
        "Growth of the receptive field",
        caption=(
            "Height of the receptive field by layer, steeper after each stride. Above the dashed line an output in the "
            "middle covers the whole height of the image; an output at the border does so at about twice that size."
        ),
        alt=f"Line chart of the receptive field's height, from {sizes[0]} pixels in {names[0]} to {sizes[-1]} in "
        f"{names[-1]}; the image is {height} pixels high.",
        height=300,
    )
    field_style = line_style("receptive field", TRAIN, symbol="circle", hover="%{text}: %{y} pixels")
    figure.add_scatter(x=list(range(1, len(names) + 1)), y=sizes, text=names, **field_style)
    image_style = line_style("image", TEST, "dash", hover=f"image: {height} pixels")
    figure.add_scatter(x=[1, len(names)], y=[height, height], **image_style)
    layer_axis(figure, names, "layer, in forward order")
    figure.update_yaxes(title_text="height (pixels)", rangemode="tozero")
    return figure.update_layout(legend=legend())


def _select_fields(fields: Sequence[LayerField]) -> list[LayerField]:
    """Return at most MAX_RECTANGLES fields that cover different pixels, from the first to the last."""
    distinct: dict[Any, LayerField] = {}
    for field in fields:
        distinct.setdefault((field.rows, field.columns), field)
    candidates = list(distinct.values())
    indices = np.linspace(0, len(candidates) - 1, min(MAX_RECTANGLES, len(candidates))).round().astype(int)
    return [candidates[index] for index in indices]


def _tile_grid(
    title: str,
    shape: tuple[int, ...],
    *,
    columns: int,
    labels: list[list[str]],
    hover: list[str],
    caption: str,
    alt: str,
    usual: float,
) -> tuple[go.Figure, TileGrid]:
    """Return a figure of tiles of a shape (count, H, W) without their pixels, and its grid.

    :param usual: the usual width of a tile; 1 is just enough for the labels.
    """
    count, height, width = shape
    min_width = 8 + text_width([line for lines in labels for line in lines], LABEL_SIZE) * 0.92  # on the screen
    label_height = -(-int((len(labels[0]) * (LABEL_SIZE + 4) + 6) * width) // int(min_width))  # in pixels of the tiles
    grid = TileGrid(count, height, width, columns, gap=max(1, height // 16), label_height=label_height)
    figure = tile_grid_figure(
        title,
        grid,
        labels=labels,
        hover=hover,
        tile=(min_width, usual * min_width),
        below=COLOUR_BAR_HEIGHT,
        left=8,
        caption=caption,
        alt=alt,
    )
    return figure, grid


def _add_diverging(figure: go.Figure, values: Array, title: str, **ticks: Any) -> go.Figure:
    """Add values from −1 (red) through 0 to 1 (blue), with their colour bar."""
    return figure.add_heatmap(z=values, **_DIVERGING | {"showscale": True}, colorbar=colour_bar(title, **ticks))


def _numbers(values: Array) -> dict[str, Any]:
    """Return the texts of a heatmap that writes these numbers into its cells; NaN has none."""
    texts = [["" if np.isnan(value) else f"{value:g}".replace("-", "−") for value in row] for row in values]
    return {"text": texts, "texttemplate": "%{text}", "textfont": {"size": LABEL_SIZE, "color": TEXT}}
