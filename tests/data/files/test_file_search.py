import inspect
import os
import pickle
import sys
import zipfile
from pathlib import Path
from shutil import make_archive

import pytest

from glassnet.data.files.file_search import FoundFile, find_files
from glassnet.errors import DataError


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*paths: str) -> list[str]:
    return [file.path for file in find_files(paths)]


def test_find_files_yields_files_as_they_were_given() -> None:
    touch("a/b.png")
    paths = ["a/b.png", "./a/b.png", "missing.png", "a/../a/b.png", str(Path("a/b.png").resolve()), "a/b.png"]
    assert list(find_files(paths)) == [FoundFile(path) for path in paths]
    assert list(find_files(Path("a/b.png"))) == list(find_files("a/b.png")) == [FoundFile("a/b.png")]
    assert list(find_files(b"a/b.png")) == [FoundFile("a/b.png")]  # type: ignore[arg-type]
    assert list(find_files([])) == []


def test_find_files_lists_a_folder_sorted_with_its_files_before_its_folders() -> None:
    touch("f/z.png", "f/b/2.png", "f/b/10.png", "f/a/c/1.png", "f/a.txt")
    touch("f/.hidden.png", "f/Thumbs.db", "f/.git/x.png", "f/__MACOSX/y.png", "f/@eaDir/1.png")
    expected = ["f/a.txt", "f/z.png", "f/a/c/1.png", "f/b/10.png", "f/b/2.png"]
    assert list(find_files(["f"])) == [FoundFile(path, in_folder=True) for path in expected]
    assert found("f/") == expected
    os.chdir("f")
    assert found(".") == [path.replace("f/", "./", 1) for path in expected]
    names = [f"g/{number * 37 % 100:02}.png" for number in range(100)]
    touch(*names)
    assert found("g") == found("g/*") == sorted(names)


def test_find_files_visits_each_folder_once_in_spite_of_links() -> None:
    touch("f/a/1.png", "other/2.png")
    Path("f/a/loop").symlink_to("..")
    Path("f/b").symlink_to("a")
    Path("f/link").symlink_to("../other")
    Path("f/self").symlink_to("self")
    touch("deep/30/end.png")
    for level in range(30):  # 2^30 paths lead to the last one
        Path(f"deep/{level}").mkdir()
        for name in "xy":
            Path(f"deep/{level}/{name}").symlink_to(f"../{level + 1}")
    assert found("f") == ["f/self", "f/a/1.png", "f/link/2.png"]
    assert found("f/**/*.png") == ["f/a/1.png", "f/link/2.png"]
    assert found("deep/0") == [f"deep/0{'/x' * 30}/end.png"]


def test_find_files_takes_folders_of_any_depth() -> None:
    """A recursive walk would end with a RecursionError."""
    deep = "/".join(200 * ["d"])
    touch(f"{deep}/1.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert found("d") == found("**/*.png") == [f"{deep}/1.png"]
    finally:
        sys.setrecursionlimit(limit)


def test_find_files_has_a_problem_for_a_folder_without_files() -> None:
    Path("empty/below").mkdir(parents=True)
    touch("empty/.hidden")
    assert list(find_files(["empty"])) == [FoundFile("empty", problem="no files in this folder")]


def test_find_files_has_a_problem_for_a_folder_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("f/a/1.png", "f/b/2.png")
    scandir = os.scandir

    def fail(folder: str) -> object:
        if folder == "f/a":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", fail)
    problem = FoundFile("f/a", problem="Permission denied")
    assert list(find_files(["f"])) == [problem, FoundFile("f/b/2.png", in_folder=True)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("f/*.png", ["f/1.png", "f/2.png"]),
        ("f/?.png", ["f/1.png", "f/2.png"]),
        ("f/[2-9].*", ["f/2.png"]),
        ("*/1.*", ["f/1.png"]),
        ("f/**/*.png", ["f/1.png", "f/2.png", "f/a/3.png", "f/a/b/4.png"]),
        ("**/*.png", ["f/1.png", "f/2.png", "f/a/3.png", "f/a/b/4.png"]),
        ("./**/*.png", ["./f/1.png", "./f/2.png", "./f/a/3.png", "./f/a/b/4.png"]),
        ("**/a/**/?.png", ["f/a/3.png", "f/a/b/4.png"]),
        ("f/a/**", ["f/a/3.png", "f/a/b/4.png"]),
        ("**/b/*", ["f/a/b/4.png"]),
        ("f/[a]", ["f/a/3.png", "f/a/b/4.png"]),  # a folder that matches
        ("f/*", ["f/1.png", "f/2.png", "f/a/3.png", "f/a/b/4.png"]),
        ("f/../f/*.png", ["f/../f/1.png", "f/../f/2.png"]),
    ],
)
def test_find_files_expands_patterns(pattern: str, expected: list[str]) -> None:
    touch("f/1.png", "f/2.png", "f/a/3.png", "f/a/b/4.png", "f/.5.png")
    assert found(pattern) == expected
    absolute = str(Path.cwd() / pattern) if not pattern.startswith(".") and ".." not in pattern else None
    assert absolute is None or found(absolute) == [str(Path.cwd() / path) for path in expected]


def test_find_files_has_a_problem_for_a_pattern_without_files() -> None:
    assert list(find_files(["none/**/*.png"])) == [FoundFile("none/**/*.png", problem="no file matches")]


def test_find_files_takes_a_name_with_brackets_that_exists() -> None:
    touch("image [1].png", "image 1.png", "*.png")
    assert found("image [1].png", "*.png") == ["image [1].png", "*.png"]


def test_find_files_lists_archives_whose_members_can_be_sent() -> None:
    for path in ("a.zip", "a.tar.gz"):
        touch("f/x.png", "f/.hidden", "f/b/y.png")
        Path("f/b/y.png").write_bytes(b"content")
        make_archive(path.split(".", 1)[0], {"zip": "zip", "tar.gz": "gztar"}[path.split(".", 1)[1]], "f")
        files = list(find_files([path]))
        assert [file.path for file in files] == [f"{path}/b/y.png", f"{path}/x.png"]
        assert all(file.in_folder for file in files)
        first, second = [file.read for file in pickle.loads(pickle.dumps(files))]
        assert (first(), second()) == (b"content", b"")


def test_find_files_sends_the_error_of_a_member() -> None:
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("x.png", b"content")
    Path("a.zip").write_bytes(Path("a.zip").read_bytes().replace(b"content", b"CONTENT", 1))  # its checksum is wrong
    (file,) = pickle.loads(pickle.dumps(list(find_files("a.zip"))))
    with pytest.raises(DataError, match="damaged in the archive"):
        file.read()


def test_find_files_has_a_problem_for_an_archive_that_cannot_be_read() -> None:
    Path("a.zip").write_text("text", encoding="utf-8")
    with zipfile.ZipFile("empty.zip", "w"):
        pass
    damaged, empty, missing = find_files(["a.zip", "empty.zip", "missing.zip"])
    assert (damaged.path, (damaged.problem or "")[:32]) == ("a.zip", "a.zip must be a zip archive, or ")
    assert empty == FoundFile("empty.zip", problem="no files in this archive")
    assert missing == FoundFile("missing.zip")


def test_find_files_reads_paths_when_they_are_asked_for() -> None:
    def endless() -> object:
        while True:
            yield "x.png"

    files = find_files(endless())  # type: ignore[arg-type]
    assert [next(files).path for _ in range(3)] == ["x.png"] * 3


@pytest.mark.parametrize("path", [5, None, ["a.png"]])
def test_find_files_raises_for_what_is_no_path(path: object) -> None:
    with pytest.raises(DataError, match="paths must be paths of files or folders. Got "):
        list(find_files([path]))  # type: ignore[list-item]
