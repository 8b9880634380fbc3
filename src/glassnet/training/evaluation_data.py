"""Data to evaluate a model on: the run's own, or another source brought to its size and channels."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from glassnet.data import Dataset, load_data
from glassnet.errors import ConfigError, GlassnetError
from glassnet.formats import pluralize
from glassnet.training.config import RunConfig
from glassnet.training.model import Model


def data_for_model(model: Model, source: str | None) -> Dataset:
    """Load a source, resized and converted for the model, or the run's own data if no source is given.

    :raises DataError: if the data cannot be used.
    """
    return model.load_dataset() if source is None else _load_for(model, source)


def evaluation_data(model: Model, source: str | None, max_unreadable: float | None = None) -> Dataset:
    """Load the images to evaluate a model on; the test split holds them.

    :param source: the run's own data by default. All images of a source without a split are taken; of the run's own
        data, wherever it is now and however it has grown, only those that its split holds out from the training. It
        is taken for the run's own if most of the training images are there.
    :param max_unreadable: largest fraction of the source's images that may be unreadable; by default as in the run.
    :raises DataError: if the data cannot be used.
    """
    if source is None:
        return model.load_dataset()
    own = RunConfig.parse(model.config, model.path / "config.json").data
    limits = {} if max_unreadable is None else {"max_unreadable": max_unreadable}
    loaded = _load_for(model, source, test_size=1, classes=own.classes, **limits)
    is_unsplit = loaded.train is loaded.test
    if model.images.is_mostly_in(loaded.train):
        with suppress(GlassnetError, TypeError):  # another source need not accept the run's settings
            again = load_data(**{**own.load_arguments(), "source": source, **limits})
            is_held_out = is_unsplit and not model.images.count_trained(again.test)
            if is_held_out or again.fingerprint == own.fingerprint:
                if is_held_out:
                    again.notes.append(
                        f"{source} has most of the images that {model.path} was trained on. Of its "
                        f"{pluralize(len(loaded.test), 'image')} the {len(again.test):,} that the run's split holds "
                        "out are used."
                    )
                return again
    return loaded


def _load_for(model: Model, source: str, **options: Any) -> Dataset:
    """Load images as predict reads them, in the run's form; as many may be unreadable as in its training."""
    spec, data = model.network.spec, RunConfig.parse(model.config, model.path / "config.json").data
    options |= {"ink": data.ink, "fit": data.fit, "value_range": data.value_range}
    for name in ("max_unreadable", "max_pixels"):
        if (limit := getattr(data, name)) is not None:
            options.setdefault(name, limit)
    try:
        return load_data(source, image_size=spec.size, channels=spec.in_channels, **options)
    except ConfigError as error:
        (height, width), channels = spec.size, spec.in_channels
        raise ConfigError(
            f"{model.path} takes images of {height}×{width}, {pluralize(channels, 'channel')}: {error}"
        ) from None
