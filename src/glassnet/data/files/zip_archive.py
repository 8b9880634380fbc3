"""Zip archives: the members of the central directory, each read at its place.

zipfile reads the directory. Members are unpacked here, because ``ZipFile.open`` bounds only what it returns: one step
of its bzip2 decompressor makes 90 MB of 4 KB.
"""

from __future__ import annotations

import bz2
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from glassnet.data.files.archive_member import (
    NO_FILE,
    TOO_LARGE,
    Member,
    bomb_error,
    damage_error,
    max_unpacked_bytes,
)
from glassnet.data.files.image_file import MAX_FILE_BYTES, MemberReader, Stamp
from glassnet.data.files.shared_file import BoundedReader, SharedFile
from glassnet.errors import DataError

_MAX_DIRECTORY_BYTES = 192 << 20  # ImageNet's 1.28 million names need 140 MiB
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, and the lengths of the name and of the extra field after it
_IS_ENCRYPTED, _IS_UTF8 = 0x1, 0x800  # flags of a member
_LZMA_MEMORY = 256 << 20  # bytes; its largest preset needs 65 MiB


def list_zip(path: Path, shared: SharedFile) -> Iterator[Member]:
    """List the members of a zip archive but its folders.

    :raises DataError: if the archive is encrypted or damaged, or unpacks to too many bytes.
    """
    if not zipfile.is_zipfile(path):
        raise damage_error(path, "no directory at its end, as if it ended early")
    try:
        with zipfile.ZipFile(BoundedReader(shared.file, _MAX_DIRECTORY_BYTES)) as archive:
            infos = [info for info in reversed(archive.infolist()) if not info.filename.endswith(("/", "\\"))]
    except Exception as error:  # zipfile raises six kinds of exceptions for damaged directories
        raise damage_error(path, error) from error
    _check_members(path, infos)
    while infos:  # which would fill the memory twice
        info = infos.pop()
        read = _ZipReader(shared, info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC)
        kind = stat.S_IFMT(info.external_attr >> 16)
        defect = NO_FILE if kind not in (0, stat.S_IFREG) else TOO_LARGE if info.file_size > MAX_FILE_BYTES else None
        yield Member(_name(info), info.file_size, read, defect)


def _name(info: zipfile.ZipInfo) -> str:
    """Return the name with "/" between its parts, as some programs on Windows write backslashes.

    A name without the flag for UTF-8 is in code page 437; programs on Linux and macOS write UTF-8 there all the same.
    """
    name = info.filename
    if not name.isascii() and not info.flag_bits & _IS_UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _check_members(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    if encrypted := [info for info in infos if info.flag_bits & _IS_ENCRYPTED]:
        raise DataError(
            f"{path} must not be encrypted. Got {len(encrypted):,} encrypted members "
            f"(first: {_name(encrypted[-1])!r}). Pack it again without a password."
        )
    n_packed = path.stat().st_size
    if sum(info.file_size for info in infos) > max_unpacked_bytes(n_packed):
        raise bomb_error(path, n_packed)
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise damage_error(path, "members that share their bytes, as in a zip bomb")
        end = info.header_offset + _LOCAL_HEADER.size + info.compress_size


@dataclass(frozen=True, slots=True)
class _ZipReader(MemberReader):
    """Reader of a member: its place, and what the central directory says about it."""

    file: SharedFile
    offset: int
    packed_size: int
    size: int
    method: int
    checksum: int

    def stamp(self) -> Stamp:
        """Return the stamp of the member: its unpacked size, and the time of the archive."""
        return self.size, self.file.changed

    def __call__(self) -> bytes:
        """Return the unpacked bytes. At most one more than the directory says is unpacked.

        :raises DataError: if they are not as the directory says.
        """
        unpack = _METHODS.get(self.method)
        if unpack is None:
            raise DataError(f"compressed by zip's method {self.method}, which cannot be read")
        header = self.file.read_at(self.offset, _LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
            raise DataError("damaged in the archive: its header is missing")
        _, *lengths = _LOCAL_HEADER.unpack(header)
        packed = self.file.read_at(self.offset + _LOCAL_HEADER.size + sum(lengths), self.packed_size)
        try:
            data = unpack(packed, self.size + 1)
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
            raise DataError(f"damaged in the archive: {error}") from error
        if len(data) != self.size or zlib.crc32(data) != self.checksum:
            raise DataError("damaged in the archive: its checksum differs")
        return data


def _unpack_lzma(data: bytes, max_bytes: int) -> bytes:
    """Unpack zip's form of LZMA: version (2 bytes), length of the properties (2), properties (5), stream."""
    header = data[4:9] + b"\xff" * 8  # as in a .lzma file of unknown size
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, _LZMA_MEMORY).decompress(header + data[9:], max_bytes)


_METHODS: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_STORED: lambda data, max_bytes: data,
    zipfile.ZIP_DEFLATED: lambda data, max_bytes: zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max_bytes),
    zipfile.ZIP_BZIP2: lambda data, max_bytes: bz2.BZ2Decompressor().decompress(data, max_bytes),
    zipfile.ZIP_LZMA: _unpack_lzma,
}
