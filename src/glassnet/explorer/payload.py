"""The data of the live page: a run's network, weights, images, and the numbers that its trainings draw.

They travel as one safetensors file, whose metadata is the page's configuration as JSON. Tensors:

- ``images.train`` and ``images.test``: uint8 (N, C, H, W), which may be empty; ``labels.train`` and ``labels.test``;
- ``weights.KEY``: the run's weights and buffers, float64;
- ``normals.SEED``: the standard normal numbers of a seed's initial weights, float64 (L,), enough for the networks that
  list the seed in the configuration's ``variants``;
- ``order.SEED``: the order of the training images in each epoch, (epochs, N).

Where the data does not travel whole, there are neither normal numbers nor orders.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Dataset
from glassnet.explorer.command import training_command, twin_folder
from glassnet.explorer.images import PageImages, select_images
from glassnet.explorer.notes import describe_differences, is_repeatable
from glassnet.explorer.seeds import MAX_NORMALS, Draws, draw_seeds
from glassnet.explorer.variants import count_normals, variants
from glassnet.recipe import get_recipe
from glassnet.training import Model
from glassnet.training.config import RunConfig
from glassnet.weights import tensors_to_bytes

VERSION = 1


def build_payload(model: Model, dataset: Dataset | None, missing: str = "") -> bytes:
    """Return the bytes of the page's data.

    :param dataset: the images; None for a page without any.
    :param missing: the reason why there is no dataset.
    """
    config = RunConfig.parse(model.config, model.path / "config.json")
    recipe = config.recipe or get_recipe(config.spec.preset)
    images = select_images(model, dataset, recipe)
    networks = variants(config.spec, MAX_NORMALS if images.is_complete else 0)
    sizes = [count_normals(network["graph"]) for network in networks]
    seeds = draw_seeds(recipe, len(images.train), sizes) if images.is_complete else {}
    for network, size in zip(networks, sizes, strict=True):
        network["seeds"] = [seed for seed, draws in seeds.items() if len(draws.normals) >= size]
    notes = describe_differences(model, config, images, {seed: len(draws.order) for seed, draws in seeds.items()})
    described = {
        "version": VERSION,
        "run": {
            **_describe_run(model, config),
            "repeatable": is_repeatable(config, images),
            "notes": [*([missing] if missing else []), *notes],
        },
        "classes": model.classes,
        "spec": config.spec.to_dict(),
        "recipe": recipe.to_dict(),
        "normalization": dataclasses.asdict(model.normalization) | {"scale": images.scale},
        "history": model.history,
        "seeds": list(seeds),
        "variants": networks,
        "data": {
            "complete": images.is_complete,
            "n_train": len(images.train),
            "n_test": len(images.test),
            "source": Path(config.data.source).name,
        },
        "input": {
            "kind": "digits" if config.data.ink else "image",
            "size": list(config.spec.size),
            "channels": config.spec.in_channels,
            "fit": config.data.fit,
        },
    }
    return tensors_to_bytes(_tensors(model, images, seeds), described)


def _tensors(model: Model, images: PageImages, seeds: dict[int, Draws]) -> dict[str, NDArray[Any]]:
    tensors = images.to_tensors()
    tensors |= {f"weights.{key}": array.astype(np.float64) for key, array in model.network.state_dict().items()}
    for seed, draws in seeds.items():
        tensors |= {f"normals.{seed}": draws.normals, f"order.{seed}": draws.order}
    return tensors


def _describe_run(model: Model, config: RunConfig) -> dict[str, Any]:
    twin = {"engine": "numpy", "dtype": "float64", "precision": None}
    return {
        "name": model.path.resolve().name,
        "path": str(model.path),
        "engine": config.engine,
        "dtype": config.dtype,
        "command": training_command(config, str(model.path)),
        "twin": None if config.dtype == "float64" else training_command(config, twin_folder(model.path), **twin),
    }
