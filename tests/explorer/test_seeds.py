import numpy as np
import pytest

import glassnet as gn
from glassnet.explorer.seeds import MAX_BYTES, draw_seeds
from glassnet.training.epoch_batches import EpochBatches


def n_bytes(seeds: dict) -> int:  # type: ignore[type-arg]
    return sum(draws.normals.nbytes + draws.order.nbytes for draws in seeds.values())


def test_draw_seeds_gives_the_run_and_four_others() -> None:
    seeds = draw_seeds(gn.Recipe(seed=2, epochs=3), 100, [500, 900, 700])
    assert list(seeds) == [2, 0, 1, 3, 4]
    for seed, draws in seeds.items():
        np.testing.assert_array_equal(draws.normals, np.random.default_rng(seed).standard_normal(900))
        assert draws.order.shape == (3, 100)
        assert draws.order.dtype == np.uint16


def test_draw_seeds_orders_images_as_a_training_does(digits: gn.Dataset) -> None:
    recipe = gn.Recipe(batch_size=64, epochs=2, seed=7)
    for seed, draws in draw_seeds(recipe, len(digits.train), [10]).items():
        batches = EpochBatches(digits.train, digits.normalization, recipe.replace(seed=seed))
        for epoch, order in enumerate(draws.order, start=1):
            labels = np.concatenate([batch.labels for batch in batches.epoch(epoch)])
            images = np.concatenate([batch.images for batch in batches.epoch(epoch)])
            np.testing.assert_array_equal(labels, digits.train.labels[order])
            np.testing.assert_array_equal(images, digits.train.pixels(order))


@pytest.mark.parametrize("epochs", [10, 40, 150, 1000])
def test_draw_seeds_keeps_a_long_training_small(epochs: int) -> None:
    seeds = draw_seeds(gn.Recipe(epochs=epochs), 1347, [2500, 10_000])
    assert n_bytes(seeds) <= MAX_BYTES
    assert len(seeds[42].normals) == 10_000
    assert len(seeds) == {10: 5, 40: 3, 150: 1, 1000: 1}[epochs]
    assert len(seeds[42].order) == min(epochs, (MAX_BYTES - 80_000) // 2694)


def test_draw_seeds_gives_other_seeds_smaller_networks_before_it_leaves_them_out() -> None:
    seeds = draw_seeds(gn.Recipe(), 1347, [2500, 12_000, 6000])
    assert [len(draws.normals) for draws in seeds.values()] == [12_000, *[6000] * 4]


def test_draw_seeds_gives_the_run_alone_where_the_seed_decides_what_is_held_out() -> None:
    assert list(draw_seeds(gn.Recipe(validation_fraction=0.1), 100, [10])) == [42]


def test_draw_seeds_numbers_many_images_with_32_bits() -> None:
    order = draw_seeds(gn.Recipe(epochs=1), 70_000, [10])[42].order
    assert order.dtype == np.uint32
    assert order.max() == 69_999
