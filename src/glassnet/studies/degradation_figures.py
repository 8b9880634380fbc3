"""Training errors of plain and residual networks: by depth, and epoch by epoch."""

from statistics import fmean
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from glassnet.pages.figures.curves import epoch_axis, legend
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    TEST,
    TITLE_HEIGHT,
    TRAIN,
    buttons,
    logarithmic,
    new_figure,
)

if TYPE_CHECKING:
    from glassnet.studies.degradation import DegradationStudy

_KINDS = ((False, "plain", TEST, "diamond"), (True, "residual", TRAIN, "circle"))
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")  # from the deepest network on
_NORMS = {"batch": "batch normalization", "none": "no normalization"}
_LAGGING = (
    " High values midway come from batch normalization: in evaluation mode it uses running averages, which lag behind "
    "weights that move fast."
)
_QUANTITIES = {"error": "training error", "loss": "training loss"}


def depth_error_figure(study: "DegradationStudy", norm: str) -> go.Figure:
    """What share of the images each network names wrongly at the end, over its depth; a dot for each seed."""
    figure = new_figure(
        f"Final error by depth, {_NORMS[norm]}",
        caption=(
            "One dot a training, the line through their means. A line that rises to the right by more than the dots "
            "scatter is degradation: the deeper network is worse on the images that it learns from. The buttons show "
            "the test images instead."
        ),
        alt=f"Line chart of the final training error over depth. {_ends(study, norm)}",
        height=400 + BUTTONS_HEIGHT,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": 96},
    )
    drawn: dict[str, list[list[float]]] = {"error": [], "test_error": []}
    for residual, kind, colour, symbol in _KINDS:
        trainings = [one for depth in study.depths for one in study.of(norm, residual, depth) if not one.diverged]
        whole = [depth for depth in study.depths if study.final(norm, residual, depth) is not None]
        for what, values in drawn.items():
            ends = [study.final(norm, residual, depth, what) for depth in whole]
            values += [[getattr(one, what)[-1] for one in trainings], [end.mean for end in ends if end is not None]]
        marks = {"color": colour, "symbol": symbol, "size": 8}
        hover = f"{kind}, %{{x}} layers, %{{text}}: %{{y:.2%}}<extra></extra>"
        figure.add_scatter(
            x=[one.depth for one in trainings],
            y=drawn["error"][-2],
            text=[f"seed {one.seed}" for one in trainings],
            mode="markers",
            marker=marks | {"opacity": 0.5},
            showlegend=False,
            cliponaxis=False,
            hovertemplate=hover,
        )
        figure.add_scatter(
            x=whole,
            y=drawn["error"][-1],
            text=["mean"] * len(whole),
            name=kind,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker=marks | {"size": 4},
            cliponaxis=False,
            hovertemplate=hover,
        )
    choices = {"training images": {"y": drawn["error"]}, "test images": {"y": drawn["test_error"]}}
    figure.update_layout(updatemenus=buttons("restyle", choices), legend=legend())
    figure.update_xaxes(title_text="layers", tickvals=study.depths, zeroline=False, range=_room(study.depths))
    return figure.update_yaxes(
        title_text="share of images named wrongly", tickformat=".0%", range=[-0.02, 1], zeroline=False
    )


def descent_figure(study: "DegradationStudy", norm: str, what: str) -> go.Figure:
    """The training error, or the training loss on a logarithmic axis, of every network epoch by epoch.

    :param what: "error" or "loss": mean over the seeds as a line, from the lowest to the highest seed as a shade.
    """
    quantity, seeds = _QUANTITIES[what], len(study.seeds)
    over = f"mean of {seeds} seeds, their range as a shade; " if seeds > 1 else ""
    figure = new_figure(
        f"{quantity.capitalize()}, {_NORMS[norm]}",
        caption=(
            f"Of all training images, measured after each epoch in evaluation mode ({over}a solid line is the deepest "
            "network). Compare the solid lines of the two colours, and within a colour the solid with the others."
            + (_LAGGING if norm == "batch" else "")
        ),
        alt=f"Line chart of the {quantity} by epoch of {2 * len(study.depths)} networks. {_ends(study, norm)}",
        height=480,
        margin={"b": 148},
    )
    shades: list[dict[str, Any]] = []
    for residual, kind, colour, _ in _KINDS:
        for depth, dash in zip(reversed(study.depths), _DASHES, strict=False):
            curves = [getattr(one, what) for one in study.of(norm, residual, depth)]
            epochs = list(range(1, min(map(len, curves)) + 1))  # one that diverged is shorter
            columns = [column for column, _ in zip(zip(*curves, strict=False), epochs, strict=True)]
            name = f"{kind}, {depth} layers"
            figure.add_scatter(
                x=epochs,
                y=[_drawable(fmean(column), what) for column in columns],
                name=name,
                mode="lines",
                line={"color": colour, "dash": dash, "width": 2},
                cliponaxis=False,
                hovertemplate=f"{name}, epoch %{{x}}: %{{y:.3~g}}<extra></extra>",
            )
            edges = [*map(max, columns), *(min(column) for column in reversed(columns))]
            shades.append(
                {"x": [*epochs, *reversed(epochs)], "y": [_drawable(y, what) for y in edges], "fillcolor": colour}
            )
    if seeds > 1:
        area = {"fill": "toself", "opacity": 0.12, "mode": "lines", "line": {"width": 0}}
        for shade in shades:
            figure.add_scatter(**shade, **area, hoverinfo="skip", showlegend=False)
    epoch_axis(figure, [1, study.epochs])
    figure.update_layout(legend=legend())
    if what == "loss":
        drawn = (y for shade in shades for y in shade["y"] if y is not None)
        return figure.update_yaxes(title_text="cross-entropy (nats per image)", **logarithmic(drawn))
    return figure.update_yaxes(title_text="share of images named wrongly", tickformat=".0%", range=[-0.02, 1])


def _drawable(value: float, what: str) -> float | None:
    return value if value > 0 or what == "error" else None


def _room(depths: list[int]) -> list[float]:
    margin = 0.06 * (depths[-1] - depths[0])
    return [depths[0] - margin, depths[-1] + margin]


def _ends(study: "DegradationStudy", norm: str) -> str:
    told = []
    for residual, kind, *_ in _KINDS:
        ends = {depth: study.final(norm, residual, depth) for depth in study.depths}
        shares = (f"{depth} layers {'diverged' if end is None else f'{end.mean:.1%}'}" for depth, end in ends.items())
        told.append(f"Final training error, {kind}: {', '.join(shares)}.")
    return " ".join(told)
