"""The scans of a source's files, by name, size and time of change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.record_file import Keys, RecordFile, TextFile, are_mostly_unused, find_keys
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.scan import SCAN_DTYPE, Scans

KEY_BYTES = 16
_DTYPE = np.dtype([("key", "u1", (KEY_BYTES,)), ("scan", SCAN_DTYPE), ("has_problem", "?")])


class ScanStore:
    """The scans that are on disk.

    :param folder: the folder of the source.
    :param max_pixels: the limit of the scans.
    """

    def __init__(self, folder: SourceFolder, max_pixels: int) -> None:
        self.folder, self.max_pixels = folder, max_pixels
        self.records, self.problems = RecordFile(folder.path / "scans", _DTYPE), TextFile(folder.path / "problems")

    def keys(self, files: Sequence[ImageFile]) -> tuple[Keys, NDArray[np.bool_]]:
        """Return the key of each file, (N, 16), and whether it has one, (N,). Each file's status is read.

        A key is a hash of name, size, time of change and of everything else that a scan depends on.
        """
        prefix = f"{self.max_pixels} {decoder_version()} ".encode("ascii")
        keys = bytearray(KEY_BYTES * len(files))
        has_key = np.zeros(len(files), bool)
        for index, file in enumerate(files):
            if stamp := file.stamp():
                content = b"%s%d %d %s" % (prefix, *stamp, file.name.encode("utf-8", "surrogatepass"))
                digest = hashlib.blake2b(content, digest_size=KEY_BYTES).digest()
                keys[KEY_BYTES * index : KEY_BYTES * (index + 1)] = digest
                has_key[index] = True
        return np.frombuffer(bytes(keys), np.uint8).reshape(-1, KEY_BYTES), has_key

    def prepare(self, n_files: int) -> None:
        """Remove all scans if most are of files that are gone. Call it inside ``folder.locked``.

        :param n_files: number of files of the source.
        :raises OSError: if they cannot be removed.
        """
        if are_mostly_unused(self.records.count(), n_files):
            self.records.path.unlink()
            self.problems.path.unlink(missing_ok=True)

    def locate(self, files: Sequence[ImageFile]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return all records, and the index of each file's among them, (N,); -1 where it has none."""
        keys, has_key = self.keys(files)
        stored, valid = self.records.read()
        return stored, np.where(has_key, find_keys(stored["key"], valid, keys), -1)

    def find(self, keys: Keys, has_key: NDArray[np.bool_]) -> tuple[Scans, NDArray[np.bool_]]:
        """Return the scans of files, and which of them are on disk; those of the others are zeros."""
        stored, valid = self.records.read()
        texts = self.problems.read() if stored["has_problem"].any() else {}
        for index in np.flatnonzero(stored["has_problem"]).tolist():
            valid[index] &= bytes(stored["key"][index]) in texts
        indices = find_keys(stored["key"], valid, keys)
        is_known = has_key & (indices >= 0)
        found = stored[indices[is_known]]
        records = np.zeros(len(keys), SCAN_DTYPE)
        records[is_known] = found["scan"]
        with_problem = np.flatnonzero(is_known)[found["has_problem"]]
        return Scans(records, {index: texts[bytes(keys[index])] for index in with_problem.tolist()}), is_known

    def add(self, keys: Keys, has_key: NDArray[np.bool_], scans: Scans) -> None:
        """Add the scans of files that have keys and could be read.

        :raises OSError: if they cannot be written.
        """
        kept = has_key & scans.has("is_readable")
        records = np.zeros(len(scans), _DTYPE)
        records["key"], records["scan"] = keys, scans.records
        records["has_problem"][list(scans.problems)] = True
        self.problems.append({bytes(keys[index]): text for index, text in scans.problems.items() if kept[index]})
        self.records.append(records[kept])


def decoder_version() -> str:
    """Return the versions of what decodes images: others may give other pixels."""
    import PIL
    from PIL import features

    return f"1 {PIL.__version__} {features.version('jpg')}"
