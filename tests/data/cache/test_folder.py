import os
from pathlib import Path

import pytest

from glassnet.data.cache import folder as folder_module
from glassnet.data.cache.folder import SourceFolder, cache_folder, source_folders


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cache_folder_is_the_users_unless_the_variable_names_another(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.setenv("GLASSNET_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder().name == "glassnet"


def prepared(source):
    folder = SourceFolder.of(source)
    with folder.locked():
        folder.prepare()
    return folder


def test_source_folder_has_the_name_of_the_source(cache):
    names = [SourceFolder.of(source).path.name for source in ("/data/my photos", "/data/my photos/", "hf:a/b:c", "/")]
    assert [name[:-17] for name in names] == ["my-photos", "my-photos", "b-c", "images"]
    assert len(set(names)) == 4


def test_source_folder_of_another_format_is_emptied(cache, monkeypatch):
    folder = prepared("/data/photos")
    (folder.path / "scans").write_bytes(b"1")
    (folder.path / "form").mkdir()
    (folder.path / "form/pixels").write_bytes(b"1")
    prepared("/data/photos")
    assert (folder.path / "scans").exists()
    for foreign in ("{}", "no JSON", '{"format": 1, "source": "/data/photos"', "\x80"):
        (folder.path / "source.json").write_text(foreign, encoding="latin-1")
        (folder.path / "scans").write_bytes(b"1")
        prepared("/data/photos")
        assert not (folder.path / "scans").exists()
    (folder.path / "scans").write_bytes(b"1")
    monkeypatch.setattr(folder_module, "_FORMAT", 2)
    prepared("/data/photos")
    assert not (folder.path / "scans").exists()


def test_source_folders_lists_those_of_the_cache_alone(cache, tmp_path):
    assert source_folders() == []
    (tmp_path / "photos").mkdir()
    prepared(str(tmp_path / "photos"))
    prepared(str(tmp_path / "gone"))
    prepared("owner/name")
    (cache / "mine").mkdir()
    (cache / "mine/source.json").write_text("[]", encoding="ascii")
    folders = source_folders()
    assert [Path(folder.source).name for folder in folders] == ["gone", "photos", "name"]
    assert [folder.is_there for folder in folders] == [False, True, True]
    os.utime(folders[1].path / "source.json", (5, 5))
    assert folders[1].last_used == 5
    folders[1].note_use()
    assert folders[1].last_used > 5
    (folders[1].path / "pixels").write_bytes(b"1" * 9000)
    assert folders[1].nbytes >= 9000
    folders[1].remove()
    assert len(source_folders()) == 2
    assert (cache / "mine").exists()
