"""Figures of the degradation study: errors by depth, and errors and losses by epoch."""

from collections.abc import Iterable
from statistics import fmean

import plotly.graph_objects as go

from glassnet.pages.colours import TEST, TRAIN
from glassnet.pages.figures.curves import epoch_axis
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    TITLE_HEIGHT,
    buttons,
    legend,
    logarithmic,
    new_figure,
)
from glassnet.studies.degradation.measure import NETWORKS, DegradationStudy

_COLOURS = {"plain": TEST, "residual": TRAIN}
_SYMBOLS = {"plain": "diamond", "residual": "circle"}
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")  # from the deepest network on
_LINE_WIDTHS = (2.0, 1.0, 0.5)  # for the first, second and further networks of one dash
_LEGEND_ROW = 19  # pixels
_NORMS = {"batch": "batch normalization", "none": "no normalization"}
_QUANTITIES = {"error": "training error", "loss": "training loss"}
_ERROR_AXIS = {"title_text": "error rate", "tickformat": ".0%", "range": [-0.02, 1], "zeroline": False}


def depth_error_figure(study: DegradationStudy, norm: str) -> go.Figure:
    """Draw the error of each network after the last epoch by its depth, one dot for each seed."""
    figure = new_figure(
        f"Final error by depth, {_NORMS[norm]}",
        caption=(
            "Error rate on the training images after the last epoch: one dot for each run, lines through the means. "
            "A line that rises by more than the dots scatter is degradation. The buttons switch to the test images."
        ),
        alt=f"Line chart of the final training error by depth. {_list_final_errors(study, norm)}",
        height=400 + BUTTONS_HEIGHT,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": 96},
    )
    for network, colour in _COLOURS.items():
        for points, is_mean in zip(_final_points(study, norm, network, "error"), (False, True), strict=True):
            depths, errors, labels = zip(*points, strict=True) if points else ((), (), ())
            figure.add_scatter(
                x=depths,
                y=errors,
                text=labels,
                name=network,
                mode="lines+markers" if is_mean else "markers",
                line={"color": colour, "width": 2},
                marker={"color": colour, "symbol": _SYMBOLS[network], "size": 4 if is_mean else 8},
                opacity=1 if is_mean else 0.5,
                showlegend=is_mean,
                cliponaxis=False,
                hovertemplate=f"{network}, %{{x}} layers, %{{text}}: %{{y:.2%}}<extra></extra>",
            )
    choices = {
        split: {
            "y": [[y for _, y, _ in points] for name in NETWORKS for points in _final_points(study, norm, name, metric)]
        }
        for split, metric in (("training images", "error"), ("test images", "test_error"))
    }
    figure.update_layout(updatemenus=buttons("restyle", choices), legend=legend())
    margin = 0.06 * (study.depths[-1] - study.depths[0])
    limits = [study.depths[0] - margin, study.depths[-1] + margin]
    figure.update_xaxes(title_text="layers", tickvals=study.depths, zeroline=False, range=limits)
    return figure.update_yaxes(**_ERROR_AXIS)


def _final_points(
    study: DegradationStudy, norm: str, network: str, metric: str
) -> tuple[list[tuple[int, float, str]], list[tuple[int, float, str]]]:
    """Return (depth, value, label) of each run that did not diverge, and of the mean of each depth."""
    runs, means = [], []
    for depth in study.depths:
        for curve in study.select(norm, NETWORKS[network], depth):
            if not curve.diverged:
                runs.append((depth, getattr(curve, metric)[-1], f"seed {curve.seed}"))
        end = study.final(norm, NETWORKS[network], depth, metric)
        if end is not None:
            means.append((depth, end.mean, "mean"))
    return runs, means


def training_curve_figure(study: DegradationStudy, norm: str, quantity: str) -> go.Figure:
    """Draw the training error, or the training loss on a logarithmic axis, of every network by epoch.

    :param quantity: "error" or "loss". The line is the mean over the seeds, the shade their range.
    """
    name, seeds = _QUANTITIES[quantity], len(study.seeds)
    over = f" The line is the mean of {seeds} seeds, the shade their range." if seeds > 1 else ""
    lag = " Batch normalization may raise values midway: its running averages lag behind fast-moving weights."
    lag = lag if norm == "batch" else ""
    legend_height = 72 + _LEGEND_ROW * len(study.depths)
    figure = new_figure(
        f"{name.capitalize()}, {_NORMS[norm]}",
        caption=(
            f"{name.capitalize()} after each epoch, in evaluation mode, by network and number of layers.{over} "
            "Thick solid lines are the deepest networks: compare them with each other, and with the other "
            f"lines of their colour.{lag}"
        ),
        alt=f"Line chart of the {name} by epoch of {2 * len(study.depths)} networks. "
        + _list_final_errors(study, norm),
        height=332 + legend_height,
        margin={"b": legend_height},
    )
    for network in NETWORKS:
        for index in range(len(study.depths)):
            _add_curve(figure, study, norm, network, index, quantity)
    epoch_axis(figure, [1, study.epochs])
    figure.update_layout(legend=legend())
    if quantity == "loss":
        values = [value for trace in figure.data for value in trace.y if value is not None]
        return figure.update_yaxes(title_text="cross-entropy (nats per image)", **logarithmic(values))
    return figure.update_yaxes(**_ERROR_AXIS)


def _add_curve(figure: go.Figure, study: DegradationStudy, norm: str, network: str, index: int, quantity: str) -> None:
    """Add the mean of one network and the range of its seeds; index 0 is the deepest network."""
    depth, (cycle, place) = study.depths[-1 - index], divmod(index, len(_DASHES))
    curves = [getattr(curve, quantity) for curve in study.select(norm, NETWORKS[network], depth)]
    columns = list(zip(*curves, strict=False))  # up to the last epoch of the run that diverged first
    epochs = list(range(1, len(columns) + 1))
    means, edges = map(fmean, columns), [*map(max, columns), *map(min, reversed(columns))]
    width = _LINE_WIDTHS[min(cycle, len(_LINE_WIDTHS) - 1)]
    figure.add_scatter(
        x=epochs,
        y=_drawable(means, quantity),
        name=f"{network} {depth}",
        mode="lines" if len(epochs) > 1 else "markers",  # a line of one epoch is invisible
        line={"color": _COLOURS[network], "dash": _DASHES[place], "width": width},
        cliponaxis=False,
        hovertemplate=f"{network}, {depth} layers, epoch %{{x}}: %{{y:.3~g}}<extra></extra>",
    )
    if len(curves) > 1:
        figure.add_scatter(
            x=epochs + epochs[::-1],
            y=_drawable(edges, quantity),
            fill="toself",
            fillcolor=_COLOURS[network],
            opacity=0.12,
            mode="lines",
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )


def _drawable(values: Iterable[float], quantity: str) -> list[float | None]:
    return [value if value > 0 or quantity == "error" else None for value in values]


def _list_final_errors(study: DegradationStudy, norm: str) -> str:
    sentences = []
    for network, residual in NETWORKS.items():
        ends = {depth: study.final(norm, residual, depth) for depth in study.depths}
        errors = (f"{depth} layers {'diverged' if end is None else f'{end.mean:.1%}'}" for depth, end in ends.items())
        sentences.append(f"Final training error, {network}: {', '.join(errors)}.")
    return " ".join(sentences)
