"""Image files opened by Pillow, without its warnings and with one kind of error."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.image_formats import COMMON_FORMATS, describe_not_read, rare_formats
from glassnet.data.images.jpeg_scans import has_too_many_scans
from glassnet.errors import GlassnetError

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION = 0x0112  # EXIF's tag
_TIFF_SIZE = (256, 257)  # tags of the stored width and height
_PNG_EXIF = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")  # chunks that may have it
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F")


class UnreadableError(Exception):
    """The reason why a file cannot be used as an image."""


def read_bytes(file: ImageFile) -> bytes:
    """Return the bytes of a file.

    :raises UnreadableError: if it cannot be read.
    """
    try:
        return file.read()
    except OSError as error:
        raise UnreadableError(_one_line(error.strerror or error)) from error
    except GlassnetError as error:
        raise UnreadableError(_one_line(error)) from error


@contextmanager
def open_image(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open the bytes of a file as an image. Every error inside leaves as an UnreadableError of one line."""
    try:
        with _open(data) as image:
            n_pixels = image.width * image.height
            if n_pixels > max_pixels:
                raise UnreadableError(_too_many_pixels(max_pixels))
            if image.format in ("JPEG", "MPO") and has_too_many_scans(data, n_pixels, max_pixels):
                raise UnreadableError("too many scans for a JPEG of its size")
            yield image
    except UnreadableError:
        raise
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        raise UnreadableError(_reason(error, max_pixels)) from error


def _reason(error: Exception, max_pixels: int) -> str:
    from PIL import Image

    if isinstance(error, Image.DecompressionBombError):
        return _too_many_pixels(max_pixels)
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, OSError):
        return _one_line(error.strerror or error)
    return _one_line(error) or f"damaged ({type(error).__name__})"


def _too_many_pixels(max_pixels: int) -> str:
    return f"more pixels than max_pixels (--max-pixels) allows, {max_pixels:,}"


def _open(data: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data), formats=COMMON_FORMATS)
    except UnidentifiedImageError:
        pass
    try:
        return Image.open(io.BytesIO(data), formats=rare_formats())
    except UnidentifiedImageError as error:
        raise UnreadableError(describe_not_read(data)) from error


def load_upright(image: Image.Image) -> None:
    """Load the pixels and apply the EXIF rotation."""
    from PIL import ImageOps

    image.load()
    if image.mode == "P" and image.palette is None:  # Pillow loses the palette of an ICNS file's image
        image.putpalette(image.getpalette("RGB") or [])
    if _orientation(image) != 1:
        ImageOps.exif_transpose(image, in_place=True)


def upright_size(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Return (height, width) after the EXIF rotation, of an image whose pixels are not loaded yet.

    :param data: the bytes of its file.
    """
    size = image.height, image.width
    if image.format == "TIFF" and image.size != tuple(map(getattr(image, "tag_v2", {}).get, _TIFF_SIZE)):
        return size  # newer versions of Pillow have the rotated size of a TIFF
    if image.format == "PNG" and not any(name in data for name in _PNG_EXIF):
        return size  # Pillow would decode the whole image to look for EXIF data behind it
    return size[::-1] if _orientation(image) >= 5 else size


def is_gray(image: Image.Image) -> bool:
    """Return whether the image has no colours, judged by its mode and its palette."""
    if image.mode in ("P", "PA"):
        palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GRAY_MODES or is_deep(image)


def is_deep(image: Image.Image) -> bool:
    """Return whether the image has gray of 16 bits, of 32-bit integers or of floats."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def loses_bits(image: Image.Image) -> bool:
    """Return whether the image is of 16 bits a value, of which Pillow loads the upper 8, as it does with colours."""
    return not is_deep(image) and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data beside a sound image: as if there were none
        return 1


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


class _PillowSettings:
    """Settings of the process that the first of several threads changes and the last one restores."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_users = 0
        self.undo = ExitStack()

    @contextmanager
    def changed(self, max_pixels: int) -> Iterator[None]:
        with self.lock:
            if self.n_users == 0:
                self._change()
            self.n_users += 1
            self._allow(max_pixels)
        try:
            yield
        finally:
            with self.lock:
                self.n_users -= 1
                if self.n_users == 0:
                    self.undo.close()

    def _change(self) -> None:
        from PIL import Image

        self.undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        logger, handler = logging.getLogger("PIL"), logging.NullHandler()  # without a handler, logging prints
        logger.addHandler(handler)
        self.undo.callback(logger.removeHandler, handler)
        self.undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        for set_handler in _libtiff_setters():
            self.undo.callback(set_handler, set_handler(None))

    def _allow(self, max_pixels: int) -> None:
        from PIL import Image

        if Image.MAX_IMAGE_PIXELS is not None:  # Pillow raises above twice this number
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, -(-max_pixels // 2))


_settings = _PillowSettings()


def quiet_pillow(max_pixels: int) -> Any:
    """Enclose decoding: Pillow's warnings, its log and libtiff's lines are silenced, and its limit is max_pixels.

    They are about unusual files, which are either decoded or listed with the reason.
    """
    return _settings.changed(max_pixels)


@cache  # a library that is loaded again is a class more, which only a full garbage collection frees
def _libtiff_setters() -> list[Callable[[int | None], int | None]]:
    """Return libtiff's functions that set what prints its messages; none if Pillow hides them (on Windows)."""
    import ctypes

    from PIL import _imaging

    setters = []
    try:
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setters.append(setter)
    except (OSError, AttributeError):
        return []
    return setters
