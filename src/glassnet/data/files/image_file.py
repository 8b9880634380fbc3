"""A file of a data source, wherever it is: in a folder, in an archive or in a table."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassnet.errors import DataError, GlassnetError

MAX_FILE_BYTES = 1 << 30  # a file is read whole, and no image to train on is larger

Stamp = tuple[int, int]  # number of bytes, and time of the last change in nanoseconds


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that may be an image.

    Attributes: ``name``, its path relative to the source, with "/" between the parts, for messages; ``read``, a
    function that returns its bytes. Threads may call it, in any order. Only files whose ``read`` is one of the readers
    below can be sent to another process, and have a stamp.
    """

    name: str
    read: Callable[[], bytes]

    @classmethod
    def on_disk(cls, path: str | Path, name: str | None = None) -> ImageFile:
        """Return the file at a path.

        :param name: its name; the path if None.
        """
        return cls(str(path) if name is None else name, DiskReader(str(path)))

    def __reduce__(self) -> tuple[Any, ...]:  # in a third of the time that pickle takes for a dataclass
        return ImageFile, (self.name, self.read)

    def stamp(self) -> Stamp | None:
        """Return what tells two versions of the file apart without reading it, or None if nothing does."""
        stamp = getattr(self.read, "stamp", None)
        return stamp() if stamp else None


@dataclass(frozen=True, slots=True)
class DiskReader:
    """Reader of a file on disk. The path is in two parts, so that a million files in a folder share the first one."""

    path: str
    folder: str = ""

    def __call__(self) -> bytes:
        """Return the bytes of the file; see ``read_file``."""
        return read_file(self.folder + self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return DiskReader, (self.path, self.folder)

    def stamp(self) -> Stamp | None:
        """Return the stamp of the file, or None if there is no file."""
        try:
            status = os.stat(self.folder + self.path)  # noqa: PTH116  # once for each of many files
        except (OSError, ValueError):
            return None
        return status.st_size, status.st_mtime_ns


class MemberReader(ABC):
    """Base class of readers of an archive's members, or a table's rows.

    To be sent to another process, which has no open archive, a reader reads the bytes.
    """

    __slots__ = ()

    @abstractmethod
    def __call__(self) -> bytes:
        """Return the bytes."""

    def __reduce__(self) -> tuple[type[_ReadMember], tuple[bytes | Exception]]:
        try:
            return _ReadMember, (self(),)
        except (OSError, GlassnetError) as error:
            return _ReadMember, (error,)


@dataclass(frozen=True, slots=True)
class _ReadMember:
    content: bytes | Exception

    def __call__(self) -> bytes:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


def read_file(path: str | Path) -> bytes:
    """Return the bytes of a file on disk.

    :raises DataError: if there is none, or it is no regular file or too large.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  # text of a path takes half the time of a Path
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise DataError("no such file") from None
    if not stat.S_ISREG(status.st_mode):  # reading a pipe may never end
        raise DataError("not a file")
    if status.st_size > MAX_FILE_BYTES:
        raise DataError(f"larger than {MAX_FILE_BYTES >> 30} GB")
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()
