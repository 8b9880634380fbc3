import os

import numpy as np
import pytest
from PIL import Image

from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.scan_store import ScanStore
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.scan import Scans, scan_images


@pytest.fixture
def files(tmp_path):
    """Two images, and a file that is named as one."""
    for index in range(2):
        Image.new("RGB", (5 + index, 4)).save(tmp_path / f"{index}.png")
    (tmp_path / "2.png").write_bytes(b"text")
    return [ImageFile.on_disk(tmp_path / f"{index}.png", f"{index}.png") for index in range(3)]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path / "cache"))
    folder = SourceFolder.of("photos")
    with folder.locked():
        folder.prepare()
    return ScanStore(folder, max_pixels=1000)


def test_scan_store_finds_what_was_added(store, files):
    keys, has_key = store.keys(files)
    assert has_key.all()
    scans = scan_images(files)
    store.add(keys[:2], has_key[:2], scans[:2])
    found, is_known = store.find(keys, has_key)
    assert is_known.tolist() == [True, True, False]
    assert found[:2].records.tobytes() == scans[:2].records.tobytes()
    store.add(keys[2:], has_key[2:], scans[2:])
    found, is_known = store.find(keys, has_key)
    assert is_known.all()
    assert found.problems == {2: "not an image"}
    store.problems.path.unlink()  # a file without its reason is scanned again
    assert store.find(keys, has_key)[1].tolist() == [True, True, False]


def test_scan_store_keys_change_with_all_that_a_scan_depends_on(store, files):
    before, _ = store.keys(files)
    os.utime(files[0].read.path, ns=(0, 0))
    renamed = ImageFile(f"other/{files[1].name}", files[1].read)
    after, _ = store.keys([files[0], renamed, files[2]])
    assert (after != before).any(axis=1).tolist() == [True, True, False]
    other, _ = ScanStore(store.folder, max_pixels=999).keys(files)
    assert (other != before).any(axis=1).all()


def test_scan_store_keeps_no_scan_of_a_file_without_a_stamp_or_content(store, tmp_path):
    files = [ImageFile("a.png", lambda: b""), ImageFile.on_disk(tmp_path / "missing.png")]
    keys, has_key = store.keys(files)
    assert has_key.tolist() == [False, False]
    store.add(keys, has_key, scan_images(files))
    store.add(np.ones((1, 16), np.uint8), np.array([True]), scan_images(files[1:]))  # it was there, and cannot be read
    assert store.records.count() == 0


def test_scan_store_is_emptied_when_most_files_are_gone(store, files, monkeypatch):
    monkeypatch.setattr("glassnet.data.cache.record_file._SPARE_RECORDS", 0)
    keys, has_key = store.keys(files)
    store.add(keys, has_key, Scans.join([scan_images(files)]))
    store.prepare(2)
    assert store.records.count() == 3
    store.prepare(1)
    assert store.records.count() == 0
    assert not store.problems.path.exists()
