"""Open files that threads read at any place, and bounded ways to fill and to read them."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from glassnet.data.files.image_file import MemberReader, Stamp
from glassnet.errors import DataError

_SPARE_DISK = 256 << 20  # bytes that stay free


class SharedFile:
    """An open file, read by several threads, in any order. It is closed when nothing refers to it any more.

    :param changed: the time when what it was copied from was last changed, in nanoseconds; its own by default.
    """

    def __init__(self, file: BinaryIO, changed: int | None = None) -> None:
        self.file = file
        self.changed = os.fstat(file.fileno()).st_mtime_ns if changed is None else changed
        self._lock = threading.Lock()
        weakref.finalize(self, file.close)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` on, or fewer at the end of the file."""
        if hasattr(os, "pread"):  # everywhere but on Windows; needs no lock, not even between forked processes
            return os.pread(self.file.fileno(), size, offset)
        with self._lock:
            self.file.seek(offset)
            return self.file.read(size)


@dataclass(frozen=True, slots=True)
class PartReader(MemberReader):
    """Reader of a part of an open file, of ``size`` bytes from ``offset`` on."""

    file: SharedFile
    offset: int
    size: int

    def __call__(self) -> bytes:
        """Return the bytes of the part."""
        return self.file.read_at(self.offset, self.size)

    def stamp(self) -> Stamp:
        """Return the stamp of the part: its size, and the time of the file."""
        return self.size, self.file.changed


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


def spool(source: object, chunks: Iterable[bytes], changed: int, min_bytes: int = 0) -> SharedFile:
    """Write chunks one after the other to a temporary file that has no name.

    :param source: where they are from, for errors.
    :param changed: the time when that was last changed, in nanoseconds.
    :param min_bytes: a number of bytes that they have at least.
    :raises DataError: if the disk has too little room for them.
    """
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        room = shutil.disk_usage(tempfile.gettempdir()).free - _SPARE_DISK
        for chunk in chunks:
            min_bytes = max(min_bytes, file.tell() + len(chunk))
            if min_bytes > room:
                raise _room_error(source, min_bytes)
            try:
                file.write(chunk)
            except OSError as error:
                raise _room_error(source, min_bytes) from error
        file.flush()
        stack.pop_all()
    return SharedFile(file, changed)


def _room_error(source: object, n_bytes: int) -> DataError:
    folder = tempfile.gettempdir()
    return DataError(
        f"{folder} must have room for the unpacked {source}. Got {shutil.disk_usage(folder).free:,} bytes for at least "
        f"{n_bytes:,} and {_SPARE_DISK:,} to spare. Set TMPDIR to a folder with more."
    )
