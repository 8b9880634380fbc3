"""IDX files, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError

# "train-images-idx3-ubyte.gz"; some distributors write a dot for the second dash, or a name before it.
_IMAGES = re.compile(r"(?P<start>.*)images(?P<end>[-.]idx)3-ubyte(\.gz)?")
_DEFLATE_LIMIT = 1032  # deflate cannot shrink anything more than 1032 times


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of one IDX file of unsigned bytes with that many dimensions, gzipped or not.

    Raises DataError, naming the file, for a wrong magic number, a length other than the header's, a dimension of
    0, a damaged gzip stream or a file that cannot be read. No memory is taken for more than the file can hold.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                file.seek(0)
                with gzip.open(file) as unpacked:
                    return _read(unpacked, path, dimensions, _DEFLATE_LIMIT * size)  # type: ignore[arg-type]
            file.seek(0)
            return _read(file, path, dimensions, size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip file ({error}); unpack or fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read(file: BinaryIO, path: Path, dimensions: int, available: int) -> NDArray[np.uint8]:
    header_size = 4 + 4 * dimensions
    header = file.read(header_size)
    allowed = 0x0800 + dimensions  # 0x08: unsigned bytes
    if len(header) >= 4 and int.from_bytes(header[:4], "big") != allowed:
        raise DataError(
            f"{path}: magic number is 0x{header[:4].hex()}; allowed is 0x{allowed:08x}, "
            f"unsigned bytes in {dimensions} dimension(s)"
        )
    if len(header) < header_size:
        raise DataError(f"{path}: is {len(header)} bytes long; its header alone takes {header_size}")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if 0 in shape:
        raise DataError(f"{path}: its dimensions are {shape}; allowed is 1 or more for each")
    length = math.prod(shape)
    promise = f"its header promises {length} bytes of data, {' × '.join(map(str, shape))}"
    if header_size + length > available:
        raise DataError(f"{path}: {promise}, more than the file holds")
    data = np.empty(length, np.uint8)
    window, filled = data.data, 0
    while filled < length:
        received = file.readinto(window[filled:])  # type: ignore[attr-defined]
        if not received:
            raise DataError(f"{path}: {promise}, but the file ends after {filled}")
        filled += received
    if file.read(1):  # at the end of a gzip stream this also checks its checksum
        raise DataError(f"{path}: {promise}, but the file goes on after them")
    return data.reshape(shape)


def read_idx_pair(images_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, H, W, 1) of an IDX images file, and labels (N,) of the labels file beside it.

    Raises DataError if either is missing or wrong, or if they differ in number.
    """
    labels_path = _labels_beside(images_path)
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images)} images and {labels_path.name} {len(labels)} labels; "
            "both must be as many"
        )
    return images[..., np.newaxis], labels.astype(np.int64)


def find_idx(path: Path) -> tuple[Path, Path | None] | None:
    """The IDX images files (training, test or None) of a folder, or beside one images file; None if path has none.

    Raises DataError for a file whose name is not that of an images file, and for a folder where the training
    file is missing or not the only one.
    """
    if path.is_file():
        if not _IMAGES.fullmatch(path.name):
            raise DataError(f"{path}: is not named as IDX images are, for example train-images-idx3-ubyte.gz")
        return path, _test_beside(path)
    named = {child.name.removesuffix(".gz"): child for child in sorted(path.iterdir()) if _is_images(child)}
    training = [child for name, child in named.items() if not re.search("t10k|test", name)]
    if not named:
        return None
    if len(training) != 1:
        found = ", ".join(child.name for child in named.values())
        raise DataError(f"{path}: holds the IDX images {found}; give the path of the one to train on")
    return training[0], _test_beside(training[0])


def _is_images(path: Path) -> bool:
    return _IMAGES.fullmatch(path.name) is not None and path.is_file()


def _test_beside(path: Path) -> Path | None:
    names = [path.name.replace("train", test) for test in ("t10k", "test") if "train" in path.name]
    return next((found for name in names if (found := _packed_or_not(path.with_name(name)))), None)


def _labels_beside(path: Path) -> Path:
    name = _IMAGES.sub(r"\g<start>labels\g<end>1-ubyte", path.name)
    found = _packed_or_not(path.with_name(name))
    if found is None:
        raise DataError(f"{path.with_name(name)}[.gz]: not found; {path.name} needs its labels beside it")
    return found


def _packed_or_not(path: Path) -> Path | None:
    bare = path.name.removesuffix(".gz")
    candidates = (path.with_name(bare), path.with_name(f"{bare}.gz"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)
