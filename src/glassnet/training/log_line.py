"""An epoch's record as text, for log lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassnet.formats import format_accuracy, format_loss

_SPLITS = (("train", "loss", "train_accuracy"), *((s, f"{s}_loss", f"{s}_accuracy") for s in ("validation", "test")))


def describe_epoch(record: Mapping[str, Any], label_smoothing: float, without: str = "") -> str:
    """Return loss and accuracy on each split: ``train loss 0.6499 (smoothed), accuracy 97.7%; test loss 0.2451, ...``.

    :param label_smoothing: the recipe's; the training loss alone has it.
    :param without: a split to leave out.
    """
    parts = []
    for split, loss, accuracy in _SPLITS:
        if accuracy in record and split != without:
            smoothed = " (smoothed)" if split == "train" and label_smoothing else ""
            values = f"{format_loss(record[loss])}{smoothed}, accuracy {format_accuracy(record[accuracy])}"
            parts.append(f"{split} loss {values}")
    return "; ".join(parts)
