"""Several runs in one figure: curves on shared axes, times, confusion matrices on one scale, disagreements."""

from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.measures.significance import Disagreement
from glassnet.pages.figures.classes import class_axis, count_cells, worst_pair
from glassnet.pages.figures.curves import Records, epoch_axis, finite, legend
from glassnet.pages.figures.images import image_grid
from glassnet.pages.theme import (
    BUTTONS_HEIGHT,
    CATEGORY_AXIS,
    COLOUR_BAR_HEIGHT,
    LABEL_SIZE,
    TEXT,
    TICK_SIZE,
    TITLE_HEIGHT,
    buttons,
    new_figure,
    shorten_label,
    text_figure,
    text_width,
)

# Okabe and Ito's colours, told apart in every common colour blindness, but for their yellow, too pale for lines on
# white; the marker says again which run it is.
RUN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#882255")
RUN_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "hexagon")
NO_DISAGREEMENT = "The runs give every test image the same name: there is no disagreement to show."
PAGE_WIDTH = 940  # pixels that panels side by side may take
LEGEND_ROW = 20


def loss_comparison(histories: Mapping[str, Records]) -> go.Figure:
    """Cross-entropy of the training and test images of every run after each epoch, on shared axes.

    :param histories: epoch records by the name of the run; a value that is not finite leaves a gap.
    """
    figure = _curves(
        "Loss of every run",
        histories,
        ("loss", "test_loss"),
        {"Linear": {"yaxis.type": "linear"}, "Logarithmic": {"yaxis.type": "log"}},
        caption=(
            "Solid with filled markers is the test loss, dotted with open markers the training loss; a run has one "
            "colour and one marker. Dropout and label smoothing raise the training loss, and label smoothing makes a "
            "network less sure, which raises its test loss too: between runs that differ in it, accuracy tells more."
        ),
        quantity="cross-entropy",
    )
    return figure.update_yaxes(title_text="cross-entropy (nats per image)", rangemode="tozero")


def accuracy_comparison(histories: Mapping[str, Records]) -> go.Figure:
    """Share of the training and test images that every run names correctly, epoch by epoch, on shared axes.

    :param histories: epoch records by the name of the run; a value that is not finite leaves a gap.
    """
    last = [value for history in histories.values() if (value := finite(history[-1].get("test_accuracy"))) is not None]
    lowest = min(0.98, max(0.0, 2 * min(last, default=0.0) - 1))  # the worst result stands halfway up
    figure = _curves(
        "Accuracy of every run",
        histories,
        ("train_accuracy", "test_accuracy"),
        {"From 0 to 1": {"yaxis.range": [0, 1]}, "Close-up of the end": {"yaxis.range": [lowest, 1]}},
        caption=(
            "Solid with filled markers is the test accuracy, dotted with open markers the training accuracy. Look at "
            "the last points, and at which run gets there in fewer epochs. Solid curves that cross again and again "
            "belong to runs that are equally good."
        ),
        quantity="accuracy",
    )
    return figure.update_yaxes(title_text="accuracy (share of images)", tickformat=".3~f")


def epoch_time_figure(histories: Mapping[str, Records]) -> go.Figure:
    """Seconds of every epoch of every run, and their median.

    :param histories: epoch records by the name of the run.
    """
    seconds = {run: [record["seconds"] for record in history] for run, history in histories.items() if history}
    medians = {run: median(values) for run, values in seconds.items()}
    names = [shorten_label(run, 24) for run in seconds]
    figure = new_figure(
        "Time per epoch",
        caption=(
            "One dot an epoch, a bar at the median. An epoch is training, evaluation on the test images and saving. A "
            "dot far out is often the first epoch, which warms up, or a machine that was busy with something else."
        ),
        alt="Dot chart of the seconds per epoch. Median: "
        + ", ".join(f"{run} {value:.3g}" for run, value in medians.items())
        + ".",
        height=TITLE_HEIGHT + 96 + 34 * len(names),
        margin={"l": 24 + text_width(names), "b": 88},
    )
    places = [place for place, values in enumerate(seconds.values()) for _ in values]
    drawn: tuple[tuple[str, list[int], list[float], dict[str, Any]], ...] = (
        ("each epoch", places, list(chain(*seconds.values())), {"symbol": "circle", "size": 8, "opacity": 0.55}),
        ("median", list(range(len(names))), list(medians.values()), {"symbol": "line-ns", "size": 20}),
    )
    for name, y, x, marker in drawn:
        colours = [RUN_COLOURS[place % len(RUN_COLOURS)] for place in y]
        figure.add_scatter(
            x=x,
            y=y,
            name=name,
            mode="markers",
            marker=marker | {"color": colours, "line": {"width": 3 if name == "median" else 0, "color": colours}},
            cliponaxis=False,
            text=[names[place] for place in y],
            hovertemplate=f"%{{text}}, {name}: %{{x:.3g}} s<extra></extra>",
        )
    figure.update_xaxes(title_text="seconds", rangemode="tozero", zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=names,
        tickfont={"size": TICK_SIZE},
        range=[len(names) - 0.5, -0.5],
        **CATEGORY_AXIS,
    )
    return figure.update_layout(legend=legend())


def confusion_comparison(matrices: Mapping[str, npt.NDArray[np.int64]], classes: Sequence[str]) -> go.Figure:
    """The confusion matrices of several runs side by side, on one scale of colours.

    :param matrices: by the name of the run (classes, classes) counts, true class by row, predicted class by column.
    """
    names = [shorten_label(name) for name in classes]
    largest = max(int(matrix.max(initial=0)) for matrix in matrices.values())
    least = max(TICK_SIZE + 4, 4 + text_width([str(largest)], LABEL_SIZE))
    left, gap = 48 + text_width(names), 16
    most = max(1, min(3, int(PAGE_WIDTH / (left + gap + len(names) * least))))
    rows = -(-len(matrices) // most)
    columns = -(-len(matrices) // rows)
    room = PAGE_WIDTH / columns - left - gap
    side = len(names) * max(least, min(36, room / len(names)))
    upright = text_width(names) > side / len(names)
    head, below = 28, 48 + (text_width(names) if upright else TICK_SIZE)
    wide, tall = columns * (left + side + gap), rows * (head + side + below)
    figure = new_figure(
        "Confusion matrices of every run",
        caption=(
            "All on one scale of colours, so equal shades are equal counts. Look for cells off the diagonal that are "
            "filled in one matrix and empty in another: a pair of classes that only one run mixes up."
        ),
        alt=" ".join(
            f"{run}: {np.trace(matrix):,} of {matrix.sum():,} images stand on the diagonal. "
            + worst_pair(matrix, classes)
            for run, matrix in matrices.items()
        ),
        width=wide + 8,
        height=tall + TITLE_HEIGHT + COLOUR_BAR_HEIGHT,
        min_width=wide + 8,
        margin={"l": 0, "r": 8, "t": TITLE_HEIGHT, "b": COLOUR_BAR_HEIGHT},
    )
    for place, (run, matrix) in enumerate(matrices.items()):
        row, column = divmod(place, columns)
        x, y = column * (left + side + gap) + left, row * (head + side + below) + head
        across, down = f"xaxis{place + 1}", f"yaxis{place + 1}"
        cells = count_cells(matrix, classes, below=8) | {"zmax": largest or 1, "showscale": place == 0}
        figure.add_heatmap(**cells, name=shorten_label(run, 60), xaxis=f"x{place + 1}", yaxis=f"y{place + 1}")
        axis = class_axis(names)
        horizontal = {"domain": [x / wide, (x + side) / wide], "anchor": f"y{place + 1}"}
        vertical = {"domain": [1 - (y + side) / tall, 1 - y / tall], "anchor": f"x{place + 1}"}
        predicted, true = ({"text": f"{kind} class", "standoff": 8} for kind in ("predicted", "true"))
        figure.layout[across] = axis | horizontal | {"title": predicted, "tickangle": -90 if upright else 0}
        figure.layout[down] = axis | vertical | {"title": true, "range": [len(names) - 0.5, -0.5]}
        right = np.trace(matrix) / max(1, matrix.sum())
        figure.add_annotation(
            text=f"{shorten_label(run, 24)}: {right:.1%} right",
            x=x / wide,
            xanchor="left",
            y=1 - y / tall,
            yanchor="bottom",
            xref="paper",
            yref="paper",
            showarrow=False,
        )
    return figure


def disagreement_figure(
    disagreements: Sequence[Disagreement],
    images: npt.NDArray[np.uint8],
    runs: Sequence[str],
    classes: Sequence[str],
    *,
    scale: float = 255.0,
) -> go.Figure:
    """Images that the runs name differently, in the order given; without any, a sentence in place of images.

    :param disagreements: as ``glassnet.measures.significance.disagreements`` finds them.
    :param images: uint8 (len(disagreements), H, W, C), the images that they are about.
    :param runs: the names of the runs, in the order of each disagreement's names.
    """
    if not disagreements:
        return text_figure("Disagreements", NO_DISAGREEMENT)
    labels, hover = [], []
    for one in disagreements:
        said = [
            (run, classes[name], probability)
            for run, name, probability in zip(runs, one.predicted, one.probabilities, strict=True)
        ]
        true = classes[one.true]
        below = [
            f"{shorten_label(run, 10)}: {shorten_label(name, 10)} {probability:.2f}{'' if name == true else ' ×'}"
            for run, name, probability in said
        ]
        labels.append([f"true: {shorten_label(true, 10)}", *below])
        hover.append(
            f"test image {one.index}<br>true: {shorten_label(true, 60)}"
            + "".join(f"<br>{shorten_label(run, 60)}: {shorten_label(name, 60)} ({p:.4f})" for run, name, p in said)
        )
    widest = text_width([line for lines in labels for line in lines], LABEL_SIZE)
    return image_grid(
        "Disagreements: true class, and each run's",
        images,
        scale=scale,
        columns=max(2, min(6, int(PAGE_WIDTH / (1.15 * widest + 16)))),
        labels=labels,
        hover=hover,
        caption=(
            "Those on which all runs are sure come first. Below each image stands its true class, then what each run "
            "takes it for and how probable that run thinks it is; × marks what is wrong. Would you have known?"
        ),
        alt=f"{len(images)} test images with their true class and what each of {len(runs)} runs says.",
    )


def _curves(
    title: str,
    histories: Mapping[str, Records],
    keys: tuple[str, str],
    choices: Mapping[str, Mapping[str, Any]],
    *,
    caption: str,
    quantity: str,
) -> go.Figure:
    """Of every run two curves: the first key's values dotted (train), the second's solid (test).

    :param choices: the buttons: what each changes of the layout; the first says how the figure begins.
    """
    names = [shorten_label(run, 20) for run in histories]
    below = 56 + LEGEND_ROW * -(-sum(48 + text_width([name], 12) for name in [*names, "test", "train"]) // 220)
    height = TITLE_HEIGHT + BUTTONS_HEIGHT + 280 + below
    ends = [
        f"{run} {value:.3f}"
        for run, history in histories.items()
        if (value := finite(history[-1].get(keys[1]))) is not None
    ]
    figure = new_figure(
        title,
        caption=caption,
        alt=f"Line chart of the {quantity} of {len(histories)} runs by epoch. On the test images at the end: "
        f"{', '.join(ends)}.",
        height=height,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": below},
    )
    for number, (name, history) in enumerate(zip(names, histories.values(), strict=True)):
        colour, symbol = RUN_COLOURS[number % len(RUN_COLOURS)], RUN_SYMBOLS[number % len(RUN_SYMBOLS)]
        for key, split in zip(keys, ("train", "test"), strict=True):
            figure.add_scatter(
                x=[record["epoch"] for record in history],
                y=[finite(record.get(key)) for record in history],
                name=name,
                legendgroup=str(number),
                showlegend=split == "test",
                cliponaxis=False,
                hovertemplate=f"%{{fullData.name}}, {split}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
                **_style(split, colour, symbol),
            )
    for split in ("test", "train"):
        figure.add_scatter(x=[None], y=[None], name=split, hoverinfo="skip", **_style(split, TEXT, "circle"))
    epoch_axis(figure, [record["epoch"] for history in histories.values() for record in history])
    place = {"yref": "container", "y": (below - 52) / height, "yanchor": "top", "tracegroupgap": 0}
    return figure.update_layout(
        legend=legend() | place, updatemenus=buttons("relayout", choices), **next(iter(choices.values()))
    )


def _style(split: str, colour: str, symbol: str) -> dict[str, Any]:
    if split == "test":
        return {"mode": "lines+markers", "line": {"color": colour, "width": 2}, "marker": {"symbol": symbol, "size": 7}}
    return {
        "mode": "lines+markers",
        "line": {"color": colour, "width": 1.25, "dash": "dot"},
        "marker": {"symbol": f"{symbol}-open", "size": 6},
    }
