"""Room for decoded images, on the disk and in memory, checked before they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glassnet.errors import DataError, GlassnetError
from glassnet.formats import format_bytes, pluralize
from glassnet.progress import current_progress
from glassnet.resources import available_disk, available_memory, usable_cores

_SPARE_DISK = 256 << 20  # bytes that stay free
_SPARE_MEMORY = 256 << 20
_PROCESS_BYTES = 60 << 20  # of a process that decodes
_IMAGE_BYTES = 600  # of an image's name, label and record, with what is needed while it is listed


_logged: set[str] = set()


class CacheError(GlassnetError):
    """The reason why the cache cannot be used."""


@contextmanager
def cache_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError inside into a CacheError.

    :param folder: the folder in the cache that is read or written.
    """
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"The cache in {folder} must be writable. Got: {error.strerror or error}. Set GLASSNET_CACHE to a folder "
            "that is."
        ) from error


def log_without_cache(error: GlassnetError) -> None:
    """Log why files are read without the cache: each reason once in this process, for scans and images alike."""
    if str(error) not in _logged:
        _logged.add(str(error))
        current_progress().log(f"{error} The images are read without it.")


def check_room(folder: Path, n_bytes: int, n_images: int) -> str:
    """Return how much disk and memory is needed and available to decode images into the cache.

    :param n_bytes: bytes of the pixels that are still to be decoded.
    :param n_images: number of all images.
    :raises CacheError: if the disk has too little room.
    :raises DataError: if the memory has.
    :raises OSError: if the system does not say.
    """
    disk, memory = available_disk(folder), available_memory()
    if disk < n_bytes + _SPARE_DISK:
        raise CacheError(
            f"The cache in {folder} must have room for {format_bytes(n_bytes)}. Got {format_bytes(disk)} available. "
            "Set GLASSNET_CACHE to a folder on another disk."
        )
    needed = n_images * _IMAGE_BYTES + usable_cores() * _PROCESS_BYTES
    if memory is not None and memory < needed:
        raise DataError(
            f"The memory must have room for {format_bytes(needed)} to decode {pluralize(n_images, 'image')}. "
            f"Got {format_bytes(memory)} available. End other programs, or load fewer images (--samples)."
        )
    text = f"{format_bytes(n_bytes)} of the disk's free {format_bytes(disk)}"
    return text if memory is None else f"{text}, and {format_bytes(needed)} of {format_bytes(memory)} of free memory"


def check_memory(n_bytes: int, reason: object) -> None:
    """Check that decoded images fit into memory.

    :param n_bytes: bytes of their pixels.
    :param reason: why they are not in the cache, one sentence, or None.
    :raises DataError: if they do not.
    """
    memory = available_memory()
    if memory is not None and memory < n_bytes + _SPARE_MEMORY:
        raise DataError(
            f"{f'{reason} ' if reason else ''}The memory must have room for the images: {format_bytes(n_bytes)}. "
            f"Got {format_bytes(memory)} available. Load fewer images (--samples) or smaller ones (--image-size)."
        )
