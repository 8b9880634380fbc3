"""A run folder around weights that were trained elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from os import PathLike
from pathlib import Path

import numpy as np

from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as preset
from glassnet.data import Normalization
from glassnet.engines import build
from glassnet.errors import ConfigError, DataError
from glassnet.training.config import data_config, run_config
from glassnet.training.model import Model, load
from glassnet.training.run_files import Checkpoint
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
    """Make a run folder of foreign weights, so that evaluate, predict and report work on it.

    ``weights`` is a file that ``load_weights`` reads, of the preset or spec ``model``. ``classes`` are the names in the
    order of the outputs. A pixel p is normalized to (p / scale − mean) / std, with ``mean`` and ``std`` per channel.
    ``image_size`` is the side of the images where it is not the preset's.

    :raises DataError: a file that cannot be read, or with numbers too large for float32.
    :raises ConfigError: an unknown model, or a number of means or deviations that is not that of the channels.
    :raises GlassnetError: weights of another architecture; lists missing, unexpected and wrongly shaped keys.
    :raises RunError: a folder in use.
    """
    classes, mean, std = list(map(str, classes)), list(map(float, mean)), list(map(float, std))
    folder = RunFolder(run)
    folder.check_available(overwrite=overwrite)
    state = load_weights(Path(weights))
    spec = preset(model) if isinstance(model, str) else model
    spec = spec.replace(classes=len(classes), **({} if image_size is None else {"image_size": image_size}))
    numbers = [*mean, *std]
    if not (len(mean) == len(std) == spec.in_channels) or not all(map(isfinite, numbers)) or not min(std) > 0:
        raise ConfigError(
            f"mean and std need one number for each of the {spec.in_channels} channels, std above 0. "
            f"Got mean {list(mean)} and std {list(std)}."
        )
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise ConfigError(f"The classes must have different names. {twice[0]!r} stands twice.")
    if not (isfinite(scale) and scale > 0):
        raise ConfigError(f"The scale must be a finite number above 0. Got {scale!r}.")
    network = build(spec)
    network.load_state_dict(state)
    for key, array in network.state_dict().items():
        if not np.isfinite(array).all():  # the file's own numbers are finite
            wrong = state[key][~np.isfinite(array)]
            raise DataError(f"{weights} holds {wrong.flat[0]} in {key}, which is too large for {array.dtype}.")
    source = {"source": "imported", "weights": str(Path(weights).resolve())}
    data = data_config(source, Normalization(scale, tuple(mean), tuple(std)), classes)
    folder.create(run_config(network, 0, data, recipe=None))
    folder.save_epoch(Checkpoint(0, None, network.state_dict(), {}))
    folder.unlock()
    return load(folder.path)
