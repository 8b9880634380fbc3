"""Curves of a training by epoch: loss, accuracy and gradient norms."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from glassnet.formats import pluralize
from glassnet.measures.layers import layer_gradient_norms
from glassnet.pages.colours import DEPTH, TEST, TRAIN, VALIDATION
from glassnet.pages.text import finite
from glassnet.pages.theme import fraction_axis, legend, line_style, logarithmic, new_figure, text_width

Records = Sequence[Mapping[str, Any]]

# The curves that records may have: key of the values, name, colour, marker and dash. {} is loss or accuracy.
_CURVES = (
    ("train_evaluated_{}", "train, evaluated", TRAIN, "circle-open", "dot"),
    ("validation_{}", "validation", VALIDATION, "square", "dash"),
    ("test_{}", "test", TEST, "diamond", "solid"),
    ("evaluated_{}", "evaluated", TEST, "diamond", "solid"),
)
MAX_NAMED_LAYERS = 12
_AVERAGED = "The training curve is of the weights that take the steps, the other curves are of their moving average. "


def loss_curve(
    history: Records,
    label_smoothing: float = 0.0,
    test_name: str = "test",
    *,
    is_weighted: bool = False,
    is_averaged: bool = False,
) -> go.Figure:
    """Draw the cross-entropy on the training and test images after each epoch.

    :param history: epoch records as ``run.history`` has them; a value that is not finite leaves a gap.
    :param label_smoothing: the recipe's, which the training loss has and the others have not.
    :param test_name: the name of the test set.
    :param is_weighted: whether the training loss has class weights, which the others have not.
    :param is_averaged: whether the evaluations are of averaged weights.
    """
    smoothed = (
        f"The training loss has label smoothing of {label_smoothing:g} and levels off higher for it; the other losses "
        "have none. "
    )
    weighted = "In the training loss every class has the same weight; in the other losses every image has. "
    notes = {"smoothed": smoothed} if label_smoothing else {}
    notes |= {"weighted": weighted} if is_weighted else {}
    figure = _curves(
        "Loss",
        history,
        ("loss", "loss"),
        "Cross-entropy by epoch; the training loss is the mean over the batches of an epoch, while the weights change. "
        + "".join(notes.values())
        + _AVERAGED * is_averaged
        + f"Both curves should fall and then level off. If the {test_name} loss rises while the training loss falls, "
        "the network overfits. Jumps suggest that the learning rate is too high.",
        test_name,
        train_name=", ".join(["train", *notes]),
    )
    return figure.update_yaxes(title_text="cross-entropy (nats per image)", rangemode="tozero")


def accuracy_curve(history: Records, test_name: str = "test", *, is_averaged: bool = False) -> go.Figure:
    """Draw the fraction of correctly classified training and test images after each epoch.

    :param history: epoch records as ``run.history`` has them; a value that is not finite leaves a gap.
    :param test_name: the name of the test set.
    :param is_averaged: whether the evaluations are of averaged weights.
    """
    figure = _curves(
        "Accuracy",
        history,
        ("train_accuracy", "accuracy"),
        f"Fraction of correctly classified images by epoch. {_AVERAGED * is_averaged}The last point of the "
        f"{test_name} curve is the result. If the {test_name} curve is far below the training curve, the network "
        "overfits.",
        test_name,
    )
    return figure.update_yaxes(title_text="accuracy (fraction of images)", **fraction_axis())


def gradient_norm_curves(history: Records) -> go.Figure:
    """Draw the L2 norm of each layer's gradient at the last batch of every epoch, on a logarithmic axis.

    :param history: epoch records with ``gradient_norms`` ({parameter key: norm}); weight and bias of a layer count
        together.
    """
    epochs, norms = layer_gradient_norms(history)
    many = len(norms) > MAX_NAMED_LAYERS
    figure = new_figure(
        "Gradient norm per layer",
        caption=(
            "L2 norm of each layer's gradient at the last batch of each epoch; a norm of 0 leaves a gap. The norms "
            "should stay within a few powers of ten of each other. First layers far below the last ones mean vanishing "
            "gradients; a steep rise means exploding ones."
        ),
        alt=(
            f"Line chart of the gradient norm of {pluralize(len(norms), 'layer')} over "
            f"{pluralize(len(history), 'epoch')}, logarithmic axis."
        ),
        height=400 if many else 420,
        margin={"r": 76} if many else None,
    )
    depths = [index / max(1, len(norms) - 1) for index in range(len(norms))]
    colours = sample_colorscale(DEPTH, depths) if norms else []
    for (layer, values), colour in zip(norms.items(), colours, strict=True):
        figure.add_scatter(
            x=epochs,
            y=[value if value > 0 and math.isfinite(value) else None for value in values],
            showlegend=not many,
            **line_style(layer, colour, "solid", "circle", hover="%{fullData.name}<br>epoch %{x}: %{y:.3g}", width=1.5),
        )
    if many:
        _add_depth_bar(figure)
    epoch_axis(figure, epochs)
    axis = logarithmic(value for values in norms.values() for value in values)
    return figure.update_yaxes(title_text="L2 norm of the gradient", **axis).update_layout(legend=legend())


def epoch_axis(figure: go.Figure, epochs: Sequence[int]) -> None:
    """Set the x axis to whole epochs with at most a dozen ticks."""
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


def _curves(
    title: str, history: Records, quantities: tuple[str, str], caption: str, test_name: str, train_name: str = "train"
) -> go.Figure:
    """Draw every curve of a quantity that the records have.

    :param quantities: the key of the training values, and the quantity in the keys of all others.
    """
    train_key, quantity = quantities
    epochs = [record["epoch"] for record in history]
    others = ((key, test_name if name == "test" else name, *style) for key, name, *style in _CURVES)
    curves = [(train_key, train_name, TRAIN, "circle", "solid"), *others]
    keys = [key.format(quantity) for key, *_ in curves]
    ends = [
        f"{name} from {history[0][key]:.3f} to {history[-1][key]:.3f}"
        for key, (_, name, *_) in zip(keys, curves, strict=True)
        if history and history[0].get(key) is not None and history[-1].get(key) is not None
    ]
    alt = (
        f"Line chart of the {title.lower()} over {pluralize(len(history), 'epoch')}: {', '.join(ends) or 'no values'}."
    )
    figure = new_figure(title, caption=caption, alt=alt, height=360)
    for key, (_, name, colour, symbol, dash) in zip(keys, curves, strict=True):
        if any(record.get(key) is not None for record in history):
            figure.add_scatter(
                x=epochs,
                y=[finite(record.get(key)) for record in history],
                cliponaxis=False,
                **line_style(name, colour, dash, symbol, hover=f"{name}, epoch %{{x}}: %{{y:.4f}}"),
            )
    epoch_axis(figure, epochs)
    return figure.update_layout(legend=legend())


def _add_depth_bar(figure: go.Figure) -> None:
    """Add a scale of colours from the first layer to the last, by an invisible trace."""
    bar = {
        "title": {"text": "layer<br> "},
        "thickness": 12,
        "tickvals": [0, 1],
        "ticktext": ["first", "last"],
    }
    scale = {"color": [0], "cmin": 0, "cmax": 1, "colorscale": DEPTH, "showscale": True, "colorbar": bar}
    figure.add_scatter(x=[None], y=[None], mode="markers", showlegend=False, hoverinfo="skip", marker=scale)
