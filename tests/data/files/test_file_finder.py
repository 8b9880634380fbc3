import unicodedata

import pytest

from glassnet.data.files.file_finder import FileFinder
from glassnet.data.files.image_file import ImageFile


@pytest.fixture
def data(tmp_path):
    for name in ("data/x/1.jpg", "data/x/2.png", "data/y/2.png", "data/é.jpg", "outside.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path / "data"


def test_file_finder_finds_files_on_disk_by_paths(data):
    finder = FileFinder.on_disk(data)
    for folder, path, name in (
        ("", "x/1.jpg", "x/1.jpg"),
        ("", "./x//1.jpg", "x/1.jpg"),
        ("", "x\\1.jpg", "x/1.jpg"),
        ("x", "1.jpg", "x/1.jpg"),
        ("x", "../y/2.png", "y/2.png"),
        ("", "../outside.jpg", "../outside.jpg"),
        ("x", str(data / "y/2.png"), str(data / "y/2.png")),
        ("", unicodedata.normalize("NFD", "é.jpg"), "é.jpg"),
    ):
        assert finder.by_path(folder, path).name == name
    assert finder.by_path("", "../outside.jpg").read() == b"outside.jpg"
    for path in ("x", "x/3.jpg", "", "a\0b", "x/1.JPEG"):
        assert finder.by_path("", path) is None


def test_file_finder_finds_only_members_of_an_archive(data):
    finder = FileFinder.among([ImageFile(name, bytes) for name in ("x/1.jpg", "t.csv")])
    assert finder.by_path("", "x/1.jpg").name == finder.by_path("x", "../x/1.jpg").name == "x/1.jpg"
    for path in (str(data / "x/1.jpg"), "../x/1.jpg", "/x/1.jpg", "../../etc/passwd"):
        assert finder.by_path("", path) is None


def test_file_finder_finds_the_only_file_of_a_name(data):
    finder = FileFinder.on_disk(data)
    assert finder.by_name("1").name == finder.by_name("1.jpg").name == "x/1.jpg"
    assert finder.by_name("2.png") is None
    assert finder.by_name("x/1.jpg") is None
