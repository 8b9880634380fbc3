"""The training loop, one for every engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.classification import Outcome
from glassnet.data import (
    Dataset,
    Normalization,
    Split,
    make_rng,
    stratified_split,
)
from glassnet.engines import Compute, Network, ProcessGroup, Trainer, TrainStats, build_network
from glassnet.errors import ConfigError, DivergedError
from glassnet.formats import format_duration
from glassnet.progress import Progress
from glassnet.recipe import Recipe
from glassnet.training.early_stopping import SINCE_BEST, describe_stop, has_stopped
from glassnet.training.epoch_batches import EpochBatches
from glassnet.training.log_line import describe_epoch
from glassnet.training.run_files import Checkpoint, Record, validation_rank
from glassnet.training.run_folder import RunFolder
from glassnet.training.schedule import learning_rates

Array = NDArray[Any]


@dataclass(frozen=True)
class TrainingTask:
    """A training as each of its processes gets it."""

    spec: ResNetSpec
    compute: Compute
    recipe: Recipe
    split: Split  # the training images
    normalization: Normalization
    freeze: str | None

    def build(self, processes: ProcessGroup) -> Network:
        """Return the network with its initial weights, as that of one of the processes."""
        return build_network(self.spec, self.compute, self.recipe.seed, processes)


class EpochLoop:
    """The steps of an epoch: the same in each of the processes that take them together."""

    def __init__(self, network: Network, task: TrainingTask) -> None:
        self.network, self.recipe = network, task.recipe
        self.split, self.normalization = task.split, task.normalization
        self.batches = EpochBatches(task.split, task.normalization, task.recipe, network.processes)
        self.n_steps = len(self.batches)
        self.learning_rates = learning_rates(task.recipe, task.recipe.epochs * self.n_steps)
        self.trainer: Trainer = network.trainer(task.recipe, task.freeze, task.split.labels)

    def run_epoch(self, epoch: int, after_step: Callable[[], None] = lambda: None) -> tuple[TrainStats, float]:
        """Take the steps of ``epoch``, which counts from 1.

        :returns: the statistics of its steps, and the last learning rate.
        """
        self.network.seed_dropout(make_rng(self.recipe.seed, "dropout", epoch))
        rates = self.learning_rates[(epoch - 1) * self.n_steps : epoch * self.n_steps]
        for rate, batch in zip(rates, self.batches.epoch(epoch), strict=True):
            self.trainer.step(batch, lr=float(rate))
            after_step()
        return self.trainer.pop_stats(), float(rates[-1])


class FitLoop:
    """A training: epochs, evaluations, and what is saved of them. All processes run it; the first one alone saves."""

    def __init__(
        self,
        epoch_loop: EpochLoop,
        data: Dataset,
        validation: Split | None,
        n_contaminated: int,
        folder: RunFolder,
        progress: Progress,
        evaluate_train: bool,
    ) -> None:
        """Prepare a training.

        :param validation: images that select the best epoch.
        :param n_contaminated: number of test images that this run, or one that its weights come from, is trained on.
            With any, the accuracy on the test images is recorded as evaluated_accuracy and is no test accuracy.
        """
        self.epoch_loop, self.network, self.recipe = epoch_loop, epoch_loop.network, epoch_loop.recipe
        self.test, self.validation = data.test, validation
        self.folder, self.progress, self.evaluate_train = folder, progress, evaluate_train
        self.n_contaminated, self.test_name = n_contaminated, data.test_name
        self.epoch = 0
        self.best_epoch: int | None = None
        self.records: list[Record] = []
        self.outcome: Outcome | None = None  # of the weights that ``load`` chooses, on the test images, if known

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint, whose weights the network has already."""
        self.epoch, self.best_epoch, self.records = checkpoint.epoch, checkpoint.best_epoch, checkpoint.records
        self.epoch_loop.trainer.load_state(checkpoint.optimizer)

    def run(self, epochs: int) -> None:
        """Run the epochs up to this one, then unlock the folder.

        :raises KeyboardInterrupt: with a line that says what the folder keeps.
        """
        start, n_steps = perf_counter(), self.epoch_loop.n_steps
        title, total = self.network.engine_title, self.recipe.epochs
        self.progress.start(title, total * n_steps, self.epoch * n_steps)
        try:
            while self.epoch < epochs and not has_stopped(self.recipe.patience, self.records):
                self._run_epoch()
                number = f"{self.epoch:0{len(str(total))}}/{total}"
                described = describe_epoch(self.records[-1], self.recipe, test_name=self.test_name)
                self.progress.log(f"[{title}] epoch {number}: {described}")
        except KeyboardInterrupt as stop:
            stop.args = (self.folder.interrupt_message(),)
            raise
        finally:
            self.progress.finish()
        if has_stopped(self.recipe.patience, self.records) and self.epoch < total:
            self.progress.log(f"[{title}] {describe_stop(vars(self.recipe), self.records)}")
        self.progress.log(f"[{title}] trained and evaluated in {format_duration(perf_counter() - start)}")
        self.folder.unlock()

    def _run_epoch(self) -> None:
        start = perf_counter()
        epoch = self.epoch + 1
        stats, lr = self.epoch_loop.run_epoch(epoch, self.progress.advance)
        with self.epoch_loop.trainer.averaged_weights():
            test = self.network.evaluate(self.test, self.epoch_loop.normalization)
            record = self._epoch_metrics(epoch, stats, lr, test)
        record["seconds"] = perf_counter() - start
        state, optimizer = self.network.state_dict(), self.epoch_loop.trainer.state()
        self._check_finite(record, state | optimizer)
        if self.validation is None:
            self.outcome = test
        elif self._is_best(record):
            self.best_epoch, self.outcome = epoch, test
        if self.recipe.patience is not None and self.best_epoch is not None:
            record[SINCE_BEST] = epoch - self.best_epoch
        records = [*self.records, record]
        self.folder.save_epoch(Checkpoint(epoch, self.best_epoch, state, optimizer, records))
        self.epoch, self.records = epoch, records

    def _epoch_metrics(self, epoch: int, stats: TrainStats, lr: float, test: Outcome) -> Record:
        normalization = self.epoch_loop.normalization
        record = {
            "epoch": epoch,
            "loss": stats.loss,
            "train_accuracy": stats.accuracy,
            "test_loss": None if self.n_contaminated else test.loss,
            "test_accuracy": None if self.n_contaminated else test.accuracy,
            "contaminated": self.n_contaminated,
            "lr": lr,
            "gradient_norms": stats.gradient_norms,
        }
        if self.n_contaminated:
            record |= {"evaluated_loss": test.loss, "evaluated_accuracy": test.accuracy}
        if self.validation is not None:
            validation = self.network.evaluate(self.validation, normalization)
            record |= {"validation_loss": validation.loss, "validation_accuracy": validation.accuracy}
        if self.evaluate_train:
            train = self.network.evaluate(self.epoch_loop.split, normalization)
            record |= {"train_evaluated_loss": train.loss, "train_evaluated_accuracy": train.accuracy}
        return record

    def _check_finite(self, record: Record, state: Mapping[str, Array]) -> None:
        """Raise DivergedError for the first value of the metrics or the state that is not finite."""
        numbers = {name.replace("_", " "): value for name, value in record.items() if isinstance(value, float)}
        numbers |= {f"gradient norm of {key}": norm for key, norm in record["gradient_norms"].items()}
        numbers |= {key: array.flat[np.isfinite(array).argmin()] for key, array in state.items()}
        for name, value in numbers.items():
            if not math.isfinite(value):
                failure = {"epoch": record["epoch"], "name": name, "value": str(value), "lr": record["lr"]}
                self.folder.write_failure(failure)
                kept = (
                    f"{self.folder.path} keeps the state after epoch {self.epoch}" if self.epoch else "Nothing was kept"
                )
                raise DivergedError(
                    f"Training diverged in epoch {record['epoch']}: the {name} became {value} at a learning rate of "
                    f"{record['lr']:g}. {kept}. Try a lower lr, or clip_grad_norm."
                )

    def _is_best(self, record: Record) -> bool:
        """Whether the epoch is better than all before it; the earlier one wins a tie."""
        if self.best_epoch is None:
            return True
        return validation_rank(record) > validation_rank(self.records[self.best_epoch - 1])


def split_validation(data: Dataset, recipe: Recipe) -> tuple[Split, Split | None]:
    """Return the training split without the validation images, and the validation images.

    Those are the data's own, or else a stratified ``validation_fraction`` of the training images, drawn with the
    recipe's seed. Equal images count as one in the draw, so that none is in both parts.

    :raises ConfigError: if ``validation_fraction`` is not 0 for data that has validation images.
    :raises DataError: if a class has too few images for both.
    """
    train, fraction = data.train, recipe.validation_fraction
    if data.validation is not None and fraction:
        raise ConfigError(f"validation_fraction must be 0 for data with validation images of its own. Got {fraction}.")
    if not fraction:
        return train, data.validation
    numbers: dict[bytes, int] = {}  # of the different images, in the order of the data
    number_of = np.array([numbers.setdefault(bytes(content), len(numbers)) for content in train.hashes])
    _, first = np.unique(number_of, return_index=True)
    _, drawn = stratified_split(train.labels[first], fraction, recipe.seed, data.classes, name="validation_fraction")
    is_validation = np.isin(number_of, drawn)
    return train.take(np.flatnonzero(~is_validation)), train.take(np.flatnonzero(is_validation))
