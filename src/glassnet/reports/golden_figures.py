"""Figures of a golden check: the network with its first wrong operation, and the error of each operation."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import plotly.graph_objects as go

from glassnet.pages.colours import FAINT, LINE, TEST, TEXT, TRAIN
from glassnet.pages.figures.curves import layer_axis
from glassnet.pages.theme import CATEGORY_AXIS, TICK_SIZE, TITLE_HEIGHT, legend, new_figure, shorten_label, text_width
from glassnet.verify.golden.judging import GoldenRow
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.report import GoldenReport

ROW_HEIGHT = 24  # pixels of an operation
MAX_DRAWN = 60  # operations; of a deeper network, those around the fault
MAX_NAME = 34
FLOOR, CEILING = 1e-6, 1e9  # error by tolerance beyond which a mark stays at the edge
RIGHT, WRONG, FIRST, UNJUDGED = "right", "wrong", "first wrong operation", "not judged"
_STYLES = {
    RIGHT: ("circle", TRAIN, 10),
    WRONG: ("x", TEST, 9),
    FIRST: ("star", TEST, 18),
    UNJUDGED: ("circle-open", FAINT, 10),
}


@dataclass(frozen=True)
class OperationVerdict:
    """An operation of the network with all that was judged of it."""

    operation: Operation
    rows: tuple[GoldenRow, ...]
    is_first: bool

    @property
    def status(self) -> str:
        """Right, wrong, the first wrong one, or not judged."""
        if self.is_first:
            return FIRST
        judged = [row for row in self.rows if not row.not_judged]
        if not judged:
            return UNJUDGED
        return RIGHT if all(row.passed for row in judged) else WRONG

    @property
    def description(self) -> str:
        """One line for each tensor, for the pointer and for screen readers."""
        lines = [f"{row.tensor}: {_ratio_text(row)} of its tolerance" for row in self.rows]
        return "<br>".join([f"{self.operation.name} ({self.operation.kind}): {self.status}", *lines[:8]])


def operation_verdicts(report: GoldenReport) -> list[OperationVerdict]:
    """Return every operation of the report with its rows, in forward order."""
    rows: dict[str, list[GoldenRow]] = {operation.name: [] for operation in report.operations}
    for row in report.rows:
        if row.operation in rows:
            rows[row.operation].append(row)
    first = report.first and report.first.operation
    return [OperationVerdict(o, tuple(rows[o.name]), o.name == first) for o in report.operations]


def network_figure(report: GoldenReport) -> go.Figure:
    """Draw the operations below each other, shortcuts beside the body, and mark the first wrong one."""
    verdicts = operation_verdicts(report)
    drawn = _around_fault(verdicts)
    left_out = len(verdicts) - len(drawn)
    names = [shorten_label(verdict.operation.name, MAX_NAME) for verdict in drawn]
    others = f" {left_out} operations above and below are left out." if left_out else ""
    counts = {status: sum(verdict.status == status for verdict in verdicts) for status in _STYLES}
    figure = new_figure(
        "The network",
        caption=(
            "Operations in forward order from the top; shortcuts of residual blocks run on the right. Each was "
            "computed again from the port's own inputs, so a wrong one is wrong by itself, whatever came before it."
            + others
        ),
        alt="Diagram of the network's operations: "
        + ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        + (f". First wrong: {report.first.operation}." if report.first else "."),
        height=TITLE_HEIGHT + 64 + ROW_HEIGHT * len(drawn),
        margin={"l": 24 + text_width(names), "b": 64},
    )
    _add_edges(figure, drawn)
    for status, (symbol, colour, size) in _STYLES.items():
        points = [(i, verdict) for i, verdict in enumerate(drawn) if verdict.status == status]
        if points:
            figure.add_scatter(
                x=[_lane(verdict.operation) for _, verdict in points],
                y=[i for i, _ in points],
                text=[verdict.description for _, verdict in points],
                name=status,
                mode="markers",
                marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}},
                hovertemplate="%{text}<extra></extra>",
                cliponaxis=False,
            )
    figure.update_xaxes(visible=False, range=[-0.4, 1.8])
    ticks = {"tickvals": list(range(len(drawn))), "ticktext": names, "tickfont": {"size": TICK_SIZE}}
    figure.update_yaxes(**CATEGORY_AXIS, **ticks, range=[len(drawn) - 0.5, -0.5])
    return figure.update_layout(legend=legend())


def error_figure(report: GoldenReport) -> go.Figure:
    """Draw the error of every tensor, in units of its tolerance, by its operation."""
    places = {operation.name: i + 1 for i, operation in enumerate(report.operations)}
    directions = (("forward", TRAIN, "circle"), ("backward", TEST, "diamond-open"))
    rows = [row for row in report.rows if row.operation in places and not row.not_judged]
    wrong = sum(not row.passed for row in rows)
    figure = new_figure(
        "Error by operation",
        caption=(
            "Largest error of each tensor divided by its tolerance, which rounding in the port's type explains. Above "
            f"the line at 1 a tensor is wrong. Errors below {FLOOR:g} are drawn there, and errors without a bound at "
            f"{CEILING:.0e}."
        ),
        alt=f"Chart of error by tolerance of {len(rows)} tensors over {len(places)} operations; {wrong} above 1.",
        height=320,
    )
    for direction, colour, symbol in directions:
        shown = [row for row in rows if row.direction == direction]
        if shown:
            figure.add_scatter(
                x=[places[row.operation] for row in shown],
                y=[min(max(_ratio(row), FLOOR), CEILING) for row in shown],
                text=[f"{row.tensor} ({row.operation}): {_ratio_text(row)} of its tolerance" for row in shown],
                name=direction,
                mode="markers",
                marker={"symbol": symbol, "size": 7, "color": colour, "line": {"width": 1.5, "color": colour}},
                hovertemplate="%{text}<extra></extra>",
                cliponaxis=False,
            )
    figure.add_hline(y=1, line={"color": TEXT, "width": 1.5, "dash": "dot"})
    figure.update_yaxes(title_text="error / tolerance", type="log", dtick=3, exponentformat="power")
    layer_axis(figure, [shorten_label(name) for name in places], "operation, in forward order", max_names=24)
    return figure.update_layout(legend=legend())


def _around_fault(verdicts: Sequence[OperationVerdict]) -> Sequence[OperationVerdict]:
    first = next((i for i, verdict in enumerate(verdicts) if verdict.is_first), 0)
    start = max(0, min(first - MAX_DRAWN // 2, len(verdicts) - MAX_DRAWN))
    return verdicts[start : start + MAX_DRAWN]


def _lane(operation: Operation) -> int:
    """Return 1 for operations of a shortcut, which are drawn beside the body."""
    return int(".shortcut" in operation.name or ".downsample" in operation.name)


def _add_edges(figure: go.Figure, drawn: Sequence[OperationVerdict]) -> None:
    """Draw a line from each operation to those that read it."""
    places = {verdict.operation.name: i for i, verdict in enumerate(drawn)}
    lanes = {verdict.operation.name: _lane(verdict.operation) for verdict in drawn}
    x: list[float | None] = []
    y: list[float | None] = []
    for name, place in places.items():
        for source in drawn[place].operation.inputs:
            if source in places:
                bend = max(lanes[name], lanes[source])  # along the shortcut's lane where one end is in it
                x += [lanes[source], bend, bend, lanes[name], None]
                y += [places[source], places[source] + 0.4, place - 0.4, place, None]
    line = {"color": LINE, "width": 2}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _ratio(row: GoldenRow) -> float:
    if row.error == 0:
        return 0.0
    return row.error / row.tolerance if row.tolerance else inf


def _ratio_text(row: GoldenRow) -> str:
    return row.not_judged or f"{_ratio(row):.2g} times"
