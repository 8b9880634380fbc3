"""Ablation of residual blocks: the test accuracy and loss of a trained network without each of its blocks."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.classification import Outcome
from glassnet.engines import clone_network
from glassnet.errors import ConfigError, class_error
from glassnet.formats import format_accuracy, format_loss, pluralize
from glassnet.measures import significance
from glassnet.measures.outcomes import network_outcome
from glassnet.measures.receptive_field import shortcuts
from glassnet.measures.significance import SIGNIFICANT
from glassnet.pages.colours import TEST, TEXT, TRAIN
from glassnet.pages.figures.curves import layer_axis
from glassnet.pages.page import Page, Section, Table
from glassnet.pages.text import finite, first_names, format_points, format_test
from glassnet.pages.theme import (
    CATEGORY_AXIS,
    TITLE_HEIGHT,
    legend,
    line_style,
    new_figure,
    text_width,
)
from glassnet.progress import Progress
from glassnet.studies.study import Study

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.training import Model

Array = npt.NDArray[Any]

MAX_NAMED_BLOCKS = 12
_ROW_HEIGHT, _FOOT_HEIGHT = 26, 96  # pixels: one bar, and the space below all bars
_GROUPS = (("identity remains", True, TRAIN, "circle"), ("shortcut that changes the shape", False, TEST, "diamond"))


@dataclass(frozen=True)
class BlockAblation:
    """The network without one block. Intervals are 95 % intervals; differences are on the same images."""

    block: str
    position: int  # the first block has 1
    remaining_path: str  # "identity", or "zero-pad" or "projection" where the block changes the shape
    accuracy: float
    loss: float
    lost: int  # images that only the whole network classifies correctly
    gained: int  # images that only the network without the block classifies correctly
    accuracy_drop: float
    accuracy_interval: tuple[float, float]
    loss_added: float
    loss_interval: tuple[float, float]
    p_value: float  # McNemar's exact test, corrected for the number of blocks as Holm does

    @property
    def is_significant(self) -> bool:
        """Whether the accuracy differs significantly from that of the whole network."""
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True, repr=False)
class AblationStudy(Study):
    """A run on its test images, whole and without each block; the largest drop in accuracy comes first."""

    run: str
    data: str
    count: int
    accuracy: float
    loss: float
    blocks: tuple[BlockAblation, ...]

    @property
    def summary(self) -> list[str]:
        first, last = self.blocks[0], self.blocks[-1]
        whole = f"The accuracy of the whole network is {self._accuracy(self.accuracy)}."
        if first.accuracy_drop > 0:
            low, high = map(format_points, first.accuracy_interval)
            test = format_test(first.p_value, "McNemar’s exact test")
            drop = (
                f"{format_points(first.accuracy_drop)} percentage points lower (95% interval {low} to {high}; {test})"
            )
            effect = f"Without {first.block} it is {self._accuracy(first.accuracy)}, {drop}."
        else:
            effect = "It does not fall without any single block."
        smallest = [f"Removing {last.block} costs least: {self._change(last)}."] * (len(self.blocks) > 1)
        return [f"{whole} {effect}", *smallest, self._significance(), *self._compare_shapes()]

    def _accuracy(self, accuracy: float) -> str:
        return f"{accuracy:.1%} ({round(accuracy * self.count):,} of {self.count:,})"

    def _change(self, block: BlockAblation) -> str:
        points = f"{format_points(abs(block.accuracy_drop))} percentage points"
        drop = block.accuracy_drop
        change = f"falls by {points}" if drop > 0 else f"rises by {points}" if drop < 0 else "does not change"
        return f"the accuracy {change}, the loss goes from {format_loss(self.loss)} to {format_loss(block.loss)}"

    def _significance(self) -> str:
        names = [block.block for block in self.blocks if block.is_significant and block.accuracy_drop > 0]
        listed = f": {first_names(names, MAX_NAMED_BLOCKS)}" if 0 < len(names) < len(self.blocks) else ""
        return (
            f"The drop in accuracy is significant for {len(names)} of {pluralize(len(self.blocks), 'block')}{listed} "
            "(McNemar’s exact test at 5%, corrected for the number of blocks by Holm’s method)."
        )

    def _compare_shapes(self) -> list[str]:
        same = [block.accuracy_drop for block in self.blocks if block.remaining_path == "identity"]
        changing = [block.accuracy_drop for block in self.blocks if block.remaining_path != "identity"]
        if not same or not changing:
            return []
        return [
            f"The mean drop is {format_points(float(np.mean(changing)))} percentage points for blocks that change the "
            f"shape and {format_points(float(np.mean(same)))} for the others."
        ]


def run_study(model: "Model", dataset: "Dataset | None" = None, *, progress: Progress | None = None) -> AblationStudy:
    """Remove the residual blocks of a trained run one at a time, and classify the test images each time.

    A block without its F is the identity (Veit et al. 2016), or its shortcut where it changes the shape. The study
    works on a copy: the model stays as it is.

    :param model: a run as ``glassnet.load`` returns it, on either engine.
    :param dataset: the data of the training, or other data of its classes; by default loaded again.
    :param progress: logs a line for each block.
    :returns: the accuracies, losses and tests.
    :raises ConfigError: if the network has no shortcuts, so that nothing would remain of a block.
    :raises DataError: if the data has other classes, or cannot be loaded again.
    """
    if not model.network.spec.skip:
        raise ConfigError(f"The network of {model.path} must have shortcuts. Got skip=False.")
    data = model.load_dataset() if dataset is None else dataset
    if data.classes != model.classes:
        raise class_error(model.classes, data.classes)
    normalization = dataclasses.replace(model.normalization, scale=data.scale)
    network, state = clone_network(model.network), model.network.state_dict()
    whole = network_outcome(network, normalization, data.test)
    blocks = []
    for position, (block, path) in enumerate(shortcuts(network.spec).items(), start=1):
        network.load_state_dict(zero_block(state, block))
        blocks.append(_compare(block, position, path, whole, network_outcome(network, normalization, data.test)))
        if progress is not None:
            removed = blocks[-1]
            described = f"loss {format_loss(removed.loss)}, accuracy {format_accuracy(removed.accuracy)}"
            progress.log(f"without {block}: {described}")
    p_values = significance.holm([block.p_value for block in blocks])
    corrected = [dataclasses.replace(block, p_value=p) for block, p in zip(blocks, p_values, strict=True)]
    corrected.sort(key=lambda block: (-block.accuracy_drop, -block.loss_added))
    name = Path(str(data.source["source"])).name
    return AblationStudy(str(model.path), name, len(data.test), whole.accuracy, whole.loss, tuple(corrected))


def zero_block(state: Mapping[str, Array], block: str) -> dict[str, Array]:
    """Return a network's state in which F of a residual block is 0 in evaluation mode.

    The weights and biases of the last layer of F that has some become zeros, of the same shape and dtype. All other
    arrays are those of ``state``, not copies.
    """
    keys = [key for key in state if key.startswith(f"{block}.") and not key.startswith(f"{block}.downsample.")]
    last = keys[-1].rpartition(".")[0]
    return dict(state) | {key: np.zeros_like(state[key]) for key in (f"{last}.weight", f"{last}.bias") if key in state}


def _compare(block: str, position: int, path: str, whole: Outcome, without: Outcome) -> BlockAblation:
    lost, gained = int((whole.correct & ~without.correct).sum()), int((without.correct & ~whole.correct).sum())
    added, count = without.losses - whole.losses, len(whole.labels)
    mean = float(added.mean())
    half = 1.959964 * float(added.std(ddof=1)) / count**0.5 if count > 1 else float("nan")
    return BlockAblation(
        block,
        position,
        path,
        without.accuracy,
        without.loss,
        lost,
        gained,
        (lost - gained) / count,
        significance.accuracy_difference_interval(lost, gained, count),
        mean,
        (mean - half, mean + half),
        significance.mcnemar(lost, gained),
    )


def build_page(study: AblationStudy) -> Page:
    """Return the study as a page."""
    how = (
        "A residual block adds F(x) to its input. This study removes F from one block at a time, without further "
        "training: the block becomes the identity, or its shortcut alone where it changes the shape. A network that "
        "still works without a block has another path around it (Veit, Wilber & Belongie 2016)."
    )
    rows = [
        {
            "Without": block.block,
            "Position": block.position,
            "Remaining path": block.remaining_path,
            "Accuracy": block.accuracy,
            "Drop (points)": 100 * block.accuracy_drop,
            "95% from": 100 * block.accuracy_interval[0],
            "95% to": 100 * block.accuracy_interval[1],
            "Images lost": block.lost,
            "Images gained": block.gained,
            "p-value": block.p_value,
            "Loss": block.loss,
            "Loss added": block.loss_added,
        }
        for block in study.blocks
    ]
    return Page(
        f"Block ablation: {study.run} on {study.data}",
        [
            ("Accuracy, whole", f"{study.accuracy:.1%}"),
            ("Blocks", f"{len(study.blocks)}"),
            ("Largest drop", f"{study.blocks[0].block}: {format_points(study.blocks[0].accuracy_drop)} points"),
        ],
        study.summary,
        [
            Section("Accuracy", [how, ablation_figure(study.blocks)]),
            Section("Loss", [block_loss_figure(study.blocks, study.loss)]),
            Section("Table", [Table.from_records("Every block, the largest drop first", rows)]),
        ],
    )


def ablation_figure(blocks: Sequence[BlockAblation]) -> go.Figure:
    """Draw the drop in accuracy without each block with its 95 % interval, the first block at the top."""
    names = [block.block for block in blocks]
    drops = [f"without {block.block} {format_points(block.accuracy_drop)} points" for block in blocks]
    figure = new_figure(
        "Accuracy lost without each block",
        caption=(
            "Drop in accuracy with its 95% interval, computed from the images that only one of the two networks "
            "classifies correctly. A bar to the left of 0 means a higher accuracy without the block."
        ),
        alt=f"Bars, one per block: {'; '.join(drops)}.",
        height=TITLE_HEIGHT + _ROW_HEIGHT * max(len(blocks), 3) + _FOOT_HEIGHT,
        margin={"l": 20 + text_width(names), "b": _FOOT_HEIGHT, "r": 24},
    )
    for name, group, colour, _ in _groups(blocks):
        ends = 100 * np.array([(block.accuracy_drop, *block.accuracy_interval) for block in group])
        figure.add_bar(
            x=ends[:, 0],
            y=[block.block for block in group],
            name=name,
            orientation="h",
            marker_color=colour,
            error_x={"array": ends[:, 2] - ends[:, 0], "arrayminus": ends[:, 0] - ends[:, 1]}
            | {"color": TEXT, "thickness": 1.5, "width": 4},
            customdata=[(block.lost, block.gained, block.p_value) for block in group],
            hovertemplate=(
                "without %{y}: %{x:.2f} points<br>%{customdata[0]} images lost, %{customdata[1]} gained"
                "<br>p-value %{customdata[2]:.3g}<extra></extra>"
            ),
        )
    figure.update_layout(bargap=0.35, legend=legend())
    figure.update_xaxes(title_text="accuracy lost (percentage points)", zeroline=True, zerolinecolor=TEXT)
    return figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], **CATEGORY_AXIS)


def block_loss_figure(blocks: Sequence[BlockAblation], loss: float) -> go.Figure:
    """Draw the loss without each block, in forward order, beside that of the whole network."""
    in_order = sorted(blocks, key=lambda block: block.position)
    figure = new_figure(
        "Loss without each block",
        caption=(
            "Loss without each block, first block on the left, with the 95% interval of the difference from the "
            "whole network (dashed). The loss also counts confidence, so it separates blocks of equal accuracy."
        ),
        alt=f"Points, one per block, beside the whole network's loss of {loss:.3g}. "
        + "; ".join(f"without {block.block} {block.loss:.3g}" for block in in_order)
        + ".",
        height=320,
    )
    for name, group, colour, symbol in _groups(in_order):
        half_intervals = [finite(block.loss_interval[1] - block.loss_added) for block in group]
        figure.add_scatter(
            x=[block.position for block in group],
            y=[finite(block.loss) for block in group],
            text=[block.block for block in group],
            name=name,
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": symbol},
            error_y={"array": half_intervals, "color": colour, "thickness": 1, "width": 3},
            hovertemplate="without %{text}: %{y:.4f}<extra></extra>",
        )
    style = line_style("whole network", TEXT, "dash", hover="whole network: %{y:.4f}")
    figure.add_scatter(x=[0.5, len(in_order) + 0.5], y=[loss, loss], **style)
    layer_axis(figure, [block.block for block in in_order], "block, first to last")
    figure.update_xaxes(range=[0.5, len(in_order) + 0.5])
    figure.update_yaxes(title_text="cross-entropy (nats per image)", rangemode="tozero")
    return figure.update_layout(legend=legend())


def _groups(blocks: Sequence[BlockAblation]) -> list[tuple[str, list[BlockAblation], str, str]]:
    """Return the blocks by what remains of them, with the group's colour and symbol; no empty group."""
    groups = [
        (name, [block for block in blocks if (block.remaining_path == "identity") == is_identity], colour, symbol)
        for name, is_identity, colour, symbol in _GROUPS
    ]
    return [group for group in groups if group[1]]
