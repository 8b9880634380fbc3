"""What a convolution does to one image: answers of kernels, sizes, and how far each layer sees."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from glassnet.pages.figures.curves import legend
from glassnet.pages.figures.tile_grid import TileGrid, tile_grid_figure
from glassnet.pages.theme import (
    COLOUR_BAR_HEIGHT,
    LABEL_SIZE,
    TEST,
    TEXT,
    TRAIN,
    VALIDATION,
    colour_bar,
    new_figure,
    text_width,
    written,
)

if TYPE_CHECKING:
    from glassnet.studies.convolution import ConvolutionStudy, Field

MOST_SQUARES = 6
MOST_NAMED_LAYERS = 14


def kernel_answer_figure(study: "ConvolutionStudy") -> go.Figure:
    """The image, and what each kernel answers, titled by what it answers to; each answer on its own range."""
    height, width = study.image.shape
    tiles = np.full((1 + len(study.answers), height, width), np.nan)
    hover = [f"{written(study.name, 60)}<br>{height}×{width} pixels, 0 (black) to 1 (white)"]
    for tile, answer in zip(tiles[1:], study.answers, strict=True):
        limit = float(np.abs(answer.response).max()) or 1.0
        tile[1:-1, 1:-1] = answer.response / limit
        low, high = answer.response.min(), answer.response.max()
        hover.append(f"{answer.kernel.name}<br>answers to {answer.kernel.answers_to}<br>{low:.3g} to {high:.3g}")
    labels = [f"{written(study.name, 30)}", *(answer.kernel.answers_to for answer in study.answers)]
    figure, tiling = _tiled(
        "What each kernel answers to",
        tiles,
        columns=3,
        line=16,
        labels=labels,
        hover=hover,
        caption=(
            "Below each answer stands what its kernel answers to. White is no answer, blue above 0, red below. The "
            "kernel with the columns 1, 0, −1 is blue where the image is brighter on the left and red where it is "
            "brighter on the right: it finds vertical edges, and a horizontal one leaves it white."
        ),
        alt=f"The image in gray and {len(study.answers)} answers to it, for {', '.join(labels[1:])}.",
    )
    answers = tiling.lay(tiles, np.nan)
    image = np.full_like(answers, np.nan)
    image[:height, :width], answers[:height, :width] = study.image, np.nan
    figure.add_heatmap(z=image, colorscale="gray", zmin=0, zmax=1, showscale=False, hoverinfo="skip")
    ticks = {"tickvals": [-1, 0, 1], "ticktext": ["−largest", "0", "largest"]}
    return _add_diverging(figure, answers, "answer, within its tile's range", **ticks)


def correlation_figure(study: "ConvolutionStudy") -> go.Figure:
    """A lopsided kernel, one white pixel, and what becomes of it with the kernel as it is, and flipped."""
    kernel = np.full(study.point.shape, np.nan)
    kernel[1:-1, 1:-1] = study.kernel
    tiles = np.stack([kernel, study.point, study.correlated, study.flipped])
    labels = ["the kernel", "one white pixel", "Conv2d’s answer", "with the kernel flipped"]
    came, other = ("the kernel itself", "turned") if study.flips else ("the kernel turned by 180°", "the kernel itself")
    figure, tiling = _tiled(
        "One white pixel",
        tiles,
        columns=4,
        line=12,
        labels=labels,
        hover=[],
        caption=(
            f"The third tile shows {came}. A flipped kernel gives {other}: this is what mathematicians call a "
            "convolution. A network learns its kernels, so to flip them would only store them the other way round."
        ),
        alt=f"Four tiles of numbers: {', '.join(labels)}. Conv2d answers with {came}.",
    )
    values = tiling.lay(tiles, np.nan)
    limit = float(np.nanmax(np.abs(values)))
    _add_diverging(figure, values / limit, "value", tickvals=[-1, 0, 1], ticktext=[f"{-limit:g}", "0", f"{limit:g}"])
    texts = [["" if np.isnan(value) else f"{value:g}" for value in row] for row in values]
    return figure.update_traces(
        text=texts, texttemplate="%{text}", textfont={"size": LABEL_SIZE}, selector={"type": "heatmap"}
    )


def output_size_figure(study: "ConvolutionStudy") -> go.Figure:
    """Height of the output over the size of the kernel, one line for each padding, stride and dilation."""
    height = study.image.shape[0]
    told = "; ".join(f"{name}: {', '.join('–' if v is None else str(v) for v in s)}" for name, s in study.sides.items())
    figure = new_figure(
        "Kernel size and output size",
        caption=(
            f"The image is {height} pixels high. With padding “same” it stays so; without padding each step of the "
            "kernel costs one pixel, with a dilation of 2 two, and a stride of 2 keeps half. A line ends where the "
            "kernel no longer fits."
        ),
        alt=f"Line chart of the output's height for kernels from 1 on. {told}.",
        height=360,
    )
    styles = (
        (TRAIN, "circle", "solid"),
        (TEST, "diamond", "solid"),
        (VALIDATION, "square", "dash"),
        (TEXT, "x", "dot"),
    )
    for (name, sides), (colour, symbol, dash) in zip(study.sides.items(), styles, strict=True):
        figure.add_scatter(
            x=list(range(1, len(sides) + 1)),
            y=list(sides),
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 7},
            cliponaxis=False,
            hovertemplate=f"{name}, kernel %{{x}}: %{{y}} pixels<extra></extra>",
        )
    figure.update_xaxes(title_text="kernel size (pixels)", dtick=1, zeroline=False)
    figure.update_yaxes(title_text="output height (pixels)", rangemode="tozero")
    return figure.update_layout(legend=legend())


def field_on_image_figure(study: "ConvolutionStudy") -> go.Figure:
    """The image, and around its middle the rectangle that one output of a layer sees, layer after layer."""
    height, width = study.image.shape
    chosen = _telling(study.fields)
    names = [f"{field.layer}: {field.view.size[0]}×{field.view.size[1]}" for field in chosen]
    foot = 28 + 22 * len(chosen)
    side = 380
    figure = new_figure(
        "What one output sees",
        caption=(
            "Each rectangle is all that the output in the middle of that layer's map can know of the image. A "
            "rectangle that reaches the border is cut off there; the rest of it lies in the padding."
        ),
        alt=f"The image with rectangles around its middle, in pixels: {'; '.join(names)}.",
        width=side + 16,
        height=52 + side * height / width + foot,
        margin={"l": 8, "r": 8, "b": foot},
    )
    figure.add_heatmap(z=study.image, colorscale="gray", zmin=0, zmax=1, showscale=False, hoverinfo="skip")
    colours = sample_colorscale("Plasma", np.linspace(0.35, 0.95, len(chosen)).tolist())
    for place, (field, name, colour) in enumerate(zip(chosen, names, colours, strict=True)):
        (top, bottom), (left, right) = field.rows, field.columns
        inset = -0.5 + place * 0.004 * width * (field.rows == (0, height))  # whole images lie inside each other
        x0, x1, y0, y1 = left + inset, right - 1 - inset, top + inset, bottom - 1 - inset
        figure.add_scatter(
            x=[x0, x1, x1, x0, x0],
            y=[y0, y0, y1, y1, y0],
            name=name,
            mode="lines",
            line={"color": colour, "width": 3},
            cliponaxis=False,
            hovertemplate=f"{name}<extra></extra>",
        )
    figure.update_xaxes(visible=False, range=[-0.5, width - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, range=[height - 0.5, -0.5], scaleanchor="x", constrain="domain")
    return figure.update_layout(legend=legend() | {"orientation": "v", "font": {"size": 11}})


def field_growth_figure(study: "ConvolutionStudy") -> go.Figure:
    """Height of the receptive field, layer by layer, beside the image's own height."""
    fields, height = study.fields, study.image.shape[0]
    names = [field.layer for field in fields]
    many = len(names) > MOST_NAMED_LAYERS
    sizes = [field.view.size[0] for field in fields]
    foot = 72 if many else 60 + text_width(names) * 0.75
    figure = new_figure(
        "The receptive field grows",
        caption=(
            "Where the line meets the dashed one, an output sees as many rows as the image has, but some may lie in "
            "the padding: the output in the middle sees from top to bottom once the line is above, those at the border "
            "once it is about twice as high. It is steeper behind each stride, where neighbours lie further apart."
        ),
        alt=f"Line chart of the receptive field's height, from {sizes[0]} pixels in {names[0]} to {sizes[-1]} in "
        f"{names[-1]}; the image is {height} pixels high.",
        height=300 + foot,
        margin={"b": foot},
    )
    places = list(range(1, len(names) + 1))
    figure.add_scatter(
        x=places,
        y=sizes,
        text=names,
        name="one output sees",
        mode="lines+markers",
        line={"color": TRAIN, "width": 2},
        hovertemplate="%{text}: %{y} pixels<extra></extra>",
    )
    figure.add_scatter(
        x=[places[0], places[-1]],
        y=[height, height],
        name="the image’s height",
        mode="lines",
        line={"color": TEST, "width": 2, "dash": "dash"},
        hovertemplate=f"the image: {height} pixels<extra></extra>",
    )
    figure.update_yaxes(title_text="height (pixels)", rangemode="tozero")
    if many:
        figure.update_xaxes(title_text="layer, in forward order", zeroline=False)
    else:
        figure.update_xaxes(tickvals=places, ticktext=names, tickangle=-45, zeroline=False)
    return figure.update_layout(legend=legend())


def _telling(fields: "Sequence[Field]") -> "list[Field]":
    """At most MOST_SQUARES fields that differ in what they see of the image, from the first to the last."""
    differing: dict[tuple[tuple[int, int], tuple[int, int]], Field] = {}
    for field in fields:
        differing.setdefault((field.rows, field.columns), field)
    several = list(differing.values())
    chosen = np.linspace(0, len(several) - 1, min(MOST_SQUARES, len(several))).round().astype(int)
    return [several[place] for place in chosen]


def _tiled(
    title: str,
    tiles: npt.NDArray[Any],
    *,
    columns: int,
    line: int,
    labels: Sequence[str],
    hover: list[str],
    caption: str,
    alt: str,
) -> tuple[go.Figure, TileGrid]:
    """A mosaic of tiles (count, H, W), below each its label in lines of ``line`` characters; no pixels yet."""
    lines = [textwrap.wrap(label, line) for label in labels]
    deepest = max(map(len, lines))
    least = 8 + text_width([line for label in lines for line in label], LABEL_SIZE) * 0.92
    band = -(-int((deepest * (LABEL_SIZE + 4) + 6) * tiles.shape[2]) // int(least))
    tiling = TileGrid(len(tiles), tiles.shape[1], tiles.shape[2], columns, gap=max(1, tiles.shape[2] // 16), band=band)
    figure = tile_grid_figure(
        title,
        tiling,
        labels=[line + [""] * (deepest - len(line)) for line in lines],
        hover=hover,
        tile=(least, max(600 / columns, least)),
        below=COLOUR_BAR_HEIGHT,
        left=8,
        caption=caption,
        alt=alt,
    )
    return figure, tiling


def _add_diverging(figure: go.Figure, values: npt.NDArray[Any], title: str, **ticks: Any) -> go.Figure:
    """Values from −1 to 1 in RdBu, white at 0."""
    bar = colour_bar(title, **ticks)
    return figure.add_heatmap(z=values, colorscale="RdBu", zmid=0, zmin=-1, zmax=1, hoverinfo="skip", colorbar=bar)
