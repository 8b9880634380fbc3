"""Archives for tests, byte by byte: their numbers may lie."""

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import zipfile
import zlib

from glassnet.data.files.archive import list_archive
from glassnet.errors import GlassnetError

ZIP_METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
COMPRESSORS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TAR_END = bytes(1024)


def read_all(path):
    """The members of an archive and their bytes."""
    return {file.name: file.read() for file in list_archive(path).files}


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def central_entry(name, offset, packed, size, checksum, method=8, flags=0, attributes=0):
    """An entry of the central directory, whose numbers may lie."""
    fields = (b"PK\1\2", 20, 20, flags, method, 0, 0, checksum, packed, size, len(name), 0, 0, 0, 0, attributes, offset)
    return struct.pack("<4s6H3L5H2L", *fields) + name


def local_header(name, packed, size, checksum, method=8, flags=0):
    return struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 0, checksum, packed, size, len(name), 0) + name


def directory_end(count, size, offset):
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, offset, 0)


def make_zip(path, name, packed, size, checksum, method=8, flags=0, attributes=0):
    """A zip archive of one member with the given numbers."""
    data = local_header(name, len(packed), size, checksum, method, flags) + packed
    entry = central_entry(name, 0, len(packed), size, checksum, method, flags, attributes)
    path.write_bytes(data + entry + directory_end(1, len(entry), len(data)))
    return path


def deflate(data):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def tar_bytes(members, format=tarfile.GNU_FORMAT, **kinds):
    """The bytes of a tar archive of files, and of members of other kinds: name to type."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/hostname"
            archive.addfile(info)
    return buffer.getvalue()


def errors_of_damaged(path, contents, count):
    """Damage one of the archives ``count`` times at random, and return the lines of those that are refused."""
    lines = []
    for seed in range(count):
        rng = random.Random(seed)
        damaged = bytearray(rng.choice(contents))
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            read_all(path)
        except GlassnetError as error:
            lines.append(str(error))
    return lines


def header(name, size=0, kind=tarfile.REGTYPE, numbers=None):
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = numbers or b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pad(data):
    return data + bytes(-len(data) % 512)
