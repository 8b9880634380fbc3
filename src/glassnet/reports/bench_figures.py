"""How fast layers and networks are computed: the roofline, and ratios of times."""

from collections.abc import Mapping, Sequence
from statistics import geometric_mean

import plotly.graph_objects as go

from glassnet.bench import Contest, Machine, Ratio
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    CATEGORY_AXIS,
    LABEL_SIZE,
    TEST,
    TICK_SIZE,
    TITLE_HEIGHT,
    TRAIN,
    VALIDATION,
    buttons,
    new_figure,
    shorten_label,
    text_figure,
    text_width,
)

_ENGINES = (("PyTorch", TEST, "diamond"), ("glassnet", TRAIN, "circle"), ("yardstick", VALIDATION, "square-open"))
_PASSES = ("forward", "backward")
_CEILING = "#5d6b7a"
_LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"}


def ratio_figure(ratios: Mapping[str, Sequence[Ratio]]) -> go.Figure:
    """Our time by each other engine's, for each workload: the median and the quartiles, on a logarithmic axis.

    :param ratios: by workload, one for each engine.
    """
    title = "glassnet's time by the others'"
    if not any(ratios.values()):
        return text_figure(title, "Nobody else took part, so there are no ratios.")
    names = list(ratios)
    figure = new_figure(
        title,
        caption=(
            "Left of the line at 1 glassnet is the quicker one. Each mark is the median of the ratios within a round, "
            "and its bar spans the quartiles; of each engine the quickest setting counts."
        ),
        alt="Dot chart of glassnet's time by the others': "
        + "; ".join(f"{name}, {ratio.spread.median:.2g} of {ratio.engine}" for name in names for ratio in ratios[name]),
        height=TITLE_HEIGHT + 96 + 44 * len(names),
        margin={"l": 28 + text_width(names), "b": 96},
    )
    for engine, colour, symbol in _ENGINES:
        points = [(name, ratio) for name in names for ratio in ratios[name] if ratio.engine == engine]
        if not points:
            continue
        spreads = [ratio.spread for _, ratio in points]
        figure.add_scatter(
            x=[spread.median for spread in spreads],
            y=[names.index(name) for name, _ in points],
            error_x={
                "array": [spread.upper - spread.median for spread in spreads],
                "arrayminus": [spread.median - spread.lower for spread in spreads],
                "thickness": 2,
                "width": 4,
            },
            text=[ratio.setting for _, ratio in points],
            name=f"by {engine}'s",
            mode="markers",
            marker={"symbol": symbol, "size": 10, "color": colour, "line": {"width": 2, "color": colour}},
            cliponaxis=False,
            hovertemplate="%{x:.3g} of the time of %{text}<extra></extra>",
        )
    figure.add_vline(x=1, line={"color": _CEILING, "width": 1.5, "dash": "dot"})
    figure.update_xaxes(type="log", title_text="ratio of times", dtick="D2", tickformat="~g")
    axis = {**CATEGORY_AXIS, "tickvals": list(range(len(names))), "ticktext": [shorten_label(name) for name in names]}
    figure.update_yaxes(**axis, range=[len(names) - 0.5, -0.5], tickfont={"size": TICK_SIZE})
    return figure.update_layout(legend=_LEGEND)


def roofline_figure(contests: Sequence[Contest], machine: Machine) -> go.Figure:
    """The speed of each layer over its arithmetic intensity, under the machine's ceilings; a button for each pass
    (Williams, Waterman & Patterson 2009).

    :param contests: one for each layer.
    """
    figure = new_figure(
        "Roofline of the layers",
        caption=(
            "A layer's marks stand above each other, further right the more it computes with each byte. Left of the "
            "bend memory is the limit, right of it arithmetic: what lies between a mark and the line above is what "
            "could still be gained. A mark above the slanted line found its numbers in a cache."
        ),
        alt=(
            f"Scatter chart with logarithmic axes: {len(contests)} layers under a slanted ceiling of "
            f"{machine.bandwidth / 1e9:.0f} GB/s and a level one of {machine.gemm_peak / 1e9:.0f} GFLOP/s."
        ),
        height=TITLE_HEIGHT + BUTTONS_HEIGHT + 540,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": 136, "l": 60},
        min_width=340,
    )
    intensities = [work.intensity for contest in contests for work in contest.task.work.values() if work.intensity]
    left, right = min(intensities, default=0.1) / 2, max(intensities, default=100.0) * 2
    _add_ceilings(figure, machine, left, right)
    shown = [""] * len(figure.data)
    for measure in _PASSES:
        _add_marks(figure, contests, measure)
        shown += [measure] * (len(figure.data) - len(shown))
    choices = {measure: {"visible": [name in ("", measure) for name in shown]} for measure in _PASSES}
    for trace, visible in zip(figure.data, choices[_PASSES[0]]["visible"], strict=True):
        trace.visible = visible
    named = {measure.capitalize(): change for measure, change in choices.items()}
    figure.update_layout(updatemenus=buttons("restyle", named), legend=_LEGEND)
    figure.update_xaxes(type="log", title_text="floating-point operations per byte", dtick=1, tickformat="~g")
    figure.update_yaxes(type="log", title_text="GFLOP/s", dtick=1, tickformat="~g")
    return figure


def _add_ceilings(figure: go.Figure, machine: Machine, left: float, right: float) -> None:
    peak, bandwidth = machine.gemm_peak / 1e9, machine.bandwidth / 1e9
    ceilings = [(peak, left, "solid", f"all cores: {peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s")]
    if machine.cores > 1:
        one = machine.gemm_peak_1 / 1e9
        ceilings.append((one, one / bandwidth, "dot", f"one core: {one:.0f} GFLOP/s"))
    for height, begin, dash, name in ceilings:
        x, y = [begin, height / bandwidth, right], [begin * bandwidth, height, height]
        line = {"color": _CEILING, "width": 1.5, "dash": dash}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name=name, hoverinfo="skip")


def _add_marks(figure: go.Figure, contests: Sequence[Contest], measure: str) -> None:
    """Everybody's marks of one pass, and below them what kind of layer they are."""
    kinds: dict[str, list[tuple[float, float]]] = {}
    for engine, colour, symbol in _ENGINES:
        points = []
        for contest in contests:
            work, best = contest.task.work[measure], contest.best(engine, measure)
            speed = None if best is None else contest.flops_per_second(best, measure)
            if speed is not None and work.intensity is not None:
                points.append((work.intensity, speed / 1e9, f"{contest.task.name}<br>{best}"))
                kinds.setdefault(contest.task.name.split()[0], []).append(points[-1][:2])
        if not points:
            continue
        x, y, texts = zip(*points, strict=True)
        figure.add_scatter(
            x=x,
            y=y,
            text=texts,
            name=engine,
            mode="markers",
            marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.5, "color": colour}},
            hovertemplate=f"%{{text}}<br>{measure}: %{{y:.3g}} GFLOP/s at %{{x:.3g}} per byte<extra></extra>",
        )
    figure.add_scatter(
        x=[geometric_mean([x for x, _ in points]) for points in kinds.values()],
        y=[min(y for _, y in points) / 1.6 for points in kinds.values()],
        text=list(kinds),
        mode="text",
        textfont={"size": LABEL_SIZE},
        hoverinfo="skip",
        showlegend=False,
    )
