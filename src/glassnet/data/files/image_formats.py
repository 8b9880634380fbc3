"""Formats of image files: those that are read, and words for those that are not."""

from __future__ import annotations

import functools
import posixpath

# Pillow has these ready after a fast start; the others are loaded when a file is none of them.
COMMON_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM")
_COMMON_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm")

# Formats of Pillow's that start another program, or that it recognises but cannot load.
_IMAGES_NOT_READ = {"EPS": "EPS", "WMF": "WMF or EMF"}
_NO_IMAGES = ("BUFR", "GRIB", "HDF5", "IPTC", "MPEG", "PALM", "PDF")
_NO_IMAGE_SUFFIXES = (".ps",)
_CHECKED_HEADER = "SPIDER"  # has no signature, but Pillow checks several numbers in it, and has no suffix for it

_SUFFIXES_NOT_READ = (".avif", ".dcm", ".heic", ".heif", ".hif", ".jxl", ".svg")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_LONG_SIGNATURES = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000")  # no text begins like these


@functools.cache
def rare_formats() -> tuple[str, ...]:
    """Return the other formats that the installed Pillow reads, those without a signature last."""
    from PIL import Image

    Image.init()
    refused = (*COMMON_FORMATS, *_IMAGES_NOT_READ, *_NO_IMAGES)
    return tuple(sorted((name for name in Image.OPEN if name not in refused), key=lambda name: name in _unsigned()))


def is_named_as_image(name: str) -> bool:
    """Return whether the suffix of a file's name is that of an image format, be it one that is read or not."""
    suffix = _suffix(name)
    if suffix in _COMMON_SUFFIXES or suffix in _SUFFIXES_NOT_READ:
        return True
    return suffix in _suffixes() and _suffixes()[suffix] not in _NO_IMAGES


def is_recognised(image_format: str | None, name: str) -> bool:
    """Return whether a file that Pillow opens is an image: a format without a signature needs its suffix, too.

    Pillow opens some text files as one of these.
    """
    if image_format in COMMON_FORMATS or image_format == _CHECKED_HEADER:
        return True
    return image_format not in _unsigned() or _suffixes().get(_suffix(name)) == image_format


def describe_not_read(data: bytes) -> str:
    """Return why a file that no format accepts cannot be read, in a few words."""
    if not data:
        return "empty file"
    is_avif = any(brand in data[8:64] for brand in _AVIF_BRANDS)  # among the compatible brands, too
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and not is_avif:
        return "HEIC, which Pillow cannot read: save as JPEG"
    if data[4:8] == b"ftyp" and is_avif and not _accepts("AVIF", data):
        return "AVIF, which Pillow cannot read: save as PNG"
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JPEG XL, which Pillow cannot read: save as PNG"
    if data[128:132] == b"DICM":
        return "DICOM, which Pillow cannot read: save as PNG"
    if b"<svg" in data[:1000]:
        return "SVG, which Pillow cannot read: save as PNG"
    for image_format, words in _IMAGES_NOT_READ.items():
        if _accepts(image_format, data):
            return f"{words}, which is not read: save as PNG"
    signature = find_signature(data)
    return f"damaged {signature}" if signature else "not an image"


def find_signature(data: bytes) -> str | None:
    """Return the common format with whose signature a file begins, or None."""
    return next((image_format for image_format in _LONG_SIGNATURES if _accepts(image_format, data)), None)


def _accepts(image_format: str, data: bytes) -> bool:
    """Return whether a file has the signature of a format that this Pillow has."""
    from PIL import Image

    Image.init()
    accept = Image.OPEN[image_format][1] if image_format in Image.OPEN else None
    return accept is not None and accept(data[:16]) is True  # a text says what is not installed


@functools.cache
def _unsigned() -> frozenset[str]:
    from PIL import Image

    Image.init()
    return frozenset(name for name, (_, accept) in Image.OPEN.items() if accept is None)


@functools.cache
def _suffixes() -> dict[str, str]:
    """Return {suffix: format} of all formats that Pillow knows."""
    from PIL import Image

    Image.init()
    return {suffix: name for suffix, name in Image.EXTENSION.items() if suffix not in _NO_IMAGE_SUFFIXES}


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()
