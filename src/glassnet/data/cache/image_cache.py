"""The cache of one source: files are scanned and decoded into it once, by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.pixel_writer import RowTask, RowWriter
from glassnet.data.cache.record_file import Keys, first_of_each
from glassnet.data.cache.room import CacheError, check_room
from glassnet.data.cache.scan_store import ScanStore
from glassnet.data.cache.stored_images import StoredImages
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode_processes import FILES_PER_TASK, map_in_order, work_on_files
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.scan import Scanner, Scans
from glassnet.formats import format_duration
from glassnet.progress import current_progress, track
from glassnet.resources import usable_cores

_TASK_BYTES = 8 << 20  # of the pixels that a process decodes before it answers


class ImageCache:
    """The scans and decoded images of a source.

    :param source: the absolute path of the source, or its name on the hub.
    """

    def __init__(self, source: str) -> None:
        self.folder = SourceFolder.of(source)

    def scan(self, files: Sequence[ImageFile], max_pixels: int) -> Scans:
        """Return the scans of files as ``scan_images`` does. Only new and changed files are read.

        Where the cache cannot be written, a log line says why.
        """
        store = ScanStore(self.folder, max_pixels)
        keys, has_key = store.keys(files)
        scans, is_known = store.find(keys, has_key)
        if is_known.all():
            return scans
        with ExitStack() as stack:
            is_writable = False
            with _log_problems("The files are scanned without it."):
                stack.enter_context(self._building())
                is_writable = True
                store.prepare(len(files))
                scans, is_known = store.find(keys, has_key)
            missing = np.flatnonzero(~is_known)
            scanned = work_on_files([files[index] for index in missing.tolist()], Scanner(max_pixels), "scanning")
            for start, part in scanned:
                indices = missing[start : start + len(part)]
                scans.put(indices, part)
                if is_writable:
                    is_writable = False
                    with _log_problems("The other files are scanned without it."), _as_cache_error(self.folder):
                        store.add(keys[indices], has_key[indices], part)
                        is_writable = True
        return scans

    def decode(
        self, files: Sequence[ImageFile], hashes: Keys, listed: Keys, form: ImageForm, ink: bool
    ) -> StoredImages:
        """Return the decoded images of files. Those that are not in the cache are decoded into it.

        :param hashes: the content hash of each file, (N, 16).
        :param listed: the content hashes of all files of the source; images of others may be removed.
        :param ink: whether to read them as ``decode_ink`` does.
        :raises CacheError: if the cache cannot be used.
        :raises DataError: if the memory has too little room.
        """
        store = PixelStore(self.folder, form, ink)
        rows, failures = store.find(hashes)
        unread: dict[bytes, str] = {}
        if (rows < 0).any():
            with self._building():
                store.prepare(listed)
                rows, _ = store.find(hashes)
                if (rows < 0).any():
                    unread = self._decode_others(store, files, hashes, rows)
                rows, failures = store.find(hashes)
        failures |= {index: unread[bytes(hashes[index])] for index in np.flatnonzero(rows < 0).tolist()}
        with _as_cache_error(self.folder):
            self.folder.note_use()
            return StoredImages(store, files, hashes, rows, failures)

    def _decode_others(
        self, store: PixelStore, files: Sequence[ImageFile], hashes: Keys, rows: NDArray[np.int64]
    ) -> dict[bytes, str]:
        """Decode the images that have no row; return the reasons of files that could not be read, by their hashes."""
        first = first_of_each(hashes)  # equal images once
        indices = first[rows[first] < 0]
        room = check_room(self.folder.path, len(indices) * store.row_bytes, len(files))
        log = current_progress().log
        log(f"{len(indices):,} images are decoded once, into {self.folder.path}: {room}.")
        size = min(FILES_PER_TASK, max(1, _TASK_BYTES // store.row_bytes))
        blocks = (indices[start : start + size] for start in range(0, len(indices), size))
        first_rows = count(store.count(), size)
        tasks = (
            RowTask(row, [files[index] for index in block.tolist()], hashes[block])
            for row, block in zip(first_rows, blocks, strict=False)
        )
        unread: dict[bytes, str] = {}
        processes, start = usable_cores(), perf_counter()
        with track("decoding", len(indices)) as advance:
            for task, written in map_in_order(tasks, RowWriter(store), processes, 4 * processes):
                store.add(written.records, written.problems)
                unread |= written.unread
                advance(len(task.files))
        seconds = perf_counter() - start
        log(f"Decoded {len(indices):,} images in {format_duration(seconds)} ({len(indices) / seconds:,.0f} a second).")
        return unread

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Enclose changes of the folder, while no other process changes it.

        :raises CacheError: if it cannot be written.
        """
        with _as_cache_error(self.folder), self.folder.locked():
            self.folder.prepare()
            yield


@contextmanager
def _as_cache_error(folder: SourceFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(f"The cache in {folder.path} must be writable. Got: {error.strerror or error}.") from error


@contextmanager
def _log_problems(consequence: str) -> Iterator[None]:
    """Log why the cache cannot be used inside, in place of an error.

    :param consequence: what is done then, one sentence.
    """
    try:
        yield
    except CacheError as error:
        current_progress().log(f"{error} {consequence}")
