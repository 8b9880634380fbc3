"""Fine-tuning on 10 images a class: published CIFAR-10 weights of ResNet-20, trained on Fashion-MNIST, beside scratch.

    python benchmarks/finetuning.py choose [FIELD=VALUE,VALUE...]...  # on a validation share, seeds 100-102
    python benchmarks/finetuning.py table                             # on the test set, seeds 0-4, once it is chosen

A seed draws the 100 training images, which are 28×28 and gray, and are resized to 32×32 in three channels. ``choose``
measures the accuracy on 1,000 other training images; it tries every combination of the values, such as
``recipe=finetune lr=0.01,0.03 init=no``. ``table`` measures it on 2,000 test images. The weights,
``resnet20-cifar10.safetensors``, are in the folder GLASSNET_SHARED, by default ``../shared/data`` beside the checkout.
Each line is the mean, the standard deviation and the worst over the seeds. PyTorch, one thread.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import glassnet as gn
from glassnet.data import Split
from glassnet.progress import Progress

SHARED = Path(os.environ.get("GLASSNET_SHARED", Path(__file__).parents[1] / "../shared/data"))
WEIGHTS = SHARED / "resnet20-cifar10.safetensors"
N_OF_CLASS, N_VALIDATION, N_TEST = 10, 1_000, 2_000
N_POOL = 50_000  # training images are drawn from the first, validation images from those after them

ROWS: tuple[Mapping[str, Any], ...] = tuple(
    {**weights, "recipe": recipe}
    for recipe in ("default", "finetune")
    for weights in ({"init": False}, {"freeze": "backbone"}, {})
)


def accuracies(source: gn.Dataset, measured: Split, seeds: range, fields: Mapping[str, Any]) -> list[float]:
    """Return the accuracy on the measured images after a training for each seed."""
    options = {"init": True, "engine": "torch", "threads": 1, **fields}
    options["init"] = WEIGHTS if options["init"] else None
    results = []
    for seed in seeds:
        train = in_form(draw(source.train.take(np.arange(N_POOL)), N_OF_CLASS, seed))
        few = in_form(measured.take(np.arange(1)))  # evaluated after each epoch
        data = gn.Dataset.from_splits(train, few, source.classes)
        with tempfile.TemporaryDirectory() as folder:
            quiet: dict[str, Any] = {"progress": Progress(), "report": False}
            run = gn.train("resnet20", data, run=Path(folder, "run"), seed=seed, **quiet, **options)
            model = gn.load(run.path, engine="torch", threads=1)
            results.append(model.evaluate(gn.Dataset.from_splits(train, in_form(measured), source.classes))["accuracy"])
    return results


def draw(split: Split, count: int, seed: int) -> Split:
    """Return ``count`` images of each class."""
    rng = np.random.default_rng(seed)
    classes = (rng.permutation(np.flatnonzero(split.labels == label))[:count] for label in np.unique(split.labels))
    return split.take(np.sort(np.concatenate(list(classes))))


def in_form(split: Split) -> Split:
    """Return the images in the form of CIFAR-10's."""
    resized = (Image.fromarray(image[..., 0]).resize((32, 32)).convert("RGB") for image in split.images)
    return Split(np.stack([np.asarray(image) for image in resized]), split.labels)


def format_accuracies(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}, worst {min(values):.4f}"


def choose(*given: str) -> None:
    """Print a line for each combination of values, as JSON or text: ``lr=0.01,0.03``."""
    source = gn.load_data("fashion-mnist")
    held_out = source.train.take(np.arange(N_POOL, len(source.train)))
    measured = draw(held_out, N_VALIDATION // len(source.classes), 0)
    names, values = zip(*(field.split("=") for field in given), strict=True) if given else ((), ())
    for combination in itertools.product(*(text.split(",") for text in values)):
        fields = dict(zip(names, map(parse, combination), strict=True))
        print(format_accuracies(accuracies(source, measured, range(100, 103), fields)), fields, flush=True)


def parse(text: str) -> Any:
    """Return a number or a word; ``yes`` and ``no`` are booleans."""
    if text in ("yes", "no"):
        return text == "yes"
    try:
        return json.loads(text)
    except ValueError:
        return text


def table() -> None:
    source = gn.load_data("fashion-mnist")
    measured = draw(source.test, N_TEST // len(source.classes), 0)
    for fields in ROWS:
        print(format_accuracies(accuracies(source, measured, range(5), fields)), dict(fields), flush=True)


if __name__ == "__main__":
    choose(*sys.argv[2:]) if sys.argv[1] == "choose" else table()
