"""The files of a bundle: .npy and safetensors, written tensor by tensor so that a large network needs little memory."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, RunError
from glassnet.files import add_path_to_error, write_atomically
from glassnet.formats import format_bytes
from glassnet.resources import available_disk
from glassnet.verify.golden.manifest import MANIFEST

Array = NDArray[Any]

SAFETENSORS = "tensors.safetensors"
UNFINISHED = ".unfinished"  # marks a folder whose bundle is being written, or was when a process was killed
_FOLDERS = ("inputs", "eval", "train", "steps")
_SAFETENSORS_DTYPES = {"f8": "F64", "f4": "F32", "i8": "I64", "u1": "U8"}
_HEADER_BYTES = 128  # of a .npy file with a short shape
_MAX_HEADER_BYTES = 4096
_ENTRY_BYTES = 800  # of a tensor in the manifest and in the header of the safetensors file


def needed_bytes(sizes: Sequence[int]) -> int:
    """Return the size of a bundle of tensors of these sizes in bytes, each of which is written twice."""
    return sum(2 * size + _HEADER_BYTES + _ENTRY_BYTES for size in sizes)


def prepare_folder(folder: Path, needed: int, parts: Iterable[str] = ()) -> None:
    """Check that a bundle may be written to a folder and fits on its disk, and remove what a killed write left there.

    :param parts: names of bundles in the folder, if it is one of several.
    :raises RunError: if the folder has other files in it, or the disk is too full. Nothing is changed then.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} must be a new or empty folder. Got a file.")
    if (folder / MANIFEST).exists():
        raise RunError(f"{folder} must be a new or empty folder. Got a folder with a finished bundle.")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    known = {UNFINISHED, SAFETENSORS, f".{MANIFEST}.tmp", *_FOLDERS, *parts} if UNFINISHED in names else set()
    if unexpected := [name for name in names if name not in known]:
        raise RunError(f"{folder} must be a new or empty folder. Got a folder that contains {unexpected[0]!r}.")
    free = available_disk(folder)
    if free < needed:
        raise RunError(
            f"The disk of {folder} must have {format_bytes(needed)} free. Got {format_bytes(free)}. "
            "Choose another disk, fewer steps, a smaller batch_size or float32."
        )
    for name in names:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / UNFINISHED).touch()


class TensorWriter:
    """Writer of the tensors of a bundle: each as a .npy file under its name, and all in one safetensors file.

    The sizes are known before the numbers, so the safetensors file gets its header first. Numbers of 8 bytes come
    before those of 4 and 1 there, so that each tensor begins at a multiple of its item's size.

    :param shapes: shape and dtype of each tensor by name.
    """

    def __init__(self, folder: Path, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
        self.folder = folder
        self._path = folder / SAFETENSORS
        self._offsets: dict[str, int] = {}
        header: dict[str, Any] = {}
        end = 0
        for name, (shape, dtype) in sorted(shapes.items(), key=lambda item: -item[1][1].itemsize):
            start, end = end, end + prod(shape) * dtype.itemsize
            kind = _SAFETENSORS_DTYPES[f"{dtype.kind}{dtype.itemsize}"]
            header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
            self._offsets[name] = start
        text = json.dumps(header, separators=(",", ":")).encode()
        self._header = text.ljust(-(-len(text) // 8) * 8)
        self._size = 8 + len(self._header) + end

    def __enter__(self) -> Self:
        with add_path_to_error(self._path):
            self._file = self._path.open("w+b")
            self._file.write(len(self._header).to_bytes(8, "little") + self._header)
            self._file.truncate(self._size)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()

    def write(self, name: str, array: Array) -> dict[str, str]:
        """Write a tensor, C-ordered and little-endian; return its ``file``, relative to the folder, and ``sha256``."""
        stored = np.array(array, array.dtype.newbyteorder("<"), order="C")
        path = self.folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, stored, version=(1, 0), allow_pickle=False)
        content = buffer.getvalue()
        with add_path_to_error(path):
            path.write_bytes(content)
        with add_path_to_error(self._path):
            self._file.seek(8 + len(self._header) + self._offsets[name])
            self._file.write(stored.tobytes())
        return {"file": f"{name}.npy", "sha256": hashlib.sha256(content).hexdigest()}

    def finish(self) -> dict[str, str]:
        """Return ``file`` and ``sha256`` of the safetensors file, once all tensors are written."""
        self._file.seek(0)
        return {"file": SAFETENSORS, "sha256": hashlib.file_digest(self._file, "sha256").hexdigest()}


def write_tensors(
    folder: Path, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], arrays: Iterable[tuple[str, Array]]
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Write all tensors; return file and hash of each by name, and those of the safetensors file."""
    with TensorWriter(folder, shapes) as writer:
        files = {name: writer.write(name, array) for name, array in arrays}
        return files, writer.finish()


def finish_folder(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, which makes the folder a bundle.

    :raises OSError: if it cannot be written.
    """
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False).encode())
    (folder / UNFINISHED).unlink(missing_ok=True)


def load_tensor(folder: Path, name: str, entry: Mapping[str, Any]) -> Array:
    """Read a tensor of a bundle in native byte order.

    :param entry: what the manifest says of it.
    :raises DataError: if the file is missing, outside the folder, or another than was written.
    """
    path = folder / entry["file"]
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, RuntimeError):  # a name too long, links in a circle
        is_inside = False
    if not is_inside:
        raise DataError(f"The file of {name} must be in {folder}. Got {entry['file']!r}.")
    size = prod(entry["shape"]) * np.dtype(entry["dtype"]).itemsize
    if not size <= path.stat().st_size <= size + _MAX_HEADER_BYTES:
        raise DataError(f"{path} must have about {size} bytes, as its shape says. Got {path.stat().st_size}.")
    content = path.read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != entry["sha256"]:
        raise DataError(f"{path} must have the sha256 {entry['sha256']}. Got {digest}. Write the bundle again.")
    return _parse(path, content, entry)


def _parse(path: Path, content: bytes, entry: Mapping[str, Any]) -> Array:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # a header is parsed as Python, and fails in as many ways
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} must be a .npy file of numbers. Got: {reason}.") from None
    if (version, fortran_order, list(shape), dtype.str) != ((1, 0), False, entry["shape"], entry["dtype"]):
        expected = f"{entry['dtype']} of shape {tuple(entry['shape'])} in C order"
        order = "Fortran" if fortran_order else "C"
        raise DataError(f"{path} must hold {expected}. Got {dtype.str} of shape {shape} in {order} order.")
    data = content[stream.tell() :]
    if len(data) != prod(shape) * dtype.itemsize:
        raise DataError(f"{path} must hold {prod(shape)} numbers. Got {len(data)} bytes.")
    array: Array = np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    if entry.get("finite", True) and not np.isfinite(array).all():
        raise DataError(f"{path} must hold finite numbers. Got {array[~np.isfinite(array)].flat[0]}.")
    return array
