"""Run folders of weights that were trained elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from os import PathLike
from pathlib import Path

import numpy as np

from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as preset
from glassnet.engines import build
from glassnet.errors import ConfigError, DataError
from glassnet.training.config import DataConfig, run_config
from glassnet.training.model import Model, load
from glassnet.training.run_files import Checkpoint, images_of_weights
from glassnet.training.run_folder import RunFolder
from glassnet.weights import load_weights


def import_weights(
    weights: str | PathLike[str],
    model: str | ResNetSpec,
    *,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    run: str | PathLike[str],
    scale: float = 255.0,
    image_size: int | None = None,
    overwrite: bool = False,
) -> Model:
    """Create a run folder from weights that were trained elsewhere, so that evaluate, predict and report work on it.

    A pixel p is normalized to (p / scale − mean) / std.

    :param weights: a file that ``load_weights`` reads.
    :param model: the preset or spec of the weights.
    :param classes: class names in the order of the outputs.
    :param mean: a number for each channel, as ``std``.
    :param image_size: height and width of the images in pixels, if it is not the preset's.
    :raises DataError: if the file cannot be read, or has numbers too large for float32.
    :raises ConfigError: if the model is unknown, or mean or std do not have a number for each channel.
    :raises GlassnetError: if the weights are of another architecture; lists the keys.
    :raises RunError: if the folder is in use.
    """
    classes, mean, std = list(map(str, classes)), list(map(float, mean)), list(map(float, std))
    folder = RunFolder(run)
    folder.check_available(overwrite=overwrite)
    state = load_weights(Path(weights))
    spec = preset(model) if isinstance(model, str) else model
    spec = spec.replace(classes=len(classes), **({} if image_size is None else {"image_size": image_size}))
    if not (len(mean) == len(std) == spec.in_channels) or not all(map(isfinite, [*mean, *std])) or not min(std) > 0:
        raise ConfigError(
            f"mean and std must have one number for each of {spec.in_channels} channels, std above 0. "
            f"Got mean {mean} and std {std}."
        )
    if duplicates := [name for name, count in Counter(classes).items() if count > 1]:
        raise ConfigError(f"classes must be unique. Got {duplicates[0]!r} twice.")
    if not (isfinite(scale) and scale > 0):
        raise ConfigError(f"scale must be a finite number above 0. Got {scale!r}.")
    network = build(spec)
    network.load_state_dict(state)
    for key, array in network.state_dict().items():
        if not np.isfinite(array).all():  # the file's own numbers are finite
            too_large = state[key][~np.isfinite(array)].flat[0]
            raise DataError(f"{key} in {weights} must be finite in {array.dtype}. Got {too_large}.")
    path = str(Path(weights).resolve())
    data = DataConfig(
        source="imported", weights=path, classes=tuple(classes), scale=scale, mean=tuple(mean), std=tuple(std)
    )
    folder.create(run_config(network, 0, data, recipe=None), images_of_weights(Path(weights)).as_ancestors())
    folder.save_epoch(Checkpoint(0, None, network.state_dict(), {}))
    folder.unlock()
    return load(folder.path)
