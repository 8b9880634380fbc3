"""Scans of JPEG files: a small file may have thousands, each of which is decoded over the whole image."""

from __future__ import annotations

import re

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # one with a length: no stuffed byte, restart or padding
_MAX_SCANS_OF_LARGEST_IMAGE = 16  # an image has 1 to 4, a progressive one about 10


def has_too_many_scans(data: bytes, n_pixels: int, max_pixels: int) -> bool:
    """Return whether a JPEG's scans decode more pixels than 16 scans of the largest allowed image do (about 4 s)."""
    limit = _MAX_SCANS_OF_LARGEST_IMAGE * max_pixels // n_pixels
    # Fast; counts previews and other images in the file, too. A small file has no room for so many.
    if len(data) // 2 <= limit or data.count(b"\xff\xda") <= limit:
        return False
    n_scans, position = 0, 2
    while match := _MARKER.search(data, position):
        marker, position = data[match.end() - 1], match.end()
        if marker == _END_OF_IMAGE:
            break
        n_scans += marker == _START_OF_SCAN
        position += int.from_bytes(data[position : position + 2], "big")
    return n_scans > limit
