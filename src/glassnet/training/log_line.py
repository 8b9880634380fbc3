"""An epoch's record as text, for log lines and summaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from glassnet.formats import agree, format_accuracy, format_loss
from glassnet.recipe import Recipe

_SPLITS = ("train", "validation", "test", "evaluated")


def describe_epoch(record: Mapping[str, Any], recipe: Recipe, without: str = "", test_name: str = "test") -> str:
    """Return loss and accuracy on each split: ``train loss 0.6499 (smoothed), accuracy 97.7%; test loss 0.2451, ...``.

    :param recipe: its label smoothing and class weights are in the training loss alone.
    :param without: a split to leave out.
    :param test_name: what the data calls the test split.
    """
    parts = []
    for split in _SPLITS:
        loss, accuracy = record.get("loss" if split == "train" else f"{split}_loss"), record.get(f"{split}_accuracy")
        if accuracy is not None and loss is not None and split != without:
            note = f" ({recipe.loss_note})" if split == "train" and recipe.loss_note else ""
            name = test_name if split == "test" else split
            parts.append(f"{name} loss {format_loss(loss)}{note}, accuracy {format_accuracy(accuracy)}")
    return "; ".join(parts)


def name_test_set(record: Mapping[str, Any], test_name: str = "test") -> str:
    """Return the name of the test set in texts, which is ``evaluated`` if images in it were trained on.

    :param record: an epoch's, or what ``Model.evaluate`` returns.
    :param test_name: what the data calls its test split.
    """
    return "evaluated" if record.get("contaminated") else test_name


def value_on_test_set(record: Mapping[str, Any], quantity: Literal["loss", "accuracy"]) -> float | None:
    """Return an epoch's loss or accuracy on the test images, also where images among them were trained on."""
    value: float | None = record.get(f"{name_test_set(record)}_{quantity}")
    return value


def describe_accuracy(record: Mapping[str, Any], test_name: str = "test") -> str:
    """Return ``test accuracy 97.7%``; with test images that were trained on, another name and their number.

    :param record: an epoch's.
    """
    count = record.get("contaminated", 0)
    trained_on = f" ({count:,} of its images {agree(count, 'was', 'were')} trained on)" if count else ""
    accuracy = format_accuracy(record[f"{name_test_set(record)}_accuracy"])
    return f"{name_test_set(record, test_name)} accuracy {accuracy}{trained_on}"
