"""Decoded images of the cache, mapped into memory and checked when they are first read."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import IO
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.record_file import Keys
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.image_opening import UnreadableError, quiet_pillow
from glassnet.errors import DataError
from glassnet.progress import current_progress


class StoredImages:
    """The images of some files.

    Attributes: ``pixels``, uint8 (M, H, W, C), all images of the store, mapped; ``rows``, int64 (N,), the row of each
    file; ``sums``, uint64 (N, 2, C), the sums of each file's pixel values and of their squares; ``failures``, the
    reasons why files cannot be decoded: {index: reason}.
    """

    def __init__(
        self,
        store: PixelStore,
        files: Sequence[ImageFile],
        hashes: Keys,
        rows: NDArray[np.int64],
        failures: dict[int, str],
    ) -> None:
        self._file = _open(store.pixels)  # it stays the same file, whatever another process does with the path
        weakref.finalize(self, self._file.close)
        records, _ = store.records.read()
        count = min(len(records), os.fstat(self._file.fileno()).st_size // store.row_bytes)
        if not (rows < count).all() or not (records["key"][rows] == hashes)[rows >= 0].all():
            raise OSError("another process has removed images")
        self.pixels = np.memmap(self._file, np.uint8, "r", shape=(count, *store.form.size, store.form.channels))
        self.rows, self.failures = rows, failures
        self.sums: NDArray[np.uint64] = records["sums"][rows]
        self._store, self._files, self._records = store, files, records
        self._is_checked = np.zeros(count, bool)
        self._has_warned = False
        self._repairing = Lock()

    def check(self, rows: NDArray[np.int64]) -> None:
        """Check the images in rows that were not read before, and decode again those that are damaged.

        :raises DataError: if the file of a damaged one has changed, or the cache cannot be written.
        """
        for row in np.unique(rows[~self._is_checked[rows]]).tolist():
            if crc32(self.pixels[row].data) != self._records["crc"][row]:
                with self._repairing:
                    self._repair(row)
            self._is_checked[row] = True

    def _repair(self, row: int) -> None:
        file = self._files[int(np.flatnonzero(self.rows == row)[0])]
        if not self._has_warned:
            self._has_warned = True
            current_progress().log(f"Damaged images in the cache are decoded again, {file.name} first.")
        try:
            with quiet_pillow(self._store.form.max_pixels):
                pixels = self._store.decode(self._store.read(file, bytes(self._records["key"][row])))
            self._file.seek(row * self._store.row_bytes)
            self._file.write(pixels.data)
            self._file.flush()
        except (UnreadableError, OSError) as error:
            raise DataError(
                f"{self._store.path} must be undamaged. Got damaged pixels of {file.name}, which cannot be decoded "
                f"again: {getattr(error, 'strerror', None) or error}. Remove the folder and start again."
            ) from error


def _open(path: Path) -> IO[bytes]:
    """Open a file for reading and writing, or for reading alone if no more is allowed."""
    try:
        return path.open("r+b")
    except OSError:
        return path.open("rb")
