"""Open files that threads read at any place."""

from __future__ import annotations

import os
import threading
import weakref
from typing import BinaryIO


class SharedFile:
    """An open file, read by several threads, in any order. It is closed when nothing refers to it any more."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._lock = threading.Lock()
        weakref.finalize(self, file.close)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` on, or fewer at the end of the file."""
        if hasattr(os, "pread"):  # everywhere but on Windows; needs no lock, not even between forked processes
            return os.pread(self.file.fileno(), size, offset)
        with self._lock:
            self.file.seek(offset)
            return self.file.read(size)


class BoundedReader:
    """A file of which each read gives a bounded number of bytes, so that no header can claim all memory."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes.

        :raises ValueError: if they are more than the largest number allowed.
        """
        bound = self._max_bytes + 1
        data = self._file.read(bound if size < 0 else min(size, bound))
        if len(data) == bound:
            raise ValueError(f"a header of more than {self._max_bytes:,} bytes")
        return data
