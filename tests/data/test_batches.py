import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.data import count_batches, cycle_batches, make_rng, shuffled_batches
from glassnet.errors import ConfigError


def numbers(*key):
    return make_rng(*key).integers(0, 2**62, 4).tolist()


def test_make_rng_follows_from_seed_stream_and_epoch_alone():
    assert numbers(42, "shuffle", 3) == numbers(42, "shuffle", 3)
    others = [numbers(43, "shuffle", 3), numbers(42, "augment", 3), numbers(42, "shuffle", 4), numbers(42, "shuffle")]
    assert all(numbers(42, "shuffle", 3) != other for other in others)


def test_make_rng_gives_the_same_numbers_in_every_version():
    # A run must resume to the same bits after an update: these numbers may never change.
    assert make_rng(42, "shuffle", 1).integers(0, 1000, 6).tolist() == [867, 784, 662, 462, 986, 663]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True])
def test_make_rng_raises_for_seeds_out_of_range(seed):
    with pytest.raises(ConfigError, match=r"seed must be an integer from 0 to 4294967295\. Got .*\."):
        make_rng(seed, "shuffle")


@given(count=st.integers(1, 300), batch_size=st.integers(1, 100))
def test_shuffled_batches_hold_every_index_once(count, batch_size):
    batches = list(shuffled_batches(count, batch_size, make_rng(0, "shuffle")))
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches) == count_batches(count, batch_size)
    assert all(batch.dtype == np.int64 for batch in batches)


@given(count=st.integers(2, 300), batch_size=st.integers(2, 100))
def test_shuffled_batches_have_two_indices_at_least(count, batch_size):
    last = list(shuffled_batches(count, batch_size, make_rng(0, "shuffle")))[-1]
    assert 2 <= len(last) <= batch_size + (count % batch_size == 1)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (9, 4, [4, 5]),
        (10, 4, [4, 4, 2]),
        (8, 4, [4, 4]),
        (5, 4, [5]),
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
        (3, 4, [3]),
        (0, 4, []),
    ],
)
def test_shuffled_batches_merges_a_last_batch_of_one_with_the_one_before(count, batch_size, sizes):
    batches = list(shuffled_batches(count, batch_size, make_rng(0, "shuffle")))
    assert [len(batch) for batch in batches] == sizes
    order = make_rng(0, "shuffle").permutation(count)
    np.testing.assert_array_equal(np.concatenate([order[:0], *batches]), order)


def test_shuffled_batches_draws_the_order_at_the_call():
    generator = make_rng(0, "shuffle")
    first = shuffled_batches(1000, 100, generator)
    second = shuffled_batches(1000, 100, generator)
    expected = make_rng(0, "shuffle").permutation(1000)
    second = np.concatenate(list(second))
    first = np.concatenate(list(first))
    np.testing.assert_array_equal(first, expected)
    assert (first != second).mean() > 0.9
    assert (first != np.arange(1000)).mean() > 0.9


def test_shuffled_batches_raises_for_an_empty_batch():
    with pytest.raises(ConfigError, match="batch_size must be an integer of at least 1. Got 0."):
        shuffled_batches(10, 0, make_rng(0, "shuffle"))


def test_cycle_batches_returns_one_epoch_after_another() -> None:
    drawn = list(itertools.islice(cycle_batches(10, 4, seed=5), 7))
    epochs = [shuffled_batches(10, 4, make_rng(5, "shuffle", epoch)) for epoch in (1, 2, 3)]
    expected = [indices for epoch in epochs for indices in epoch][:7]
    assert all(np.array_equal(one, other) for one, other in zip(drawn, expected, strict=True))
