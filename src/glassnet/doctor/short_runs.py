"""Short experiments on the NumPy engine: the run's first steps again with one change, and timed steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter, thread_time

import numpy as np

from glassnet.architecture import ResNetSpec
from glassnet.data import count_batches
from glassnet.doctor.context import CheckContext
from glassnet.engines import Batch, Network, build
from glassnet.recipe import Recipe
from glassnet.training.epoch_batches import EpochBatches, add_larger_images
from glassnet.training.schedule import learning_rates

_MAX_TEST_IMAGES = 1000


def count_steps(context: CheckContext) -> int:
    """Return how many steps the run's finished epochs had, or those of one epoch if none finished."""
    count = len(context.dataset.train) if context.has("data") else context.config.data.train
    return max(1, len(context.history)) * count_batches(count, context.recipe.batch_size)


@dataclass(frozen=True)
class ShortRun:
    """A short training: the loss before each step, the training accuracy over the last quarter of the steps, and the
    test accuracy after them, if it was measured."""

    losses: tuple[float, ...]
    accuracy: float
    test_accuracy: float = math.nan

    @property
    def loss(self) -> float:
        """The mean loss over the last quarter of the steps; infinite if it is not finite."""
        mean = _mean_of_last_quarter(self.losses)
        return mean if math.isfinite(mean) else math.inf


def run_short_training(
    context: CheckContext, steps: int, max_seconds: float, *, lr: float | None = None, spec: ResNetSpec | None = None
) -> ShortRun:
    """Train from the run's initial weights for a few steps, over which the recipe's whole schedule extends.

    :param max_seconds: of processor time, after which the training stops early.
    :param lr: replaces the recipe's learning rate.
    :param spec: replaces the run's network, with new random weights; its test accuracy is measured.
    """
    recipe = context.recipe if lr is None else context.recipe.replace(lr=lr)
    if spec is None:
        network = build(context.spec, "numpy", context.config.seed, threads=1)
        network.load_state_dict(context.initial_network.state_dict())
    else:
        network = build(spec, "numpy", recipe.seed, threads=1)
    trainer = network.trainer(recipe, context.config.freeze, context.dataset.train.labels)
    losses: list[float] = []
    accuracies: list[float] = []
    start = thread_time()  # time of this thread: other load on the machine must not change a finding
    for rate, batch in zip(learning_rates(recipe, steps), _batches(context, recipe), strict=False):
        losses.append(float(trainer.step(batch, lr=float(rate))))
        accuracies.append(trainer.pop_stats().accuracy)
        if not math.isfinite(losses[-1]) or thread_time() - start > max_seconds:
            break
    with trainer.averaged_weights():
        test_accuracy = math.nan if spec is None else _test_accuracy(network, context)
    return ShortRun(tuple(losses), _mean_of_last_quarter(accuracies), test_accuracy)


def _test_accuracy(network: Network, context: CheckContext) -> float:
    split = context.dataset.test
    sample = split.take(np.random.default_rng(0).permutation(len(split))[:_MAX_TEST_IMAGES])
    return network.evaluate(sample, context.normalization).accuracy


def _mean_of_last_quarter(values: list[float] | tuple[float, ...]) -> float:
    last = values[-max(1, len(values) // 4) :]
    return math.fsum(last) / len(last)


def _batches(context: CheckContext, recipe: Recipe) -> Iterator[Batch]:
    """Yield the batches of one epoch after another, as the training loop draws them."""
    add_larger_images(context.dataset, recipe)
    batches = EpochBatches(context.dataset.train, context.normalization, recipe)
    for epoch in itertools.count(1):
        yield from batches.epoch(epoch)


def seconds_per_image(network: Network, context: CheckContext, batch_size: int) -> float:
    """Return the time of the fastest of five training steps, or of those that fit into a second, for one image."""
    split = context.dataset.train
    trainer = network.trainer(Recipe(batch_size=batch_size, lr=1e-9))
    count = min(batch_size, len(split))
    batch = Batch(split.pixels(range(count)), split.labels[:count], context.normalization)
    clock = thread_time if network.engine == "numpy" else perf_counter  # NumPy computes on this thread alone
    seconds: list[float] = []
    while len(seconds) < 6 and (len(seconds) < 2 or sum(seconds) < 1):
        start = clock()
        float(trainer.step(batch))
        seconds.append(clock() - start)
    return min(seconds[1:]) / len(batch)  # the first step warms up
