"""Tar archives, read at their members' places; compressed ones after unpacking to a file without a name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from glassnet.data.files.archive_member import (
    NO_FILE,
    SPARSE,
    TOO_LARGE,
    Member,
    bomb_error,
    damage_error,
    max_unpacked_bytes,
)
from glassnet.data.files.image_file import MAX_FILE_BYTES
from glassnet.data.files.shared_file import BoundedReader, PartReader, SharedFile, spool
from glassnet.errors import GlassnetError
from glassnet.progress import track

BLOCK_BYTES = 512
_MAX_HEADER_BYTES = 64 << 10  # of an extended header, which holds a long name or attributes
_MAX_GLOBAL_ENTRIES = 100  # attributes of the whole archive, which tarfile copies for each member
_CHUNK = 1 << 20
_XZ_MEMORY = 256 << 20  # bytes; xz -9 needs 65 MiB


def _read_chunks(open_stream: Callable[[BinaryIO], Any], file: BinaryIO) -> Iterator[bytes]:
    with open_stream(file) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _unpack_xz(file: BinaryIO) -> Iterator[bytes]:
    """Unpack xz streams with bounded memory. lzma.open allocates what their headers ask for, up to 4 GiB."""
    data = file.read(_CHUNK)
    while data:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)
        while not stream.eof:
            yield stream.decompress(data, _CHUNK)
            data = b""
            if stream.needs_input and not (data := file.read(_CHUNK)):
                raise EOFError("it ends early")
        data = (stream.unused_data or file.read(_CHUNK)).lstrip(b"\0")  # zeros may pad a stream


Decompress = Callable[[BinaryIO], Iterator[bytes]]
COMPRESSIONS: dict[bytes, Decompress] = {  # by the first bytes of a file
    b"\x1f\x8b": partial(_read_chunks, gzip.open),
    b"BZh": partial(_read_chunks, bz2.open),
    b"\xfd7zXZ\0": _unpack_xz,
}


def is_tar(block: bytes) -> bool:
    """Return whether the first 512 bytes of a file are those of a tar archive."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def unpack(path: Path, file: BinaryIO, decompress: Decompress) -> SharedFile:
    """Return the unpacked content of a compressed tar archive, in a temporary file that has no name.

    :raises DataError: if it is no tar archive, damaged or too large, or the disk has too little room.
    """
    status = path.stat()
    return spool(path, _unpacked_chunks(path, file, decompress), status.st_mtime_ns, status.st_size)


def _unpacked_chunks(path: Path, file: BinaryIO, decompress: Decompress) -> Iterator[bytes]:
    n_packed, n_bytes, position = path.stat().st_size, 0, 0
    try:
        with track("unpacking", n_packed, "bytes") as advance:
            for chunk in filter(None, decompress(file)):
                if not n_bytes and not is_tar(chunk[:BLOCK_BYTES]):
                    raise damage_error(path, "no tar archive in the compressed file")
                n_bytes += len(chunk)
                if n_bytes > max_unpacked_bytes(n_packed):
                    raise bomb_error(path, n_packed)
                yield chunk
                advance(file.tell() - position)
                position = file.tell()
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise damage_error(path, error) from error


def list_tar(path: Path, shared: SharedFile) -> Iterator[Member]:
    """List the members of a tar archive but its folders.

    :raises DataError: if the archive is damaged or ends early.
    """
    try:
        for info in _headers(shared.file):
            if not info.isdir():
                read = PartReader(shared, info.offset_data, info.size)
                yield Member(info.name, info.size, read, _defect(info))
    except GlassnetError:
        raise
    except Exception as error:  # tarfile raises many kinds of exceptions for damaged headers
        raise damage_error(path, error) from error


def _headers(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar archive. Python's own loop ends silently at a damaged one."""
    file.seek(0)
    end = 0
    reader = BoundedReader(file, _MAX_HEADER_BYTES)
    with tarfile.open(fileobj=reader, mode="r:", encoding="utf-8") as archive:  # type: ignore[call-overload]
        while info := archive.next():
            archive.members.clear()  # which would hold all headers in memory
            if archive.offset <= end or len(archive.pax_headers) > _MAX_GLOBAL_ENTRIES:
                raise ValueError("a header that cannot be right")
            end = archive.offset
            yield info
        file.seek(archive.offset)
        if file.read(BLOCK_BYTES) != bytes(BLOCK_BYTES):  # archives end with blocks of zeros
            raise EOFError(f"it ends early or has no header at byte {archive.offset:,}")


def _defect(info: tarfile.TarInfo) -> str | None:
    if not info.isreg():
        return NO_FILE
    if info.issparse():
        return SPARSE
    return TOO_LARGE if info.size > MAX_FILE_BYTES else None
