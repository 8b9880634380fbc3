"""Short experiments on the NumPy engine: the run's own beginning once more, with one thing changed, and a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from glassnet.architecture import ResNetSpec
from glassnet.data import draw, make_rng, shuffled_batches
from glassnet.doctor.context import Evidence
from glassnet.engines import Batch, Network, build
from glassnet.recipe import Recipe
from glassnet.training.schedule import learning_rates

FEWEST_STEPS = 10  # fewer say nothing


@dataclass(frozen=True)
class Trial:
    """A short training: the loss before each step, and the share of right answers over the last quarter of them."""

    losses: tuple[float, ...]
    accuracy: float

    @property
    def loss(self) -> float:
        """Mean over the last quarter of the steps; infinite where it did not stay finite."""
        last = self.losses[-max(1, len(self.losses) // 4) :]
        mean = math.fsum(last) / len(last)
        return mean if math.isfinite(mean) else math.inf


def try_training(
    evidence: Evidence,
    steps: int,
    seconds: float,
    *,
    lr: float | None = None,
    spec: ResNetSpec | None = None,
) -> Trial:
    """Train for so many steps, with the recipe's schedule drawn together to them, from the run's own beginning.

    :param seconds: of the processor, when to stop even if steps are left.
    :param lr: in place of the recipe's.
    :param spec: in place of the run's network; it begins with fresh weights.
    """
    assert evidence.dataset is not None
    assert evidence.normalization is not None
    assert evidence.recipe is not None
    recipe = evidence.recipe if lr is None else evidence.recipe.replace(lr=lr)
    network = _copy(evidence) if spec is None else build(spec, "numpy", recipe.seed, threads=1)
    trainer = network.trainer(recipe, evidence.config.get("freeze"))
    placed = network.place(evidence.dataset.train, evidence.normalization)
    losses: list[float] = []
    right: list[float] = []
    start = thread_time()  # of one thread: what else the machine does must not change a finding
    for rate, batch in zip(learning_rates(recipe, steps), _batches(placed, evidence, recipe), strict=False):
        losses.append(float(trainer.step(batch, lr=float(rate))))
        right.append(trainer.totals().accuracy)
        if not math.isfinite(losses[-1]) or thread_time() - start > seconds:
            break
    last = right[-max(1, len(right) // 4) :]
    return Trial(tuple(losses), math.fsum(last) / len(last))


def _copy(evidence: Evidence) -> Network:
    assert evidence.spec is not None
    network = build(evidence.spec, "numpy", evidence.config["seed"], threads=1)
    network.load_state_dict(evidence.initial.state_dict())
    return network


def _batches(placed: Any, evidence: Evidence, recipe: Recipe) -> Any:
    """The batches of epoch after epoch, as the loop draws them."""
    assert evidence.dataset is not None
    count, epoch = len(evidence.dataset.train), 0
    while True:
        epoch += 1
        changes = make_rng(recipe.seed, "augment", epoch)
        for indices in shuffled_batches(count, recipe.batch_size, make_rng(recipe.seed, "shuffle", epoch)):
            yield Batch(placed, indices, draw(recipe.augment, len(indices), changes))


def seconds_per_image(network: Network, evidence: Evidence, batch_size: int) -> float:
    """The quickest of five training steps, or of those that fit into a second, divided by its images."""
    assert evidence.dataset is not None
    assert evidence.normalization is not None
    recipe = Recipe(batch_size=batch_size, lr=1e-9)
    trainer = network.trainer(recipe)
    placed = network.place(evidence.dataset.train, evidence.normalization)
    indices = np.arange(min(batch_size, len(evidence.dataset.train)), dtype=np.int64)
    clock = thread_time if network.engine == "numpy" else perf_counter  # the one's work is all on this thread
    taken: list[float] = []
    while len(taken) < 6 and (len(taken) < 2 or sum(taken) < 1):  # the first warms up
        start = clock()
        float(trainer.step(Batch(placed, indices)))
        taken.append(clock() - start)
    return min(taken[1:]) / len(indices)
