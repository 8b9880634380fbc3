"""Image files decoded to uint8 arrays: the only decoder, for training folders and for predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode_processes import work_on_files
from glassnet.data.images.image_form import MAX_PIXELS, Fit, ImageForm, check_file_channels, check_image_size
from glassnet.data.images.image_opening import (
    UnreadableError,
    is_deep,
    load_upright,
    open_image,
    quiet_pillow,
    read_bytes,
)
from glassnet.data.images.ink import Ink, read_ink
from glassnet.data.images.resize import resize
from glassnet.data.images.value_range import to_eight_bits
from glassnet.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Range = tuple[float, float] | None


@overload
def decode_image(image: str | os.PathLike[str] | bytes, image_size: ImageForm) -> NDArray[np.uint8]: ...
@overload
def decode_image(
    image: str | os.PathLike[str] | bytes,
    image_size: int | tuple[int, int],
    channels: int,
    *,
    fit: Fit = "crop",
    value_range: Range = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]: ...
def decode_image(
    image: str | os.PathLike[str] | bytes,
    image_size: int | tuple[int, int] | ImageForm,
    channels: int = 0,
    *,
    fit: Fit = "crop",
    value_range: Range = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Decode the image in a file as uint8 (H, W, C).

    EXIF rotation is applied, and the image resized with antialiasing (bilinear, as torchvision's default). JPEGs are
    reduced while they are decoded, to at least twice the requested size. Transparent images are composited on white,
    colour profiles are ignored, and the first image of an animation is taken. All formats of the installed Pillow are
    read but those that start other programs.

    :param image: the path of the file, or its bytes.
    :param image_size: the side, or (H, W), in pixels; or an ImageForm in place of all that follows.
    :param channels: 1 (gray) or 3 (red, green, blue).
    :param fit: how an image of another aspect ratio is brought to the size: "crop" resizes the shorter side and
        cuts off the rest around the middle, "pad" resizes the longer side and adds black bars, "squash" changes the
        aspect ratio.
    :param value_range: the values of 16-bit, int32 and float images that become 0 and 255; what is outside is
        clipped. None is the natural range of the type: 0 to 65535, for floats 0 to 1 or 0 to 255.
    :param max_pixels: largest width · height of the file's image.
    :raises DataError: if the file cannot be read as an image.
    :raises ConfigError: if another argument is out of range.
    """
    if isinstance(image_size, ImageForm):
        form = image_size
    else:
        form = ImageForm(check_image_size(image_size), channels, fit, value_range, max_pixels)
    file = _as_file(image)
    with quiet_pillow(form.max_pixels):
        try:
            return _decode(file, form)
        except UnreadableError as error:
            raise DataError(f"{file.name} must be a readable image. Got: {error}.") from error


def decode_ink(image: str | os.PathLike[str] | bytes, max_pixels: int = MAX_PIXELS) -> Ink:
    """Decode the image in a file and bring the digit in it to the form of the built-in digits, as ``read_ink`` does.

    Files are decoded as by ``decode_image``, but neither cropped nor turned gray before the ink is found.

    :param image: the path of the file, or its bytes.
    :raises DataError: if the file cannot be read as an image.
    """
    file = _as_file(image)
    with quiet_pillow(max_pixels):
        try:
            return _decode_ink(file, max_pixels)
        except UnreadableError as error:
            raise DataError(f"{file.name} must be a readable image. Got: {error}.") from error


def decode_images(
    files: Sequence[ImageFile], form: ImageForm, ink: bool = False
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Decode many images, in processes.

    :param ink: whether to read them as ``decode_ink`` does.
    :returns: the images that can be read, (N, H, W, C) in the order of ``files``, and the reasons why the others
        cannot: {index in files: reason}.
    """
    images = np.empty((len(files), *form.size, form.channels), np.uint8)
    failures: dict[int, str] = {}
    count = 0
    for start, (block, problems) in work_on_files(files, BlockDecoder(form, ink), "decoding"):
        images[count : count + len(block)] = block
        count += len(block)
        failures |= {start + index: problem for index, problem in problems.items()}
    return images[:count], failures


@dataclass(frozen=True)
class BlockDecoder:
    """Function that decodes some files in a form, or as drawn digits, for other processes."""

    form: ImageForm
    ink: bool

    def __call__(self, files: Sequence[ImageFile]) -> tuple[NDArray[np.uint8], dict[int, str]]:
        """Return what ``decode_images`` does."""
        blocks, failures = [np.empty((0, *self.form.size, self.form.channels), np.uint8)], {}
        with quiet_pillow(self.form.max_pixels):
            for index, file in enumerate(files):
                try:
                    decoded = decode_file(file, self.form, self.ink)
                    blocks.append((decoded.pixels if isinstance(decoded, Ink) else decoded)[np.newaxis])
                except UnreadableError as error:
                    failures[index] = str(error)
        return np.concatenate(blocks), failures


def decode_file(file: ImageFile, form: ImageForm, ink: bool = False) -> NDArray[np.uint8] | Ink:
    """Decode one file as ``decode_image`` or, with ``ink``, as ``decode_ink`` does; call it inside ``quiet_pillow``.

    :raises UnreadableError: if the file cannot be read as an image.
    """
    return _decode_ink(file, form.max_pixels) if ink else _decode(file, form)


def _as_file(image: str | os.PathLike[str] | bytes) -> ImageFile:
    if isinstance(image, bytes):
        return ImageFile("The image", lambda: image)
    return ImageFile.on_disk(Path(image))


def _decode(file: ImageFile, form: ImageForm) -> NDArray[np.uint8]:
    check_file_channels(form.channels)
    with open_image(read_bytes(file), form.max_pixels) as image:
        return np.array(decode_opened(image, form))


def decode_opened(image: Image.Image, form: ImageForm) -> NDArray[np.uint8]:
    """Decode an image that Pillow has opened, but not loaded yet, as ``decode_image`` does; it cannot be written to."""
    # Twice the size leaves the antialiasing to `resize`; draft() never goes below the requested size.
    image.draft(None, (2 * max(form.size), 2 * max(form.size)))
    load_upright(image)
    converted = _convert(image, "L" if form.channels == 1 else "RGB", form.value_range)
    resized = converted if converted.size == form.size[::-1] else resize(converted, form.size, form.fit)
    return np.asarray(resized).reshape(*form.size, form.channels)


def _decode_ink(file: ImageFile, max_pixels: int) -> Ink:
    with open_image(read_bytes(file), max_pixels) as image:
        load_upright(image)
        ink = read_ink(_convert(image, "RGB"))
        if ink.is_blank and image.has_transparency_data:  # white ink on transparent paper
            ink = read_ink(_convert(image, "RGB", backdrop="black"))
        return ink


def _convert(image: Image.Image, mode: str, value_range: Range = None, backdrop: str = "white") -> Image.Image:
    """Convert an image to mode L or RGB, a transparent one on a backdrop."""
    from PIL import Image

    if is_deep(image):
        image = Image.fromarray(to_eight_bits(np.asarray(image), value_range))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, backdrop), image)
    if image.mode == "LAB":
        image = _lab_to_rgb(image)
    return image if image.mode == mode else image.convert(mode)


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB")) or image
