import os
import pickle
import sys
import tarfile
import zipfile

import pytest

from glassnet.data.files.archive import list_archive
from glassnet.data.files.folder import list_folder
from glassnet.data.files.image_file import ImageFile
from glassnet.errors import DataError


def test_image_file_on_disk_reads_its_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    assert ImageFile.on_disk(path, "cats/a.bin").name == "cats/a.bin"
    assert ImageFile.on_disk(path).name == str(path)
    assert ImageFile.on_disk(path).read() == b"content"


def test_image_file_on_disk_raises_for_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        ImageFile.on_disk(tmp_path / "none").read()
    with pytest.raises(DataError, match="not a file"):
        ImageFile.on_disk(tmp_path).read()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_image_file_on_disk_never_waits_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match="not a file"):
        ImageFile.on_disk(tmp_path / "a.png").read()


def test_image_file_stamp_is_its_size_and_time_on_disk(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    os.utime(path, ns=(5, 1_700_000_000_123_456_789))
    (listed,) = list_folder(tmp_path).files
    for file in (ImageFile.on_disk(path), listed):
        assert file.stamp() == (7, path.stat().st_mtime_ns)
        assert pickle.loads(pickle.dumps(file)).read() == b"content"
    path.unlink()
    assert listed.stamp() is None
    assert ImageFile("in memory", bytes).stamp() is None


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_image_file_stamp_of_a_member_is_its_size_and_the_time_of_the_archive(tmp_path, kind):
    path, member = tmp_path / f"a.{kind}", tmp_path / "1.bin"
    member.write_bytes(b"content")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(member, "1.bin")
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(member, "1.bin")
    (file,) = list_archive(path).files
    assert file.stamp() == (7, path.stat().st_mtime_ns)
    sent = pickle.dumps(file)
    del file
    path.unlink()
    assert pickle.loads(sent).read() == b"content"  # it took the bytes along


def test_image_file_takes_the_error_of_a_member_along(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.bin", b"content")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"content", b"CONTENT", 1))
    (file,) = list_archive(tmp_path / "a.zip").files
    with pytest.raises(DataError, match="its checksum differs"):
        pickle.loads(pickle.dumps(file)).read()
