import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from glassnet.data import stratified_split
from glassnet.data.splitting import draw_stratified, stratified_sample, stratified_sample_of_at_most
from glassnet.errors import ConfigError, DataError


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
