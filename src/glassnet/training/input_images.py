"""Images given to a model, as files or arrays, and what its network reads of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import Likeness, Normalization, decode_image, decode_ink
from glassnet.errors import DataError

Images = str | PathLike[str] | NDArray[np.uint8] | Sequence[str | PathLike[str] | NDArray[np.uint8]]


@dataclass(frozen=True)
class InputImage:
    """One image as a network reads it.

    Attributes: ``values``, float (1, C, H, W), normalized; ``pixels``, float32 (H, W, C) from 0 to 1 before that;
    ``preprocessing``, what was done to a file, or None; ``unlike``, why it looks unlike the training images, or None.
    """

    values: NDArray[np.floating]
    pixels: NDArray[np.float32]
    preprocessing: str | None = None
    unlike: str | None = None


@dataclass(frozen=True)
class ImageReader:
    """Reads images for the network of a run, as the run's data configuration says."""

    spec: ResNetSpec
    normalization: Normalization
    ink: bool
    likeness: Likeness | None

    def read(self, images: Images, dtype: DTypeLike) -> list[InputImage]:
        """Return what the network reads of files, or of uint8 arrays (H, W, C) or (N, H, W, C).

        :raises DataError: if a file cannot be read, or an array has another dtype or shape.
        """
        if isinstance(images, str | PathLike):
            images = [images]
        shape = (*self.spec.size, self.spec.in_channels)
        return [
            self._read_file(image, dtype) if isinstance(image, str | PathLike) else self._read_array(image, dtype)
            for image in (images if isinstance(images, Sequence) else _single(images, shape))
        ]

    def _read_file(self, path: str | PathLike[str], dtype: DTypeLike) -> InputImage:
        of_files = dataclasses.replace(self.normalization, scale=255.0)
        if not self.ink:
            return _normalized(decode_image(path, self.spec.size, self.spec.in_channels), of_files, dtype)
        ink = decode_ink(path)
        image = _normalized(ink.pixels, of_files, dtype)
        return dataclasses.replace(image, preprocessing=ink.steps, unlike=ink.problem or self._unlike(image.pixels))

    def _read_array(self, array: Any, dtype: DTypeLike) -> InputImage:
        shape = (*self.spec.size, self.spec.in_channels)
        image = _normalized(_checked(array, shape), self.normalization, dtype)
        return dataclasses.replace(image, unlike=self._unlike(image.pixels))

    def _unlike(self, pixels: NDArray[np.float32]) -> str | None:
        if self.likeness is None or (distance := self.likeness.distance(pixels)) <= self.likeness.limit:
            return None
        return f"its distance from the training images is {distance:.2f}, above {self.likeness.limit:.2f}"


def _normalized(image: NDArray[np.uint8], normalization: Normalization, dtype: DTypeLike) -> InputImage:
    pixels = image.astype(np.float32) / np.float32(normalization.scale)
    return InputImage(normalization.apply(image[np.newaxis], dtype), pixels)


def _single(image: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return an array of one image or of several as a list of images."""
    image = np.asarray(image)
    if not image.ndim:
        raise DataError(f"images must be paths or uint8 arrays. Got {image.item()!r}.")
    return [image] if image.ndim == len(shape) else list(image)


def _checked(image: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.shape != shape:
        raise DataError(
            f"An image must be uint8 of shape (H, W, C) = {shape}. Got {image.dtype} of shape {image.shape}. "
            "Give the path of a file, which may have any size."
        )
    return np.asarray(image, np.uint8)
