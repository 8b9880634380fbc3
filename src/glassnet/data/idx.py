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
from glassnet.formats import pluralize

# "train-images-idx3-ubyte.gz"; some distributors write a dot for the second dash, or a name before it.
_IMAGES = re.compile(r"(?P<start>.*)images(?P<end>[-.]idx)3-ubyte(\.gz)?")
_DEFLATE_LIMIT = 1032  # deflate cannot shrink anything more than 1032 times


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes with that many dimensions, gzipped or not.

    No memory is taken for more than the file can hold.

    :raises DataError: if the file cannot be read, its magic number or length is wrong, a dimension is 0 or its gzip
        stream is damaged.
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
        raise DataError(f"Damaged gzip data in {path}: {error}. Unpack or fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} must be a file that can be read. Got: {error.strerror or error}.") from error


def _read(file: BinaryIO, path: Path, dimensions: int, available: int) -> NDArray[np.uint8]:
    header_size = 4 + 4 * dimensions
    header = file.read(header_size)
    magic = struct.pack(">I", 0x0800 + dimensions)  # 0x08: unsigned bytes
    if len(header) >= 4 and header[:4] != magic:
        raise DataError(
            f"{path} must begin with 0x{magic.hex()}, as unsigned bytes in {dimensions} dimension(s) do. "
            f"Got 0x{header[:4].hex()}."
        )
    if len(header) < header_size:
        raise DataError(f"{path} must have a header of {header_size} bytes. Got {len(header)} bytes.")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if 0 in shape:
        raise DataError(f"{path} must have dimensions of at least 1. Got {shape}.")
    length = math.prod(shape)
    expected_text = f"{path} must hold {length} bytes of data, {' × '.join(map(str, shape))}, as its header says. Got"
    if header_size + length > available:
        raise DataError(f"{expected_text} a file too small for them.")
    data = np.empty(length, np.uint8)
    received = file.readinto(data.data)  # type: ignore[attr-defined]
    if received < length:
        raise DataError(f"{expected_text} {received}.")
    if file.read(1):  # at the end of a gzip stream this also checks its checksum
        raise DataError(f"{expected_text} more.")
    return data.reshape(shape)


def read_idx_pair(images_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images (N, H, W, 1) of an IDX images file, and the labels (N,) of the labels file beside it.

    :raises DataError: if either is missing or wrong, or if they differ in number.
    """
    labels_path = _find_labels(images_path)
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path} must hold {pluralize(len(images), 'label')}, one for each image. Got {len(labels)}."
        )
    return images[..., np.newaxis], labels.astype(np.int64)


def find_idx(path: Path) -> tuple[Path, Path | None] | None:
    """Find the IDX images files (training, test or None) of a folder, or beside one images file.

    :returns: None if the folder has no IDX images, or the file is not named as they are.
    :raises DataError: if a folder cannot be read, or has no or several training files.
    """
    if path.is_file():
        return (path, _find_test_images(path)) if _is_images(path) else None
    try:
        images = {child.name.removesuffix(".gz"): child for child in sorted(path.iterdir()) if _is_images(child)}
    except OSError as error:
        raise DataError(f"{path} must be a folder that can be read. Got: {error.strerror}.") from error
    training = [child for name, child in images.items() if not re.search("t10k|test", name)]
    if not images:
        return None
    if len(training) != 1:
        names = ", ".join(child.name for child in images.values())
        raise DataError(f"{path} must hold one IDX file of training images. Got {names}. Give the path of one file.")
    return training[0], _find_test_images(training[0])


def _is_images(path: Path) -> bool:
    return _IMAGES.fullmatch(path.name) is not None and path.is_file()


def _find_test_images(path: Path) -> Path | None:
    names = [path.name.replace("train", test) for test in ("t10k", "test") if "train" in path.name]
    return next(filter(None, (_find_plain_or_gzip(path.with_name(name)) for name in names)), None)


def _find_labels(path: Path) -> Path:
    expected = path.with_name(_IMAGES.sub(r"\g<start>labels\g<end>1-ubyte", path.name))
    labels = _find_plain_or_gzip(expected)
    if labels is None:
        raise DataError(f"{path.name} must have its labels beside it. Got no {expected}[.gz].")
    return labels


def _find_plain_or_gzip(path: Path) -> Path | None:
    plain = path.with_name(path.name.removesuffix(".gz"))
    return next((file for file in (plain, plain.with_name(f"{plain.name}.gz")) if file.is_file()), None)
