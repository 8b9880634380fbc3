import gzip
import hashlib
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from glassnet.data.files import archive
from glassnet.data.files.archive import is_archive, list_archive
from glassnet.errors import DataError
from tests.data.files.hostile_archives import COMPRESSORS, TAR_END, header, read_all, tar_bytes, write_zip

MEMBERS = {f"{name}/{i}.png": random.Random(i).randbytes(i * 997) for i in range(6) for name in ("a", "b")}


def write(path, members=MEMBERS, **kinds):
    """An archive of the kind that the suffixes name."""
    if path.suffix == ".zip":
        return write_zip(path, members)
    path.write_bytes(COMPRESSORS["." + path.name.split(".tar.")[1] if ".tar." in path.name else ""](tar_bytes(members)))
    return path


SUFFIXES = [".zip", *(f".tar{suffix}" for suffix in COMPRESSORS)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["right", "wrong.jpg", "none"])
def test_list_archive_goes_by_the_content(tmp_path, suffix, name):
    path = write(tmp_path / f"x{suffix}")
    if name != "right":
        path = path.rename(tmp_path / name)
    assert is_archive(path)
    assert read_all(path) == MEMBERS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_list_archive_sorts_and_leaves_out_system_files(tmp_path, suffix):
    members = dict.fromkeys(("b/1.png", "a/2.png", "__MACOSX/a/._2.png", "a/.DS_Store", "a/1.png"), b"1")
    listing = list_archive(write(tmp_path / f"x{suffix}", members))
    assert [file.name for file in listing.files] == ["a/1.png", "a/2.png", "b/1.png"]
    assert list(listing.system_files) == ["__MACOSX", "a/.DS_Store"]
    assert listing.notes == ()


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_list_archive_leaves_out_paths_that_lead_outside(tmp_path, suffix):
    names = [
        "/etc/x.png",
        "../x.png",
        "a/../../x.png",
        "C:/x.png",
        "//host/x.png",
        "./a/1.png",
        "a//2.png",
        "a/3..png",
    ]
    listing = list_archive(write(tmp_path / f"x{suffix}", dict.fromkeys(names, b"1")))
    assert [file.name for file in listing.files] == ["a/1.png", "a/2.png", "a/3..png"]
    group = "Members of the archive with paths that lead out of it"
    assert listing.notes == (f"{group} were left out: 5 (/etc/x.png, ../x.png, a/../../x.png, ...).",)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_list_archive_takes_the_last_of_equal_names(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix == ".zip":
        import zipfile

        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a/1.png", b"old")
            file.writestr("a/./1.png", b"new")
    else:
        path.write_bytes(tar_bytes({"a/1.png": b"old", "a/./1.png": b"new"}))
    assert read_all(path) == {"a/1.png": b"new"}
    note = "Members of the archive with the name of a later one were left out: 1 (a/1.png)."
    assert list_archive(path).notes == (note,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_list_archive_reads_in_threads(tmp_path, suffix):
    members = {f"a/{i}.png": random.Random(i).randbytes(random.Random(i).randrange(5000)) for i in range(300)}
    files = list_archive(write(tmp_path / f"x{suffix}", members)).files
    order = random.Random(0).choices(range(300), k=3000)
    with ThreadPoolExecutor(8) as executor:
        hashes = list(executor.map(lambda index: hashlib.sha256(files[index].read()).digest(), order))
    assert hashes == [hashlib.sha256(members[files[index].name]).digest() for index in order]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_list_archive_raises_for_too_many_members(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 11)
    with pytest.raises(DataError, match=r"must have at most 11 members. Got more."):
        list_archive(write(tmp_path / f"x{suffix}"))


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"Rar!\x1a\7", "a RAR file. Unpack it and name the folder"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z file. Unpack it and name the folder"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file. Unpack it and name the folder"),
        (b"<!DOCTYPE html><html>", "a file that begins with b'<!DOCTYPE html><'"),
        (b"", "an empty file"),
    ],
)
def test_list_archive_raises_for_other_files(tmp_path, content, received):
    (tmp_path / "x.zip").write_bytes(content)
    assert is_archive(tmp_path / "x.zip")
    with pytest.raises(DataError, match=r"x.zip must be a zip archive, or a tar archive") as info:
        list_archive(tmp_path / "x.zip")
    assert str(info.value).endswith(f"Got {received}.")


def test_list_archive_raises_for_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"x.zip must be a file that can be read. Got: No such file or directory."):
        list_archive(tmp_path / "x.zip")


@pytest.mark.parametrize("content", [b"", b"path,label\na.png,cat\n", bytes(1024), b"\x89PNG\r\n\x1a\n" * 100])
def test_is_archive_returns_false_for_other_files(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert not is_archive(tmp_path / "x")
    assert not is_archive(tmp_path)
    assert not is_archive(tmp_path / "missing")


def test_list_archive_keeps_names_that_are_not_utf8_as_a_folder_would(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes({"k\udcf6ln/1.png": b"1"}))
    assert [file.name for file in list_archive(tmp_path / "x.tar").files] == ["k\udcf6ln/1.png"]


def test_list_archive_does_not_unpack_archives_inside(tmp_path):
    inner = gzip.compress(header("a.png", 1 << 20) + bytes(1 << 20) + TAR_END)
    path = write(tmp_path / "x.zip", {"a/inner.tar.gz": inner})
    assert read_all(path) == {"a/inner.tar.gz": inner}


def test_is_archive_knows_old_tar_archives(tmp_path):
    block = bytearray(header("a/1.png"))
    block[257:265] = bytes(8)  # without the word ustar
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x").write_bytes(block + TAR_END)
    assert is_archive(tmp_path / "x")
    assert tarfile.is_tarfile(tmp_path / "x")
    assert [file.name for file in list_archive(tmp_path / "x").files] == ["a/1.png"]
