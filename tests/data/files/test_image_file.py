import os
import sys

import pytest

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
