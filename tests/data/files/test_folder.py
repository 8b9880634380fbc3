import inspect
import os
import sys
from pathlib import Path

import pytest

from glassnet.data.files.folder import list_folder
from glassnet.errors import DataError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_list_folder_lists_files_folder_by_folder(tmp_path):
    names = ["a.txt", "b/1", "b/2", "b/c/3", "b.x"]
    listing = list_folder(touch(tmp_path, *reversed(names)))
    assert [file.name for file in listing.files] == ["a.txt", "b/1", "b/2", "b/c/3", "b.x"]
    assert [file.read() for file in listing.files] == [file.name.encode() for file in listing.files]


def test_list_folder_leaves_out_hidden_and_system_files(tmp_path):
    system = [".git", "@eaDir", "Thumbs.db", "a/.DS_Store", "a/THUMBS.DB"]
    touch(tmp_path, "a/1", ".git/x/2", "@eaDir/3", "Thumbs.db", "a/.DS_Store", "a/THUMBS.DB")
    listing = list_folder(tmp_path)
    assert [file.name for file in listing.files] == ["a/1"]
    assert listing.system_files == system


def test_list_folder_returns_the_topmost_empty_folders(tmp_path):
    touch(tmp_path, "a/b/1", "d/.hidden")
    for name in ("a/empty", "c/x/y", "c/z"):
        (tmp_path / name).mkdir(parents=True)
    assert list_folder(tmp_path).empty_folders == ["a/empty", "c", "d"]


def test_list_folder_reads_folders_nested_deeper_than_python_may_recurse(tmp_path):
    name = "a/" * 300 + "1"  # which pytest can still remove
    touch(tmp_path, name)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        files = list_folder(tmp_path).files
    finally:
        sys.setrecursionlimit(limit)
    assert [file.name for file in files] == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="making symbolic links takes a privilege on Windows")
def test_list_folder_follows_links_but_not_in_circles(tmp_path):
    touch(tmp_path / "x", "1")
    data = touch(tmp_path / "data", "a/2")
    (data / "b").symlink_to(tmp_path / "x")
    (data / "self").symlink_to(data / "self")
    assert [file.name for file in list_folder(data).files] == ["a/2", "b/1", "self"]
    (tmp_path / "x/loop").symlink_to(data)
    with pytest.raises(DataError, match=r"^.*data/b/loop must not be a link to a folder that contains it\. Remove the"):
        list_folder(data)
    touch(tmp_path, "top/a/b/1")
    (tmp_path / "top/a/b/back").symlink_to(tmp_path / "top/a")
    with pytest.raises(DataError, match=r"^.*top/a/b/back must not be a link"):
        list_folder(tmp_path / "top")


def test_list_folder_raises_for_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    touch(tmp_path, "a/1")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # as for a user other than root
    with pytest.raises(DataError, match=r"a must be a folder that can be read\. Got: Permission denied\.$"):
        list_folder(tmp_path)


def test_list_folder_names_no_file_twice_for_two_links(tmp_path):
    touch(tmp_path / "x", "1")
    for name in "ab":
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(tmp_path / "x", target_is_directory=True)
    assert [Path(file.name).as_posix() for file in list_folder(tmp_path / "data").files] == ["a/1", "b/1"]
