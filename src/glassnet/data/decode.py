"""Image files decoded to uint8 arrays: the only decoder, for training folders and for predict."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glassnet.data.ink import Ink, read_ink
from glassnet.errors import ConfigError, DataError, choice_error
from glassnet.progress import track

if TYPE_CHECKING:
    from PIL import Image

# Accepted formats: others of Pillow's (EPS for one) start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_GRAY_MODES = ("1", "L", "LA", "I", "F")
_ORIENTATION = 0x0112  # EXIF's tag
_FILES_PER_TASK = 16
_WORTH_A_THREAD = 32 * 1024  # bytes


class _UnreadableError(Exception):
    """The reason why a file cannot be used as an image."""


def decode_image(path: str | os.PathLike[str], image_size: int | tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Decode the image in a file as uint8 (H, W, C).

    EXIF rotation is applied, the shorter side resized with antialiasing (bilinear, as torchvision's default) and the
    rest cropped around the middle. JPEGs are reduced while they are decoded, to at least twice the requested size.
    Transparent images are composited on white, 16-bit gray is scaled to 8 bits, colour profiles are ignored, and the
    first image of an animation is taken.

    :param image_size: the side, or (H, W), in pixels.
    :param channels: 1 (gray) or 3 (red, green, blue).
    :raises DataError: if the file cannot be read as an image.
    :raises ConfigError: if image_size or channels is out of range.
    """
    size = check_image_size(image_size)
    _check_channels(channels)
    with _without_warnings():
        try:
            return _decode(Path(path), size, channels)
        except _UnreadableError as error:
            raise DataError(f"{path} must be a readable image. Got: {error}.") from error


def decode_ink(path: str | os.PathLike[str]) -> Ink:
    """Decode the image in a file and bring the digit in it to the form of the built-in digits, as ``read_ink`` does.

    Files are decoded as by ``decode_image``, but neither cropped nor turned gray before the ink is found.

    :raises DataError: if the file cannot be read as an image.
    """
    with _without_warnings():
        try:
            return _decode_ink(Path(path))
        except _UnreadableError as error:
            raise DataError(f"{path} must be a readable image. Got: {error}.") from error


def decode_images(
    paths: Sequence[Path], image_size: tuple[int, int], channels: int, ink: bool = False
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Decode many images in threads.

    :param ink: whether to read them as ``decode_ink`` does.
    :returns: the images that can be read, (N, H, W, C) in the order of ``paths``, and the reasons why the others
        cannot: {index in paths: reason}.
    """
    _check_channels(channels)
    images = np.empty((len(paths), *image_size, channels), np.uint8)

    def decode_block(start: int) -> dict[int, str]:
        failures = {}
        for index in range(start, min(start + _FILES_PER_TASK, len(paths))):
            try:
                if ink:
                    images[index] = _decode_ink(paths[index]).pixels
                else:
                    images[index] = _decode(paths[index], image_size, channels)
            except _UnreadableError as error:
                failures[index] = str(error)
        return failures

    failures: dict[int, str] = {}
    starts = range(0, len(paths), _FILES_PER_TASK)
    executor = ThreadPoolExecutor(_workers(paths))
    with _without_warnings(), track("decoding", len(paths)) as advance:
        try:
            for start, failed in zip(starts, executor.map(decode_block, starts), strict=True):
                failures |= failed
                advance(min(_FILES_PER_TASK, len(paths) - start))
        finally:
            executor.shutdown(cancel_futures=True)
    readable = [index for index in range(len(paths)) if index not in failures]
    if failures:
        for position, index in enumerate(readable):  # moved up in place: a second array would double the memory
            images[position] = images[index]
    return images[: len(readable)], failures


def _workers(paths: Sequence[Path]) -> int:
    """Return the number of threads: the cores for large files, one for small ones, whose work is mostly Python's own.

    Measured on two cores: 32×32 JPEGs of 1 KB take 0.22 ms each with one thread and 0.33 ms with two, 512×512 ones
    of 74 KB 1.36 and 0.95 ms.
    """
    sizes = [path.stat().st_size for path in paths[:: 1 + len(paths) // 100] if path.is_file()]
    large = sum(sizes) > _WORTH_A_THREAD * len(sizes)
    return (os.cpu_count() or 1) if large else 1


def read_image_headers(paths: Sequence[Path]) -> Iterator[tuple[Path, tuple[int, int], bool]]:
    """Yield (path, (height, width) after rotation, gray or not) of every file whose header can be read."""
    for path in paths:
        with _without_warnings():
            try:
                with _open_image(path) as image:
                    width, height = image.size
                    # Pillow's TIFF sizes are rotated already.
                    if _orientation(image) >= 5 and image.format != "TIFF":
                        width, height = height, width
                    header = path, (height, width), _is_gray(image)
            except _UnreadableError:
                continue
        yield header


def _decode(path: Path, image_size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    with _open_image(path) as image:
        # Twice the size leaves the antialiasing to `resize`; draft() never goes below the requested size.
        image.draft(None, (2 * max(image_size), 2 * max(image_size)))
        _load_upright(image)
        converted = _convert(image, "L" if channels == 1 else "RGB")
        return np.array(_resize_and_crop(converted, image_size)).reshape(*image_size, channels)


def _decode_ink(path: Path) -> Ink:
    with _open_image(path) as image:
        _load_upright(image)
        ink = read_ink(_convert(image, "RGB"))
        if ink.is_blank and image.has_transparency_data:  # white ink on transparent paper
            ink = read_ink(_convert(image, "RGB", backdrop="black"))
        return ink


def _load_upright(image: Image.Image) -> None:
    """Load the pixels and apply the EXIF rotation."""
    from PIL import ImageOps

    image.load()
    if _orientation(image) != 1:
        ImageOps.exif_transpose(image, in_place=True)


@contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    """Open the file as an image. Every error inside leaves as an _UnreadableError of one line."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not path.is_file():
            raise _UnreadableError("not a file" if path.exists() else "no such file")
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except _UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise _UnreadableError("empty file" if path.stat().st_size == 0 else "not an image") from error
    except OSError as error:
        raise _UnreadableError(_one_line(error.strerror or error)) from error
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        raise _UnreadableError(_one_line(error) or type(error).__name__) from error


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data beside a sound image: as if there were none
        return 1


def _is_gray(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GRAY_MODES or image.mode.startswith("I;16")


def _convert(image: Image.Image, mode: str, backdrop: str = "white") -> Image.Image:
    """Convert an image to mode L or RGB, a transparent one on a backdrop."""
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_to_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, backdrop), image)
    return image if image.mode == mode else image.convert(mode)


def _to_eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale gray of 16 bits, or of floats from 0 to 1 or from 0 to 255, to 0..255."""
    gray = values.astype(np.float32)
    low, high = float(gray.min()), float(gray.max())
    if values.dtype.kind == "f":
        top, allowed = (1.0 if high <= 1 else 255.0), "0 to 1 or 0 to 255"
    else:
        top, allowed = 65535.0, "0 to 65535"
    if not 0 <= low <= high <= top:  # false for NaN too
        raise _UnreadableError(f"pixels from {low:g} to {high:g}, which must be from {allowed}")
    scaled: NDArray[np.uint8] = np.rint(gray * (255 / top)).astype(np.uint8)
    return scaled


def _resize_and_crop(image: Image.Image, image_size: tuple[int, int]) -> Image.Image:
    """Resize the image so that it just covers image_size, and crop it around the middle."""
    from PIL import Image

    height, width = image_size
    factor = max(height / image.height, width / image.width)
    resized_height = max(height, round(image.height * factor))
    resized_width = max(width, round(image.width * factor))
    top, left = (resized_height - height) // 2, (resized_width - width) // 2
    # The part that stays, in the image's own pixels: what is cropped away is never computed.
    down, across = image.height / resized_height, image.width / resized_width
    right = min(image.width, (left + width) * across)
    bottom = min(image.height, (top + height) * down)
    return image.resize((width, height), Image.Resampling.BILINEAR, (left * across, top * down, right, bottom))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence Pillow's warnings about unusual files, which are either decoded or listed with the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_image_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a side or a pair.

    :raises ConfigError: if a side is below 1.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"image_size must be a side or (height, width), each at least 1. Got {image_size}.")
    return size


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise choice_error("channels", (1, 3), channels)
