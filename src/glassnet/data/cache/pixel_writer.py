"""Functions that decode files into the cache, for other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.record_file import Keys
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode import decode_opened
from glassnet.data.images.image_opening import UnreadableError, is_deep, quiet_pillow
from glassnet.data.images.scan import ScannedImage, Scans, scan_file

if TYPE_CHECKING:
    from PIL import Image

_EXACT_ROWS = 256  # 256 · 255² < 2**24
_BLOCK_BYTES = 1 << 17  # of pixels, which fit into a core's cache as float32


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
        written = WrittenRows(np.zeros(len(task.files), self.store.records.dtype), {}, {})
        written.records["key"] = task.hashes
        with quiet_pillow(self.store.form.max_pixels):
            for files, pixels, records in _blocks(self.store, task, written.records):
                for file, image, record in zip(files, pixels, records, strict=True):
                    self._decode(file, image, record, written)
        return written

    def _decode(self, file: ImageFile, image: NDArray[np.uint8], record: Any, written: WrittenRows) -> None:
        digest = bytes(record["key"])
        problems = written.unread
        try:
            data = self.store.read(file, digest)
            problems = written.problems
            image[...] = self.store.decode(data)
            record["is_decoded"] = True
        except UnreadableError as error:
            problems[digest] = str(error)


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
        records = np.zeros(len(task.files), self.store.records.dtype)
        scanned: list[ScannedImage] = []
        with quiet_pillow(self.store.form.max_pixels):
            for block in _blocks(self.store, task, records):
                scanned += map(self._read, *block)
        scans = Scans.of(scanned)
        records["key"] = scans.hashes
        return scans, WrittenRows(records, {}, {})

    def _read(self, file: ImageFile, image: NDArray[np.uint8], record: Any) -> ScannedImage:
        form = self.store.form

        def decode(data: bytes, opened: Image.Image) -> None:
            if opened.format == "JPEG" and not self.store.ink:
                image[...] = decode_opened(opened, form)
            elif not is_deep(opened) or form.value_range is not None:
                image[...] = self.store.decode(data)
            else:
                return
            record["is_decoded"] = True

        return scan_file(file, form.max_pixels, decode)


def _blocks(
    store: PixelStore, task: RowTask, records: NDArray[Any]
) -> Iterator[tuple[Sequence[ImageFile], NDArray[np.uint8], NDArray[Any]]]:
    """Yield a few files of a task at a time, with room for their pixels and their records, to be filled in the loop.

    After each turn the records are completed, and the pixels, which are still in a core's cache, are written: zeros
    where none were decoded.
    """
    size = max(1, _BLOCK_BYTES // store.row_bytes)
    pixels = np.empty((size, *store.form.size, store.form.channels), np.uint8)
    with store.pixels.open("r+b") as stored:
        stored.seek(task.first_row * store.row_bytes)
        for start in range(0, len(task.files), size):
            files, block = task.files[start : start + size], records[start : start + size]
            images = pixels[: len(files)]
            yield files, images, block
            images[block["is_decoded"] == 0] = 0
            block["crc"] = [crc32(image.data) for image in images]
            block["sums"] = sum_pixels(images)
            stored.write(images.data)


def sum_pixels(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the exact sums of each image's pixel values and of their squares in each channel, (N, 2, C).

    :param images: uint8 (N, H, W, C).

    BLAS adds up the columns of at most 256 rows in float32, whose sums are whole numbers below 2**24 and therefore
    exact in any order: 0.1 ms for 224×224 pixels, and a fifth of what integers take.
    """
    count, height, width, channels = images.shape
    rows = images.reshape(count, height, width * channels)
    totals = np.zeros((count, 2, channels))
    for start in range(0, height, _EXACT_ROWS):
        values = rows[:, start : start + _EXACT_ROWS].astype(np.float32)
        ones = np.ones(values.shape[1], np.float32)
        sums = [ones @ values, ones @ np.square(values, out=values)]
        totals += np.ones(width) @ np.stack(sums, axis=1).reshape(count, 2, width, channels)
    return totals.astype(np.uint64)
