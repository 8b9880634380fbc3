"""Parameters of convolutions, and of dense layers for the same maps."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from glassnet.pages.figures.curves import legend
from glassnet.pages.theme import CATEGORY_AXIS, LABEL_SIZE, TEST, TITLE_HEIGHT, TRAIN, new_figure, text_width

if TYPE_CHECKING:
    from glassnet.studies.parameters import LayerParameters

_ROW, _FOOT = 48, 84  # pixels: of two bars, and below them


def dense_example_figure(layer: "LayerParameters") -> go.Figure:
    """One convolution beside the dense layer for the same map, on a linear axis."""
    return _bars(
        "A convolution beside a dense layer",
        [layer.map],
        [layer],
        log=False,
        caption=(
            "The same image goes in and numbers of the same shape come out. On this axis lengths are in true "
            "proportion, which is why the convolution's bar is hardly there."
        ),
    )


def parameter_figure(layers: Sequence["LayerParameters"]) -> go.Figure:
    """Two bars for each kind of convolution of a model, on a logarithmic axis that begins at one parameter.

    :param layers: the convolutions; those with the same channels, kernel and image share a pair of bars.
    """
    counts = Counter(layer.map for layer in layers)
    kinds = {layer.map: layer for layer in reversed(layers)}
    names = [f"{kind} ({counts[kind]}×)" if counts[kind] > 1 else kind for kind in counts]
    return _bars(
        "Parameters of one layer",
        names,
        [kinds[kind] for kind in counts],
        log=True,
        caption=(
            "Channels before → after, kernel and image of each kind of convolution, and how often the model has it. "
            "The axis is logarithmic: equal steps multiply by the same number. The gap between two bars is "
            "what sharing weights saves; it narrows as the images become smaller."
        ),
    )


def _bars(
    title: str, names: Sequence[str], layers: Sequence["LayerParameters"], *, log: bool, caption: str
) -> go.Figure:
    told = "; ".join(
        f"{name}: {layer.parameters:,} as convolution, {layer.dense:,} as dense layer"
        for name, layer in zip(names, layers, strict=True)
    )
    left = 16 + text_width(names)
    figure = new_figure(
        title,
        caption=caption,
        alt=f"Bars on a {'logarithmic' if log else 'linear'} axis. {told}.",
        height=TITLE_HEIGHT + _ROW * max(len(names), 2) + _FOOT,
        margin={"l": left, "b": _FOOT, "r": 24},
        min_width=left + 150,
    )
    largest = max(layer.dense or 1 for layer in layers)
    for name, colour, values in (
        ("convolution", TRAIN, [layer.parameters for layer in layers]),
        ("dense layer", TEST, [layer.dense or 0 for layer in layers]),
    ):
        figure.add_bar(
            y=list(names),
            x=values,
            name=name,
            orientation="h",
            marker_color=colour,
            text=[f"{value:,}" for value in values],
            textposition="auto",
            textfont={"size": LABEL_SIZE},
            insidetextanchor="end",
            textangle=0,
            cliponaxis=False,
            hovertemplate=f"%{{y}}<br>{name}: %{{x:,}} parameters<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25, legend=legend() | {"traceorder": "normal"})
    figure.update_yaxes(autorange="reversed", **CATEGORY_AXIS)
    if log:
        figure.update_xaxes(type="log", range=[0, float(np.log10(largest)) * 1.02], exponentformat="power", tickangle=0)
        figure.update_xaxes(dtick=3 if largest > 10**5 else 1)  # powers of ten between two ticks
    else:
        figure.update_xaxes(range=[0, 1.02 * largest], nticks=5)
    return figure.update_xaxes(title_text="parameters", zeroline=True)
