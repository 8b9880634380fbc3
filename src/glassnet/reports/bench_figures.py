"""The figure of a bench: ratios of times."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from glassnet.bench import Ratio
from glassnet.pages.colours import TEST, TEXT, VALIDATION
from glassnet.pages.theme import (
    CATEGORY_AXIS,
    TICK_SIZE,
    TITLE_HEIGHT,
    new_figure,
    shorten_label,
    text_width,
)

_IMPLEMENTATIONS = (("PyTorch", TEST, "diamond"), ("NumPy plain", VALIDATION, "square-open"))


def ratio_figure(ratios: Mapping[str, Sequence[Ratio]]) -> go.Figure:
    """Draw the time of NumPy fast divided by each other implementation's, on a logarithmic axis.

    :param ratios: of times, by workload.
    """
    names = list(ratios)
    figure = new_figure(
        "Time beside other implementations",
        caption=(
            "Left of the line at 1, NumPy fast takes less time than the other implementation. A mark is the median of "
            "the ratios of all rounds, and its bar spans the quartiles."
        ),
        alt="Dot chart of the time of NumPy fast divided by that of other implementations: "
        + "; ".join(f"{name}, {_describe(ratio)}" for name in names for ratio in ratios[name]),
        height=TITLE_HEIGHT + 96 + 44 * len(names),
        margin={"l": 28 + text_width(names), "b": 96},
    )
    for implementation, colour, symbol in _IMPLEMENTATIONS:
        all_points = [(i, ratio) for i, name in enumerate(names) for ratio in ratios[name]]
        points = [(i, ratio) for i, ratio in all_points if ratio.implementation == implementation]
        if not points:
            continue
        quartiles = [ratio.quartiles for _, ratio in points]
        figure.add_scatter(
            x=[q.median for q in quartiles],
            y=[i for i, _ in points],
            error_x={
                "array": [q.upper - q.median for q in quartiles],
                "arrayminus": [q.median - q.lower for q in quartiles],
                "thickness": 2,
                "width": 4,
            },
            text=[ratio.backend for _, ratio in points],
            name=f"beside {implementation}",
            mode="markers",
            marker={"symbol": symbol, "size": 10, "color": colour, "line": {"width": 2, "color": colour}},
            cliponaxis=False,
            hovertemplate="%{x:.3g} × the time of %{text}<extra></extra>",
        )
    figure.add_vline(x=1, line={"color": TEXT, "width": 1.5, "dash": "dot"})
    figure.update_xaxes(type="log", title_text="ratio of times", dtick="D2", tickformat="~g")
    axis = {**CATEGORY_AXIS, "tickvals": list(range(len(names))), "ticktext": [shorten_label(name) for name in names]}
    figure.update_yaxes(**axis, range=[len(names) - 0.5, -0.5], tickfont={"size": TICK_SIZE})
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"}
    return figure.update_layout(legend=legend)


def _describe(ratio: Ratio) -> str:
    return f"{ratio.quartiles.median:.2g} of {ratio.implementation}"
