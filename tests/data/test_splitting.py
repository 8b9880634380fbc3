import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from glassnet.data import stratified_split
from glassnet.data.splitting import (
    content_hash,
    draw_stratified,
    hash_images,
    is_test_image,
    pack_hashes,
    split_by_hash,
    stratified_sample,
    stratified_sample_of_at_most,
)
from glassnet.errors import ConfigError, DataError


def random_hashes(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


contents = st.lists(st.binary(max_size=6), min_size=1, max_size=60)
seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0.01, 0.99)


def test_content_hash_is_the_first_half_of_sha256():
    assert content_hash(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223"
    assert content_hash(memoryview(b"abc")) == content_hash(b"abc")


def test_is_test_image_decides_as_documented():
    hashes = pack_hashes([content_hash(name) for name in (b"", b"a", b"abc", b"glassnet")])
    # SHA-256(seed in 8 little-endian bytes + hash), computed with sha256sum; the first 8 bytes over 2**64.
    places = {0: [0.99766427, 0.92568578, 0.35044952, 0.5101608], 42: [0.63628219, 0.25063237, 0.8835126, 0.89968283]}
    for seed, place in places.items():
        for number, exact in enumerate(place):
            assert is_test_image(hashes, exact + 1e-6, seed)[number]
            assert not is_test_image(hashes, exact - 1e-6, seed)[number]


def test_hash_images_is_that_of_shape_and_pixels():
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 3, 2)
    shape = b"".join(side.to_bytes(8, "little") for side in (2, 3, 2))
    assert hash_images(images)[1].tobytes() == content_hash(shape + bytes(range(12, 24)))
    np.testing.assert_array_equal(hash_images(np.asfortranarray(images)), hash_images(images))
    assert (hash_images(images.reshape(2, 3, 2, 2)) != hash_images(images)).any(axis=1).all()


@settings(max_examples=100, deadline=None)
@given(contents, contents, fractions, seeds, st.randoms())
def test_is_test_image_depends_on_no_other_image(old, new, test_size, seed, random):
    decisions = dict(zip(old, is_test_image(pack_hashes([*map(content_hash, old)]), test_size, seed), strict=True))
    grown = [*old, *new]
    random.shuffle(grown)
    kept = grown[: random.randint(1, len(grown))]
    for content, is_test in zip(
        kept, is_test_image(pack_hashes([*map(content_hash, kept)]), test_size, seed), strict=True
    ):
        assert decisions.setdefault(content, is_test) == is_test  # equal contents are together, too


@settings(max_examples=40, deadline=None)
@given(smaller=fractions, larger=fractions, seed=seeds)
def test_is_test_image_only_adds_images_for_a_larger_test_size(smaller, larger, seed):
    smaller, larger = sorted([smaller, larger])
    hashes = random_hashes(50)
    assert (is_test_image(hashes, smaller, seed) <= is_test_image(hashes, larger, seed)).all()
    assert is_test_image(hashes, 1, seed).all()


@pytest.mark.parametrize("test_size", [0.01, 0.25, 0.5, 0.9])
def test_is_test_image_holds_out_a_binomial_fraction(test_size):
    trials = np.array([is_test_image(random_hashes(100, seed), test_size, seed).sum() for seed in range(200)])
    # Mean and variance of 200 binomial counts, each within five of its standard deviations.
    variance = 100 * test_size * (1 - test_size)
    assert abs(trials.mean() - 100 * test_size) < 5 * np.sqrt(variance / 200)
    fourth = variance * (1 + (3 * 100 - 6) * test_size * (1 - test_size))
    assert abs(trials.var(ddof=1) - variance) < 5 * np.sqrt((fourth - variance**2) / 200)


def test_is_test_image_is_independent_between_seeds():
    hashes = random_hashes(4000)
    first, second = (is_test_image(hashes, 0.25, seed) for seed in (42, 43))
    assert abs((first & second).mean() - 0.25**2) < 5 * np.sqrt(0.0625 * 0.9375 / 4000)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_is_test_image_raises_for_a_seed_out_of_range(seed):
    with pytest.raises(ConfigError, match="seed must be an integer from 0 to 4294967295"):
        is_test_image(random_hashes(2), 0.5, seed)


def test_split_by_hash_returns_both_parts_in_order():
    labels = np.arange(200) % 3
    kept, held_out = split_by_hash(labels, random_hashes(200), 0.25, 42)
    np.testing.assert_array_equal(np.sort([*kept, *held_out]), np.arange(200))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held_out) > 0).all()
    assert kept.dtype == held_out.dtype == np.int64
    np.testing.assert_array_equal(held_out, np.flatnonzero(is_test_image(random_hashes(200), 0.25, 42)))


def test_split_by_hash_raises_for_a_class_without_training_images():
    hashes = random_hashes(200)
    is_test = is_test_image(hashes, 0.5, 42)
    labels = np.zeros(200, dtype=np.int64)
    labels[np.flatnonzero(is_test)[:1]] = 1
    with pytest.raises(
        DataError, match=r"Class 'b' must have a training image\. Got none: its only image is a test im"
    ):
        split_by_hash(labels, hashes, 0.5, 42, ["a", "b"])
    labels[np.flatnonzero(is_test)[:3]] = 1
    with pytest.raises(DataError, match=r"Class '1' .* all its 3 images are test images, by the hash .*train and test"):
        split_by_hash(labels, hashes, 0.5, 42)


def test_split_by_hash_keeps_a_class_without_test_images():
    hashes = random_hashes(200)
    labels = np.zeros(200, dtype=np.int64)
    labels[np.flatnonzero(~is_test_image(hashes, 0.5, 42))[:3]] = 1
    assert 1 not in labels[split_by_hash(labels, hashes, 0.5, 42)[1]]


def test_split_by_hash_raises_without_any_test_image():
    hashes = random_hashes(200)[~is_test_image(random_hashes(200), 0.5, 42)]
    with pytest.raises(DataError, match=r"test_size must leave a test image\. Got 0.5, by which none of \d+ images"):
        split_by_hash(np.arange(len(hashes)) % 2, hashes, 0.5, 42)


@pytest.mark.parametrize("test_size", [0, 1, -0.1, float("nan"), "a"])
def test_split_by_hash_raises_for_a_test_size_out_of_range(test_size):
    with pytest.raises(ConfigError, match=r"test_size must be a number above 0 and below 1\. Got .*\."):
        split_by_hash(np.array([0, 1]), random_hashes(2), test_size, 0)


@settings(max_examples=40, deadline=None)
@given(members=st.lists(st.integers(8, 60), min_size=2, max_size=5), share=st.floats(0.2, 0.8), seed=st.integers(0, 9))
def test_stratified_split_keeps_each_class_in_proportion(members, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(members)), members))
    rest, part = stratified_split(labels, share, seed)
    assert sorted([*rest, *part]) == list(range(len(labels)))
    assert len(part) == int(np.ceil(share * len(labels)))
    np.testing.assert_array_equal(rest, np.sort(rest))
    np.testing.assert_array_equal(part, np.sort(part))
    assert rest.dtype == part.dtype == np.int64
    np.testing.assert_array_less(np.abs(np.bincount(labels[part]) - share * np.array(members)), 1.5)


def test_stratified_split_follows_from_the_seed():
    labels = np.repeat([0, 1], 50)
    np.testing.assert_array_equal(stratified_split(labels, 0.1, 3)[1], stratified_split(labels, 0.1, 3)[1])
    assert stratified_split(labels, 0.1, 3)[1].tolist() != stratified_split(labels, 0.1, 4)[1].tolist()


@settings(max_examples=300, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=12),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_draw_stratified_is_scikit_learns_split(counts, fraction, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 3, counts))
    size = len(counts) + int(fraction * (len(labels) - 2 * len(counts)))
    expected = train_test_split(np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed)
    for drawn, indices in zip(draw_stratified(labels, size, seed), expected, strict=True):
        assert drawn.dtype == np.int64
        np.testing.assert_array_equal(drawn, indices)


def test_stratified_split_raises_for_too_few_images_and_wrong_fractions():
    with pytest.raises(DataError, match="Class 'dog' must have at least 2 images to hold out a test_size of 0.5."):
        stratified_split(np.array([0, 0, 0, 1]), 0.5, 0, ["cat", "dog"])
    with pytest.raises(
        DataError, match="Class '1' must have at least 2 images to hold out a validation_fraction of 0.5."
    ):
        stratified_split(np.array([0, 0, 0, 1]), 0.5, 0, name="validation_fraction")
    with pytest.raises(DataError, match=r"each of the 2 classes in both parts\. Got 0.1, for parts of 9 and 1\."):
        stratified_split(np.repeat([0, 1], 5), 0.1, 0)
    with pytest.raises(DataError, match=r"Got 0.9, for parts of 1 and 9\."):
        stratified_split(np.repeat([0, 1], 5), 0.9, 0)
    with pytest.raises(DataError, match=r"test_size must leave an image of class 'rare'\. Got 0.95"):
        stratified_split(np.repeat([0, 1], [200, 2]), 0.95, 0, ["common", "rare"])
    for share in (0, 1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match=r"test_size must be a number above 0 and below 1\. Got .*\."):
            stratified_split(np.repeat([0, 1], 5), share, 0)
    with pytest.raises(ConfigError, match="seed must be .* Got -1."):
        stratified_split(np.repeat([0, 1], 5), 0.5, -1)


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(3, 57), seed=st.integers(0, 9))
def test_stratified_sample_takes_exactly_that_many_in_proportion(samples, seed):
    labels = np.tile([0, 1, 2], 20)
    part = stratified_sample(labels, samples, seed)
    assert len(set(part.tolist())) == len(part) == samples
    assert np.ptp(np.bincount(labels[part])) <= 1


def test_stratified_sample_of_all_is_all():
    np.testing.assert_array_equal(stratified_sample(np.array([1, 0, 0]), 3, 0), [0, 1, 2])


@settings(max_examples=40, deadline=None)
@given(max_count=st.integers(1, 70), seed=st.integers(0, 9))
def test_stratified_sample_of_at_most_takes_no_more_in_proportion(max_count, seed):
    labels = np.tile([0, 1, 2], 20)
    part = stratified_sample_of_at_most(labels, max_count, seed)
    assert len(set(part.tolist())) == len(part) == min(max_count, 60)
    assert np.ptp(np.bincount(labels[part], minlength=3)) <= 1
    assert (np.diff(part) > 0).all()


def test_stratified_sample_of_at_most_takes_a_class_of_one():
    assert len(stratified_sample_of_at_most(np.repeat([0, 1], [20, 1]), 10, 0)) == 10


def test_stratified_sample_raises_for_too_few_images():
    labels = np.tile([0, 1, 2], 20)
    for samples in (2, 58, 61):
        with pytest.raises(ConfigError, match=rf"samples must be from 3, .* to 57, or all 60 images\. Got {samples}\."):
            stratified_sample(labels, samples, 0)
    with pytest.raises(DataError, match="Class 'b' must have at least 2 images to take samples. Got 1."):
        stratified_sample(np.repeat([0, 1], [20, 1]), 10, 0, ["a", "b"])
    with pytest.raises(DataError, match=r"samples must take an image of class 'b'\. Got 5 of 1002, which take none\."):
        stratified_sample(np.repeat([0, 1], [1000, 2]), 5, 0, ["a", "b"])
