"""Functions that decode files into the cache, for other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.record_file import Keys
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode import decode_opened
from glassnet.data.images.image_opening import UnreadableError, is_deep, quiet_pillow, unreadable_errors
from glassnet.data.images.scan import ScannedImage, Scans, scan_file

if TYPE_CHECKING:
    from PIL import Image

_EXACT_ROWS = 256  # 256 · 255² < 2**24
_SUMMED_BYTES = 1 << 17  # of pixels, which fit into a core's cache as float32


class RowTask(NamedTuple):
    """Files to decode into as many rows from ``first_row`` on, and their content hashes, (n, 16), if they are known."""

    first_row: int
    files: Sequence[ImageFile]
    hashes: Keys | None = None


class WrittenRows(NamedTuple):
    """Decoded files: the record of each; the reasons of those that cannot be decoded, and of those that could not be
    read now, by their content hashes."""

    records: NDArray[Any]
    problems: dict[bytes, str]
    unread: dict[bytes, str]


@dataclass(frozen=True)
class RowWriter:
    """Function that decodes files with known content hashes into rows of a store."""

    store: PixelStore

    def __call__(self, task: RowTask) -> WrittenRows:
        """Decode the files of a task.

        :raises OSError: if the pixels cannot be written.
        """
        assert task.hashes is not None
        with _new_rows(self.store, task) as (pixels, written):
            written.records["key"] = task.hashes
            for index, (file, digest) in enumerate(zip(task.files, map(bytes, task.hashes), strict=True)):
                problems = written.unread
                try:
                    data = self.store.read(file, digest)
                    problems = written.problems
                    pixels[index] = self.store.decode(data)
                    written.records["is_decoded"][index] = True
                except UnreadableError as error:
                    problems[digest] = str(error)
        return written


@dataclass(frozen=True)
class ScanningWriter:
    """Function that scans files and decodes those that are images into rows of a store. Each is read once.

    What it cannot decode is decoded again by RowWriter, once the form of all images is certain.
    """

    store: PixelStore

    def __call__(self, task: RowTask) -> tuple[Scans, WrittenRows]:
        """Scan and decode the files of a task.

        :raises OSError: if the pixels cannot be written.
        """
        with _new_rows(self.store, task) as (pixels, written):
            scans = Scans.of(map(self._read, task.files, pixels, written.records))
            written.records["key"] = scans.hashes
        return scans, written

    def _read(self, file: ImageFile, image: NDArray[np.uint8], record: Any) -> ScannedImage:
        form = self.store.form

        def decode(data: bytes, opened: Image.Image) -> None:
            try:
                with unreadable_errors(form.max_pixels):
                    if opened.format == "JPEG" and not self.store.ink:
                        image[...] = decode_opened(opened, form)
                    elif not is_deep(opened) or form.value_range is not None:
                        image[...] = self.store.decode(data)
                    else:
                        return
                    record["is_decoded"] = True
            except UnreadableError:
                image[...] = 0

        return scan_file(file, form.max_pixels, decode)


@contextmanager
def _new_rows(store: PixelStore, task: RowTask) -> Iterator[tuple[NDArray[np.uint8], WrittenRows]]:
    """Give arrays for the pixels and the records of a task, to be filled inside; then complete and write them."""
    form = store.form
    pixels = np.zeros((len(task.files), *form.size, form.channels), np.uint8)
    records = np.zeros(len(task.files), store.records.dtype)
    with quiet_pillow(form.max_pixels):
        yield pixels, WrittenRows(records, {}, {})
    records["crc"] = [crc32(image.data) for image in pixels]
    records["sums"] = sum_pixels(pixels)
    with store.pixels.open("r+b") as stored:
        stored.seek(task.first_row * store.row_bytes)
        stored.write(pixels.data)


def sum_pixels(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the exact sums of each image's pixel values and of their squares in each channel, (N, 2, C).

    :param images: uint8 (N, H, W, C).

    BLAS adds up the columns of at most 256 rows in float32, whose sums are whole numbers below 2**24 and therefore
    exact in any order: 0.1 ms for 224×224 pixels, and a fifth of what integers take.
    """
    count, height, width, channels = images.shape
    rows = images.reshape(count, height, width * channels)
    sums = np.zeros((count, 2, width * channels))
    step = max(1, _SUMMED_BYTES // rows[0].size)
    for first in range(0, count, step):
        for start in range(0, height, _EXACT_ROWS):
            values = rows[first : first + step, start : start + _EXACT_ROWS].astype(np.float32)
            ones = np.ones(values.shape[1], np.float32)
            sums[first : first + step, 0] += ones @ values
            values *= values
            sums[first : first + step, 1] += ones @ values
    totals: NDArray[np.float64] = sums.reshape(count, 2, width, channels).sum(axis=2)
    return totals.astype(np.uint64)
