"""Files to which records are only added, so that a process killed at any moment leaves what it has finished.

A record or a line that is damaged, or was written in part, is no record: its checksum differs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import DTypeLike, NDArray

Keys = NDArray[np.uint8]  # (N, 16)

_BLOCK = 1 << 14  # records that are copied at once
_SPARE_RECORDS = 10_000


class RecordFile:
    """A file of records of one size.

    :param dtype: the fields of a record, in which ``key``, 16 bytes, names it.
    """

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        self._stored = np.dtype([("record", self.dtype), ("checksum", "<u4")])

    def read(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return all records, (N,), mapped, and which of them are undamaged; none where there is no file."""
        if not (count := self.count()):
            return np.empty(0, self.dtype), np.empty(0, bool)
        stored = np.memmap(self.path, self._stored, "r", shape=(count,))
        return stored["record"], stored["checksum"] == _checksums(stored["record"])

    def count(self) -> int:
        """Return the number of all whole records."""
        try:
            return self.path.stat().st_size // self._stored.itemsize
        except OSError:
            return 0

    def append(self, records: NDArray[Any]) -> None:
        """Add records behind the last whole one. Only one process may do so at a time.

        :raises OSError: if the file cannot be written.
        """
        if not len(records):
            return
        stored = np.empty(len(records), self._stored)
        stored["record"], stored["checksum"] = records, _checksums(records)
        with _open(self.path) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(end - end % self._stored.itemsize)
            file.write(stored.tobytes())

    def erase(self, indices: NDArray[np.integer[Any]]) -> None:
        """Make the records at these indices damaged ones, for good.

        :raises OSError: if the file cannot be written.
        """
        with _open(self.path) as file:
            for index in indices.tolist():
                file.seek(index * self._stored.itemsize)
                file.write(bytes(self._stored.itemsize))


def _open(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")


def _checksums(records: NDArray[Any]) -> NDArray[np.uint32]:
    """Return the CRC-32 of each record. That of zeros, as a lost block of a disk may have them, is not 0."""
    checksums = np.empty(len(records), np.uint32)
    for start in range(0, len(records), _BLOCK):
        block = np.ascontiguousarray(records[start : start + _BLOCK])
        rows = block.view(np.uint8).reshape(len(block), -1)
        checksums[start : start + _BLOCK] = np.fromiter((crc32(row.data) for row in rows), np.uint32, len(rows))
    return checksums


def find_keys(stored: Keys, valid: NDArray[np.bool_], keys: Keys) -> NDArray[np.int64]:
    """Return for each key the index of the last valid record that has it, (N,); -1 where there is none."""
    candidates = np.flatnonzero(valid)
    if not len(candidates):
        return np.full(len(keys), -1, np.int64)
    known, wanted = (np.ascontiguousarray(each).view("<u8") for each in (stored[candidates], keys))
    order = np.argsort(known[:, 0], kind="stable")
    places = np.searchsorted(known[order, 0], wanted[:, 0], side="right") - 1
    nearest = order[places]
    is_found = (places >= 0) & (known[nearest] == wanted).all(axis=1)
    return np.where(is_found, candidates[nearest], -1)


def first_of_each(keys: Keys) -> NDArray[np.int64]:
    """Return the sorted indices of the keys that are equal to none before them."""
    words = np.ascontiguousarray(keys).view("<u8")
    order = np.lexsort((*words.T,))  # keeps equal ones in their order
    is_new = np.append(True, (words[order[1:]] != words[order[:-1]]).any(axis=1))[: len(order)]
    return np.sort(order[is_new])


def are_mostly_unused(n_stored: int, n_used: int) -> bool:
    """Return whether so many records are of files that are gone that all of them are better written anew."""
    return n_stored > 2 * n_used + _SPARE_RECORDS


class TextFile:
    """A file of texts, such as the reasons why images are unreadable, each with a key of 16 bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[bytes, str]:
        """Return the undamaged texts, by their keys."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError:
            return {}
        texts = {}
        for line in lines:
            checksum, _, content = line.partition(b" ")
            if checksum == _line_checksum(content):
                key, text = json.loads(content)
                texts[bytes.fromhex(key)] = text
        return texts

    def append(self, texts: Mapping[bytes, str]) -> None:
        """Add texts. Only one process may do so at a time.

        :raises OSError: if the file cannot be written.
        """
        contents = [json.dumps([key.hex(), text]).encode("ascii") for key, text in texts.items()]
        if contents:
            lines = (b"%s %s\n" % (_line_checksum(content), content) for content in contents)
            with _open(self.path) as file:
                file.seek(0, os.SEEK_END)
                file.write(b"\n" + b"".join(lines))  # a line that was written in part stays alone


def _line_checksum(content: bytes) -> bytes:
    return b"%08x" % crc32(content)
