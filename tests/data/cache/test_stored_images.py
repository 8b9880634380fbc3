import numpy as np
import pytest

from glassnet.data.cache.pixel_writer import sum_pixels
from glassnet.data.cache.stored_images import StoredImages
from glassnet.errors import DataError
from glassnet.progress import show_progress
from tests.data.cache.filled_store import PIXELS, damage, fill_store
from tests.recorded_log import Log


@pytest.fixture
def filled(tmp_path, monkeypatch):
    return fill_store(tmp_path, monkeypatch)


def open_images(store, files):
    hashes = np.array(store.records.read()[0]["key"])
    rows, failures = store.find(hashes)
    assert (rows.tolist(), failures) == ([0, 1, 2], {})
    return StoredImages(store, files, hashes, rows, failures)


def test_stored_images_are_mapped_with_their_sums(filled):
    store, files = filled
    images = open_images(store, files)
    np.testing.assert_array_equal(images.pixels, PIXELS)
    np.testing.assert_array_equal(images.sums, sum_pixels(PIXELS))


def test_stored_images_check_decodes_damaged_rows_again_once(filled):
    store, files = filled
    damage(store, 1)
    images, log = open_images(store, files), Log()
    with show_progress(log):
        images.check(np.array([0, 2]))
        assert log.lines == []
        images.check(np.array([1, 1, 2]))
    assert log.lines == ["Damaged images in the cache are decoded again, 1.png first."]
    np.testing.assert_array_equal(images.pixels, PIXELS)
    damage(store, 1)
    images.check(np.array([1]))  # rows are compared when they are first read
    assert (images.pixels[1] != PIXELS[1]).any()


def test_stored_images_check_raises_where_the_file_has_changed(filled, tmp_path):
    store, files = filled
    damage(store, 2)
    (tmp_path / "2.png").write_bytes(b"another")
    images = open_images(store, files)
    images.check(np.array([0, 1]))
    with pytest.raises(DataError, match=r"Got damaged pixels of 2\.png, .*: changed while it was read\. Remove"):
        images.check(np.array([2]))
