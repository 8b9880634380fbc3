"""Arrays in a folder of .npy files, an .npz or a safetensors file that somebody else wrote. Nothing in it is trusted.

A list of the arrays costs nothing; a header is read when it is asked for, and the numbers when they are loaded. So an
archive that claims to unpack to terabytes does no harm until its numbers are wanted. Pickles are never opened.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from glassnet.errors import DataError, short_name
from glassnet.weights import load_tensors

Array = NDArray[Any]


@dataclass(frozen=True)
class StoredArray:
    """An array of a file, not yet loaded. ``dtype`` is NumPy's name, or bfloat16; ``load`` may raise DataError."""

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Array]  # in native byte order, bfloat16 as float32


ReadHeader = Callable[[], StoredArray]


def list_arrays(path: Path) -> dict[str, ReadHeader]:
    """Return the arrays of a folder or a file, by name, each as a function that reads its header.

    The name of a .npy file is its path in the folder or in the archive, without ``.npy``.

    :raises DataError: if there is nothing at ``path``, or nothing that can be read.
    """
    if path.is_dir():
        return dict(_npy_files(path))
    if not path.is_file():
        raise DataError(f"A dump must be a folder, an .npz or a .safetensors file. Got {path}, where there is none.")
    if path.suffix == ".npz":
        return _npz_members(path)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    raise DataError(f"A dump must be a folder of .npy files, or end in .npz or .safetensors. Got {path}.")


def _npy_files(folder: Path) -> Iterator[tuple[str, ReadHeader]]:
    inside = folder.resolve()
    for parent, folders, files in os.walk(folder):
        folders.sort()
        if links := [name for name in folders if Path(parent, name).is_symlink()]:
            name = Path(parent, links[0]).relative_to(folder).as_posix()
            raise DataError(f"{folder} must hold no links to folders. Got {short_name(name)}.")
        for path in (Path(parent, name) for name in sorted(files) if name.endswith(".npy")):
            name = path.relative_to(folder).as_posix()
            if not (path.is_file() and path.resolve().is_relative_to(inside)):  # a pipe, or a link that leads elsewhere
                raise DataError(f"{short_name(name)} must be a file in {folder}. Got something else.")
            yield (
                name.removesuffix(".npy"),
                partial(_read_npy, partial(_open_file, path), path.stat().st_size, str(path)),
            )


def _open_file(path: Path) -> IO[bytes]:
    return path.open("rb")


def _npz_members(path: Path) -> dict[str, ReadHeader]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path} must be a whole .npz file. Got: {_reason(error)}.") from None
    found: dict[str, ReadHeader] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise DataError(f"{path} must hold each array once. Got {short_name(name)} twice.")
        what = f"{short_name(member.filename)} in {path}"
        found[name] = partial(_read_npy, partial(_open_member, path, member), member.file_size, what)
    return found


def _open_member(path: Path, member: zipfile.ZipInfo) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:  # stays open until the member is closed
        return archive.open(member)


def _safetensors(path: Path) -> dict[str, ReadHeader]:
    tensors = load_tensors(path)[0]  # no more than the file has
    with safe_open(path, "numpy") as file:
        stored = {key: file.get_slice(key).get_dtype() for key in tensors}

    def read(key: str) -> StoredArray:
        array = tensors[key]
        dtype = "bfloat16" if stored[key] == "BF16" else array.dtype.name
        return StoredArray(array.shape, dtype, lambda: array)

    return {key: partial(read, key) for key in tensors}


def _read_npy(open_file: Callable[[], IO[bytes]], size: int, what: str) -> StoredArray:
    """Read the header of a .npy file of ``size`` bytes."""

    def load() -> Array:
        with _errors_of(what), open_file() as file:
            _read_npy_header(file)
            content = file.read(n_bytes)
            if len(content) != n_bytes or file.read(1):
                raise ValueError("another number of bytes than its header says")
        array = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
        return _bfloat16_to_float32(array) if dtype.kind == "V" else array.astype(dtype.newbyteorder("="), copy=False)

    with _errors_of(what):
        with open_file() as file:
            shape, is_fortran, dtype = _read_npy_header(file)
            start = file.tell()
        if dtype.kind not in "fiub" and dtype.str != "|V2":
            raise ValueError(f"an array of {dtype}")
        n_bytes = prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or start + n_bytes != size:
            raise ValueError(f"{size - start} bytes for the shape {shape}")
    return StoredArray(shape, "bfloat16" if dtype.kind == "V" else dtype.newbyteorder("=").name, load)


def _read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _bfloat16_to_float32(array: Array) -> Array:
    """Return bfloat16, which NumPy lacks and ml_dtypes stores as two bytes of no type, as float32."""
    return (array.view("<u2").astype("<u4") << 16).view(np.float32)


@contextmanager
def _errors_of(what: str) -> Iterator[None]:
    """Turn every error of a block into one about ``what``: a header is parsed as Python, and fails in as many ways."""
    try:
        yield
    except Exception as error:
        raise DataError(f"{what} must be a whole .npy file of numbers. Got: {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    return short_name(next(iter(str(error).splitlines()), type(error).__name__)).rstrip(".")
