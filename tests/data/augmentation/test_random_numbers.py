import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.data.augmentation.random_numbers import RandomNumbers, split_mix

WORD = st.integers(0, 2**32 - 1)


def test_split_mix_gives_the_published_numbers():
    """The first five of SplitMix64 seeded with 1234567 (rosettacode.org, from Vigna's splitmix64.c)."""
    golden = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + k * golden) % 2**64 for k in range(5)], np.uint64)
    assert split_mix(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(seed=WORD, epoch=st.integers(1, 1000), indices=st.lists(WORD, min_size=1, max_size=9), number=st.integers(0, 99))
def test_uniform_depends_on_seed_epoch_image_and_position_alone(seed, epoch, indices, number):
    together = RandomNumbers(seed, epoch, np.array(indices)).uniform(number)
    alone = [RandomNumbers(seed, epoch, np.array([index])).uniform(number)[0] for index in indices]
    assert together.tolist() == alone
    assert all(0 <= value < 1 for value in alone)


def test_uniform_is_the_same_on_every_machine():
    assert RandomNumbers(42, 1, np.arange(3)).uniform(0).tolist() == [
        0.24331777334286264,
        0.8745171310578492,
        0.47714968611405595,
    ]


def test_uniform_is_uniform_and_independent():
    """Means, correlations and a chi-square test over 100 cells, for neighbouring images, positions and epochs."""
    count = 20_000
    numbers = RandomNumbers(1, 1, np.arange(count))
    first = numbers.uniform(0)
    for other in (
        numbers.uniform(1),
        RandomNumbers(1, 2, np.arange(count)).uniform(0),
        RandomNumbers(2, 1, np.arange(count)).uniform(0),
        np.roll(first, 1),
    ):
        cells = np.bincount((first * 10).astype(int) * 10 + (other * 10).astype(int), minlength=100)
        chi_square = ((cells - count / 100) ** 2 / (count / 100)).sum()
        assert chi_square < 148  # 99.9% of 99 degrees of freedom
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.025
    assert first.mean() == pytest.approx(0.5, abs=0.007)


def test_below_takes_each_integer_and_between_its_range():
    numbers = RandomNumbers(3, 1, np.arange(9000))
    counts = np.bincount(numbers.below(5, 9))
    assert len(counts) == 9
    assert counts.min() > 900
    values = numbers.between(6, -3, 5)
    assert -3 <= values.min() < -2.99
    assert 4.99 < values.max() <= 5
    assert len(numbers) == 9000
