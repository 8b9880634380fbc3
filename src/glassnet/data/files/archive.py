"""Archives of images, read in place: no member gets a file on disk, and no link in them is followed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zipfile import is_zipfile

from glassnet.data.files.archive_member import MAX_MEMBERS, PATH_OUTSIDE, REPLACED, Member
from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.listing import Listing, list_members, name_some
from glassnet.data.files.shared_file import SharedFile
from glassnet.data.files.tar_archive import BLOCK_BYTES, COMPRESSIONS, is_tar, list_tar, unpack
from glassnet.data.files.zip_archive import list_zip
from glassnet.errors import DataError

_SUFFIXES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_OTHER_KINDS = {b"Rar!": "RAR", b"7z\xbc\xaf\x27\x1c": "7z", b"\x28\xb5\x2f\xfd": "Zstandard"}  # by the first bytes
_UNUSUAL = re.compile(r"(^|/)\.{0,2}(/|$)|^[A-Za-z]:/")  # a part of a path that is empty, . or .., or a drive


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive, by its content or its name."""
    block = _first_block(path)
    kinds = (b"PK\3\4", b"PK\5\6", *COMPRESSIONS, *_OTHER_KINDS)
    return block.startswith(kinds) or is_tar(block) or is_named_as_archive(path.name)


def is_named_as_archive(name: str) -> bool:
    """Return whether a file has the name of an archive."""
    return name.lower().endswith(_SUFFIXES)


def list_archive(path: Path) -> Listing:
    """List the files in a zip or tar archive. A tar archive may be compressed by gzip, bzip2 or xz.

    :raises DataError: if the archive cannot be read, is damaged or encrypted, or is an archive bomb.
    """
    members: dict[str, Member] = {}
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    for index, member in enumerate(_open(path)):
        if index == MAX_MEMBERS:
            raise DataError(f"{path} must have at most {MAX_MEMBERS:,} members. Got more.")
        name = _inner_name(member.name)
        if name is None or member.defect:
            left_out[member.defect or PATH_OUTSIDE].append(member.name)
        else:
            if name in members:
                left_out[REPLACED].append(name)
            members[name] = member
    files = [ImageFile(name, member.read) for name, member in members.items()]
    notes = [f"{defect} were left out: {len(names):,} ({name_some(names)})." for defect, names in left_out.items()]
    return replace(list_members(files), notes=tuple(notes))


def _open(path: Path) -> Iterator[Member]:
    """Return the members of an archive of any kind, which its content shows and not its name."""
    try:
        shared = SharedFile(path.open("rb"))
        block = shared.read_at(0, BLOCK_BYTES)
    except OSError as error:
        raise DataError(f"{path} must be a file that can be read. Got: {error.strerror}.") from error
    for start, decompress in COMPRESSIONS.items():
        if block.startswith(start):
            return list_tar(path, unpack(path, shared.file, decompress))
    if is_tar(block):
        return list_tar(path, shared)
    if block.startswith(b"PK") or is_zipfile(path):
        return list_zip(path, shared)
    received = f"a file that begins with {block[:16]!r}" if block else "an empty file"
    for start, kind in _OTHER_KINDS.items():
        if block.startswith(start):
            received = f"a {kind} file. Unpack it and name the folder"
    raise DataError(
        f"{path} must be a zip archive, or a tar archive, plain or compressed by gzip, bzip2 or xz. Got {received}."
    )


def _first_block(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(BLOCK_BYTES)
    except OSError:
        return b""


def _inner_name(name: str) -> str | None:
    """Return the name without empty parts, or None if it leads out of the archive."""
    if not _UNUSUAL.search(name):
        return name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or name.startswith("/") or re.match("[A-Za-z]:/", name):
        return None
    return "/".join(parts)
