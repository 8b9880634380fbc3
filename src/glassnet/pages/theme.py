"""Style of all figures: sizes, axes, legends, buttons, and how names are printed on them."""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from glassnet.pages.colours import BACKGROUND, GRID, LINE, TEXT
from glassnet.pages.text import count_columns, isolate, shorten

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
TICK_SIZE, LABEL_SIZE = 11, 10
TITLE_HEIGHT, BUTTONS_HEIGHT, COLOUR_BAR_HEIGHT = 52, 36, 60  # pixels
CATEGORY_AXIS = {"ticks": "outside", "ticklen": 4, "tickcolor": "rgba(0,0,0,0)", "showgrid": False, "zeroline": False}
"""An axis of names: no lines, and a gap between a name and its bar or point."""
PLOTLY_CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "toImageButtonOptions": {"format": "png", "scale": 2},
}
"""Plotly's configuration for every figure: no link to its makers, no upload, and no server to upload to.

The button that saves an image is that of notebooks; pages have their own (draw.js)."""
_AXIS = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": GRID, "zerolinewidth": 2, "automargin": True}
_NO_OUTLINE = {"colorbar": {"outlinewidth": 0}}
_TEMPLATE = go.layout.Template(
    data={"heatmap": [_NO_OUTLINE], "scatter": [{"marker": _NO_OUTLINE}]},
    layout={
        "font": {"family": FONT, "color": TEXT, "size": 12},
        "paper_bgcolor": BACKGROUND,
        "plot_bgcolor": BACKGROUND,
        "autotypenumbers": "strict",  # a class named 7 is a name
        "hoverlabel": {"align": "left", "bgcolor": BACKGROUND, "bordercolor": LINE, "font": {"color": TEXT}},
        "xaxis": _AXIS | {"title": {"standoff": 15}},
        "yaxis": _AXIS | {"title": {"standoff": 15}},
    },
)
_REMOVED_BUTTONS = ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"]


def new_figure(
    title: str,
    *,
    caption: str,
    alt: str,
    height: float,
    width: float | None = None,
    min_width: float = 280,
    margin: dict[str, float] | None = None,
) -> go.Figure:
    """Return an empty figure in the common style.

    ``caption``, ``alt`` and ``min_width`` are stored in ``figure.layout.meta``.

    :param title: a noun phrase of at most some 40 characters, so that it fits a telephone.
    :param caption: sentences that say first what is plotted and then what to look for.
    :param alt: a description for readers who cannot see the figure.
    :param height: in pixels.
    :param width: in pixels; None fills the page. With a width, a narrower page shrinks the plotting area in both
        directions alike, so that images keep their proportions.
    :param min_width: in pixels; a page narrower than this scrolls the figure instead of shrinking it further.
    :param margin: pixels around the plotting area, where they differ from the default.
    """
    title_position = {"x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"}
    return go.Figure(
        layout={
            "template": _TEMPLATE,
            "title": {"text": title, "pad": {"l": 8, "t": 14}, "font": {"size": 16}} | title_position,
            "height": round(height),
            "width": None if width is None else round(width),
            "margin": {"l": 64, "r": 16, "t": TITLE_HEIGHT, "b": 48} | (margin or {}) | {"autoexpand": width is None},
            "hovermode": "closest",
            "modebar": {"remove": _REMOVED_BUTTONS},  # here they stay removed when a notebook ignores PLOTLY_CONFIG
            "dragmode": False,  # a finger that scrolls the page must not zoom the figure
            "meta": {"caption": caption, "alt": alt, "min_width": round(min_width)},
        }
    )


def text_figure(title: str, sentence: str) -> go.Figure:
    """Return a figure that shows a sentence, for use if there is nothing to draw."""
    figure = new_figure(title, caption=sentence, alt=sentence, height=120)
    figure.add_annotation(text=sentence, x=0, xanchor="left", xref="paper", y=0.5, yref="paper", showarrow=False)
    return figure.update_xaxes(visible=False).update_yaxes(visible=False)


def legend() -> dict[str, Any]:
    """Return a horizontal legend at the foot of the figure."""
    # Not below the axis: there a legend that gets fewer lines after a resize stays too high.
    return {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"}


def colour_bar(title: str, below: float = 8, **more: Any) -> dict[str, Any]:
    """Return a colour bar ``below`` pixels under the plotting area, where it takes no width from a narrow figure."""
    place = {
        "orientation": "h",
        "len": 0.9,
        "thickness": 10,
        "y": 0,
        "yanchor": "top",
        "ypad": below,
    }
    return place | {"title": {"text": title, "side": "top", "font": {"size": TICK_SIZE}}} | more


def name_rows(names: Sequence[str]) -> dict[str, Any]:
    """Return a vertical axis with one name per row, the first on top.

    :param names: as ``shorten_label`` returns them.
    """
    ticks = {"tickvals": list(range(len(names))), "ticktext": list(names), "tickfont": {"size": TICK_SIZE}}
    return CATEGORY_AXIS | ticks | {"range": [len(names) - 0.5, -0.5]}


def logarithmic(values: Iterable[float]) -> dict[str, Any]:
    """Return a logarithmic axis for these values, with at most eight powers of ten.

    Below two powers of ten the ticks are 1, 2 and 5 of each; below half of one they are equal steps.
    """
    drawn = [value for value in values if 0 < value < math.inf] or [1.0]
    decades = math.log10(max(drawn) / min(drawn))
    if decades < 2:
        return {"type": "log", "dtick": None if decades < 0.5 else "D2", "tickformat": "~g"}
    return {"type": "log", "dtick": max(1, math.ceil(math.ceil(decades) / 7)), "exponentformat": "power"}


def fraction_axis(lowest: float = 0) -> dict[str, Any]:
    """Return an axis from a tick at or below ``lowest`` to 1, with room for whole markers at both ends."""
    lowest = min(lowest, 0.97)
    step = next(step for step in (0.2, 0.1, 0.05, 0.02, 0.01) if step <= (1 - lowest) / 2.9)
    start = step * math.floor(lowest / step)
    margin = 0.03 * (1 - start)
    return {"range": [start - margin, 1 + margin], "tick0": 0, "dtick": step, "tickformat": ".3~f", "zeroline": False}


def line_style(
    name: str, colour: str, dash: str = "solid", symbol: str | None = None, *, hover: str, width: float = 2
) -> dict[str, Any]:
    """Return the name and the style of a line, for ``add_scatter``.

    :param symbol: of the markers, by default none.
    :param hover: the template of the text at a point.
    """
    line = {"color": colour, "dash": dash, "width": width}
    style = {"name": name, "mode": "lines", "line": line, "hovertemplate": f"{hover}<extra></extra>"}
    return style if symbol is None else style | {"mode": "lines+markers", "marker": {"symbol": symbol, "size": 7}}


def buttons(method: str, choices: Mapping[str, Mapping[str, Any]], active: int = 0) -> list[dict[str, Any]]:
    """Return a row of buttons above the plotting area, which leaves ``BUTTONS_HEIGHT`` for it.

    :param method: Plotly's function that a button calls, such as ``restyle``.
    :param choices: by label, the argument of the call.
    """
    row = {"type": "buttons", "direction": "right", "active": active, "pad": {"b": 6}}
    place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}
    entries = [{"label": label, "method": method, "args": [change]} for label, change in choices.items()]
    return [row | place | {"buttons": entries}]


def document(figure: go.Figure) -> dict[str, Any]:
    """Return a figure as Plotly's JSON, with the configuration that every renderer must use."""
    return {**json.loads(figure.to_json()), "config": PLOTLY_CONFIG}


def caption(figure: go.Figure) -> str:
    """Return the caption that ``new_figure`` stored."""
    return str(figure.layout.meta["caption"])


def shorten_label(name: str, max_length: int = 18) -> str:
    """Return a name as Plotly prints it literally: one line, the middle left out above ``max_length`` columns."""
    return html.escape(isolate(shorten(name, max_length)), quote=False)


def text_width(texts: Sequence[str], size: float = TICK_SIZE) -> float:
    """Return an upper estimate of the widest text's width in pixels; texts are as ``shorten_label`` returns them."""
    return max((count_columns(html.unescape(text)) for text in texts), default=0) * 0.6 * size
