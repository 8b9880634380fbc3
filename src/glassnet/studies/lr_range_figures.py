"""The loss while the learning rate grows."""

import math
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from glassnet.pages.figures.curves import finite, legend
from glassnet.pages.theme import TEST, TEXT, TRAIN, VALIDATION, new_figure

if TYPE_CHECKING:
    from glassnet.studies.lr_range import LearningRateStudy


def learning_rate_figure(study: "LearningRateStudy") -> go.Figure:
    """The loss of each step and the smoothed curve over the rate, with the rates that it singles out."""
    landmarks = [
        ("steepest", study.steepest, VALIDATION, "square"),
        ("nine tenths fallen", study.fallen, TEST, "star"),
        ("lowest", study.lowest, TEXT, "diamond"),
    ]
    found = [(name, rate, colour, symbol) for name, rate, colour, symbol in landmarks if rate is not None]
    told = ", ".join(f"{name} at {rate:.2g}" for name, rate, _, _ in found) or "it hardly falls anywhere"
    figure = new_figure(
        "Loss by learning rate",
        caption=(
            "Look for the long slope down: a good rate lies well down that slope, and before the bottom, where the "
            "curve turns ragged and jumps up. The dots are single batches."
        ),
        alt=f"Line chart of the loss over the learning rate, logarithmic axis. The smoothed loss: {told}.",
        height=440,
        margin={"b": 96},
    )
    figure.add_scatter(
        x=study.rates,
        y=[finite(loss) for loss in study.losses],
        name="each batch",
        mode="markers",
        marker={"color": TRAIN, "size": 5, "opacity": 0.4},
        hovertemplate="rate %{x:.2e}: loss %{y:.4f}<extra></extra>",
    )
    figure.add_scatter(
        x=study.rates,
        y=[finite(loss) for loss in study.smoothed],
        name="smoothed",
        mode="lines",
        line={"color": TRAIN, "width": 3},
        hovertemplate="rate %{x:.2e}: smoothed %{y:.4f}<extra></extra>",
    )
    for name, rate, colour, symbol in found:
        figure.add_scatter(
            x=[rate],
            y=[study.smoothed[study.rates.index(rate)]],
            name=f"{name}: {rate:.2g}",
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 13, "line": {"color": "white", "width": 1}},
            hovertemplate=f"{name}: %{{x:.2g}}<extra></extra>",
        )
    figure.update_xaxes(title_text="learning rate", type="log", dtick=1, exponentformat="power", zeroline=False)
    figure.update_yaxes(title_text="cross-entropy (nats per image)", range=[0, _top(study)])
    return figure.update_layout(legend=legend())


def _top(study: "LearningRateStudy") -> float:
    """High enough for the curve before it diverges; what jumps higher leaves the image."""
    usual = [loss for loss in study.losses if math.isfinite(loss)] or [1.0]
    return 1.25 * max(float(np.percentile(usual, 90)), study.smoothed[0])
