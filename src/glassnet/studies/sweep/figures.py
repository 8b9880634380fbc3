"""Figures of the sweep: accuracy by field and value, and accuracy of every setting."""

from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from glassnet.formats import format_accuracy
from glassnet.pages.colours import FAINT, TEST, TEXT, TRAIN
from glassnet.pages.theme import (
    CATEGORY_AXIS,
    TICK_SIZE,
    TITLE_HEIGHT,
    legend,
    new_figure,
    shorten_label,
    text_width,
)
from glassnet.studies.sweep.measure import SweepStudy

MAX_SETTINGS = 60
_ROW_HEIGHT, _VALUE_WIDTH = 24, 48  # pixels
_FIELD_GAP = 0.6  # between two fields, in widths of a value
_ACCURACY_AXIS = {"title_text": "accuracy", "tickformat": ".3~f"}


def effect_figure(study: SweepStudy) -> go.Figure:
    """Draw the accuracy with each value of each field, averaged over the settings that have it, by seed."""
    figure = new_figure(
        f"{study.split.capitalize()} accuracy by field",
        caption=(
            "Accuracy with each value of a field, averaged over the settings that have it: a gray line for each seed, "
            "the mean in blue. Parallel gray lines mean that the seeds agree on the effect."
        ),
        alt=f"Line chart of the {study.split} accuracy by field. {_list_means(study)}",
        height=400,
        margin={"t": TITLE_HEIGHT + 28, "b": 96},
        min_width=96 + _VALUE_WIDTH * sum(len(values) + _FIELD_GAP for _, values in study.varied),
    )
    left, ticks = 0.0, dict[float, str]()
    for index, (name, by_value) in enumerate(study.means.items()):
        positions = [left + place for place in range(len(by_value))]
        ticks |= {x: shorten_label(value, 12) for x, value in zip(positions, by_value, strict=True)}
        points = {x: seeds for x, seeds in zip(positions, by_value.values(), strict=True) if seeds}
        _add_field(figure, name, points, study.seeds, showlegend=index == 0)
        middle = (positions[0] + positions[-1]) / 2
        title = f"<b>{shorten_label(name, 16)}</b>"
        figure.add_annotation(text=title, x=middle, y=1, yref="paper", yanchor="bottom", showarrow=False)
        left = positions[-1] + 1 + _FIELD_GAP
    figure.update_xaxes(tickvals=list(ticks), ticktext=list(ticks.values()), range=[-0.5, max(ticks) + 0.5])
    figure.update_xaxes(**CATEGORY_AXIS)
    return figure.update_yaxes(**_ACCURACY_AXIS).update_layout(legend=legend())


def _add_field(
    figure: go.Figure, name: str, points: dict[float, list[float]], seeds: Sequence[int], *, showlegend: bool
) -> None:
    """Add the accuracies of one field: a gray line for each seed, then the blue mean."""
    lines = [(f"seed {seed}", [values[index] for values in points.values()]) for index, seed in enumerate(seeds)]
    lines.append(("mean of all seeds", [fmean(values) for values in points.values()]))
    for index, (title, accuracies) in enumerate(lines):
        is_mean = index == len(seeds)
        figure.add_scatter(
            x=list(points),
            y=accuracies,
            mode="lines+markers",
            line={"color": TRAIN, "width": 2.5} if is_mean else {"color": FAINT, "width": 1},
            marker={"size": 8 if is_mean else 4},
            name="mean of all seeds" if is_mean else "one seed",
            legendgroup="mean" if is_mean else "seed",
            showlegend=showlegend and (is_mean or index == 0),
            cliponaxis=False,
            hovertemplate=f"{name}, {title}: %{{y:.4f}}<extra></extra>",
        )


def sweep_figure(study: SweepStudy) -> go.Figure:
    """Draw the accuracy of every setting, best first: a dot for each seed, a bar at the mean."""
    ranked = [(setting, setting.stats) for setting in study.ranked if setting.stats is not None]
    drawn = ranked[:MAX_SETTINGS]
    labels = [shorten_label(setting.label, 48) for setting, _ in drawn]
    fields = " · ".join(name for name, _ in study.param_grid)
    omitted = f" Only the best {len(drawn)} of {len(ranked)} settings are drawn." if len(drawn) < len(ranked) else ""
    ends = "; ".join(f"{setting.name}: {stats.format(format_accuracy)}" for setting, stats in drawn[:10])
    left = 24 + text_width(labels)
    figure = new_figure(
        f"{study.split.capitalize()} accuracy by setting",
        caption=(
            f"Accuracy of each setting ({fields or 'the defaults'}): one dot for each seed, a bar at the mean. Where "
            f"the dots of two settings overlap, their order may depend on the seeds.{omitted}"
        ),
        alt=f"Dot chart of the {study.split} accuracy of {len(drawn)} settings, best first: {ends}.",
        height=TITLE_HEIGHT + 96 + _ROW_HEIGHT * max(2, len(labels)),
        margin={"l": left, "b": 88},
        min_width=left + 160,
    )
    dots = [(value, row) for row, (_, stats) in enumerate(drawn) for value in stats.values]
    means = [(stats.mean, row) for row, (_, stats) in enumerate(drawn)]
    for name, points, marker in (
        ("one seed", dots, {"symbol": "circle", "size": 8, "opacity": 0.55, "color": TRAIN}),
        ("mean", means, {"symbol": "line-ns", "size": 16, "line": {"width": 3, "color": TEST}}),
    ):
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[row for _, row in points],
            text=[drawn[row][0].name for _, row in points],
            name=name,
            mode="markers",
            marker=marker,
            cliponaxis=False,
            hovertemplate=f"%{{text}}<br>{name}: %{{x:.4f}}<extra></extra>",
        )
    figure.update_xaxes(**_ACCURACY_AXIS, zeroline=False)
    figure.update_yaxes(tickvals=list(range(len(labels))), ticktext=labels, range=[len(labels) - 0.5, -0.5])
    figure.update_yaxes(tickfont={"size": TICK_SIZE, "color": TEXT}, **CATEGORY_AXIS)
    return figure.update_layout(legend=legend())


def _list_means(study: SweepStudy) -> str:
    sentences = []
    for name, by_value in study.means.items():
        means = {value: format_accuracy(fmean(seeds)) if seeds else "diverged" for value, seeds in by_value.items()}
        sentences.append(f"{name}: {', '.join(f'{value} {mean}' for value, mean in means.items())}.")
    return " ".join(sentences)
