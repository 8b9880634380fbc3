"""Function that decodes files into the cache, for other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.pixel_store import PixelStore, record_dtype
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.image_opening import UnreadableError, quiet_pillow

_EXACT_ROWS = 256  # 256 · 255² < 2**24


class RowTask(NamedTuple):
    """Files to decode: the first of as many rows, the files, and their content hashes, (n, 16)."""

    first_row: int
    files: Sequence[ImageFile]
    hashes: NDArray[np.uint8]


class WrittenRows(NamedTuple):
    """Decoded files: the record of each; the reasons of those that cannot be decoded, and of those that could not be
    read now, by their content hashes."""

    records: NDArray[Any]
    problems: dict[bytes, str]
    unread: dict[bytes, str]


@dataclass(frozen=True)
class RowWriter:
    """Function that decodes files and writes their pixels into rows of a store."""

    store: PixelStore

    def __call__(self, task: RowTask) -> WrittenRows:
        """Decode the files of a task.

        :raises OSError: if the pixels cannot be written.
        """
        form = self.store.form
        written = WrittenRows(np.zeros(len(task.files), record_dtype(form.channels)), {}, {})
        written.records["key"] = task.hashes
        pixels = np.zeros((len(task.files), *form.size, form.channels), np.uint8)
        with quiet_pillow(form.max_pixels):
            for image, file, record in zip(pixels, task.files, written.records, strict=True):
                self._decode(file, image, record, written)
        with self.store.pixels.open("r+b") as stored:
            stored.seek(task.first_row * self.store.row_bytes)
            stored.write(pixels.data)
        return written

    def _decode(self, file: ImageFile, image: NDArray[np.uint8], record: Any, written: WrittenRows) -> None:
        digest = bytes(record["key"])
        problems = written.unread
        try:
            data = self.store.read(file, digest)
            problems = written.problems
            image[...] = self.store.decode(data)
        except UnreadableError as error:
            problems[digest] = str(error)
            return
        record["is_decoded"], record["crc"], record["sums"] = True, crc32(image.data), sum_pixels(image)


def sum_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the exact sums of an image's pixel values and of their squares in each channel, (2, C).

    BLAS adds up the columns of at most 256 rows in float32, whose sums are whole numbers below 2**24 and therefore
    exact in any order: 0.1 ms for 224×224 pixels, and a fifth of what integers take.
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    sums = np.zeros((2, width * channels))
    for start in range(0, height, _EXACT_ROWS):
        values = rows[start : start + _EXACT_ROWS].astype(np.float32)
        ones = np.ones(len(values), np.float32)
        sums[0] += ones @ values
        values *= values
        sums[1] += ones @ values
    totals: NDArray[np.float64] = sums.reshape(2, width, channels).sum(axis=1)
    return totals
