"""The learning-rate range test (Smith 2017): the loss while the rate grows from step to step, on a copy."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassnet.data import Dataset, Normalization, cycle_batches, load_data, make_rng
from glassnet.engines import Batch, Network, Trainer, build, clone_network
from glassnet.errors import ConfigError
from glassnet.pages.page import Page, Section, Table
from glassnet.recipe import Recipe, get_recipe
from glassnet.studies import lr_range_figures as figures
from glassnet.studies.study import Study
from glassnet.training.run import spec_for_data

LOWEST, HIGHEST, STEPS = 1e-5, 10.0, 100
DIVERGED = 4.0  # times the lowest smoothed loss, as fastai's finder has it: there the test stops
SMOOTHING = 0.9  # of the running mean that decides about stopping
WINDOW = 0.15  # decades: the standard deviation of the Gaussian that smooths the curve
NINE_TENTHS = 0.9  # on the digits the steadiest of the landmarks, and close to the best constant rate
FALL = 0.02  # of the first loss: a curve that falls less says nothing about rates
LEAST_LOSS = 1e-6  # has a logarithm, which 0 has not


@dataclass(frozen=True)
class LearningRateStudy(Study):
    """The loss at each rate, and three rates that the smoothed curve singles out; None where the loss never fell."""

    model: str
    data: str
    engine: str
    optimizer: str
    batch_size: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]  # of each step's batch, before the step; the last may not be finite
    smoothed: tuple[float, ...]
    steps: int  # planned; fewer rates mean that the loss diverged
    steepest: float | None  # where the smoothed loss falls fastest per factor in the rate
    fallen: float | None  # where it has first done NINE_TENTHS of its fall
    lowest: float | None  # where it is lowest

    @property
    def diverged(self) -> bool:
        return len(self.rates) < self.steps or not math.isfinite(self.losses[-1])

    @property
    def suggested(self) -> float | None:
        """A rate to begin with: where nine tenths of the fall are done, as 1, 2 or 5 times a power of ten, and not
        above the rate where the loss is lowest."""
        return None if self.fallen is None or self.lowest is None else _rounded(self.fallen, self.lowest)

    @property
    def summary(self) -> list[str]:
        ended = (
            f"At {self.rates[-1]:.2g} the loss diverged and the test stopped, after {len(self.rates)} of {self.steps} "
            "steps."
            if self.diverged
            else f"Up to {self.rates[-1]:.2g} the loss did not diverge; it ends at {self.smoothed[-1]:.2g}."
        )
        if self.suggested is None:
            return [
                f"The loss hardly fell at any rate between {self.rates[0]:.2g} and {self.rates[-1]:.2g}, so this test "
                f"suggests none. {ended} More steps may help, or a network that is not trained yet."
            ]
        return [
            f"Try a learning rate of {self.suggested:g} with {self.optimizer} and batches of {self.batch_size}; a "
            f"schedule that rises and falls may go up to {self.lowest:.2g}.",
            f"The smoothed loss falls fastest at {self.steepest:.2g}, has done nine tenths of its fall at "
            f"{self.fallen:.2g} and is lowest at {self.lowest:.2g}, where learning is about to fail. The suggestion is "
            "the second of these, rounded to 1, 2 or 5 times a power of ten: fast, and not beyond the third. Another "
            "seed easily moves each of these rates by a factor of 2 to 4.",
            ended,
        ]

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"diverged": self.diverged, "suggested": self.suggested}


def run_study(
    network: Network | str | None = None,
    data: Dataset | str = "digits",
    recipe: Recipe | None = None,
    *,
    trainer: Trainer | None = None,
    normalization: Normalization | None = None,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    engine: str = "numpy",
    seed: int = 42,
    told: Callable[[str], None] = lambda line: None,
) -> LearningRateStudy:
    """Trains a copy of a network while the rate grows by the same factor at each step, until the loss diverges.

    The network, its buffers, the trainer's optimizer and all generators stay as they are, to the bit.

    :param network: a network of either engine, trained or not; or a preset's name, or None for the preset that suits
        the images, built on ``engine`` from ``seed``.
    :param data: a Dataset or what ``load_data`` takes; its training split is learned from.
    :param recipe: optimizer, weight decay, batch size, label smoothing and clipping; by default the preset's. Its
        rate, schedule and augmentation are not used.
    :param trainer: where given, the copy's optimizer goes on from this one's state.
    :param normalization: by default the data's; of a run, ``model.normalization``.
    :param told: is called with a line every ten steps.
    :raises ConfigError: rates or steps out of range.
    """
    if not 0 < lowest < highest < math.inf:
        raise ConfigError(f"The rates must be 0 < lowest < highest. Got {lowest:g} and {highest:g}.")
    if steps < 10:
        raise ConfigError(f"The steps of this test must be at least 10. Got {steps}.")
    dataset = load_data(data) if isinstance(data, str) else data
    tried = (
        clone_network(network) if isinstance(network, Network) else build(spec_for_data(network, dataset), engine, seed)
    )
    chosen = recipe or get_recipe(tried.spec.preset)
    rates = np.geomspace(lowest, highest, steps)
    expected = dataset.normalization if normalization is None else replace(normalization, scale=dataset.scale)
    losses = _losses(tried, dataset, chosen, trainer, expected, rates, seed, told)
    tested = rates[: len(losses)]
    smoothed = smooth(tested, losses)
    return LearningRateStudy(
        tried.spec.preset,
        Path(str(dataset.source["source"])).name,
        tried.engine,
        chosen.optimizer,
        chosen.batch_size,
        tuple(tested.tolist()),
        tuple(losses),
        tuple(smoothed.tolist()),
        steps,
        *landmarks(tested, smoothed),
    )


def _losses(
    network: Network,
    data: Dataset,
    recipe: Recipe,
    trainer: Trainer | None,
    normalization: Normalization,
    rates: npt.NDArray[np.float64],
    seed: int,
    told: Callable[[str], None],
) -> list[float]:
    """The loss of each step's batch, up to the first that is not finite or far above the lowest."""
    trial = network.trainer(recipe)
    if trainer is not None:
        trial.load_state(trainer.state())
    network.seed_dropout(make_rng(seed, "dropout", 1))
    placed = network.place(data.train, normalization)
    batches = cycle_batches(len(data.train), recipe.batch_size, seed)
    losses: list[float] = []
    mean, best = 0.0, math.inf
    for step, (rate, indices) in enumerate(zip(rates, batches, strict=False), start=1):
        losses.append(float(trial.step(Batch(placed, indices), lr=float(rate))))
        if step % 10 == 0:
            told(f"step {step}/{len(rates)}: learning rate {rate:.1e}, loss {losses[-1]:.4f}")
        mean = SMOOTHING * mean + (1 - SMOOTHING) * losses[-1]
        running = mean / (1 - SMOOTHING**step)
        best = min(best, running)
        if not running <= DIVERGED * best:  # NaN, too
            break
    return losses


def smooth(rates: Sequence[float] | npt.NDArray[Any], losses: Sequence[float]) -> npt.NDArray[np.float64]:
    """The geometric mean of the losses around each rate, weighted by a Gaussian of ``WINDOW`` decades.

    Unlike a running mean it does not lag behind, and a single batch that jumps moves it less than it would move the
    arithmetic mean. A loss that is not finite has no weight.
    """
    places, values = np.log10(np.asarray(rates)), np.asarray(losses, np.float64)
    usable = np.isfinite(values)
    weights = np.exp(-0.5 * ((places[:, np.newaxis] - places) / WINDOW) ** 2) * usable
    logarithms = np.log(np.maximum(np.where(usable, values, 1), LEAST_LOSS))
    result: npt.NDArray[np.float64] = np.exp(weights @ logarithms / weights.sum(axis=1))
    return result


def landmarks(
    rates: npt.NDArray[np.float64], smoothed: npt.NDArray[np.float64]
) -> tuple[float | None, float | None, float | None]:
    """The rates at which the smoothed loss falls fastest, has first done nine tenths of its fall, and is lowest.

    None where it hardly fell.
    """
    bottom = int(np.argmin(smoothed))
    top = float(smoothed[: bottom + 1].max())
    fall = top - float(smoothed[bottom])
    if bottom < 2 or fall < FALL * smoothed[0]:
        return None, None, None
    slope = np.gradient(smoothed, np.log10(rates))
    fallen = np.flatnonzero(smoothed <= top - NINE_TENTHS * fall)
    fallen = fallen[fallen >= int(np.argmax(smoothed[: bottom + 1]))]  # behind the top
    return float(rates[int(np.argmin(slope[: bottom + 1]))]), float(rates[fallen[0]]), float(rates[bottom])


def _rounded(rate: float, most: float) -> float:
    """To 1, 2 or 5 times a power of ten, as the test says no more than that; down where up would exceed ``most``."""
    power = 10.0 ** math.floor(math.log10(rate))
    allowed = [1, *(digit for digit in (2, 5, 10) if digit * power <= most)]
    nearest = min(allowed, key=lambda digit: abs(math.log(rate / (digit * power))))
    return float(f"{nearest * power:.0e}")


def build_page(study: LearningRateStudy) -> Page:
    """The study as a page, not yet written."""
    how = (
        "Each step of the test takes the next batch and a rate that is larger by the same factor; nothing else "
        "changes. While the rate is too small the loss stays, then it falls, and where the rate is too large it jumps "
        "up. The test trains a copy: the network, its optimizer and all generators stay as they were."
    )
    source = (
        f"The curve is the geometric mean of the losses within about ±{WINDOW:g} powers of ten, so that a single batch "
        f"that jumps moves it little. The test stops where the running mean of the loss exceeds {DIVERGED:g} times its "
        "lowest. From L. N. Smith, Cyclical Learning Rates for Training Neural Networks (2017), section 3.3."
    )
    suggested = study.suggested
    facts = [
        ("Suggested rate", "–" if suggested is None else f"{suggested:g}"),
        ("Optimizer", study.optimizer),
        ("Batch size", f"{study.batch_size}"),
        ("Steps", f"{len(study.rates)} of {study.steps}"),
    ]
    rows = list(zip(study.rates, study.losses, study.smoothed, strict=True))
    table = Table("Every step", ["Learning rate", "Loss", "Smoothed"], rows, folded=True)
    return Page(
        f"Learning-rate range test of {study.model} on {study.data}",
        facts,
        study.summary,
        [Section("Loss by learning rate", [how, figures.learning_rate_figure(study), source, table])],
    )
