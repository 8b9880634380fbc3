"""Upkeep of the cache: what is in it, what can go, and whether it is as its files are."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glassnet.data.cache.folder import SourceFolder, cache_folder, days_since, source_folders
from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.scan_store import ScanStore
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode_processes import work_on_files
from glassnet.data.images.image_form import MAX_PIXELS
from glassnet.data.images.image_opening import UnreadableError, read_bytes
from glassnet.data.sources import list_files
from glassnet.data.splitting import content_hash
from glassnet.errors import DataError, GlassnetError


@dataclass(frozen=True)
class CachedSource:
    """A source in the cache.

    Attributes: ``source``, its path, or its name on the hub; ``is_there``, whether it still exists; ``images``, the
    number of decoded images in each size, such as {"64×64×3": 200000}; ``nbytes``, their bytes on the disk;
    ``idle_days``, the days since it was last used; ``path``, its folder in the cache.
    """

    source: str
    is_there: bool
    images: dict[str, int]
    nbytes: int
    idle_days: float
    path: str


@dataclass(frozen=True)
class VerifiedSource:
    """A source whose cache was compared with its files.

    Attributes: ``source``; ``n_images``, the number of decoded images that were checked; ``n_damaged``, of those whose
    checksum differs; ``n_files``, the number of files that were read; ``changed_files``, the names of those that have
    changed though their size and time have not; ``problem``, why the files could not be listed, or None.
    """

    source: str
    n_images: int
    n_damaged: int
    n_files: int
    changed_files: Sequence[str]
    problem: str | None

    @property
    def is_sound(self) -> bool:
        """Whether everything is as it should be."""
        return not self.n_damaged and not self.changed_files


def list_cache() -> list[CachedSource]:
    """Return the sources in the cache.

    :raises DataError: if the path of the cache cannot be a folder.
    """
    listed = []
    for folder in _source_folders():
        images: dict[str, int] = {}
        for store in PixelStore.all_in(folder):
            height, width = store.form.size
            size = f"{height}×{width}×{store.form.channels}"
            images[size] = images.get(size, 0) + store.count()
        idle = days_since(folder.last_used)
        listed.append(CachedSource(folder.source, folder.is_there, images, folder.nbytes, idle, str(folder.path)))
    return listed


def prune_cache(days: float | None = None, everything: bool = False) -> list[CachedSource]:
    """Remove sources that are gone, and images of other versions of Pillow, from the cache.

    Images of single files that are gone stay as long as their source, or until most images are of such files.

    :param days: remove also what was not used for so many days.
    :param everything: remove all.
    :returns: the sources that were removed.
    :raises DataError: if the path of the cache cannot be a folder.
    :raises OSError: if a folder cannot be removed.
    """
    removed = []
    for cached, folder in zip(list_cache(), _source_folders(), strict=True):
        if everything or not cached.is_there or (days is not None and cached.idle_days >= days):
            folder.remove()
            removed.append(cached)
            continue
        current = {store.path for store in PixelStore.all_in(folder)}
        with folder.locked():
            for path in folder.path.iterdir():
                if path.is_dir() and path not in current:
                    shutil.rmtree(path)
    return removed


def verify_cache() -> list[VerifiedSource]:
    """Compare all decoded images with their checksums, and the files of all sources with the hashes of their content.

    What differs is marked, so that the next start reads and decodes it again.

    :raises DataError: if the path of the cache cannot be a folder.
    :raises OSError: if the cache cannot be written.
    """
    return [_verify(folder) for folder in _source_folders()]


def _source_folders() -> list[SourceFolder]:
    path = cache_folder()
    existing = next((part for part in (path, *path.parents) if part.exists()), path)
    if not existing.is_dir():
        raise DataError(f"The cache must be in a folder. Got {existing}, a file. Set GLASSNET_CACHE to a folder.")
    return source_folders()


def _verify(folder: SourceFolder) -> VerifiedSource:
    n_images = n_damaged = 0
    with folder.locked():
        for store in PixelStore.all_in(folder):
            damaged, count = store.verify()
            n_images, n_damaged = n_images + count, n_damaged + damaged
        try:
            files = list_files(folder.source) if folder.is_there else []
        except GlassnetError as error:
            return VerifiedSource(folder.source, n_images, n_damaged, 0, [], str(error))
        scans = ScanStore(folder, MAX_PIXELS)
        stored, indices = scans.locate(files)
        known = np.flatnonzero(indices >= 0)
        hashes = [
            hashes for _, hashes in work_on_files([files[i] for i in known.tolist()], _hash_files, "reading the files")
        ]
        found = np.concatenate([np.zeros((0, 16), np.uint8), *hashes])
        differs = known[(found != stored["scan"]["hash"][indices[known]]).any(axis=1)]
        scans.records.erase(indices[differs])
    problem = None if folder.is_there else "the source is gone"
    names = [files[index].name for index in differs.tolist()]
    return VerifiedSource(folder.source, n_images, n_damaged, len(known), names, problem)


def _hash_files(files: Sequence[ImageFile]) -> np.ndarray:
    hashes = np.zeros((len(files), 16), np.uint8)
    for row, file in zip(hashes, files, strict=True):
        try:
            row[:] = np.frombuffer(content_hash(read_bytes(file)), np.uint8)
        except UnreadableError:
            continue
    return hashes
