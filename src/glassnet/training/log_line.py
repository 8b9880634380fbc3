"""An epoch's record as text, for log lines and summaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassnet.formats import format_accuracy, format_loss

_SPLITS = ("train", "validation", "test", "evaluated")


def describe_epoch(
    record: Mapping[str, Any], label_smoothing: float, without: str = "", test_name: str = "test"
) -> str:
    """Return loss and accuracy on each split: ``train loss 0.6499 (smoothed), accuracy 97.7%; test loss 0.2451, ...``.

    :param label_smoothing: the recipe's; the training loss alone has it.
    :param without: a split to leave out.
    :param test_name: what the data calls the test split.
    """
    parts = []
    for split in _SPLITS:
        loss, accuracy = record.get("loss" if split == "train" else f"{split}_loss"), record.get(f"{split}_accuracy")
        if accuracy is not None and loss is not None and split != without:
            smoothed = " (smoothed)" if split == "train" and label_smoothing else ""
            name = test_name if split == "test" else split
            parts.append(f"{name} loss {format_loss(loss)}{smoothed}, accuracy {format_accuracy(accuracy)}")
    return "; ".join(parts)


def describe_accuracy(record: Mapping[str, Any], test_name: str = "test") -> str:
    """Return ``test accuracy 97.7%``; with test images that were trained on, another name and their number.

    :param record: an epoch's.
    """
    if not record["contaminated"]:
        return f"{test_name} accuracy {format_accuracy(record['test_accuracy'])}"
    count = record["contaminated"]
    trained_on = f"{count:,} of its images {'was' if count == 1 else 'were'} trained on"
    return f"evaluated accuracy {format_accuracy(record['evaluated_accuracy'])} ({trained_on})"
