"""The scans of a source's files while they are made: those that the cache has, and new ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.room import cache_errors, log_without_cache
from glassnet.data.cache.scan_store import ScanStore
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.scan import Scans
from glassnet.errors import GlassnetError


class Scanning:
    """The scans of files.

    Attributes: ``files``; ``scans``, those of files that are not known yet being zeros.
    """

    def __init__(self, store: ScanStore, files: Sequence[ImageFile]) -> None:
        self.files = files
        self._store, self._is_kept = store, False
        self._keys, self._has_key = store.keys(files)
        self.scans, self._is_known = store.find(self._keys, self._has_key)

    def keep(self) -> None:
        """Look again for scans on disk, and add new ones there from now on. Call it inside ``folder.locked``.

        :raises OSError: if that cannot be done.
        """
        self._store.prepare(len(self.files))
        self.scans, self._is_known = self._store.find(self._keys, self._has_key)
        self._is_kept = True

    def missing(self) -> NDArray[np.int64]:
        """Return the indices of the files that are not known."""
        return np.flatnonzero(~self._is_known)

    def add(self, indices: NDArray[np.int64], scans: Scans) -> None:
        """Set the scans of the files at these indices. Where they cannot be written, a log line says why."""
        self.scans.put(indices, scans)
        self._is_known[indices] = True
        if self._is_kept:
            try:
                with cache_errors(self._store.folder.path):
                    self._store.add(self._keys[indices], self._has_key[indices], scans)
            except GlassnetError as error:
                self._is_kept = False
                log_without_cache(error)
