"""The arguments of ``load_data``, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from glassnet.data.batches import validate_seed
from glassnet.data.dataset import Dataset
from glassnet.data.images.image_form import Fit, ImageForm, check_file_channels, check_image_size
from glassnet.errors import ConfigError

DATA_SEED = 42  # of the split; the training has a seed of its own
MAX_UNREADABLE = 0.01


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The arguments of ``load_data`` but the source, as it describes them; ``ink`` is decided.

    :raises ConfigError: if one is out of range.
    """

    image_size: tuple[int, int] | None
    channels: int | None
    fit: Fit
    value_range: tuple[float, float] | None
    classes: Sequence[str] | None
    samples: int | None
    test_samples: int | Literal["all"] | None
    seed: int
    test_size: float
    max_unreadable: float
    max_pixels: int
    ink: bool

    def __post_init__(self) -> None:
        check_file_channels(self.channels or 1)
        size = None if self.image_size is None else check_image_size(self.image_size)
        ImageForm(size or (1, 1), self.channels or 1, self.fit, self.value_range, self.max_pixels)  # for its checks
        object.__setattr__(self, "image_size", size)
        if self.value_range is not None:
            object.__setattr__(self, "value_range", tuple(map(float, self.value_range)))
        _check_classes(self.classes)
        _check_numbers(self)

    @property
    def max_test(self) -> int | None:
        """The largest number of test images, or None for all."""
        if self.test_samples is None:
            return self.samples
        return None if self.test_samples == "all" else int(self.test_samples)

    def to_source(self, name: str, dataset: Dataset) -> dict[str, Any]:
        """Return the arguments with which ``load_data`` loads the dataset again."""
        return {
            "source": name,
            "image_size": list(dataset.image_size),
            "channels": self.channels,
            "fit": self.fit,
            "value_range": None if self.value_range is None else list(self.value_range),
            "samples": self.samples,
            "test_samples": self.max_test or "all",
            "seed": self.seed,
            "test_size": self.test_size,
            "max_unreadable": self.max_unreadable,
            "max_pixels": self.max_pixels,
            "ink": self.ink,
        }


def _check_classes(classes: Any) -> None:
    if classes is None:
        return
    if not isinstance(classes, list | tuple) or {*map(type, classes)} != {str} or len({*classes}) < len(classes):
        raise ConfigError(f"classes must be a list of different names. Got {classes!r}.")


def _check_numbers(options: LoadOptions) -> None:
    samples, test_samples = options.samples, options.test_samples
    validate_seed(options.seed)
    if not isinstance(options.test_size, int | float) or not 0 < options.test_size <= 1:
        raise ConfigError(f"test_size must be above 0 and at most 1. Got {options.test_size!r}.")
    if not isinstance(options.max_unreadable, int | float) or not 0 <= options.max_unreadable <= 1:
        raise ConfigError(f"max_unreadable must be from 0 to 1. Got {options.max_unreadable!r}.")
    if samples is not None and (not isinstance(samples, int | np.integer) or samples < 1):
        raise ConfigError(f"samples must be an integer of at least 1. Got {samples!r}.")
    if test_samples not in (None, "all") and (not isinstance(test_samples, int | np.integer) or test_samples < 1):
        raise ConfigError(f"test_samples must be an integer of at least 1 or 'all'. Got {test_samples!r}.")
