"""The decoded images of a source in one form, by the content of their files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.record_file import Keys, RecordFile, TextFile, are_mostly_unused, find_keys
from glassnet.data.cache.scan_store import decoder_version
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode import decode_file
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.image_opening import UnreadableError, read_bytes
from glassnet.data.images.ink import Ink
from glassnet.data.splitting import content_hash
from glassnet.errors import GlassnetError
from glassnet.progress import track


class PixelStore:
    """The decoded images that are on disk: the pixels of image i in row i of one file, and what is known of it in
    record i of another one.

    :param folder: the folder of the source.
    :param form: the form of the images.
    :param ink: whether they are read as drawn digits.
    """

    def __init__(self, folder: SourceFolder, form: ImageForm, ink: bool) -> None:
        self.form, self.ink = form, ink
        self.description = json.dumps({**asdict(form), "ink": ink, "decoder": decoder_version()})
        digest = hashlib.sha256(self.description.encode("ascii")).hexdigest()[:8]
        height, width = form.size
        self.path = folder.path / f"{height}x{width}x{form.channels}-{digest}"
        self.pixels = self.path / "pixels"
        self.records = RecordFile(self.path / "records", record_dtype(form.channels))
        self.problems = TextFile(self.path / "problems")

    @property
    def row_bytes(self) -> int:
        """The bytes of an image."""
        return self.form.size[0] * self.form.size[1] * self.form.channels

    @classmethod
    def all_in(cls, folder: SourceFolder) -> list[PixelStore]:
        """Return the stores in the folder of a source that the installed Pillow has decoded."""
        stores = []
        for path in sorted(folder.path.glob("*/form.json")):
            try:
                fields = json.loads(path.read_text(encoding="ascii"))
                ink, _ = fields.pop("ink"), fields.pop("decoder")
                tuples = {name: fields[name] and tuple(fields[name]) for name in ("size", "value_range")}
                store = cls(folder, ImageForm(**{**fields, **tuples}), ink)
            except (OSError, ValueError, TypeError, KeyError, GlassnetError):
                continue
            if store.path == path.parent:
                stores.append(store)
        return stores

    def verify(self) -> tuple[int, int]:
        """Compare all images with their checksums. Damaged ones are marked, so that they are decoded again.

        :returns: the numbers of damaged images and of all.
        :raises OSError: if the store cannot be written.
        """
        stored, valid = self.records.read()
        n_images = len(stored)
        count = min(n_images, self._count_pixels())
        damaged = ~valid
        damaged[count:] = True
        if count:
            pixels = np.memmap(self.pixels, np.uint8, "r", shape=(count, self.row_bytes))
            with track("checking", count) as advance:
                for row in range(count):
                    damaged[row] |= bool(stored["is_decoded"][row]) and crc32(pixels[row].data) != stored["crc"][row]
                    advance(1)
        self.records.erase(np.flatnonzero(damaged & valid))
        return int(damaged.sum()), n_images

    def find(self, hashes: Keys) -> tuple[NDArray[np.int64], dict[int, str]]:
        """Return the row of each image by its content hash, (N,), -1 for those that are not on disk.

        :returns: the rows, and the reasons of those that cannot be decoded: {index: reason}.
        """
        stored, valid = self.records.read()
        valid[self._count_pixels() :] = False
        are_failed = stored["is_decoded"] == 0
        texts = self.problems.read() if are_failed.any() else {}
        for row in np.flatnonzero(are_failed).tolist():
            valid[row] &= bytes(stored["key"][row]) in texts
        rows = find_keys(stored["key"], valid, hashes)
        indices = np.flatnonzero(rows >= 0)
        failed = indices[are_failed[rows[indices]]].tolist()
        return rows, {index: texts[bytes(hashes[index])] for index in failed}

    def count(self) -> int:
        """Return the number of rows that have a record, of undamaged images and others."""
        return self.records.count()

    def _count_pixels(self) -> int:
        try:
            return self.pixels.stat().st_size // self.row_bytes
        except OSError:
            return 0

    def prepare(self, listed: Keys) -> None:
        """Make the files of the store. Remove all images if most are not used. Call it inside ``folder.locked``.

        :param listed: the content hashes of all files of the source; zeros for those that are not known.
        :raises OSError: if they cannot be written.
        """
        self.path.mkdir(exist_ok=True)
        (self.path / "form.json").write_text(self.description, encoding="ascii")
        count = self.count()
        if not count or are_mostly_unused(count, len(np.unique(self.find(listed)[0]))):
            for path in (self.records.path, self.pixels, self.problems.path):
                path.unlink(missing_ok=True)  # a process that uses them keeps the files that it has open
        self.pixels.touch()

    def add(self, records: NDArray[Any], problems: dict[bytes, str]) -> None:
        """Add the records of the next rows, whose pixels are written.

        :raises OSError: if they cannot be written.
        """
        self.problems.append(problems)
        self.records.append(records)

    def read(self, file: ImageFile, digest: bytes) -> bytes:
        """Return the bytes of a file.

        :raises UnreadableError: if it cannot be read, or has another content hash than ``digest``.
        """
        data = read_bytes(file)
        if content_hash(data) != digest:
            raise UnreadableError("changed while it was read")
        return data

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Decode the image in the bytes of a file as uint8 (H, W, C); call it inside ``quiet_pillow``.

        :raises UnreadableError: if they are no image.
        """
        decoded = decode_file(ImageFile("", lambda: data), self.form, self.ink)
        return decoded.pixels if isinstance(decoded, Ink) else decoded


def record_dtype(channels: int) -> np.dtype[Any]:
    """Return the fields of an image's record: its content hash, whether it could be decoded, the CRC-32 of its pixels
    and the sums of their values and of the values' squares in each channel."""
    return np.dtype([("key", "u1", (16,)), ("is_decoded", "u1"), ("crc", "<u4"), ("sums", "<u8", (2, channels))])
