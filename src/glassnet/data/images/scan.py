"""Image files scanned: content hash, size and kind of each, without decoding the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.image_formats import find_signature, is_named_as_image, is_recognised
from glassnet.data.images.decode_processes import work_on_files
from glassnet.data.images.image_form import MAX_PIXELS
from glassnet.data.images.image_opening import (
    UnreadableError,
    is_deep,
    is_gray,
    loses_bits,
    open_image,
    quiet_pillow,
    read_bytes,
    upright_size,
)
from glassnet.data.images.value_range import Quantiles, measure_quantiles
from glassnet.data.splitting import HASH_BYTES, content_hash, pack_hashes

if TYPE_CHECKING:
    from PIL import Image

_FLAGS = ("is_image", "is_gray", "is_deep", "loses_bits", "is_readable", "is_float")
SCAN_DTYPE = np.dtype(
    [("hash", "u1", (HASH_BYTES,)), ("size", "<u4", (2,)), ("flags", "u1"), ("quantiles", "<f8", (4,))]
)


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """One scanned file.

    Attributes: ``hash``, the first 16 bytes of the SHA-256 of its bytes, empty if they cannot be read; ``size``,
    (height, width) after rotation; ``is_gray``; ``is_deep``, whether it is gray of 16 bits, int32 or float;
    ``loses_bits``, whether it is colour of 16 bits, of which Pillow loads the upper 8; ``problem``, why it is
    unreadable, or None; ``is_image``, False if it is neither named nor recognised as an image; ``quantiles``, those of
    a deep image's values, from which a value range is measured, or None.
    """

    hash: bytes
    size: tuple[int, int] = (0, 0)
    is_gray: bool = False
    is_deep: bool = False
    loses_bits: bool = False
    problem: str | None = None
    is_image: bool = True
    quantiles: Quantiles | None = field(default=None, compare=False)


class Scans(Sequence[ScannedImage]):
    """Scanned files in arrays, which take 60 bytes a file.

    :param records: (N,) of SCAN_DTYPE.
    :param problems: the problem of each unreadable image, by its index.
    """

    def __init__(self, records: NDArray[Any], problems: dict[int, str]) -> None:
        self.records, self.problems = records, problems

    @classmethod
    def of(cls, scanned: Iterable[ScannedImage]) -> Scans:
        """Return scanned files as arrays."""
        images = list(scanned)
        records = np.zeros(len(images), SCAN_DTYPE)
        records["hash"] = pack_hashes([image.hash or bytes(HASH_BYTES) for image in images])
        records["size"] = np.array([image.size for image in images], np.uint32).reshape(-1, 2)
        records["flags"] = [_pack_flags(image) for image in images]
        records["quantiles"] = np.nan
        for index, image in enumerate(images):
            if image.quantiles is not None:
                records["quantiles"][index] = image.quantiles[0]
        return cls(records, {index: image.problem for index, image in enumerate(images) if image.problem is not None})

    @classmethod
    def join(cls, parts: Iterable[Scans]) -> Scans:
        """Return the scans of all parts, one after the other."""
        records: list[NDArray[Any]] = [np.zeros(0, SCAN_DTYPE)]
        problems: dict[int, str] = {}
        count = 0
        for part in parts:
            problems |= {count + index: problem for index, problem in part.problems.items()}
            records.append(part.records)
            count += len(part)
        return cls(np.concatenate(records), problems)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[ScannedImage]:
        return map(self._image, range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        """Return the scan at an index, or those of a slice."""
        return self.take(np.arange(len(self))[index]) if isinstance(index, slice) else self._image(index)

    def _image(self, index: int) -> ScannedImage:
        record = self.records[index]
        flags = {name: bool(record["flags"] >> bit & 1) for bit, name in enumerate(_FLAGS)}
        quantiles = record["quantiles"]
        return ScannedImage(
            bytes(record["hash"]) if flags["is_readable"] else b"",
            (int(record["size"][0]), int(record["size"][1])),
            flags["is_gray"],
            flags["is_deep"],
            flags["loses_bits"],
            self.problems.get(index),
            flags["is_image"],
            None if np.isnan(quantiles[0]) else (quantiles, flags["is_float"]),
        )

    def take(self, indices: NDArray[np.integer[Any]]) -> Scans:
        """Return the scans at these indices, (M,)."""
        problems = {}
        if self.problems:
            problems = {i: self.problems[j] for i, j in enumerate(indices.tolist()) if j in self.problems}
        return Scans(self.records[indices], problems)

    def put(self, indices: NDArray[np.integer[Any]], scans: Scans) -> None:
        """Set the scans at these indices, (M,)."""
        self.records[indices] = scans.records
        self.problems |= {int(indices[index]): text for index, text in scans.problems.items()}

    @property
    def hashes(self) -> NDArray[np.uint8]:
        """The content hashes, (N, 16); zeros for files that cannot be read."""
        hashes: NDArray[np.uint8] = self.records["hash"]
        return hashes

    @property
    def sizes(self) -> NDArray[np.uint32]:
        """(height, width) of each, (N, 2)."""
        sizes: NDArray[np.uint32] = self.records["size"]
        return sizes

    def has(self, flag: str) -> NDArray[np.bool_]:
        """Return of which files a flag is set, (N,): is_image, is_gray, is_deep, loses_bits, or is_readable, whether
        the bytes of the file can be read."""
        return (self.records["flags"] >> _FLAGS.index(flag) & 1).astype(bool)

    def quantiles(self) -> list[Quantiles]:
        """Return the quantiles of the deep images that have them."""
        records = self.records[~np.isnan(self.records["quantiles"][:, 0])]
        are_floats = (records["flags"] >> _FLAGS.index("is_float") & 1).astype(bool)
        return list(zip(records["quantiles"], are_floats.tolist(), strict=True))


def _pack_flags(image: ScannedImage) -> int:
    flags = image.is_image | image.is_gray << 1 | image.is_deep << 2 | image.loses_bits << 3 | bool(image.hash) << 4
    return flags | (image.quantiles is not None and image.quantiles[1]) << 5


def scan_images(files: Sequence[ImageFile], max_pixels: int = MAX_PIXELS) -> Scans:
    """Scan files, in order. Each is read once.

    A file is an image if Pillow opens it, or if it has the signature or the suffix of an image format. Unreadable
    images have a problem; files that are no images have none.
    """
    return Scans.join(scans for _, scans in work_on_files(files, Scanner(max_pixels), "scanning"))


@dataclass(frozen=True)
class Scanner:
    """Function that scans some files, for other processes."""

    max_pixels: int

    def __call__(self, files: Sequence[ImageFile]) -> Scans:
        """Return the scans of the files."""
        with quiet_pillow(self.max_pixels):
            return Scans.of(scan_file(file, self.max_pixels) for file in files)


def scan_file(
    file: ImageFile, max_pixels: int, on_open: Callable[[bytes, Image.Image], None] | None = None
) -> ScannedImage:
    """Scan one file; call it inside ``quiet_pillow``.

    :param on_open: called with the bytes of a readable image and the image, which is not loaded yet. What it raises is
        ignored.
    """
    data = digest = b""
    scanned = None
    try:
        data = read_bytes(file)
        digest = content_hash(data)
        with open_image(data, max_pixels) as image:
            if not is_recognised(image.format, file.name):
                return ScannedImage(digest, is_image=False)
            kind = is_gray(image), is_deep(image), loses_bits(image)
            scanned = ScannedImage(digest, upright_size(image, data), *kind)
            if on_open is not None:
                on_open(data, image)
    except UnreadableError as error:
        if scanned is None:
            is_image = is_named_as_image(file.name) or bool(find_signature(data))
            return ScannedImage(digest, problem=str(error) if is_image else None, is_image=is_image)
    return scanned if not scanned.is_deep else replace(scanned, quantiles=measure_quantiles(data, max_pixels))
