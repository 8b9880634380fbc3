import gzip
import lzma
import os
import random
import shutil
import tarfile
import tempfile
import tracemalloc
from collections import namedtuple

import pytest

from glassnet.data.files.archive import list_archive
from glassnet.data.files.shared_file import SharedFile
from glassnet.data.files.tar_archive import list_tar
from glassnet.errors import DataError
from tests.data.files.hostile_archives import COMPRESSORS, TAR_END, errors_of_damaged, header, pad, read_all, tar_bytes

MEMBERS = {f"{name}/{i}.png": random.Random(i).randbytes(i * 997) for i in range(6) for name in ("a", "b" * 150)}


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_list_tar_reads_every_compression_and_format(tmp_path, monkeypatch, suffix, format):
    path = tmp_path / f"x.tar{suffix}"
    path.write_bytes(COMPRESSORS[suffix](tar_bytes(MEMBERS, format)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = list_archive(path).files
    assert list(tmp_path.iterdir()) == [path]  # the unpacked file has no name
    assert {file.name: file.read() for file in files} == MEMBERS


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_list_tar_reads_concatenated_streams(tmp_path, suffix):
    """As parallel compressors such as pigz, pbzip2 and pixz write them."""
    content = tar_bytes(MEMBERS)
    padding = bytes(8) if suffix == ".xz" else b""
    parts = [COMPRESSORS[suffix](content[start : start + 3000]) + padding for start in range(0, len(content), 3000)]
    (tmp_path / "x").write_bytes(b"".join(parts))
    assert read_all(tmp_path / "x") == MEMBERS


def test_list_tar_leaves_out_links_and_devices(tmp_path):
    kinds = {"s": tarfile.SYMTYPE, "h": tarfile.LNKTYPE, "c": tarfile.CHRTYPE, "p": tarfile.FIFOTYPE}
    (tmp_path / "x.tar").write_bytes(tar_bytes({"a/1.png": b"content"}, d=tarfile.DIRTYPE, **kinds))
    listing = list_archive(tmp_path / "x.tar")
    assert [file.name for file in listing.files] == ["a/1.png"]
    assert listing.notes == ("Links and devices in the archive were left out: 4 (s, h, c, ...).",)


def test_list_tar_leaves_out_sparse_files(tmp_path):
    path = tmp_path / "hollow.png"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    os.system(f"tar -C {tmp_path} -cSf {tmp_path}/x.tar hollow.png")
    note = "Sparse files in the archive were left out: 1 (hollow.png)."
    assert list_archive(tmp_path / "x.tar").notes == (note,)


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.98])
def test_list_tar_raises_for_a_truncated_archive(tmp_path, suffix, fraction):
    content = COMPRESSORS[suffix](tar_bytes(MEMBERS))
    (tmp_path / "x.tar").write_bytes(content[: int(fraction * len(content)) if suffix else int(fraction * 30_000)])
    with pytest.raises(DataError, match=r"must be an undamaged archive. Got: .*end.*. Download or pack it again."):
        list_archive(tmp_path / "x.tar")


def test_list_tar_raises_for_an_archive_cut_between_two_members(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes({"a/1.png": bytes(512), "a/2.png": bytes(512)})[:1024])
    with pytest.raises(DataError, match="it ends early or has no header at byte 1,024"):
        list_archive(tmp_path / "x.tar")


def test_list_tar_raises_for_a_damaged_header_inside(tmp_path):
    content = bytearray(tar_bytes({"a/1.png": bytes(512), "a/2.png": bytes(512)}))
    content[1024] ^= 1
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(DataError, match="it ends early or has no header at byte 1,024"):
        list_archive(tmp_path / "x.tar")


@pytest.mark.parametrize(
    "content",
    [
        header("a.png") + header("b.png") + header("c.png", numbers=b"\xff" * 10 + b"\xfc\x00"),  # back to the second
        header("a.png", numbers=b"\x80" + b"\xff" * 11),  # 2^88 bytes
        header("a.png", size=8**11 - 1),
        header("././@LongLink", size=1 << 30, kind=tarfile.GNUTYPE_LONGNAME) + bytes(1 << 20),
        header("a", size=1 << 20, kind=tarfile.XHDTYPE) + bytes(1 << 20),
        b"".join(header("a", size=512, kind=tarfile.XHDTYPE) + pad(b"9 a=bcde\n") for _ in range(2000)),
        b"".join(
            header("a", size=512, kind=tarfile.XGLTYPE) + pad(b"%d k%d=v\n" % (len(str(i)) + 6, i)) + header(str(i))
            for i in range(2000)
        ),
        header("a", size=512, kind=tarfile.XHDTYPE) + pad(b"14 size=-2048\n") + header("b") + header("c"),
    ],
)
def test_list_tar_raises_for_headers_that_lie(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content + TAR_END)
    with pytest.raises(DataError, match=r"x.tar must be an undamaged archive. Got: "):
        list_archive(tmp_path / "x.tar")


def test_list_tar_raises_for_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("glassnet.data.files.archive_member.MIN_UNPACKED_LIMIT", 10 << 20)
    content = gzip.compress(header("a.bmp", size=64 << 20) + bytes(64 << 20) + TAR_END)
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=f"at most 100 times its {len(content):,} bytes, or 0 GB. Got more"):
        list_archive(tmp_path / "x.tar.gz")


def test_list_tar_bounds_the_memory_of_an_xz_stream(tmp_path):
    """This one asks for a dictionary of 1.5 GB, which lzma.open would allocate."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1536 << 20}]
    compressor = lzma.LZMACompressor(filters=filters)
    (tmp_path / "x.tar.xz").write_bytes(compressor.compress(tar_bytes(MEMBERS)) + compressor.flush())
    with pytest.raises(DataError, match="Got: Memory usage limit exceeded"):
        list_archive(tmp_path / "x.tar.xz")


def test_list_tar_raises_for_a_compressed_file_that_is_no_tar(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(b"path,label\na.png,cat\n"))
    with pytest.raises(DataError, match="Got: no tar archive in the compressed file"):
        list_archive(tmp_path / "x.tar.gz")


def test_list_tar_raises_where_the_disk_has_no_room(tmp_path, monkeypatch):
    usage = namedtuple("Usage", "free")(300 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(header("a.bmp", size=64 << 20) + bytes(64 << 20) + TAR_END))
    with pytest.raises(DataError, match=r"must have room for the unpacked .*x.tar.gz. Got 314,572,800 bytes .* TMPDIR"):
        list_archive(tmp_path / "x.tar.gz")


def test_list_tar_and_read_raise_glassnet_errors_alone_for_damaged_archives(tmp_path):
    path = tmp_path / "x.tar"
    members = {f"ü{i}/{'long' * 30 if i == 3 else i}.png": random.Random(i).randbytes(20 * i) for i in range(8)}
    contents = [
        compress(tar_bytes(members, format, link=tarfile.SYMTYPE))
        for compress in COMPRESSORS.values()
        for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    ]
    lines = errors_of_damaged(path, contents, 800)
    assert 300 < len(lines) < 800
    assert not any("\n" in line for line in lines)


def test_list_tar_keeps_no_headers_in_memory(tmp_path):
    """tarfile itself would keep 0.5 KB of each."""
    path = tmp_path / "x.tar"
    path.write_bytes(b"".join(header(f"a/{i}.png") for i in range(2000)) + TAR_END)
    shared = SharedFile(path.open("rb"))
    tracemalloc.start()
    assert sum(1 for _ in list_tar(path, shared)) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
