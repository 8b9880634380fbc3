"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path``, then rename to it in one step: a process killed at any instant leaves the old file or
    the new one. At most one temporary file is left over, which the next write replaces. A file that has this content
    already is not written. Pipes and devices, such as /dev/stdout, are written directly.

    The content is not forced to the disk: this guards against killed processes, not against lost power.

    :raises OSError: if the file cannot be written; names ``path``. The old file is kept, and no temporary one.
    """
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    if path.is_fifo() or path.is_char_device():
        path.write_bytes(content)
        return
    temporary = temporary_path(path)
    try:
        with add_path_to_error(path):
            temporary.write_bytes(content)
            temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def add_path_to_error(path: Path) -> Iterator[None]:
    """Add the path to an OSError inside; the system names none if a disk is full.

    :raises OSError: if the block raises one, with the path as its ``filename``.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def temporary_path(path: Path) -> Path:
    """Return the path of the temporary file beside ``path``. A killed process may leave it."""
    return path.with_name(f".{path.name}.tmp")
