"""The data of the live page: a run's network, weights, images, and the numbers that its training draws.

They travel as one safetensors file, whose metadata is the page's configuration as JSON. Tensors:

- ``images.train`` and ``images.test``: uint8 (N, C, H, W), which may be empty; ``labels.train`` and ``labels.test``;
- ``weights.KEY``: the run's weights and buffers, float64;
- ``normals.SEED``: the standard normal numbers that ``initial_state_dict`` draws from a seed, float64, as many as the
  largest variant that lists the seed takes;
- ``order.SEED``: the order of the training images in each epoch, (epochs, N).

Small data, such as the digits, travels whole. Of other data there are only some test images, the errors first, and
neither normal numbers nor orders: training starts from the run's weights there, on the test images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Dataset, Split, make_rng
from glassnet.explorer.command import training_command, twin_folder
from glassnet.explorer.variants import count_normals, variants
from glassnet.recipe import Recipe, get_recipe
from glassnet.training import Model
from glassnet.training.config import RunConfig
from glassnet.training.loop import split_validation
from glassnet.weights import tensors_to_bytes

Array = NDArray[Any]

VERSION = 1
_MAX_PIXEL_BYTES = 300_000  # of data that travels whole
_SEED_BYTES = 420_000  # of all normal numbers and orders, before they are compressed
_SAMPLE, _SAMPLED_FROM = 64, 2048  # test images of larger data, and how many of them are classified to find errors


@dataclass(frozen=True)
class Images:
    """The images that travel: those of the training steps and those of the test set, and whether they are all."""

    train: Split | None
    test: Split | None
    complete: bool


def build_payload(model: Model, dataset: Dataset | None, notes: list[str]) -> bytes:
    """Return the bytes of the page's data.

    :param dataset: the images; None for a page without any.
    :param notes: sentences about the images that the page shows.
    """
    config = RunConfig.parse(model.config, model.path / "config.json")
    recipe = config.recipe or get_recipe(config.spec.preset)
    images = _select_images(model, dataset, recipe)
    n_train = len(images.train) if images.train is not None and images.complete else 0
    max_normals = _SEED_BYTES // 2 // 8
    offered = variants(config.spec, max_normals) if n_train else variants(config.spec, 0)
    tensors = {f"weights.{key}": array.astype(np.float64) for key, array in model.network.state_dict().items()}
    for name, split in (("train", images.train), ("test", images.test)):
        tensors |= _image_tensors(name, split, model)
    seeds = _draw_seeds(offered, recipe, n_train)
    for variant in offered:
        needed = count_normals(variant["graph"])
        variant["seeds"] = [seed for seed, (normals, _) in seeds.items() if len(normals) >= needed]
    for seed, (normals, order) in seeds.items():
        tensors |= {f"normals.{seed}": normals, f"order.{seed}": order}
    scale = model.normalization.scale if dataset is None else dataset.scale
    described = {
        "version": VERSION,
        "run": _describe_run(model, config, notes),
        "classes": model.classes,
        "spec": config.spec.to_dict(),
        "recipe": recipe.to_dict(),
        "normalization": dataclasses.asdict(model.normalization) | {"scale": scale},
        "history": model.history,
        "seeds": list(seeds),
        "variants": offered,
        "data": {
            "complete": images.complete,
            "n_train": 0 if images.train is None else len(images.train),
            "n_test": 0 if images.test is None else len(images.test),
            "source": Path(config.data.source).name,
        },
        "input": {
            "kind": "digits" if config.data.ink else "image",
            "size": list(config.spec.size),
            "channels": config.spec.in_channels,
        },
    }
    return tensors_to_bytes(tensors, described)


def _describe_run(model: Model, config: RunConfig, notes: list[str]) -> dict[str, Any]:
    is_twin = config.engine == "numpy" and config.dtype == "float64"
    twin = {"engine": "numpy", "dtype": "float64", "precision": None}
    return {
        "name": model.path.resolve().name,
        "engine": config.engine,
        "dtype": config.dtype,
        "command": training_command(config, str(model.path)),
        "twin": None if is_twin else training_command(config, twin_folder(model.path), **twin),
        "notes": notes,
    }


def _select_images(model: Model, dataset: Dataset | None, recipe: Recipe) -> Images:
    if dataset is None:
        return Images(None, None, complete=False)
    if dataset.train is dataset.test or dataset.fingerprint != model.config["data"]["fingerprint"]:
        return Images(None, _sample(model, dataset), complete=False)
    train, _ = split_validation(dataset, recipe)
    if train.nbytes + dataset.test.nbytes <= _MAX_PIXEL_BYTES:
        return Images(train, dataset.test, complete=True)
    return Images(None, _sample(model, dataset), complete=False)


def _sample(model: Model, dataset: Dataset) -> Split:
    """Return test images: half of them misclassified, if there are as many, in the order of confidence."""
    count = min(len(dataset.test), _SAMPLED_FROM)
    test = dataset.test.take(np.linspace(0, len(dataset.test) - 1, count).round().astype(np.int64))
    outcome = model.network.evaluate(test, dataclasses.replace(model.normalization, scale=dataset.scale))
    by_confidence = np.argsort(-outcome.confidence, kind="stable")
    is_error = (outcome.predicted != outcome.labels)[by_confidence]
    errors, correct = by_confidence[is_error], np.sort(by_confidence[~is_error])
    n_errors = max(min(len(errors), _SAMPLE // 2), _SAMPLE - len(correct))
    spread = np.linspace(0, len(correct) - 1, min(len(correct), _SAMPLE - n_errors)).round().astype(np.int64)
    return test.take(np.concatenate([errors[:n_errors], correct[spread]]))


def _image_tensors(name: str, split: Split | None, model: Model) -> dict[str, Array]:
    if split is None:
        height, width = model.network.spec.size
        shape = (0, model.network.spec.in_channels, height, width)
        return {f"images.{name}": np.empty(shape, np.uint8), f"labels.{name}": np.empty(0, np.int64)}
    pixels = split.pixels(range(len(split)))
    return {f"images.{name}": pixels.transpose(0, 3, 1, 2), f"labels.{name}": split.labels}


def _draw_seeds(offered: list[dict[str, Any]], recipe: Recipe, n_train: int) -> dict[int, tuple[Array, Array]]:
    """Return the normal numbers and the orders of the run's seed and of others, as far as the file may grow."""
    if not n_train:
        return {}
    sizes = sorted({count_normals(variant["graph"]) for variant in offered})
    own = count_normals(offered[0]["graph"])
    seeds = {recipe.seed: (_normals(recipe.seed, sizes[-1]), _order(recipe.seed, recipe.epochs, n_train))}
    left = _SEED_BYTES - sum(array.nbytes for array in seeds[recipe.seed])
    order_bytes = seeds[recipe.seed][1].nbytes
    # A held-out fraction is drawn from the seed, too: another seed would train on other images.
    others = [] if recipe.validation_fraction else [seed for seed in range(5) if seed != recipe.seed][:4]
    while others and left < len(others) * (8 * own + order_bytes):
        others.pop()
    for seed in others:
        count = max(size for size in sizes if size >= own and len(others) * (8 * size + order_bytes) <= left)
        seeds[seed] = _normals(seed, count), _order(seed, recipe.epochs, n_train)
    return seeds


def _normals(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).standard_normal(count)


def _order(seed: int, epochs: int, n_train: int) -> Array:
    dtype = np.uint16 if n_train <= 1 << 16 else np.uint32
    return np.stack([make_rng(seed, "shuffle", epoch).permutation(n_train) for epoch in range(1, epochs + 1)]).astype(
        dtype
    )
