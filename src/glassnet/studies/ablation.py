"""What each residual block of a trained network is worth: it is switched off, and the test images are named again."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassnet.engines import clone_network
from glassnet.errors import ConfigError, DataError
from glassnet.measures import Outcome, network_outcome, significance
from glassnet.measures.receptive_field import shortcuts
from glassnet.measures.significance import SIGNIFICANT
from glassnet.pages.page import Page, Section, Table
from glassnet.pages.text import pluralize
from glassnet.studies import ablation_figures as figures
from glassnet.studies.study import Study

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.training import Model

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BlockWorth:
    """One block, and what the network loses without it. Intervals are 95 %; differences are on the same images."""

    block: str
    place: int  # 1 is the first
    left: str  # what stays of it: "identity", or, where the shape changes, its "zero-pad" or "projection"
    accuracy: float  # without the block
    loss: float
    lost: int  # images that only the whole network names correctly
    gained: int  # images that only the network without the block names correctly
    accuracy_drop: float
    accuracy_interval: tuple[float, float]
    loss_added: float
    loss_interval: tuple[float, float]
    p_value: float  # McNemar's exact test, corrected for the number of blocks as Holm does

    @property
    def beyond_chance(self) -> bool:
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class AblationStudy(Study):
    """A run on its test images, whole and without each block; the blocks that are worth most first."""

    run: str
    data: str
    count: int
    accuracy: float
    loss: float
    blocks: tuple[BlockWorth, ...]

    @property
    def summary(self) -> list[str]:
        most, least = self.blocks[0], self.blocks[-1]
        right = round(self.accuracy * self.count)
        if most.accuracy_drop <= 0:
            first = (
                f"The whole network names {right:,} of {self.count:,} test images correctly ({self.accuracy:.1%}), and "
                "no single block is missed: without any one of them it names as many or more."
            )
        else:
            first = (
                f"{most.block} is worth most: without it {round(most.accuracy * self.count):,} of {self.count:,} test "
                f"images are named correctly ({most.accuracy:.1%}) instead of {right:,} ({self.accuracy:.1%}), "
                f"{_points(most.accuracy_drop)} fewer (95% interval {_interval(most.accuracy_interval)})."
            )
        return [first, *([self._least(least)] if len(self.blocks) > 1 else []), self._chance(), *self._shapes()]

    def _least(self, least: BlockWorth) -> str:
        drop = least.accuracy_drop
        changed = (
            f"costs {_points(drop)}" if drop > 0 else "costs nothing" if drop == 0 else f"even gains {_points(-drop)}"
        )
        return (
            f"{least.block} is worth least: to switch it off {changed} of accuracy, and the loss goes from "
            f"{self.loss:.3g} to {least.loss:.3g}."
        )

    def _chance(self) -> str:
        beyond = [block.block for block in self.blocks if block.beyond_chance and block.accuracy_drop > 0]
        test = "McNemar’s exact test at 5%, corrected for the number of blocks as Holm does"
        told = f": {', '.join(beyond)}" if 0 < len(beyond) < len(self.blocks) and len(beyond) <= 12 else ""
        return (
            f"{len(beyond)} of {pluralize(len(self.blocks), 'block')} cost more images than chance explains when "
            f"switched off{told} ({test})."
        )

    def _shapes(self) -> list[str]:
        same = [block.accuracy_drop for block in self.blocks if block.left == "identity"]
        changing = [block.accuracy_drop for block in self.blocks if block.left != "identity"]
        if not same or not changing:
            return []
        of_same, of_changing = float(np.mean(same)), float(np.mean(changing))
        more = "more" if of_changing > of_same else "no more"
        return [
            f"Blocks that change the shape, of which the shortcut is left, are worth {more} than the others: "
            f"{_points(of_changing)} on average against {_points(of_same)}."
        ]


def run_study(
    model: "Model", dataset: "Dataset | None" = None, *, told: Callable[[str], None] = lambda line: None
) -> AblationStudy:
    """Switches off the residual blocks of a trained run, one at a time, and names the test images anew.

    A block without its F is the identity (Veit et al. 2016); where the block changes the shape its shortcut is left.
    It works on a copy: the model stays as it is.

    :param model: a run as ``glassnet.load`` returns it, on either engine.
    :param dataset: what it was trained on, or other data of its classes; by default loaded again.
    :param told: is called with a line after each block.
    :raises ConfigError: a network without shortcuts: nothing would be left of a block.
    :raises DataError: data of other classes, or that cannot be loaded again.
    """
    if not model.network.spec.skip:
        raise ConfigError(f"Without shortcuts nothing is left of a block. {model.path} is a plain network: skip=False.")
    data = model.load_dataset() if dataset is None else dataset
    if data.classes != model.classes:
        raise DataError(f"The data's classes are {data.classes}, the model's {model.classes}; they must be equal.")
    normalization = dataclasses.replace(model.normalization, scale=data.scale)
    network, state = clone_network(model.network), model.network.state_dict()
    whole = network_outcome(network, normalization, data.test)
    found = []
    for place, (block, left) in enumerate(shortcuts(network.spec).items(), start=1):
        network.load_state_dict(switched_off(state, block))
        found.append(_worth(block, place, left, whole, network_outcome(network, normalization, data.test)))
        told(f"without {block}: accuracy {found[-1].accuracy:.4f}, loss {found[-1].loss:.4f}")
    p_values = significance.holm([block.p_value for block in found])
    corrected = [dataclasses.replace(block, p_value=p) for block, p in zip(found, p_values, strict=True)]
    corrected.sort(key=lambda block: (-block.accuracy_drop, -block.loss_added))
    return AblationStudy(
        str(model.path),
        Path(str(data.source["source"])).name,
        len(data.test),
        whole.accuracy,
        whole.loss,
        tuple(corrected),
    )


def switched_off(state: Mapping[str, Array], block: str) -> dict[str, Array]:
    """A network's state in which a residual block's F gives 0 in evaluation mode: the last layer of F that has
    weights has none but zeros. All else is ``state``'s."""
    own = [key for key in state if key.startswith(f"{block}.") and not key.startswith(f"{block}.downsample.")]
    last = own[-1].rpartition(".")[0]
    silent = {key: np.zeros_like(state[key]) for key in (f"{last}.weight", f"{last}.bias") if key in state}
    return {**state, **silent}


def _worth(block: str, place: int, left: str, whole: Outcome, without: Outcome) -> BlockWorth:
    lost, gained = int((whole.correct & ~without.correct).sum()), int((without.correct & ~whole.correct).sum())
    added = without.losses - whole.losses
    middle = float(added.mean())
    half = 1.959964 * float(added.std(ddof=1)) / len(added) ** 0.5 if len(added) > 1 else float("nan")
    return BlockWorth(
        block,
        place,
        left,
        without.accuracy,
        without.loss,
        lost,
        gained,
        (lost - gained) / len(added),
        significance.accuracy_difference_interval(lost, gained, len(added)),
        middle,
        (middle - half, middle + half),
        significance.mcnemar(lost, gained),
    )


def build_page(study: AblationStudy) -> Page:
    """The study as a page, not yet written."""
    how = (
        "A residual block adds F(x) to what it is given. Here F is switched off in one block at a time and nothing is "
        "trained again: the block becomes the identity, or, where it changes the shape, its shortcut alone. A network "
        "that still works without a block has another way around it (Veit, Wilber & Belongie 2016)."
    )
    rows: list[tuple[str | float, ...]] = [
        (
            block.block,
            block.place,
            block.left,
            block.accuracy,
            100 * block.accuracy_drop,
            *(100 * end for end in block.accuracy_interval),
            block.lost,
            block.gained,
            block.p_value,
            block.loss,
            block.loss_added,
        )
        for block in study.blocks
    ]
    columns = ["Without", "Place", "What is left", "Accuracy", "Drop (points)", "95% from", "95% to"]
    columns += ["Images lost", "Images gained", "p-value", "Loss", "Loss added"]
    return Page(
        f"What each block is worth: {study.run} on {study.data}",
        [
            ("Test accuracy, whole", f"{study.accuracy:.1%}"),
            ("Blocks", f"{len(study.blocks)}"),
            ("Worth most", f"{study.blocks[0].block}: {100 * study.blocks[0].accuracy_drop:.1f} points"),
        ],
        study.summary,
        [
            Section("By worth", [how, figures.block_worth_figure(study.blocks)]),
            Section("By place", [figures.block_loss_figure(study.blocks, study.loss)]),
            Section("In numbers", [Table("Every block, the one that is worth most first", columns, rows)]),
        ],
    )


def _points(share: float) -> str:
    return f"{_told(share)} percentage points"


def _interval(ends: tuple[float, float]) -> str:
    return f"{_told(ends[0])} to {_told(ends[1])}"


def _told(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "−")
