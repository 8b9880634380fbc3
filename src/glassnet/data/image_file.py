"""A file of a data source, wherever it is: in a folder, in an archive or in a table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glassnet.errors import DataError

MAX_FILE_BYTES = 1 << 30  # a file is read whole, and no image to train on is larger


@dataclass(frozen=True)
class ImageFile:
    """A file that may be an image.

    Attributes: ``name``, its path relative to the source, with "/" between the parts, for messages; ``read``, a
    function that returns its bytes. Threads may call it, in any order.
    """

    name: str
    read: Callable[[], bytes]

    @classmethod
    def on_disk(cls, path: Path, name: str | None = None) -> ImageFile:
        """Return the file at a path.

        :param name: its name; the path if None.
        """
        return cls(str(path) if name is None else name, functools.partial(_read, path))


def _read(path: Path) -> bytes:
    if not path.is_file():  # reading a pipe may never end
        raise DataError("not a file" if path.exists() else "no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"larger than {MAX_FILE_BYTES >> 30} GB")
    return path.read_bytes()
