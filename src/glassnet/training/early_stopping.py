"""Early stopping: a training ends when validation has not improved for a number of epochs, its recipe's ``patience``.

That follows from the records alone, so a resumed training stops where an uninterrupted one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glassnet.data import Split
from glassnet.errors import ConfigError
from glassnet.formats import agree, pluralize
from glassnet.recipe import Recipe

SINCE_BEST = "epochs_since_best"  # key of the number of epochs after the best one, in the records of such a training


def check_patience(recipe: Recipe, validation: Split | None) -> None:
    """Check that there are validation images if the recipe has patience.

    :raises ConfigError: if there are none.
    """
    if recipe.patience is not None and validation is None:
        raise ConfigError(
            f"patience must come with validation images. Got patience {recipe.patience} and none. Set "
            "validation_fraction (--validation-fraction 0.1), or add validation images to the data."
        )


def has_stopped(patience: int | None, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a training with these records stopped early."""
    return patience is not None and bool(records) and records[-1].get(SINCE_BEST, 0) >= patience


def describe_end(path: Path, recipe: Recipe, records: Sequence[Mapping[str, Any]]) -> str:
    """Return why there is nothing left to train: ``runs/a has 10 of 10 epochs``."""
    if len(records) < recipe.epochs and has_stopped(recipe.patience, records):
        return f"{path} {describe_stop(vars(recipe), records)}"
    why = ", and stop_after_epoch is not above that" if len(records) < recipe.epochs else ""
    return f"{path} has {len(records)} of {pluralize(recipe.epochs, 'epoch')}{why}"


def describe_stop(recipe: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """Return how a training that has fewer epochs than planned ended: ``stopped early, after 12 of 40 epochs: ...``.

    :param recipe: the fields of a recipe, at least ``epochs``.
    """
    n_epochs, patience, epochs = len(records), recipe.get("patience"), pluralize(recipe["epochs"], "epoch")
    if not has_stopped(patience, records):
        return f"is not finished: {n_epochs} of {epochs} {agree(n_epochs, 'is', 'are')} recorded"
    return (
        f"stopped early, after {n_epochs} of {epochs}: validation was best after epoch "
        f"{n_epochs - records[-1][SINCE_BEST]}, and patience is {patience}"
    )
