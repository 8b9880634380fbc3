"""The cache of one source: files are scanned and decoded into it once, by one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.pixel_writer import RowTask, RowWriter, ScanningWriter
from glassnet.data.cache.record_file import Keys, first_of_each
from glassnet.data.cache.room import CacheError, cache_errors, check_room, log_without_cache
from glassnet.data.cache.scan_store import ScanStore
from glassnet.data.cache.scanning import Scanning
from glassnet.data.cache.stored_images import StoredImages
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode_processes import FILES_PER_TASK, map_in_order, work_on_files
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.scan import Scanner, Scans
from glassnet.formats import agree, format_duration, pluralize
from glassnet.progress import current_progress, track
from glassnet.resources import usable_cores

Result = TypeVar("Result")

_TASK_BYTES = 8 << 20  # of the pixels that a process decodes before it answers


class ImageCache:
    """The scans and decoded images of a source.

    :param source: the absolute path of the source, or its name on the hub.
    """

    def __init__(self, source: str) -> None:
        self.folder = SourceFolder.of(source)

    def scan(
        self,
        files: Sequence[ImageFile],
        max_pixels: int,
        foresee_form: Callable[[], ImageForm | None] = lambda: None,
        ink: bool = False,
    ) -> Scans:
        """Return the scans of files as ``scan_images`` does. Only new and changed files are read.

        Where the cache cannot be used, a log line says why.

        :param foresee_form: returns the form in which all images will be needed, if that can be foreseen: new and
            changed files are decoded at once then, and read only once.
        :raises DataError: if the memory has too little room.
        """
        scanning = Scanning(ScanStore(self.folder, max_pixels), files)
        if not len(scanning.missing()):
            return scanning.scans
        with ExitStack() as stack:
            try:
                stack.enter_context(self._building())
                scanning.keep()
                if len(scanning.missing()) and (form := foresee_form()):
                    with cache_errors(self.folder.path):
                        self._decode_new(PixelStore(self.folder, form, ink), scanning)
            except CacheError as error:
                log_without_cache(error)
            missing = scanning.missing()
            others = [files[index] for index in missing.tolist()]
            for start, part in work_on_files(others, Scanner(max_pixels), "scanning"):
                scanning.add(missing[start : start + len(part)], part)
        return scanning.scans

    def _decode_new(self, store: PixelStore, scanning: Scanning) -> None:
        """Scan and decode the files that are not known."""
        missing = scanning.missing()
        store.prepare(scanning.scans.hashes)
        for indices, (scans, written) in self._decode(store, scanning.files, missing, None, ScanningWriter(store)):
            store.add(written.records, written.problems)
            scanning.add(indices, scans)

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
                first = first_of_each(hashes)  # equal images once
                missing = first[rows[first] < 0]
                for _, written in self._decode(store, files, missing, hashes, RowWriter(store)):
                    store.add(written.records, written.problems)
                    unread |= written.unread
                rows, failures = store.find(hashes)
        failures |= {index: unread[bytes(hashes[index])] for index in np.flatnonzero(rows < 0).tolist()}
        with cache_errors(self.folder.path):
            self.folder.note_use()
            return StoredImages(store, files, hashes, rows, failures)

    def _decode(
        self,
        store: PixelStore,
        files: Sequence[ImageFile],
        indices: NDArray[np.int64],
        hashes: Keys | None,
        write: Callable[[RowTask], Result],
    ) -> Iterator[tuple[NDArray[np.int64], Result]]:
        """Decode the files at these indices in processes, and say so. Yield the indices and the result of each task."""
        if not len(indices):
            return
        log = current_progress().log
        room = check_room(self.folder.path, len(indices) * store.row_bytes, len(files))
        images, are = pluralize(len(indices), "image"), agree(len(indices), "is", "are")
        log(f"{images} {are} decoded once, into {self.folder.path}: {room}.")
        size = min(FILES_PER_TASK, max(1, _TASK_BYTES // store.row_bytes))
        blocks = [indices[start : start + size] for start in range(0, len(indices), size)]
        first_row = store.count()
        tasks = (
            RowTask(
                first_row + size * number,
                [files[index] for index in block.tolist()],
                None if hashes is None else hashes[block],
            )
            for number, block in enumerate(blocks)
        )
        processes, start = usable_cores(), perf_counter()
        with track("decoding", len(indices)) as advance:
            results = map_in_order(tasks, write, processes, 4 * processes)
            for block, (_, result) in zip(blocks, results, strict=True):
                yield block, result
                advance(len(block))
        seconds = perf_counter() - start
        log(f"Decoded {images} in {format_duration(seconds)} ({len(indices) / seconds:,.0f} a second).")

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Enclose changes of the folder, while no other process changes it.

        :raises CacheError: if it cannot be written.
        """
        with cache_errors(self.folder.path), self.folder.locked():
            self.folder.prepare()
            yield
