"""Figures of gradient norms: by layer, by depth, and through both paths of a block."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from glassnet.formats import pluralize
from glassnet.pages.colours import DIVERGING, TEST, TEXT, TRAIN
from glassnet.pages.figures.curves import layer_axis
from glassnet.pages.figures.maps import resize_nearest
from glassnet.pages.figures.tile_grid import TileGrid, label_rows, tile_grid_figure
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    COLOUR_BAR_HEIGHT,
    TITLE_HEIGHT,
    buttons,
    colour_bar,
    legend,
    line_style,
    logarithmic,
    new_figure,
    text_width,
)
from glassnet.studies.gradient_flow.blocks import BlockGradient
from glassnet.studies.gradient_flow.measure import NORM_NAMES, GradientFlowStudy, GradientNorms

_DASHES = ("dot", "dash", "solid", "dashdot", "longdash", "longdashdot")


def gradient_by_layer_figure(networks: Sequence[GradientNorms], norm: str) -> go.Figure:
    """Draw the gradient norm of each convolution, after the number of steps that the buttons choose.

    :param networks: plain and residual networks of one normalization, measured after the same steps.
    :param norm: the name of that normalization.
    """
    ends = [f"{n.name}: {n.norms[0][0]:.2g} in the first layer, {n.norms[0][-1]:.2g} in the last" for n in networks]
    figure = new_figure(
        f"Gradient norms {norm}",
        caption=(
            "Gradient norm of each convolution, one line per network. One learning rate suits all layers where a line "
            "is flat, and all depths where the lines have one height. The buttons show the same networks during "
            "training."
        ),
        alt=f"Line chart, logarithmic axis, of the gradient norm by layer. Before training, {'; '.join(ends)}.",
        height=420 + BUTTONS_HEIGHT,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": 96},
    )
    depths = sorted({network.depth for network in networks})
    for network in networks:
        colour = TRAIN if network.residual else TEST
        dash = _DASHES[(depths.index(network.depth) - len(depths) + 3) % len(_DASHES)]
        style = line_style(network.name, colour, dash, hover=f"{network.name}<br>%{{text}}: %{{y:.3g}}")
        x = list(range(1, len(network.layers) + 1))
        figure.add_scatter(x=x, y=_positive(network.norms[0]), text=network.layers, **style)
    choices = {
        _step_name(step): {"y": [_positive(network.norms[index]) for network in networks]}
        for index, step in enumerate(networks[0].steps)
    }
    figure.update_layout(updatemenus=buttons("restyle", choices), legend=legend())
    figure.update_xaxes(title_text="convolution, first to last", zeroline=False)
    drawn = logarithmic(norm for network in networks for norms in network.norms for norm in norms)
    return figure.update_yaxes(title_text="L2 norm of the gradient", **drawn)


def first_layer_figure(study: GradientFlowStudy) -> go.Figure:
    """Draw the gradient norm of the first layer before training over the number of layers."""
    values = [f"{n.name}, {NORM_NAMES[n.norm]}: {n.norms[0][0]:.2g}" for n in study.networks]
    figure = new_figure(
        "The first layer’s gradient by depth",
        caption=(
            "Gradient norm of the first layer before training, by network depth; both axes are logarithmic. The "
            "gradient vanishes where a line falls and explodes where it rises."
        ),
        alt=f"Line chart of the norm of the first layer's gradient over the number of layers. {'; '.join(values)}.",
        height=400,
        margin={"b": 96},
    )
    for norm, symbol, dash in (("batch", "circle", "solid"), ("none", "diamond-open", "dash")):
        for residual, colour in ((False, TEST), (True, TRAIN)):
            networks = study.select(norm, residual)
            if not networks:
                continue
            name = f"{'residual' if residual else 'plain'}, {norm if norm == 'batch' else 'no'} normalization"
            norms = _positive([network.norms[0][0] for network in networks])
            style = line_style(name, colour, dash, symbol, hover=f"{name}<br>%{{x}} layers: %{{y:.3g}}")
            figure.add_scatter(x=[network.depth for network in networks], y=norms, **style)
    figure.update_xaxes(title_text="layers", type="log", tickvals=study.depths, ticktext=list(map(str, study.depths)))
    drawn = logarithmic(network.norms[0][0] for network in study.networks)
    figure.update_yaxes(title_text="L2 norm of the gradient", **drawn)
    return figure.update_layout(legend=legend())


def block_gradient_figure(blocks: Sequence[BlockGradient]) -> go.Figure:
    """Draw the norm of the gradient at each block's input, and of its parts through the skip and through F."""
    names = [block.block for block in blocks]
    values = [f"{b.block}: skip {b.skip:.2g}, F {b.body:.2g}, total {b.total:.2g}" for b in blocks]
    figure = new_figure(
        "The two parts of each block’s gradient",
        caption=(
            "Gradient norm at the input of each block, and of its parts, first block on the left. Norms do not add up "
            "as gradients do: parts of one direction give a larger total than either, opposed parts a smaller one."
        ),
        alt=f"Line chart, logarithmic axis. {'; '.join(values)}.",
        height=320,
    )
    for name, norms, colour, symbol, dash in (
        ("total", [block.total for block in blocks], TEXT, "circle", "solid"),
        ("through the skip", [block.skip for block in blocks], TRAIN, "diamond", "dash"),
        ("through F", [block.body for block in blocks], TEST, "square", "dot"),
    ):
        style = line_style(name, colour, dash, symbol, hover=f"%{{text}}, {name}: %{{y:.3g}}")
        figure.add_scatter(x=list(range(1, len(blocks) + 1)), y=_positive(norms), text=names, **style)
    layer_axis(figure, names, "block, first to last")
    drawn = logarithmic(norm for block in blocks for norm in (block.total, block.skip, block.body))
    figure.update_yaxes(title_text="L2 norm of the gradient", **drawn)
    return figure.update_layout(legend=legend())


def block_gradient_maps_figure(blocks: Sequence[BlockGradient], max_blocks: int = 3) -> go.Figure:
    """Draw one image's gradient at the inputs of some blocks: through the skip, through F, and the total."""
    indices = sorted({*np.linspace(0, len(blocks) - 1, max_blocks).round().astype(int).tolist()})
    selected = [blocks[index] for index in indices]
    height, width = np.max([block.maps.shape[1:] for block in selected], axis=0)
    tiles = np.concatenate(
        [resize_nearest(block.maps / (np.abs(block.maps).max() or 1.0), height, width) for block in selected]
    )
    parts, names = ["through the skip", "through F", "total"], [block.block for block in selected]
    grid = TileGrid(len(tiles), height, width, 3, gap=max(1, width // 10), label_height=-(-20 * width // 90))
    figure = tile_grid_figure(
        "The gradient of one image",
        grid,
        labels=[[part] for _ in selected for part in parts],
        hover=[f"{block.block}, {part}" for block in selected for part in parts],
        tile=(80, 150),
        below=COLOUR_BAR_HEIGHT,
        left=16 + text_width(names),
        caption=(
            "Gradient of one image at the input of some blocks, in the channel where it is largest: the left map plus "
            "the middle map is the right one. Each row has its own range, blue above 0, red below."
        ),
        alt=f"Three maps for each of {', '.join(names)}: the gradient through the skip, through F, and the total.",
    )
    bar = colour_bar("gradient, within its row’s range", tickvals=[-1, 0, 1], ticktext=["−largest", "0", "largest"])
    canvas = grid.paste(tiles, np.nan)
    figure.add_heatmap(z=canvas, colorscale=DIVERGING, zmid=0, zmin=-1, zmax=1, hoverinfo="skip", colorbar=bar)
    label_rows(figure, [(grid.corner(row * 3)[0] + (height - 1) / 2, name) for row, name in enumerate(names)])
    return figure


def _step_name(step: int) -> str:
    return "before training" if step == 0 else f"after {pluralize(step, 'step')}"


def _positive(norms: Sequence[float]) -> list[float | None]:
    """Return None, a gap in the line, for values that a logarithmic axis cannot show."""
    return [norm if 0 < norm < float("inf") else None for norm in norms]
