import os
import shutil

import pytest

from glassnet.data import load_data
from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache_upkeep import list_cache, prune_cache, verify_cache
from glassnet.errors import DataError
from tests.data.cached_photos import cache_photos


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder whose images are in the cache, in two sizes."""
    cache_photos(monkeypatch, tmp_path, sizes=[8, 6])
    return tmp_path / "photos"


def test_list_cache_counts_images_and_bytes(photos):
    (cached,) = list_cache()
    assert (cached.source, cached.is_there) == (str(photos), True)
    assert cached.images == {"6×6×3": 20, "8×8×3": 20}
    assert cached.nbytes >= 20 * (6 * 6 + 8 * 8) * 3
    assert cached.idle_days < 0.1


@pytest.mark.parametrize("function", [list_cache, prune_cache, verify_cache])
def test_cache_that_cannot_be_a_folder_raises(tmp_path, monkeypatch, function):
    (tmp_path / "file").write_bytes(b"")
    message = f"^The cache must be in a folder. Got {tmp_path / 'file'}, a file. Set GLASSNET_CACHE to a folder.$"
    for path in ("file", "file/cache"):
        monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path / path))
        with pytest.raises(DataError, match=message):
            function()
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path / "none/yet"))
    assert function() == []


def test_prune_cache_removes_what_is_gone_or_unused(photos):
    assert prune_cache() == prune_cache(days=1) == []
    folder = SourceFolder.of(str(photos)).path
    shutil.copytree(next(folder.glob("8x8*")), folder / "8x8x3-12345678")  # as of another version of Pillow
    assert prune_cache() == []
    assert len([*folder.glob("8x8*")]) == 1
    os.utime(folder / "source.json", (0, 0))
    assert [cached.source for cached in prune_cache(days=1)] == [str(photos)]
    assert list_cache() == []
    load_data(photos, image_size=8)
    shutil.rmtree(photos)
    assert len(prune_cache()) == 1
    assert not folder.exists()


def test_prune_cache_removes_everything_on_request(photos):
    assert len(prune_cache(everything=True)) == 1
    assert list_cache() == []


def test_verify_cache_finds_files_that_changed_without_a_new_time(photos):
    (verified,) = verify_cache()
    assert (verified.n_images, verified.n_damaged, verified.n_files, verified.is_sound) == (40, 0, 20, True)
    before = load_data(photos, image_size=8).fingerprint
    path = photos / "a/3.png"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # of the checksum of the pixels, which Pillow does not mind or does
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load_data(photos, image_size=8).fingerprint == before  # the known limit
    (verified,) = verify_cache()
    assert verified.changed_files == ["a/3.png"]
    assert not verified.is_sound
    assert load_data(photos, image_size=8).fingerprint != before
    assert verify_cache()[0].is_sound


def test_verify_cache_marks_damaged_images(photos):
    before = load_data(photos, image_size=8).fingerprint
    (pixels,) = SourceFolder.of(str(photos)).path.glob("8x8*/pixels")
    content = bytearray(pixels.read_bytes())
    content[200] ^= 1
    pixels.write_bytes(content)
    (verified,) = verify_cache()
    assert (verified.n_damaged, verified.is_sound) == (1, False)
    data = load_data(photos, image_size=8)
    assert data.fingerprint == before
    shutil.rmtree(photos)
    (verified,) = verify_cache()
    assert (verified.problem, verified.n_files) == ("the source is gone", 0)
