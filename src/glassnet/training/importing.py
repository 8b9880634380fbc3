"""Run folders of weights that were trained elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as preset
from glassnet.engines import build
from glassnet.errors import ConfigError, DataError, as_path
from glassnet.formats import pluralize
from glassnet.progress import Progress, TerminalProgress, show_progress
from glassnet.recognition import recognize_state, suggest_normalization
from glassnet.training.config import DataConfig, run_config
from glassnet.training.model import Model, load
from glassnet.training.run_files import Checkpoint, images_of_weights
from glassnet.training.run_folder import RunFolder
from glassnet.weights import load_weights


def import_weights(
    weights: str | PathLike[str],
    model: str | ResNetSpec | None = None,
    *,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    run: str | PathLike[str],
    scale: float = 255.0,
    image_size: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Model:
    """Create a run folder from weights that were trained elsewhere, so that evaluate, predict and report work on it.

    A pixel p is normalized to (p / scale − mean) / std.

    :param weights: a file that ``load_weights`` reads.
    :param model: the preset or spec of the weights; None for the one that ``recognize`` finds.
    :param classes: class names in the order of the outputs. Without them the error says how many there must be.
    :param mean: a number for each channel, as ``std``. Without them the error has those of well-known projects.
    :param image_size: height and width of the images in pixels, if it is not the model's.
    :param progress: receives the line that ``recognize`` writes; None shows it on stderr.
    :raises DataError: if the file cannot be read, has no last layer, or has numbers too large for float32; or if no
        spec describes its network.
    :raises ConfigError: if the model is unknown, or classes, mean or std do not have a value for each output and
        channel.
    :raises GlassnetError: if the weights are of another architecture; says which keys differ.
    :raises RunError: if the folder is in use.
    """
    path, folder = as_path("A weights file", weights), RunFolder(run)
    folder.check_available(overwrite=overwrite)
    progress = progress or TerminalProgress()
    with show_progress(progress):
        state = load_weights(path)
    if model is None:
        recognition = recognize_state(path, state)
        progress.log(str(recognition))
    spec = recognition.spec if model is None else preset(model) if isinstance(model, str) else model
    names = _check_classes(path, state, classes)
    spec = spec.replace(classes=len(names), **({} if image_size is None else {"image_size": image_size}))
    if not (isfinite(scale) and scale > 0):
        raise ConfigError(f"scale must be a finite number above 0. Got {scale!r}.")
    mean, std = _check_normalization(path, spec, mean, std, scale)
    network = build(spec, state=state)
    for key, array in network.state_dict().items():
        if not np.isfinite(array).all():  # the file's own numbers are finite
            too_large = state[key][~np.isfinite(array)].flat[0]
            raise DataError(f"{key} in {path} must be finite in {array.dtype}. Got {too_large}.")
    data = DataConfig(source="imported", weights=str(path.resolve()), classes=names, scale=scale, mean=mean, std=std)
    folder.create(run_config(network, 0, data, recipe=None), images_of_weights(path).as_ancestors())
    folder.save_epoch(Checkpoint(0, None, network.state_dict(), {}))
    folder.unlock()
    return load(folder.path)


def _check_classes(path: Path, state: Mapping[str, NDArray[Any]], classes: Sequence[str] | None) -> tuple[str, ...]:
    if "fc.weight" not in state:
        raise DataError(
            f"{path} must have a last layer. Got none among its {pluralize(len(state), 'tensor')}. To train one on "
            "these weights, use them as init."
        )
    count = len(state["fc.weight"])
    if classes is None or len(classes) != count:
        received = "none" if classes is None else len(classes)
        raise ConfigError(f"classes must be {count} names, in the order of the outputs. Got {received}.")
    if duplicates := [name for name, count in Counter(map(str, classes)).items() if count > 1]:
        raise ConfigError(f"classes must be unique. Got {duplicates[0]!r} twice.")
    return tuple(map(str, classes))


def _check_normalization(
    path: Path, spec: ResNetSpec, mean: Sequence[float] | None, std: Sequence[float] | None, scale: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if mean is None or std is None:
        suggestion = suggest_normalization(path, spec)
        raise ConfigError(f"mean and std must be those of the images that the weights expect. Got none.{suggestion}")
    means, stds = tuple(map(float, mean)), tuple(map(float, std))
    if not (len(means) == len(stds) == spec.in_channels) or not all(map(isfinite, means + stds)) or not min(stds) > 0:
        raise ConfigError(
            f"mean and std must have one number for each of {pluralize(spec.in_channels, 'channel')}, std above 0. "
            f"Got mean {list(means)} and std {list(stds)}."
        )
    if max(means) * scale > 255:
        raise ConfigError(
            f"mean must be at most 255 / scale, {255 / scale:g}, as that of pixels is. Got {max(means):g}. "
            "Divide mean and std by the scale, or set scale 1."
        )
    return means, stds
