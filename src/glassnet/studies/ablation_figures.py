"""What each residual block of a trained network is worth."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from glassnet.pages.figures.curves import finite, legend
from glassnet.pages.theme import CATEGORY_AXIS, TEST, TEXT, TITLE_HEIGHT, TRAIN, new_figure, text_width

if TYPE_CHECKING:
    from glassnet.studies.ablation import BlockWorth

_ROW, _FOOT = 26, 96  # pixels: of a bar, and below the plotting area
MOST_NAMED_BLOCKS = 12
_KINDS = (("same shape: the identity is left", True, TRAIN), ("new shape: the shortcut is left", False, TEST))


def block_worth_figure(blocks: "Sequence[BlockWorth]") -> go.Figure:
    """How much accuracy each block's absence costs, with its 95 % interval; the costliest on top.

    :param blocks: in the order in which they are to stand.
    """
    names = [block.block for block in blocks]
    figure = new_figure(
        "Accuracy lost without each block",
        caption=(
            "The line at each bar's end is the 95% interval of the difference, from the images that only one of the "
            "two networks names correctly. Where it reaches 0, chance may explain the difference; a bar to the left "
            "of 0 means that the network does better without the block."
        ),
        alt="Bars, one a block. "
        + "; ".join(f"without {block.block} {100 * block.accuracy_drop:.1f} points" for block in blocks)
        + ".",
        height=TITLE_HEIGHT + _ROW * max(len(blocks), 3) + _FOOT,
        margin={"l": 20 + text_width(names), "b": _FOOT, "r": 24},
    )
    for name, is_same, colour in _KINDS:
        shown = [block for block in blocks if (block.left == "identity") == is_same]
        if not shown:
            continue
        drops = [100 * block.accuracy_drop for block in shown]
        figure.add_bar(
            x=drops,
            y=[block.block for block in shown],
            name=name,
            orientation="h",
            marker_color=colour,
            error_x={
                "type": "data",
                "array": [100 * b.accuracy_interval[1] - drop for b, drop in zip(shown, drops, strict=True)],
                "arrayminus": [drop - 100 * b.accuracy_interval[0] for b, drop in zip(shown, drops, strict=True)],
                "color": TEXT,
                "thickness": 1.5,
                "width": 4,
            },
            customdata=[(block.lost, block.gained, block.p_value) for block in shown],
            hovertemplate=(
                "without %{y}: %{x:.2f} points<br>%{customdata[0]} images lost, %{customdata[1]} gained"
                "<br>p-value %{customdata[2]:.3g}<extra></extra>"
            ),
        )
    figure.update_layout(bargap=0.35, legend=legend())
    figure.update_xaxes(title_text="accuracy lost (percentage points)", zeroline=True, zerolinecolor=TEXT)
    return figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], **CATEGORY_AXIS)


def block_loss_figure(blocks: "Sequence[BlockWorth]", loss: float) -> go.Figure:
    """The test loss without each block, in forward order, beside that of the whole network."""
    in_order = sorted(blocks, key=lambda block: block.place)
    names = [block.block for block in in_order]
    many = len(names) > MOST_NAMED_BLOCKS
    foot = 96 if many else 84 + text_width(names) * 0.75
    figure = new_figure(
        "Loss without each block",
        caption=(
            "From the first block to the last. The loss tells blocks apart where the accuracy does not: it also counts "
            "how sure the network is. The dashed line is the whole network; the thin lines are 95% intervals of the "
            "difference."
        ),
        alt=f"Points, one a block, beside the whole network's loss of {loss:.3g}. "
        + "; ".join(f"without {block.block} {block.loss:.3g}" for block in in_order)
        + ".",
        height=320 + foot,
        margin={"b": foot},
    )
    for name, is_same, colour in _KINDS:
        shown = [block for block in in_order if (block.left == "identity") == is_same]
        if not shown:
            continue
        figure.add_scatter(
            x=[block.place for block in shown],
            y=[finite(block.loss) for block in shown],
            text=[block.block for block in shown],
            name=name,
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": "circle" if is_same else "diamond"},
            error_y={
                "type": "data",
                "array": [finite(block.loss_interval[1] - block.loss_added) for block in shown],
                "color": colour,
                "thickness": 1,
                "width": 3,
            },
            hovertemplate="without %{text}: %{y:.4f}<extra></extra>",
        )
    figure.add_scatter(
        x=[0.5, len(names) + 0.5],
        y=[loss, loss],
        name="the whole network",
        mode="lines",
        line={"color": TEXT, "dash": "dash", "width": 1.5},
        hovertemplate="the whole network: %{y:.4f}<extra></extra>",
    )
    figure.update_xaxes(range=[0.5, len(names) + 0.5], zeroline=False)
    if many:
        figure.update_xaxes(title_text="block, first to last")
    else:
        figure.update_xaxes(tickvals=list(range(1, len(names) + 1)), ticktext=names, tickangle=-45)
    figure.update_yaxes(title_text="cross-entropy (nats per image)", rangemode="tozero")
    return figure.update_layout(legend=legend())
