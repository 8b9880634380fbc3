"""A grid of settings: what each field brings, and how far chance moves every setting."""

from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from glassnet.pages.figures.curves import legend
from glassnet.pages.theme import (
    CATEGORY_AXIS,
    TEST,
    TEXT,
    TICK_SIZE,
    TITLE_HEIGHT,
    TRAIN,
    new_figure,
    shorten_label,
    text_width,
)

if TYPE_CHECKING:
    from glassnet.studies.sweep import SweepStudy

MAX_SETTINGS = 60
_ROW, _VALUE, _GAP = 24, 48, 0.6  # pixels of a setting and of a value; between two fields, in values


def field_figure(study: "SweepStudy") -> go.Figure:
    """The accuracy with each value of each field, in the mean of all settings that have it: seed by seed, and over
    all seeds."""
    labels, places, marks = [], [], []
    figure = new_figure(
        f"{study.split.capitalize()} accuracy by field",
        caption=(
            "For each value of a field, the mean over all settings that have it; the blue line is the mean of all "
            "seeds. A gray line is one seed: the more alike a field's gray lines run, the surer is what it brings."
        ),
        alt=f"Line chart of the {study.split} accuracy by field. "
        + " ".join(
            f"{name}: " + ", ".join(f"{value} {_mean(seeds)}" for value, seeds in by_value.items()) + "."
            for name, by_value in study.means.items()
        ),
        height=400,
        margin={"t": TITLE_HEIGHT + 28, "b": 96},
        min_width=96 + _VALUE * sum(len(values) + _GAP for _, values in study.swept),
    )
    left = 0.0
    for name, by_value in study.means.items():
        positions = [left + place for place in range(len(by_value))]
        whole = [(x, seeds) for x, seeds in zip(positions, by_value.values(), strict=True) if seeds]
        labels += [shorten_label(value, 12) for value in by_value]
        places += positions
        marks.append((shorten_label(name, 16), (positions[0] + positions[-1]) / 2))
        for place, seed in enumerate(study.seeds):
            figure.add_scatter(
                x=[x for x, _ in whole],
                y=[one[place] for _, one in whole],
                mode="lines+markers",
                line={"color": "#8a97a5", "width": 1},
                marker={"size": 4},
                name="a seed",
                legendgroup="seed",
                showlegend=left == 0 and place == 0,
                cliponaxis=False,
                hovertemplate=f"{name}, seed {seed}: %{{y:.4f}}<extra></extra>",
            )
        figure.add_scatter(
            x=[x for x, _ in whole],
            y=[fmean(one) for _, one in whole],
            mode="lines+markers",
            line={"color": TRAIN, "width": 2.5},
            marker={"size": 8},
            name="mean of all seeds",
            legendgroup="mean",
            showlegend=left == 0,
            cliponaxis=False,
            hovertemplate=f"{name}, mean of all seeds: %{{y:.4f}}<extra></extra>",
        )
        left = positions[-1] + 1 + _GAP
    for name, x in marks:
        figure.add_annotation(text=f"<b>{name}</b>", x=x, y=1, yref="paper", yanchor="bottom", showarrow=False)
    figure.update_xaxes(tickvals=places, ticktext=labels, range=[-0.5, places[-1] + 0.5], **CATEGORY_AXIS)
    return figure.update_yaxes(title_text="accuracy (share of images)", tickformat=".3~f").update_layout(
        legend=legend()
    )


def settings_figure(study: "SweepStudy") -> go.Figure:
    """The accuracy of every setting, best first: a dot for each seed, a bar at the mean."""
    ranked = [one for one in study.best_first if one.spread is not None]
    shown = ranked[:MAX_SETTINGS]
    names = [shorten_label(one.label, 48) for one in shown]
    order = " · ".join(name for name, _ in study.axes)
    cut = f" Of {len(ranked)} settings these are the best {len(shown)}." if len(shown) < len(ranked) else ""
    margin = {"l": 24 + text_width(names), "b": 88}
    figure = new_figure(
        f"{study.split.capitalize()} accuracy of every setting",
        caption=(
            f"One dot a seed, a bar at the mean; a label is {order or 'the model'}. Settings whose dots lie "
            f"among each other's are hard to tell apart, whatever their order.{cut}"
        ),
        alt=f"Dot chart of the {study.split} accuracy of {len(shown)} settings, best first: "
        + "; ".join(f"{one.name}: {one.spread.format()}" for one in shown[:10] if one.spread)
        + ".",
        height=TITLE_HEIGHT + 96 + _ROW * max(2, len(names)),
        margin=margin,
        min_width=margin["l"] + 160,
    )
    dots = [(value, place) for place, one in enumerate(shown) if one.spread for value in one.spread.values]
    means = [(one.spread.mean, place) for place, one in enumerate(shown) if one.spread]
    for name, points, marker in (
        ("a seed", dots, {"symbol": "circle", "size": 8, "opacity": 0.55, "color": TRAIN}),
        ("mean", means, {"symbol": "line-ns", "size": 16, "line": {"width": 3, "color": TEST}}),
    ):
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[place for _, place in points],
            text=[shown[place].name for _, place in points],
            name=name,
            mode="markers",
            marker=marker,
            cliponaxis=False,
            hovertemplate=f"%{{text}}<br>{name}: %{{x:.4f}}<extra></extra>",
        )
    figure.update_xaxes(title_text="accuracy (share of images)", tickformat=".3~f", zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=names,
        tickfont={"size": TICK_SIZE, "color": TEXT},
        range=[len(names) - 0.5, -0.5],
        **CATEGORY_AXIS,
    )
    return figure.update_layout(legend=legend())


def _mean(values: list[float]) -> str:
    return f"{fmean(values):.4f}" if values else "diverged"
