"""How gradients reach the first layers: by layer, by depth, and through the two paths of a block."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from glassnet.pages.figures.curves import legend
from glassnet.pages.figures.tile_grid import TileGrid, label_rows, tile_grid_figure
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    COLOUR_BAR_HEIGHT,
    TEST,
    TEXT,
    TITLE_HEIGHT,
    TRAIN,
    buttons,
    colour_bar,
    logarithmic,
    new_figure,
    text_width,
)

if TYPE_CHECKING:
    from glassnet.studies.gradient_flow import BlockSplit, Flow

_DASHES = ("dot", "dash", "solid", "dashdot", "longdash", "longdashdot")
MAX_NAMED_BLOCKS = 12


def gradient_by_layer_figure(flows: "Sequence[Flow]", norm: str) -> go.Figure:
    """The gradient's norm in each convolution, plain and residual, at the moments that the buttons choose.

    :param flows: networks of one normalization, measured at the same moments.
    :param norm: what that normalization is called.
    """
    ends = "; ".join(f"{f.name}: {f.norms[0][0]:.2g} in the first, {f.norms[0][-1]:.2g} in the last" for f in flows)
    figure = new_figure(
        f"Gradient norms {norm}",
        caption=(
            "Each line is one network, from its first convolution on the left to its last. A flat line is what one "
            "learning rate for all layers needs; lines of one height, what one rate for all depths needs. The buttons "
            "show the same networks after some steps of training."
        ),
        alt=f"Line chart, logarithmic axis, of the gradient's norm by layer. At the start, {ends}.",
        height=420 + BUTTONS_HEIGHT,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": 96},
    )
    depths = sorted({flow.depth for flow in flows})
    for flow in flows:
        figure.add_scatter(
            x=list(range(1, len(flow.layers) + 1)),
            y=_drawable(flow.norms[0]),
            text=flow.layers,
            name=flow.name,
            mode="lines+markers" if len(flow.layers) < 12 else "lines",
            line={
                "color": TRAIN if flow.residual else TEST,
                "dash": _DASHES[(depths.index(flow.depth) - len(depths) + 3) % len(_DASHES)],
                "width": 2,
            },
            marker={"size": 4},
            hovertemplate=f"{flow.name}<br>%{{text}}: %{{y:.3g}}<extra></extra>",
        )
    moments = {
        _moment(step): {"y": [_drawable(f.norms[place]) for f in flows]} for place, step in enumerate(flows[0].steps)
    }
    figure.update_layout(updatemenus=buttons("restyle", moments), legend=legend())
    figure.update_xaxes(title_text="convolution, first to last", zeroline=False)
    return figure.update_yaxes(title_text="L2 norm of the gradient", **_logarithmic(flows))


def first_layer_figure(flows: "Sequence[Flow]") -> go.Figure:
    """The gradient's norm at the first layer, at the start, as a function of depth."""
    figure = new_figure(
        "The first layer’s gradient by depth",
        caption=(
            "How strongly the loss pulls at the layer that is furthest from it, before any training. A line that falls "
            "is a vanishing gradient, one that rises an exploding one; both axes are logarithmic."
        ),
        alt="Line chart of the norm of the first layer's gradient over the number of layers. "
        + "; ".join(f"{f.name}, normalization {f.norm}: {f.norms[0][0]:.2g}" for f in flows)
        + ".",
        height=400,
        margin={"b": 96},
    )
    for norm, symbol, dash in (("batch", "circle", "solid"), ("none", "diamond-open", "dash")):
        for residual, colour in ((False, TEST), (True, TRAIN)):
            line = sorted((f for f in flows if (f.norm, f.residual) == (norm, residual)), key=lambda f: f.depth)
            if not line:
                continue
            name = f"{'residual' if residual else 'plain'}, {'batch' if norm == 'batch' else 'no'} normalization"
            figure.add_scatter(
                x=[flow.depth for flow in line],
                y=_drawable([flow.norms[0][0] for flow in line]),
                name=name,
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2},
                marker={"symbol": symbol, "size": 8},
                hovertemplate=f"{name}<br>%{{x}} layers: %{{y:.3g}}<extra></extra>",
            )
    depths = sorted({flow.depth for flow in flows})
    figure.update_xaxes(title_text="layers", type="log", tickvals=depths, ticktext=list(map(str, depths)))
    figure.update_yaxes(title_text="L2 norm of the gradient", **_logarithmic(flows))
    return figure.update_layout(legend=legend())


def split_figure(splits: "Sequence[BlockSplit]") -> go.Figure:
    """The norm of the whole gradient at each block's input, and of its parts through the skip and through F."""
    names = [split.block for split in splits]
    many = len(names) > MAX_NAMED_BLOCKS
    foot = 96 if many else 84 + text_width(names) * 0.75
    figure = new_figure(
        "The two parts of each block’s gradient",
        caption=(
            "What arrives at each block's input, first block on the left, and how much of it came which way. Norms do "
            "not add up as the gradients do: where both parts point the same way the whole is longer than either, "
            "where they are opposed it is shorter."
        ),
        alt="Line chart, logarithmic axis. "
        + "; ".join(f"{s.block}: skip {s.skip:.2g}, F {s.body:.2g}, whole {s.whole:.2g}" for s in splits)
        + ".",
        height=320 + foot,
        margin={"b": foot},
    )
    places = list(range(1, len(splits) + 1))
    for name, values, colour, symbol, dash in (
        ("whole", [split.whole for split in splits], TEXT, "circle", "solid"),
        ("through the skip", [split.skip for split in splits], TRAIN, "diamond", "dash"),
        ("through F", [split.body for split in splits], TEST, "square", "dot"),
    ):
        figure.add_scatter(
            x=places,
            y=_drawable(values),
            text=names,
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 7},
            hovertemplate=f"%{{text}}, {name}: %{{y:.3g}}<extra></extra>",
        )
    if many:
        figure.update_xaxes(title_text="block, first to last", zeroline=False)
    else:
        figure.update_xaxes(tickvals=places, ticktext=names, tickangle=-45, zeroline=False)
    drawn = [norm for split in splits for norm in (split.whole, split.skip, split.body)]
    figure.update_yaxes(title_text="L2 norm of the gradient", **logarithmic(drawn))
    return figure.update_layout(legend=legend())


def split_maps_figure(splits: "Sequence[BlockSplit]", most: int = 3) -> go.Figure:
    """One image's gradient at the inputs of some blocks: through the skip, through F, and both together."""
    chosen = [splits[place] for place in sorted({*np.linspace(0, len(splits) - 1, most).round().astype(int).tolist()})]
    height, width = np.max([split.maps.shape[1:] for split in chosen], axis=0)
    limits = [float(np.abs(split.maps).max()) or 1.0 for split in chosen]
    tiles = np.concatenate(
        [_enlarged(split.maps / limit, height, width) for split, limit in zip(chosen, limits, strict=True)]
    )
    parts = ["through the skip", "through F", "whole"]
    names = [split.block for split in chosen]
    tiling = TileGrid(len(tiles), height, width, 3, gap=max(1, width // 10), label_height=-(-20 * width // 90))
    figure = tile_grid_figure(
        "The gradient of one image",
        tiling,
        labels=[[part] for _ in chosen for part in parts],
        hover=[f"{split.block}, {part}" for split in chosen for part in parts],
        tile=(80, 150),
        below=COLOUR_BAR_HEIGHT,
        left=16 + text_width(names),
        caption=(
            "Left plus middle is right, pixel by pixel. Each row is a block, in the channel where its gradient is "
            "largest, on its own range: blue above 0, red below, white 0."
        ),
        alt=f"Three maps for each of {', '.join(names)}: the gradient through the skip, through F, and the whole.",
    )
    bar = colour_bar("gradient, within its row’s range", tickvals=[-1, 0, 1], ticktext=["−largest", "0", "largest"])
    canvas = tiling.paste(tiles, np.nan)
    figure.add_heatmap(z=canvas, colorscale="RdBu", zmid=0, zmin=-1, zmax=1, hoverinfo="skip", colorbar=bar)
    label_rows(figure, [(tiling.corner(row * 3)[0] + (height - 1) / 2, name) for row, name in enumerate(names)])
    return figure


def _enlarged(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """(count, h, w) -> (count, height, width), each place the nearest of the map."""
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), maps.shape[1:], strict=True))
    enlarged: np.ndarray = maps[:, rows][:, :, columns]
    return enlarged


def _moment(step: int) -> str:
    return "at the start" if step == 0 else "after 1 step" if step == 1 else f"after {step} steps"


def _drawable(norms: Sequence[float]) -> list[float | None]:
    """What a logarithmic axis has no place for leaves a gap."""
    return [norm if 0 < norm < float("inf") else None for norm in norms]


def _logarithmic(flows: "Sequence[Flow]") -> dict[str, Any]:
    return logarithmic(norm for flow in flows for norms in flow.norms for norm in norms)
