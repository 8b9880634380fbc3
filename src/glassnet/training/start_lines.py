"""The lines that the log of a training begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassnet.data import Dataset, count_batches
from glassnet.engines import Network
from glassnet.formats import agree, pluralize
from glassnet.recipe import RECIPES, Recipe
from glassnet.training.processes import crowded_machine

_MIN_FINE_TUNING_STEPS = 100


def start_lines(
    network: Network, data: Dataset, changes: Mapping[str, Any], n_contaminated: int, remarks: list[str]
) -> list[str]:
    """Return the lines that the log of a training begins with.

    :param changes: the settings that are not the defaults, by name.
    :param n_contaminated: number of test images that the network is or was trained on.
    :param remarks: further lines, on the initial weights.
    """
    lines = [f"on {network.device_description}", *crowded_machine(network)]
    if changes:
        values = {name: "+".join(map(str, v)) if isinstance(v, tuple) else v for name, v in changes.items()}
        lines.append("settings other than the defaults: " + ", ".join(f"{name} {v}" for name, v in values.items()))
    lines += [data.describe(), *data.remarks]
    if larger := data.train.larger:
        lines.append(f"random crops are cut from images of {larger.shape[0]}×{larger.shape[1]} pixels")
    lines += remarks
    if n_contaminated:
        count, name = len(data.test), data.test_name
        lines.append(
            f"{n_contaminated:,} of {pluralize(count, f'{name} image')} {agree(n_contaminated, 'is', 'are')} among the "
            "training images of this run or of the runs that its weights come from. There is no "
            f"{name} accuracy: loss and accuracy on all {count:,} are called evaluated"
        )
    return lines


def few_steps(recipe: Recipe, n_images: int, preset: str) -> list[str]:
    """Return a line if the steps are too few to adapt weights that were trained on other images.

    :param n_images: of the training.
    :param preset: the network's.
    """
    n_steps = recipe.epochs * count_batches(n_images, recipe.batch_size)
    if n_steps >= _MIN_FINE_TUNING_STEPS:
        return []
    named = ", or the recipe finetune" if "finetune" in RECIPES.get(preset, {}) else ""
    return [f"few steps for fine-tuning: {n_steps} in all. Choose a smaller batch_size and more epochs{named}"]
