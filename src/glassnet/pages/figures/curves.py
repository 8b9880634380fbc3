"""How a training went: loss, accuracy and gradient norms, epoch by epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from glassnet.measures.layers import layer_gradient_norms
from glassnet.pages.theme import TEST, TRAIN, VALIDATION, logarithmic, new_figure, text_width

Records = Sequence[Mapping[str, Any]]

# Which records a curve may have: where its numbers stand, its name, colour, marker and dash.
_CURVES = (
    ("{}", "train", TRAIN, "circle", "solid"),
    ("train_evaluated_{}", "train, evaluated", TRAIN, "circle-open", "dot"),
    ("validation_{}", "validation", VALIDATION, "square", "dash"),
    ("test_{}", "test", TEST, "diamond", "solid"),
)
MAX_NAMED_LAYERS = 12
_DEPTH = sample_colorscale("Viridis", [index / 10 * 0.9 for index in range(11)])  # its yellow end fades on white


def loss_curve(history: Records) -> go.Figure:
    """Cross-entropy of the training and test images after each epoch.

    :param history: epoch records as ``run.history`` has them; a value that is not finite leaves a gap.
    """
    figure = new_figure(
        "Loss",
        caption=(
            "Both curves should fall and then level off. A test loss that rises while the training loss still falls "
            "is overfitting; jumps mean that the learning rate is high. The training loss is the mean over the "
            "epoch's batches, taken while the weights still moved."
        ),
        alt=f"Line chart of the cross-entropy over {_epochs(history)}: {_ends(history, 'loss', 'loss')}.",
        height=360,
    )
    _draw(figure, history, "loss", train_key="loss")
    figure.update_yaxes(title_text="cross-entropy (nats per image)", rangemode="tozero")
    return figure


def accuracy_curve(history: Records) -> go.Figure:
    """Share of the training and test images named correctly, epoch by epoch, on an axis from 0 to 1.

    :param history: epoch records as ``run.history`` has them; a value that is not finite leaves a gap.
    """
    figure = new_figure(
        "Accuracy",
        caption=(
            "The test curve is what counts, and its last point is the result. A wide gap below the training curve "
            "means that the network knows its training images by heart."
        ),
        alt=(f"Line chart of the accuracy over {_epochs(history)}: {_ends(history, 'accuracy', 'train_accuracy')}."),
        height=360,
    )
    _draw(figure, history, "accuracy", train_key="train_accuracy")
    figure.update_yaxes(title_text="accuracy (share of images)", range=[0, 1], dtick=0.2, tickformat=".1f")
    return figure


def gradient_norm_curves(history: Records) -> go.Figure:
    """L2 norm of each layer's gradient at the last batch of every epoch, on a logarithmic axis.

    :param history: epoch records with ``gradient_norms`` ({parameter key: norm}); weight and bias of a layer count
        together.
    """
    epochs, norms = layer_gradient_norms(history)
    many = len(norms) > MAX_NAMED_LAYERS
    figure = new_figure(
        "Gradient norm per layer",
        caption=(
            "The norms of all layers should stay within a few powers of ten of each other. First layers far below the "
            "last ones mean vanishing gradients, a steep rise means exploding ones; a norm of exactly 0 leaves a gap."
        ),
        alt=f"Line chart of the gradient norm of {len(norms)} layers over {_epochs(history)}, logarithmic axis.",
        height=400 if many else 420,
        margin={"r": 76} if many else None,
    )
    depths = [index / max(1, len(norms) - 1) for index in range(len(norms))]
    colours = sample_colorscale(_DEPTH, depths) if norms else []
    for (layer, values), colour in zip(norms.items(), colours, strict=True):
        figure.add_scatter(
            x=epochs,
            y=[value if value > 0 and math.isfinite(value) else None for value in values],
            name=layer,
            mode="lines+markers",
            line={"color": colour, "width": 1.5},
            marker={"size": 5},
            showlegend=not many,
            hovertemplate="%{fullData.name}<br>epoch %{x}: %{y:.3g}<extra></extra>",
        )
    if many:
        _add_depth_bar(figure, list(norms))
    epoch_axis(figure, epochs)
    drawn = (value for values in norms.values() for value in values)
    figure.update_yaxes(title_text="L2 norm of the gradient", **logarithmic(drawn))
    figure.update_layout(legend=legend())
    return figure


def _draw(figure: go.Figure, history: Records, quantity: str, *, train_key: str) -> None:
    epochs = [record["epoch"] for record in history]
    for pattern, name, colour, symbol, dash in _CURVES:
        key = train_key if name == "train" else pattern.format(quantity)
        if not any(record.get(key) is not None for record in history):
            continue
        figure.add_scatter(
            x=epochs,
            y=[finite(record.get(key)) for record in history],
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 7},
            cliponaxis=False,
            hovertemplate=f"{name}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
        )
    epoch_axis(figure, epochs)
    figure.update_layout(legend=legend())


def epoch_axis(figure: go.Figure, epochs: Sequence[int]) -> None:
    first, last = (min(epochs), max(epochs)) if epochs else (1, 1)
    step = next(n * 10**power for power in range(9) for n in (1, 2, 5) if (last - first) <= 10 * n * 10**power)
    figure.update_xaxes(
        title_text="epoch", range=[first - 0.5, last + 0.5], tick0=0, dtick=step, tickformat="d", zeroline=False
    )


def layer_axis(figure: go.Figure, names: Sequence[str], title: str, max_names: int = 14) -> None:
    """Number layers or blocks on the x axis from 1, and write their names below it where they are few.

    The figure becomes higher by the space that axis and legend take.
    """
    foot, ticks = 96.0, dict[str, Any](title_text=title)
    if len(names) <= max_names:
        foot = 84 + text_width(names) * 0.75
        ticks = {"tickvals": list(range(1, len(names) + 1)), "ticktext": list(names), "tickangle": -45}
    figure.update_xaxes(zeroline=False, **ticks)
    figure.update_layout(height=round(figure.layout.height + foot), margin_b=foot)


def legend() -> dict[str, Any]:
    # At the foot of the figure, not below the axis: there a legend that gets fewer lines after a resize stays too high.
    return {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"}


def _add_depth_bar(figure: go.Figure, layers: Sequence[str]) -> None:
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker={
            "color": [0],
            "cmin": 0,
            "cmax": 1,
            "colorscale": _DEPTH,
            "showscale": True,
            "colorbar": {
                "title": {"text": "layer<br> "},
                "thickness": 12,
                "tickvals": [0, 1],
                "ticktext": ["first", "last"],
            },
        },
    )


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _epochs(history: Records) -> str:
    return "1 epoch" if len(history) == 1 else f"{len(history)} epochs"


def _ends(history: Records, quantity: str, train_key: str) -> str:
    if not history:
        return "no epoch recorded"
    return ", ".join(
        f"{name} from {history[0][key]:.3f} to {history[-1][key]:.3f}"
        for name, key in (("train", train_key), ("test", f"test_{quantity}"))
        if history[0].get(key) is not None and history[-1].get(key) is not None
    )
