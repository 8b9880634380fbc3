"""A file of a data source, wherever it is: in a folder, in an archive or in a table."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glassnet.errors import DataError

MAX_FILE_BYTES = 1 << 30  # a file is read whole, and no image to train on is larger


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that may be an image.

    Attributes: ``name``, its path relative to the source, with "/" between the parts, for messages; ``read``, a
    function that returns its bytes. Threads may call it, in any order.
    """

    name: str
    read: Callable[[], bytes]

    @classmethod
    def on_disk(cls, path: str | Path, name: str | None = None) -> ImageFile:
        """Return the file at a path.

        :param name: its name; the path if None.
        """
        return cls(str(path) if name is None else name, functools.partial(read_file, path))


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
