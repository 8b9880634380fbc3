"""Form of decoded images: everything that says how an image file becomes an array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from glassnet.errors import ConfigError, choice_error

Fit = Literal["crop", "pad", "squash"]

MAX_PIXELS = 178_956_970  # width · height above which Pillow, too, refuses an image


@dataclass(frozen=True)
class ImageForm:
    """Form in which images are decoded.

    Attributes: ``size``, (height, width) in pixels; ``channels``, 1 (gray) or 3 (red, green, blue); ``fit``, how an
    image of another aspect ratio is brought to the size: "crop" cuts off what is too much around the middle, "pad"
    adds black bars, "squash" changes the aspect ratio; ``value_range``, the values of 16-bit, int32 and float images
    that become 0 and 255, or None for the natural range of their type; ``max_pixels``, the largest width · height of
    a file's image.

    :raises ConfigError: if a value is out of range.
    """

    size: tuple[int, int]
    channels: int
    fit: Fit = "crop"
    value_range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_image_size(self.size)
        if self.fit not in get_args(Fit):
            raise choice_error("fit", get_args(Fit), self.fit)
        if self.value_range is not None and not _is_range(self.value_range):
            raise ConfigError(f"value_range must be two finite numbers, the lower one first. Got {self.value_range!r}.")
        if not isinstance(self.max_pixels, int) or self.max_pixels < 1:
            raise ConfigError(f"max_pixels must be an integer of at least 1. Got {self.max_pixels!r}.")


def _is_range(value_range: Any) -> bool:
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        return False
    return math.isfinite(low) and math.isfinite(high) and low < high


def check_file_channels(channels: int) -> None:
    """Check that files can be decoded to this number of channels; networks on arrays may have others.

    :raises ConfigError: if it is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise choice_error("channels", (1, 3), channels)


def check_image_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a side or a pair.

    :raises ConfigError: if a side is below 1.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"image_size must be a side or (height, width), each at least 1. Got {image_size}.")
    return size
