"""Learning-rate range test (Smith 2017): the loss while the learning rate grows from step to step, on a copy."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from glassnet.data import Dataset, Normalization, cycle_batches, load_data, make_rng
from glassnet.engines import Batch, Network, Trainer, build, clone_network
from glassnet.formats import format_loss
from glassnet.pages.colours import BACKGROUND, TEST, TEXT, TRAIN, VALIDATION
from glassnet.pages.page import Page, Section, Table
from glassnet.pages.text import finite
from glassnet.pages.theme import legend, line_style, new_figure
from glassnet.progress import Progress
from glassnet.recipe import Recipe, get_recipe
from glassnet.settings import Settings, invalid, setting
from glassnet.studies.study import Study
from glassnet.training.run import spec_for_data

FloatArray = npt.NDArray[np.float64]

DIVERGED = 4.0  # factor: the test stops at this multiple of the lowest running mean of the loss, as fastai's does
SMOOTHING = 0.9  # weight of the earlier losses in that running mean
WINDOW = 0.15  # standard deviation, in decades, of the Gaussian that smooths the curve
NEAR_MINIMUM = 0.9  # fraction of the fall: on digits this point varies least and is close to the best constant rate
MIN_FALL = 0.02  # fraction of the first loss: a curve that falls less shows nothing about learning rates
LOSS_FLOOR = 1e-6  # a loss of 0 has no logarithm


@dataclass(frozen=True)
class RangeTest(Settings):
    """The learning rates that are tried, and the seed of weights, batches and dropout masks."""

    title: ClassVar[str] = "range test"

    min_lr: float = setting(1e-5, "First learning rate.", above=0)
    max_lr: float = setting(10.0, "Last learning rate, unless the loss diverges before.", above=0)
    steps: int = setting(100, "Number of learning rates, each for one step.", minimum=10)
    seed: int = setting(42, "Seed of initial weights, batches and dropout.", minimum=0, below=2**32)

    def check(self) -> None:
        """Check that the range is not empty.

        :raises ConfigError: if max_lr is not above min_lr.
        """
        if self.max_lr <= self.min_lr:
            raise invalid("max_lr", f"above min_lr ({self.min_lr:g})", self.max_lr)


@dataclass(frozen=True, repr=False)
class LearningRateStudy(Study):
    """The loss at each learning rate, and three points of the smoothed curve; None where the loss never fell."""

    model: str
    data: str
    engine: str
    optimizer: str
    batch_size: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]  # loss of each step's batch, before the step; the last may not be finite
    smoothed: tuple[float, ...]
    steps: int  # planned; fewer rates mean that the loss diverged
    steepest: float | None  # rate at which the smoothed loss falls fastest per factor of the rate
    near_minimum: float | None  # rate at which the smoothed loss has first done nine tenths of its fall
    minimum: float | None  # rate at which the smoothed loss is lowest

    @property
    def diverged(self) -> bool:
        """Whether the loss diverged before or at the last learning rate."""
        return len(self.rates) < self.steps or not math.isfinite(self.losses[-1])

    @property
    def suggestion(self) -> float | None:
        """Learning rate near the minimum, as 1, 2 or 5 times a power of ten and not above the minimum's."""
        if self.near_minimum is None or self.minimum is None:
            return None
        return round_rate(self.near_minimum, self.minimum)

    @property
    def summary(self) -> list[str]:
        end = (
            f"The loss diverged at a learning rate of {self.rates[-1]:.2g}, after {len(self.rates)} of {self.steps} "
            "steps. The test stopped there."
            if self.diverged
            else f"The loss did not diverge up to a learning rate of {self.rates[-1]:.2g}. It ends at "
            f"{self.smoothed[-1]:.2g}."
        )
        if self.suggestion is None:
            return [
                f"The loss fell too little between learning rates of {self.rates[0]:.2g} and {self.rates[-1]:.2g}, so "
                f"this test suggests none. {end} More steps may help, or a network that is not trained yet."
            ]
        return [
            f"The test suggests a learning rate of {self.suggestion:g} for {self.optimizer} with batches of "
            f"{self.batch_size}. A schedule that rises and falls may go up to {self.minimum:.2g}.",
            f"The smoothed loss falls fastest at {self.steepest:.2g}, has done nine tenths of its fall at "
            f"{self.near_minimum:.2g} and is lowest at {self.minimum:.2g}. The suggestion is the second of these, "
            "rounded to 1, 2 or 5 times a power of ten and not above the third. With another seed each of them easily "
            "changes by a factor of 2 to 4.",
            end,
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return fields, summary, ``diverged`` and ``suggestion`` as JSON takes them."""
        return super().to_dict() | {"diverged": self.diverged, "suggestion": self.suggestion}


def run_study(
    network: Network | str | None = None,
    data: Dataset | str | PathLike[str] = "digits",
    recipe: Recipe | None = None,
    *,
    trainer: Trainer | None = None,
    normalization: Normalization | None = None,
    engine: str = "numpy",
    progress: Progress | None = None,
    **options: Any,
) -> LearningRateStudy:
    """Train a copy of a network while the learning rate grows by one factor per step, until the loss diverges.

    The network, its buffers, the trainer's optimizer and all random generators stay as they are, to the bit.

    :param network: a network of either engine, trained or not; or the name of a preset, by default the one for the
        size of the images, built on ``engine``.
    :param data: a Dataset or a source that ``load_data`` takes; the test trains on its training images.
    :param recipe: optimizer, weight decay, batch size, label smoothing and clipping; by default the preset's. Its
        learning rate, schedule, warm-up and augmentation are not used.
    :param trainer: the trainer whose optimizer state the copy starts from.
    :param normalization: by default the data's; for a run, ``model.normalization``.
    :param progress: logs a line every ten steps.
    :param options: the fields of ``RangeTest``.
    :returns: the losses and the points of their curve.
    :raises ConfigError: if an option is out of its range.
    """
    test = RangeTest().replace(**options)
    dataset = data if isinstance(data, Dataset) else load_data(data)
    if isinstance(network, Network):
        copy = clone_network(network)
    else:
        copy = build(spec_for_data(network, dataset), engine, test.seed)
    used = get_recipe(copy.spec.preset) if recipe is None else recipe
    used_trainer = copy.trainer(used, labels=dataset.train.labels)
    if trainer is not None:
        used_trainer.load_state(trainer.state())
    copy.seed_dropout(make_rng(test.seed, "dropout", 1))
    expected = dataset.normalization if normalization is None else replace(normalization, scale=dataset.scale)
    split = dataset.train
    batches = (
        Batch(split.pixels(indices), split.labels[indices], expected)
        for indices in cycle_batches(len(split), used.batch_size, test.seed)
    )
    losses = _losses(used_trainer, batches, test, progress or Progress())
    rates = np.geomspace(test.min_lr, test.max_lr, test.steps)[: len(losses)]
    smoothed = smooth(rates, losses)
    return LearningRateStudy(
        copy.spec.preset,
        Path(str(dataset.source["source"])).name,
        copy.engine,
        used.optimizer,
        used.batch_size,
        tuple(rates.tolist()),
        tuple(losses),
        tuple(smoothed.tolist()),
        test.steps,
        *curve_points(rates, smoothed),
    )


def _losses(trainer: Trainer, batches: Iterator[Batch], test: RangeTest, progress: Progress) -> list[float]:
    """Return the loss of each step's batch, up to the first that is not finite or far above the lowest."""
    losses: list[float] = []
    mean, lowest = 0.0, math.inf
    for step, rate in enumerate(np.geomspace(test.min_lr, test.max_lr, test.steps).tolist(), start=1):
        losses.append(float(trainer.step(next(batches), lr=rate)))
        if step % 10 == 0:
            progress.log(f"step {step}/{test.steps}: learning rate {rate:.1e}, loss {format_loss(losses[-1])}")
        mean = SMOOTHING * mean + (1 - SMOOTHING) * losses[-1]
        unbiased = mean / (1 - SMOOTHING**step)
        lowest = min(lowest, unbiased)
        if not unbiased <= DIVERGED * lowest:  # true for NaN, too
            break
    return losses


def smooth(rates: Sequence[float] | FloatArray, losses: Sequence[float] | FloatArray) -> FloatArray:
    """Return the geometric mean of the losses around each learning rate, weighted by a Gaussian of ``WINDOW`` decades.

    Unlike a running mean it does not lag, and it moves less than an arithmetic mean where the loss of one batch jumps.
    A loss that is not finite has weight 0.

    :param rates: (n,) learning rates, with a loss for each.
    :returns: float64 (n,).
    """
    decades, values = np.log10(np.asarray(rates)), np.asarray(losses, np.float64)
    usable = np.isfinite(values)
    weights = np.exp(-0.5 * ((decades[:, np.newaxis] - decades) / WINDOW) ** 2) * usable
    logarithms = np.log(np.maximum(np.where(usable, values, 1), LOSS_FLOOR))
    result: FloatArray = np.exp(weights @ logarithms / weights.sum(axis=1))
    return result


def curve_points(rates: FloatArray, smoothed: FloatArray) -> tuple[float | None, float | None, float | None]:
    """Return the learning rates at which the smoothed loss falls fastest, comes near its minimum, and is lowest.

    All three are None if it fell by less than ``MIN_FALL`` of the first loss.

    :param rates: (n,) learning rates in rising order, with the smoothed loss at each.
    """
    bottom = int(np.argmin(smoothed))
    top = int(np.argmax(smoothed[: bottom + 1]))
    fall = smoothed[top] - smoothed[bottom]
    if bottom < 2 or fall < MIN_FALL * smoothed[0]:
        return None, None, None
    steepest = int(np.argmin(np.gradient(smoothed, np.log10(rates))[: bottom + 1]))
    near = top + int(np.argmax(smoothed[top:] <= smoothed[top] - NEAR_MINIMUM * fall))
    return float(rates[steepest]), float(rates[near]), float(rates[bottom])


def round_rate(rate: float, limit: float) -> float:
    """Round to 1, 2 or 5 times a power of ten; down where rounding up would exceed ``limit``."""
    power = 10.0 ** math.floor(math.log10(rate))
    allowed = [1, *(digit for digit in (2, 5, 10) if digit * power <= limit)]
    nearest = min(allowed, key=lambda digit: abs(math.log(rate / (digit * power))))
    return float(f"{nearest * power:.0e}")


def build_page(study: LearningRateStudy) -> Page:
    """Return the study as a page."""
    how = (
        "Each step of the test trains on the next batch with a learning rate that is larger by one factor. The loss "
        "stays while the learning rate is too small, then it falls, and it jumps up where the learning rate is too "
        "large. The test trains a copy: the network, its optimizer and all random generators stay as they were."
    )
    source = (
        f"The curve is the geometric mean of the losses within about ±{WINDOW:g} powers of ten. The test stops where "
        f"the running mean of the loss exceeds {DIVERGED:g} times its lowest value. Source: L. N. Smith, Cyclical "
        "Learning Rates for Training Neural Networks (2017), section 3.3."
    )
    key_figures = [
        ("Suggested rate", "–" if study.suggestion is None else f"{study.suggestion:g}"),
        ("Optimizer", study.optimizer),
        ("Batch size", f"{study.batch_size}"),
        ("Steps", f"{len(study.rates)} of {study.steps}"),
    ]
    rows = list(zip(study.rates, study.losses, study.smoothed, strict=True))
    table = Table("Every step", ["Learning rate", "Loss", "Smoothed"], rows, collapsed=True)
    return Page(
        f"Learning-rate range test of {study.model} on {study.data}",
        key_figures,
        study.summary,
        [Section("Loss by learning rate", [how, learning_rate_figure(study), source, table])],
    )


def learning_rate_figure(study: LearningRateStudy) -> go.Figure:
    """Draw the loss of each step and the smoothed curve over the learning rate, with the points of the curve."""
    points = _points(study)
    described = ", ".join(f"{name} at {rate:.2g}" for name, rate, _ in points) or "it hardly falls anywhere"
    figure = new_figure(
        "Loss by learning rate",
        caption=(
            "Loss of each batch (dots) and smoothed loss (line) by learning rate. A good learning rate lies low on the "
            "long slope, before the bottom, where the curve turns ragged and jumps up."
        ),
        alt=f"Line chart of the loss over the learning rate, logarithmic axis. The smoothed loss: {described}.",
        height=440,
        margin={"b": 96},
    )
    hover = "learning rate %{x:.2e}: loss %{y:.4f}"
    dots = {"mode": "markers", "marker": {"color": TRAIN, "size": 5, "opacity": 0.4}}
    styles = line_style("each batch", TRAIN, hover=hover) | dots, line_style("smoothed", TRAIN, hover=hover, width=3)
    for losses, style in zip((study.losses, study.smoothed), styles, strict=True):
        figure.add_scatter(x=study.rates, y=[finite(loss) for loss in losses], **style)
    for name, rate, marker in points:
        figure.add_scatter(
            x=[rate],
            y=[study.smoothed[study.rates.index(rate)]],
            name=f"{name}: {rate:.2g}",
            mode="markers",
            marker={"size": 13, "line": {"color": BACKGROUND, "width": 1}} | marker,
            hovertemplate=f"{name}: %{{x:.2g}}<extra></extra>",
        )
    finite_losses = [loss for loss in study.losses if math.isfinite(loss)] or [1.0]
    top = 1.25 * max(float(np.percentile(finite_losses, 90)), study.smoothed[0])  # jumps at the end leave the figure
    figure.update_xaxes(title_text="learning rate", type="log", dtick=1, exponentformat="power", zeroline=False)
    figure.update_yaxes(title_text="cross-entropy (nats per image)", range=[0, top])
    return figure.update_layout(legend=legend())


def _points(study: LearningRateStudy) -> list[tuple[str, float, dict[str, str]]]:
    """Return name, learning rate and marker of the points of the curve; none where the loss never fell."""
    points = (
        ("steepest", study.steepest, {"color": VALIDATION, "symbol": "square"}),
        ("nine tenths of the fall", study.near_minimum, {"color": TEST, "symbol": "star"}),
        ("lowest", study.minimum, {"color": TEXT, "symbol": "diamond"}),
    )
    return [(name, rate, marker) for name, rate, marker in points if rate is not None]
