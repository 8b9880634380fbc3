"""Short trainings, and what two of them have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import glassnet as gn
from glassnet.data import Split
from glassnet.progress import Progress

# Everything that draws random numbers or keeps state from one epoch to the next.
EVERYTHING: dict[str, Any] = {
    "model": "tiny-bn",
    "width": 4,
    "dropout": 0.25,
    "augment": "flip-crop",
    "validation_fraction": 0.2,
    "patience": 3,
    "schedule": "one-cycle",
    "ema": 0.9,
    "class_weights": "balanced",
    "label_smoothing": 0.1,
    "clip_grad_norm": 5.0,
    "body_lr": 0.5,
    "epochs": 3,
    "evaluate_train": True,
}


def train(data: Any, run: Path | str | None, **changes: Any) -> gn.Run:
    """A silent training of a few hundredths of a second an epoch."""
    given = {"model": "tiny", "recipe": gn.Recipe(weight_decay=1e-4), "epochs": 2}
    given |= {"progress": Progress(), "report": False}
    return gn.train(**{**given, "data": data, "run": run, **changes})


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def tensors(run: Path) -> dict[str, bytes]:
    """The bytes of every tensor file of a run."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(run.rglob("*.safetensors"))}


def assert_same_run(run: Path, other: Path) -> None:
    """Same weights, optimizer state and history to the bit, but for times."""
    assert untimed(gn.load(run).history) == untimed(gn.load(other).history)
    assert tensors(run) == tensors(other)
    assert not list(run.rglob("*.tmp"))


def pool(count: int = 120) -> Split:
    """Noise of two classes, with names."""
    images = np.random.default_rng(0).integers(0, 255, (count, 8, 8, 1), dtype=np.uint8)
    return Split(images, np.arange(count) % 2, [f"{number}.png" for number in range(count)])


def dataset(train: range, test: range, validation: range | None = None, **options: Any) -> gn.Dataset:
    """A dataset of these images of the pool."""
    images = pool()
    parts = [images.take(np.array(part)) for part in (train, test, validation or ())[: 3 if validation else 2]]
    options |= {"validation": parts[2]} if validation else {}
    return gn.Dataset.from_splits(parts[0], parts[1], ["a", "b"], **options)
