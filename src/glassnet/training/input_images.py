"""Images given to a model, as files or arrays, and what its network reads of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.data import Likeness, Normalization, decode_image, decode_ink
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.ink import Ink
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

    form: ImageForm
    normalization: Normalization
    ink: bool
    likeness: Likeness | None

    @property
    def of_files(self) -> Normalization:
        """The normalization of decoded files, whose pixels are from 0 to 255."""
        return dataclasses.replace(self.normalization, scale=255.0)

    def with_limit(self, max_pixels: int) -> ImageReader:
        """Return a reader of files whose images have at most ``max_pixels``, width · height."""
        return dataclasses.replace(self, form=dataclasses.replace(self.form, max_pixels=max_pixels))

    def read(self, images: Images, dtype: DTypeLike) -> list[InputImage]:
        """Return what the network reads of files, or of uint8 arrays (H, W, C) or (N, H, W, C).

        :raises DataError: if a file cannot be read, or an array has another dtype or shape.
        """
        if isinstance(images, str | PathLike):
            images = [images]
        return [
            self._read_file(image, dtype) if isinstance(image, str | PathLike) else self._read_array(image, dtype)
            for image in (images if isinstance(images, Sequence) else _single(images))
        ]

    def _read_file(self, path: str | PathLike[str], dtype: DTypeLike) -> InputImage:
        if not self.ink:
            return _normalized(decode_image(path, self.form), self.of_files, dtype)
        ink = decode_ink(path, self.form.max_pixels)
        return InputImage(self.of_files.apply(ink.pixels[np.newaxis], dtype), *self.describe(ink))

    def describe(self, ink: Ink) -> tuple[NDArray[np.float32], str, str | None]:
        """Return of a drawn digit what the network reads, as ``pixels``, ``preprocessing`` and ``unlike`` hold it."""
        pixels = _to_fractions(ink.pixels, 255.0)
        return pixels, ink.steps, ink.problem or self._unlike(pixels)

    def _read_array(self, array: Any, dtype: DTypeLike) -> InputImage:
        image = _normalized(_checked(array, (*self.form.size, self.form.channels)), self.normalization, dtype)
        return dataclasses.replace(image, unlike=self._unlike(image.pixels))

    def _unlike(self, pixels: NDArray[np.float32]) -> str | None:
        if self.likeness is None or (distance := self.likeness.distance(pixels)) <= self.likeness.limit:
            return None
        return f"its distance from the training images is {distance:.2f}, above {self.likeness.limit:.2f}"


def _normalized(image: NDArray[np.uint8], normalization: Normalization, dtype: DTypeLike) -> InputImage:
    return InputImage(normalization.apply(image[np.newaxis], dtype), _to_fractions(image, normalization.scale))


def _to_fractions(image: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(scale)


def _single(image: Any) -> list[Any]:
    """Return an array of one image or of several as a list of images."""
    image = np.asarray(image)
    if not image.ndim:
        raise DataError(f"images must be paths or uint8 arrays. Got {image.item()!r}.")
    return [image] if image.ndim == 3 else list(image)


def _checked(image: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.shape != shape:
        raise DataError(
            f"An image must be uint8 of shape (H, W, C) = {shape}. Got {image.dtype} of shape {image.shape}. "
            "Give the path of a file, which may have any size."
        )
    return np.asarray(image, np.uint8)
