"""The batches of a training's steps, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator

from glassnet.data import (
    Augmentation,
    BatchLoader,
    Dataset,
    Normalization,
    Split,
    count_batches,
    load_larger,
    make_rng,
    shuffled_batches,
)
from glassnet.engines import Batch, ProcessGroup
from glassnet.engines.process_group import SINGLE_PROCESS
from glassnet.recipe import Recipe


class EpochBatches:
    """The batches of a training: shuffled anew in each epoch, and augmented."""

    def __init__(
        self, split: Split, normalization: Normalization, recipe: Recipe, processes: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        """Make the batches of the training images in a split; each of several processes loads its own rows."""
        self.normalization, self.recipe, self.processes = normalization, recipe, processes
        self.split, self.n_images = split, len(split)
        self.loader = BatchLoader(split, recipe_augmentation(recipe), self._rows)

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return count_batches(self.n_images, self.recipe.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, which counts from 1."""
        seed, size = self.recipe.seed, self.recipe.batch_size
        order = list(shuffled_batches(self.n_images, size, make_rng(seed, "shuffle", epoch)))
        for indices, (images, labels) in zip(order, self.loader.load(order, epoch), strict=True):
            yield Batch(images, labels, self.normalization, self._rows(len(indices)), self.split.labels[indices])

    def _rows(self, total: int) -> slice:
        """Return the images of a step that this process computes."""
        return self.processes.rows(total, self.recipe.shards or self.processes.world_size)


def recipe_augmentation(recipe: Recipe) -> Augmentation:
    """Return the augmentation of a recipe."""
    return Augmentation(recipe.augment, recipe.rotate, recipe.translate, recipe.jitter, recipe.seed)


def add_larger_images(data: Dataset, recipe: Recipe) -> None:
    """Give the training images of files their larger ones, where the recipe resizes crops of them."""
    if recipe_augmentation(recipe).has_resized_crops and data.train.larger is None:
        data.train.larger = load_larger(data)
