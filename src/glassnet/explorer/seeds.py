"""The numbers that trainings draw from their seeds: initial weights, and the order of the images in each epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glassnet.data import make_rng
from glassnet.recipe import Recipe

N_SEEDS = 5
MAX_BYTES = 470_000  # of all seeds in a page of at most 1 MB; random numbers are hardly smaller when compressed
MAX_NORMALS = 12_000  # of the largest network besides the run's own


@dataclass(frozen=True)
class Draws:
    """The random numbers of one seed.

    ``normals`` are the standard normal numbers that ``initial_state_dict`` draws, one after the other, float64 (L,);
    ``order`` is the order of the training images in each epoch, unsigned integers (epochs, N).
    """

    normals: NDArray[np.float64]
    order: NDArray[np.unsignedinteger]


def draw_seeds(recipe: Recipe, n_train: int, sizes: list[int]) -> dict[int, Draws]:
    """Return the draws of the recipe's seed and of up to four others, as many as fit into ``MAX_BYTES``.

    The recipe's seed has normal numbers for the largest network, the others for the largest that fits. Where the
    orders of all epochs are too long, the page has those of the first epochs and repeats them.

    :param n_train: number of training images.
    :param sizes: numbers of normals that the networks of the page take, the run's own first.
    """
    own, largest = sizes[0], max(sizes)
    epoch_bytes = n_train * np.dtype(_order_dtype(n_train)).itemsize
    epochs = min(recipe.epochs, max(1, (MAX_BYTES - 8 * largest) // epoch_bytes))
    draws = {recipe.seed: _draw(recipe.seed, largest, epochs, n_train)}
    others = [seed for seed in range(N_SEEDS) if seed != recipe.seed][: N_SEEDS - 1]
    if recipe.validation_fraction:
        others = []  # the images held out are drawn from the seed, too: another seed trains on others
    left = MAX_BYTES - 8 * largest - epochs * epoch_bytes
    while others and left < len(others) * (8 * own + epochs * epoch_bytes):
        others.pop()
    room = left / max(1, len(others)) - epochs * epoch_bytes
    count = max((size for size in sizes if own <= size <= room / 8), default=own)
    return draws | {seed: _draw(seed, count, epochs, n_train) for seed in others}


def _draw(seed: int, n_normals: int, epochs: int, n_train: int) -> Draws:
    orders = [make_rng(seed, "shuffle", epoch).permutation(n_train) for epoch in range(1, epochs + 1)]
    normals = np.random.default_rng(seed).standard_normal(n_normals)
    return Draws(normals, np.stack(orders).astype(_order_dtype(n_train)))


def _order_dtype(n_train: int) -> type[np.uint16 | np.uint32]:
    return np.uint16 if n_train <= 1 << 16 else np.uint32
