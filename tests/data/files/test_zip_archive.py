import io
import random
import tracemalloc
import zipfile
import zlib

import pytest

from glassnet.data.files import zip_archive
from glassnet.data.files.archive import list_archive
from glassnet.data.files.image_file import MAX_FILE_BYTES
from glassnet.errors import DataError
from tests.data.files.hostile_archives import (
    ZIP_METHODS,
    central_entry,
    deflate,
    directory_end,
    errors_of_damaged,
    local_header,
    make_zip,
    read_all,
    write_zip,
)


@pytest.mark.parametrize("method", ZIP_METHODS)
def test_list_zip_reads_every_method_of_zipfile(tmp_path, method):
    members = {f"{name}/{i}.png": random.Random(i).randbytes(i * 997) for i in range(6) for name in ("a", "b")}
    assert read_all(write_zip(tmp_path / "x.zip", members, method)) == members


def test_list_zip_reads_a_zip64_archive_after_a_program(tmp_path):
    buffer = io.BytesIO(b"#!/bin/sh\nexit\n" * 50)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive, archive.open("a/1.png", "w", force_zip64=True) as member:
        member.write(b"content")
    (tmp_path / "x.zip").write_bytes(buffer.getvalue())
    assert read_all(tmp_path / "x.zip") == {"a/1.png": b"content"}


@pytest.mark.parametrize(
    ("raw", "flags", "name"),
    [
        ("köln/straße.png".encode(), 0x800, "köln/straße.png"),
        ("köln/straße.png".encode(), 0, "köln/straße.png"),  # without the flag, as on macOS
        ("köln/straße.png".encode("cp437"), 0, "köln/straße.png"),
        (b"train\\cats\\1.png", 0, "train/cats/1.png"),
        (b"./a//b/./1.png", 0, "a/b/1.png"),
    ],
)
def test_list_zip_decodes_names(tmp_path, raw, flags, name):
    make_zip(tmp_path / "x.zip", raw, deflate(b"content"), 7, zlib.crc32(b"content"), flags=flags)
    assert read_all(tmp_path / "x.zip") == {name: b"content"}


def test_list_zip_raises_for_names_flagged_as_utf8_that_are_not(tmp_path):
    make_zip(tmp_path / "x.zip", b"k\xf6ln.png", deflate(b"content"), 7, zlib.crc32(b"content"), flags=0x800)
    with pytest.raises(DataError, match=r"x.zip must be an undamaged archive. Got: 'utf-8' codec can't decode"):
        list_archive(tmp_path / "x.zip")


@pytest.mark.parametrize("flags", [0x1, 0x41])
def test_list_zip_raises_for_an_encrypted_archive(tmp_path, flags):
    make_zip(tmp_path / "x.zip", b"a/1.png", b"secret", 6, 0, flags=flags)
    with pytest.raises(DataError, match=r"x.zip must not be encrypted. Got 1 encrypted members \(first: 'a/1.png'\)."):
        list_archive(tmp_path / "x.zip")


def test_list_zip_raises_for_overlapping_members(tmp_path):
    """A bomb as of https://www.bamsoftware.com/hacks/zipbomb: 1,000 entries for the same bytes."""
    packed = deflate(bytes(100_000))
    data = local_header(b"0.png", len(packed), 100_000, zlib.crc32(bytes(100_000))) + packed
    names = [f"{i}.png".encode() for i in range(1000)]
    entries = b"".join(central_entry(name, 0, len(packed), 100_000, zlib.crc32(bytes(100_000))) for name in names)
    (tmp_path / "x.zip").write_bytes(data + entries + directory_end(1000, len(entries), len(data)))
    with pytest.raises(DataError, match="members that share their bytes, as in a zip bomb"):
        list_archive(tmp_path / "x.zip")


def test_list_zip_raises_for_a_bomb(tmp_path):
    """The sizes that the directory says are 20 GB in an archive of 300 bytes."""
    make = [local_header(f"{i}.png".encode(), 10, 10**9, 0) + bytes(10) for i in range(20)]
    offsets = [sum(map(len, make[:i])) for i in range(20)]
    entries = b"".join(central_entry(f"{i}.png".encode(), offsets[i], 10, 10**9, 0) for i in range(20))
    data = b"".join(make)
    (tmp_path / "x.zip").write_bytes(data + entries + directory_end(20, len(entries), len(data)))
    with pytest.raises(DataError, match=r"must unpack to at most 100 times its 1,\d+ bytes, or 1 GB. Got more, as"):
        list_archive(tmp_path / "x.zip")


@pytest.mark.parametrize("method", ZIP_METHODS[1:])
def test_read_stays_small_for_a_member_that_lies_about_its_size(tmp_path, method):
    write_zip(tmp_path / "true.zip", {"a.png": bytes(30 << 20)}, method)
    with zipfile.ZipFile(tmp_path / "true.zip") as archive:
        info = archive.infolist()[0]
        archive.fp.seek(info.header_offset + 30 + len(info.filename))
        packed = archive.fp.read(info.compress_size)
    file = list_archive(make_zip(tmp_path / "x.zip", b"a.png", packed, 1000, info.CRC, method)).files[0]
    tracemalloc.start()
    with pytest.raises(DataError, match="damaged in the archive: its checksum differs"):
        file.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20  # lzma takes 8 MB for itself


@pytest.mark.parametrize("size", [6, 8, 10**9])
def test_read_raises_for_a_false_size(tmp_path, size):
    make_zip(tmp_path / "x.zip", b"a.png", deflate(b"content"), size, zlib.crc32(b"content"))
    with pytest.raises(DataError, match="damaged in the archive: its checksum differs"):
        list_archive(tmp_path / "x.zip").files[0].read()


def test_read_raises_for_a_false_checksum(tmp_path):
    make_zip(tmp_path / "x.zip", b"a.png", deflate(b"content"), 7, zlib.crc32(b"contend"))
    with pytest.raises(DataError, match="damaged in the archive: its checksum differs"):
        list_archive(tmp_path / "x.zip").files[0].read()


def test_read_raises_for_an_unknown_method(tmp_path):
    make_zip(tmp_path / "x.zip", b"a.png", b"content", 7, zlib.crc32(b"content"), method=9)
    with pytest.raises(DataError, match="compressed by zip's method 9, which cannot be read"):
        list_archive(tmp_path / "x.zip").files[0].read()


@pytest.mark.parametrize(("kind", "is_kept"), [(0o100644, True), (0, True), (0o120777, False), (0o20666, False)])
def test_list_zip_leaves_out_links_and_devices(tmp_path, kind, is_kept):
    packed = deflate(b"/etc/hostname")
    make_zip(tmp_path / "x.zip", b"a.png", packed, 13, zlib.crc32(b"/etc/hostname"), attributes=kind << 16)
    listing = list_archive(tmp_path / "x.zip")
    assert len(listing.files) == is_kept
    note = "Links and devices in the archive were left out: 1 (a.png)."
    assert listing.notes == (() if is_kept else (note,))


def test_list_zip_leaves_out_a_member_that_is_too_large(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"")
    make_zip(path, b"a.bin", bytes(20 << 20), MAX_FILE_BYTES + 1, 0)
    assert list_archive(path).notes == ("Members of the archive larger than 1 GB were left out: 1 (a.bin).",)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.9, 0.999])
def test_list_zip_raises_for_a_truncated_archive(tmp_path, kept):
    path = write_zip(tmp_path / "x.zip", {f"a/{i}.png": random.Random(i).randbytes(500) for i in range(20)})
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(DataError, match=r"x.zip must be "):
        list_archive(path)


def test_list_zip_raises_for_a_huge_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_archive, "_MAX_DIRECTORY_BYTES", 100_000)
    path = write_zip(tmp_path / "x.zip", {f"a/{i}.png": b"" for i in range(3000)})
    with pytest.raises(DataError, match="Got: a header of more than 100,000 bytes"):
        list_archive(path)


def test_list_zip_and_read_raise_glassnet_errors_alone_for_damaged_archives(tmp_path):
    path = tmp_path / "x.zip"
    contents = []
    for method in ZIP_METHODS:
        write_zip(path, {f"ü{i}/{i}.png": random.Random(i).randbytes(20 * i) for i in range(8)}, method)
        contents.append(path.read_bytes())
    lines = errors_of_damaged(path, contents, 600)
    assert 300 < len(lines) < 600
    assert not any("\n" in line for line in lines)
