"""Image files scanned: content hash, size and kind of each, without decoding the pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.image_formats import find_signature, is_named_as_image, is_recognised
from glassnet.data.images.file_threads import map_files
from glassnet.data.images.image_form import MAX_PIXELS
from glassnet.data.images.image_opening import (
    UnreadableError,
    is_deep,
    is_gray,
    loses_bits,
    open_image,
    quiet_pillow,
    read_bytes,
    upright_size,
)


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """One scanned file.

    Attributes: ``hash``, the first 16 bytes of the SHA-256 of its bytes, empty if they cannot be read; ``size``,
    (height, width) after rotation; ``is_gray``; ``is_deep``, whether it is gray of 16 bits, int32 or float;
    ``loses_bits``, whether it is colour of 16 bits, of which Pillow loads the upper 8; ``problem``, why it is
    unreadable, or None; ``is_image``, False if it is neither named nor recognised as an image.
    """

    hash: bytes
    size: tuple[int, int] = (0, 0)
    is_gray: bool = False
    is_deep: bool = False
    loses_bits: bool = False
    problem: str | None = None
    is_image: bool = True


def scan_images(files: Sequence[ImageFile], max_pixels: int = MAX_PIXELS) -> list[ScannedImage]:
    """Scan files, in order. Each is read once.

    A file is an image if Pillow opens it, or if it has the signature or the suffix of an image format. Unreadable
    images have a problem; files that are no images have none.
    """
    with quiet_pillow(max_pixels):
        return map_files(lambda index: _scan(files[index], max_pixels), files, "scanning")


def _scan(file: ImageFile, max_pixels: int) -> ScannedImage:
    data = digest = b""
    try:
        data = read_bytes(file)
        digest = hashlib.sha256(data).digest()[:16]
        with open_image(data, max_pixels) as image:
            if not is_recognised(image.format, file.name):
                return ScannedImage(digest, is_image=False)
            kind = is_gray(image), is_deep(image), loses_bits(image)
            return ScannedImage(digest, upright_size(image, data), *kind)
    except UnreadableError as error:
        if is_named_as_image(file.name) or find_signature(data):
            return ScannedImage(digest, problem=str(error))
        return ScannedImage(digest, is_image=False)
