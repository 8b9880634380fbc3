import numpy as np
import pytest
from PIL import Image

from glassnet.data import decoding, load_data
from glassnet.data.cache import room
from glassnet.errors import DataError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index in range(10):
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(tmp_path / f"photos/{label}/{index}.png")
    return tmp_path / "photos"


def test_few_images_stay_in_memory(photos):
    assert not load_data(photos).train.is_mapped
    assert not (photos.parent / "cache").exists()


@pytest.mark.parametrize("limits", [{"CACHED_FILES": 20}, {"CACHED_BYTES": 20 * 9 * 9 * 3}])
def test_many_images_are_mapped(photos, monkeypatch, limits):
    for name, limit in limits.items():
        monkeypatch.setattr(decoding, name, limit)
    data = load_data(photos)
    assert data.train.is_mapped
    assert data.test.is_mapped
    for name, limit in limits.items():
        monkeypatch.setattr(decoding, name, limit + 1)
    assert not load_data(photos).train.is_mapped


def test_samples_of_many_images_stay_in_memory(photos, monkeypatch):
    monkeypatch.setattr(decoding, "CACHED_FILES", 15)
    assert not load_data(photos, samples=4).train.is_mapped
    assert len([*(photos.parent / "cache").glob("*/scans")]) == 1  # so that the next start reads only some files


def test_files_are_not_decoded_with_their_scan_if_not_all_are_needed(photos, monkeypatch):
    monkeypatch.setattr(decoding, "CACHED_FILES", 15)
    load_data(photos, image_size=9, samples=4, test_samples="all")
    assert not [*(photos.parent / "cache").glob("*/*/pixels")]
    load_data(photos, image_size=9)
    assert len([*(photos.parent / "cache").glob("*/*/pixels")]) == 1


def test_images_that_do_not_fit_into_memory_raise(photos, monkeypatch):
    monkeypatch.setattr(room, "available_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"^The memory must have room for the images: 4\.9 kB\. Got 1\.0 kB"):
        load_data(photos)
