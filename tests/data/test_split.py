import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.data import Normalization, Split, split
from glassnet.data.splitting import hash_images, pack_hashes


def arrays(count=40, shape=(5, 6, 3), seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, np.arange(count) % 4


def map_file(path, images):
    np.save(path, images)
    return np.load(path, mmap_mode="r")


def test_split_keeps_names_and_hashes_together():
    images, labels = arrays(4)
    files = pack_hashes([bytes([number]) * 16 for number in range(4)])
    split = Split(images, labels, list("abcd"), files)
    part = split.take(np.array([2, 0]))
    assert part.names == ("c", "a")
    np.testing.assert_array_equal(part.hashes, files[[2, 0]])
    assert part.copy().names == ("c", "a")
    without = Split(images, labels)
    assert without.names is None
    np.testing.assert_array_equal(without.take(np.array([2, 0])).hashes, hash_images(images)[[2, 0]])


def test_split_prints_its_count_and_size():
    assert repr(Split(*arrays())) == "Split(40 images, 5×6, 3 channels)"


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_split_of_a_mapped_file_holds_the_same_as_one_in_memory(data, tmp_path_factory):
    count = data.draw(st.integers(1, 9))
    images, labels = arrays(count)
    rows = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=12)))
    mapped = Split(map_file(tmp_path_factory.mktemp("map") / "a.npy", images), labels[rows], rows=rows)
    plain = Split(images[rows], labels[rows])
    indices = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=5)))
    for one, other in ((mapped, plain), (mapped.take(indices), plain.take(indices))):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.hashes, other.hashes)
        assert (one.pixel_totals(), one.nbytes, one.shape) == (other.pixel_totals(), other.nbytes, other.shape)
        np.testing.assert_array_equal(np.concatenate([block for _, block in one.blocks()]), other.images)
    np.testing.assert_array_equal(mapped.pixels(indices), images[rows][indices])


def test_take_of_a_mapped_file_copies_nothing(tmp_path):
    images, labels = arrays()
    mapped = Split(map_file(tmp_path / "a.npy", images), labels, rows=np.arange(40)[::-1].copy())
    part = mapped.take(np.array([3, 1])).take(np.array([1, 0]))
    assert (mapped.is_mapped, part.is_mapped, Split(images, labels).is_mapped) == (True, True, False)
    assert np.shares_memory(part._images, mapped._images)
    np.testing.assert_array_equal(part.images, images[[38, 36]])


@pytest.mark.parametrize("rows", [None, np.arange(40)])
def test_pixels_are_a_new_array(rows):
    images, labels = arrays()
    before = images.copy()
    taken = Split(images, labels, rows=rows).pixels(range(4))
    assert type(taken) is np.ndarray
    taken[...] = 0
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(("limit", "starts"), [(1, [0, 1, 2, 3, 4]), (200, [0, 2, 4]), (1 << 20, [0])])
def test_blocks_have_bounded_bytes_and_at_least_one_image(monkeypatch, limit, starts):
    monkeypatch.setattr(split, "BLOCK_BYTES", limit)
    images, labels = arrays(5)
    for rows in (None, np.arange(5)):
        blocks = list(Split(images, labels, rows=rows).blocks())
        assert [start for start, _ in blocks] == starts
        assert all(block.nbytes <= max(limit, 90) for _, block in blocks)


def test_pixel_totals_take_known_sums_for_the_pixels():
    images, labels = arrays()
    values = images.astype(np.uint64)
    sums = np.stack([values.sum(axis=(1, 2)), (values**2).sum(axis=(1, 2))], axis=1)  # (N, 2, C)
    known = Split(np.zeros_like(images), labels, pixel_sums=sums)
    assert known.pixel_totals() == Split(images, labels).pixel_totals()
    part = np.array([7, 2, 9])
    totals = known.take(part).pixel_totals()
    assert totals == Split(images[part], labels[part]).pixel_totals()
    assert Normalization.from_sums(*totals, 255.0) == Normalization.from_images(images[part], 255.0)
