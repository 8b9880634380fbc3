import numpy as np
import pytest

from glassnet.data.cache import pixel_store
from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.pixel_store import PixelStore
from tests.data.cache.filled_store import damage, fill_store


@pytest.fixture
def store(tmp_path, monkeypatch):
    return fill_store(tmp_path, monkeypatch)[0]


def test_pixel_store_verify_marks_damaged_rows_alone(store):
    assert store.verify() == (0, 3)
    keys = np.array(store.records.read()[0]["key"])
    damage(store, 1)
    assert store.verify() == (1, 3)
    assert store.find(keys)[0].tolist() == [0, -1, 2]
    assert store.find(np.zeros((1, 16), np.uint8))[0].tolist() == [-1]


def test_pixel_store_finds_no_row_whose_pixels_are_missing(store):
    keys = np.array(store.records.read()[0]["key"])
    store.pixels.write_bytes(store.pixels.read_bytes()[: 2 * store.row_bytes + 1])
    assert store.find(keys)[0].tolist() == [0, 1, -1]


def test_pixel_store_all_in_finds_the_stores_of_the_installed_decoder(store, monkeypatch):
    folder = SourceFolder.of("photos")
    (found,) = PixelStore.all_in(folder)
    assert (found.path, found.form, found.ink, found.count()) == (store.path, store.form, False, 3)
    monkeypatch.setattr(pixel_store, "decoder_version", lambda: "another")
    assert PixelStore.all_in(folder) == []
