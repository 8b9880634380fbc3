import io
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from glassnet.data.cache import pixel_writer
from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.pixel_writer import RowTask, RowWriter, ScanningWriter, sum_pixels
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.image_form import ImageForm
from glassnet.data.splitting import content_hash, pack_hashes

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


# The third file is cut, the fourth is no image.
CONTENTS = [png(PIXELS[0]), png(PIXELS[1]), png(PIXELS[2])[:-30], b"text", png(PIXELS[4])]
FILES = [ImageFile(f"{index}.png", lambda content=content: content) for index, content in enumerate(CONTENTS)]
HASHES = pack_hashes([content_hash(content) for content in CONTENTS])


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store whose writers complete two images at a time."""
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path))
    monkeypatch.setattr(pixel_writer, "_BLOCK_BYTES", 2 * PIXELS[0].nbytes)
    folder = SourceFolder.of("photos")
    store = PixelStore(folder, ImageForm((4, 4), 3), ink=False)
    with folder.locked():
        folder.prepare()
        store.prepare(np.zeros((0, 16), np.uint8))
    return store


def check_rows(store, first_row, records, decoded):
    """Compare the rows on disk and the records with the images; what could not be decoded is zeros."""
    expected = np.zeros_like(PIXELS)
    expected[decoded] = PIXELS[decoded]
    stored = np.fromfile(store.pixels, np.uint8).reshape(-1, *PIXELS.shape[1:])
    np.testing.assert_array_equal(stored[first_row:], expected)
    assert np.flatnonzero(records["is_decoded"]).tolist() == decoded
    assert records["crc"].tolist() == [crc32(image.tobytes()) for image in expected]
    np.testing.assert_array_equal(records["sums"], sum_pixels(expected))
    np.testing.assert_array_equal(records["key"], HASHES)


def test_row_writer_writes_pixels_and_records(store):
    wrong = HASHES.copy()
    wrong[4] += 1
    written = RowWriter(store)(RowTask(3, FILES, wrong))
    assert list(written.problems) == [bytes(wrong[2]), bytes(wrong[3])]
    assert written.problems[bytes(wrong[3])] == "not an image"
    assert written.unread == {bytes(wrong[4]): "changed while it was read"}
    written.records["key"] = HASHES
    check_rows(store, 3, written.records, [0, 1])


def test_scanning_writer_decodes_what_it_scans(store):
    scans, written = ScanningWriter(store)(RowTask(0, FILES))
    check_rows(store, 0, written.records, [0, 1, 4])
    np.testing.assert_array_equal(scans.hashes, HASHES)
    assert scans.problems == {3: "not an image"}  # the cut one is found out by a RowWriter
    assert scans.sizes.tolist() == [[4, 4]] * 3 + [[0, 0], [4, 4]]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 7, 3), (2, 600, 4, 3), (40, 64, 64, 1)])
def test_sum_pixels_is_exact(shape):
    rng = np.random.default_rng(0)
    for images in (rng.integers(0, 256, shape, np.uint8), np.full(shape, 255, np.uint8)):
        values = images.astype(np.int64)
        expected = np.stack([values.sum(axis=(1, 2)), (values**2).sum(axis=(1, 2))], axis=1)
        np.testing.assert_array_equal(sum_pixels(images), expected)
        assert sum_pixels(images).dtype == np.uint64
