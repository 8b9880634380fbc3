"""The training loop, one for every engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import (
    Dataset,
    Normalization,
    Split,
    make_rng,
    sample_augmentation,
    shuffled_batches,
    stratified_split,
)
from glassnet.engines import Batch, Network, Processes, Trainer, TrainStats
from glassnet.errors import DivergedError
from glassnet.progress import Progress, format_duration
from glassnet.recipe import Recipe
from glassnet.training.run_files import Checkpoint, Record
from glassnet.training.run_folder import RunFolder
from glassnet.training.schedule import learning_rates

Array = NDArray[Any]


class Course:
    """The steps of a training, epoch by epoch: the same for each of the processes that take them together."""

    def __init__(
        self, network: Network, recipe: Recipe, split: Split, normalization: Normalization, freeze: str | None
    ) -> None:
        self.network, self.recipe = network, recipe
        self.placed = network.place(split, normalization)
        self.count = len(split)
        self.steps = math.ceil(self.count / recipe.batch_size)
        self.rates = learning_rates(recipe, recipe.epochs * self.steps)
        self.trainer: Trainer = network.trainer(recipe, freeze)

    def take(self, done: int, after_step: Callable[[], None] = lambda: None) -> tuple[TrainStats, float]:
        """The epoch after ``done`` epochs: what its steps add up to, and the last learning rate."""
        recipe, epoch = self.recipe, done + 1
        augmentation = make_rng(recipe.seed, "augment", epoch)
        self.network.seed_dropout(make_rng(recipe.seed, "dropout", epoch))
        rates = self.rates[done * self.steps : epoch * self.steps]
        batches = shuffled_batches(self.count, recipe.batch_size, make_rng(recipe.seed, "shuffle", epoch))
        for rate, indices in zip(rates, batches, strict=True):
            changes = sample_augmentation(recipe.augment, len(indices), augmentation)
            self.trainer.step(Batch(self.placed, indices, changes), lr=float(rate))
            after_step()
        return self.trainer.totals(), float(rates[-1])


def take_part(
    processes: Processes,
    network: Callable[..., Network],
    course: tuple[Recipe, Split, Normalization, str | None],
    begun: Checkpoint | None,
    epochs: range,
) -> None:
    """What each process beside the first does: the same steps. The weights come from the first one."""
    steps = Course(network(processes=processes), *course)
    if begun:
        steps.trainer.load_state(begun.optimizer)
    for done in epochs:
        steps.take(done)


class Loop:
    """One training: where it stands, and how it takes the next epoch."""

    def __init__(
        self,
        course: Course,
        data: Dataset,
        validation: Split | None,
        normalization: Normalization,
        folder: RunFolder,
        progress: Progress,
        evaluate_train: bool,
    ) -> None:
        self.course, self.network, self.folder = course, course.network, folder
        self.evaluate_train, self.progress = evaluate_train, progress
        self.validation = validation and self.network.place(validation, normalization)
        self.test = self.network.place(data.test, normalization)
        self.epoch = 0
        self.best_epoch: int | None = None
        self.records: list[Record] = []

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from here; the network has the checkpoint's weights already."""
        self.epoch, self.best_epoch, self.records = checkpoint.epoch, checkpoint.best_epoch, checkpoint.records
        self.course.trainer.load_state(checkpoint.optimizer)

    def run(self, epochs: int) -> None:
        """Take the epochs up to this one, then let other processes into the folder.

        :raises KeyboardInterrupt: says what the folder keeps.
        """
        if self.epoch >= epochs:
            return
        start = perf_counter()
        title, steps = self.network.engine_title, self.course.steps
        self.progress.start(title, self.course.recipe.epochs * steps, self.epoch * steps)
        try:
            while self.epoch < epochs:
                self._take_epoch()
                self.progress.log(f"[{title}] {_epoch_line(self.records[-1], self.course.recipe.epochs)}")
        except KeyboardInterrupt as stop:
            stop.args = (self.folder.interrupt_message(),)
            raise
        finally:
            self.progress.finish()
        self.progress.log(f"[{title}] {format_duration(perf_counter() - start)} in all")
        self.folder.unlock()

    def _take_epoch(self) -> None:
        start = perf_counter()
        epoch = self.epoch + 1
        record = self._measured(epoch, *self.course.take(self.epoch, self.progress.advance))
        record["seconds"] = perf_counter() - start
        state, optimizer = self.network.state_dict(), self.course.trainer.state()
        self._check_finite(record, state | optimizer)
        if self.validation is not None and self._is_best(record):
            self.best_epoch = epoch
        records = [*self.records, record]
        self.folder.save_epoch(Checkpoint(epoch, self.best_epoch, state, optimizer, records))
        self.epoch, self.records = epoch, records

    def _measured(self, epoch: int, totals: TrainStats, lr: float) -> Record:
        test = self.network.evaluate(self.test)
        record = {
            "epoch": epoch,
            "loss": totals.loss,
            "train_accuracy": totals.accuracy,
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
            "lr": lr,
            "gradient_norms": totals.gradient_norms,
        }
        if self.validation is not None:
            validation = self.network.evaluate(self.validation)
            record |= {"validation_loss": validation.loss, "validation_accuracy": validation.accuracy}
        if self.evaluate_train:
            evaluated = self.network.evaluate(self.course.placed)
            record |= {"train_evaluated_loss": evaluated.loss, "train_evaluated_accuracy": evaluated.accuracy}
        return record

    def _check_finite(self, record: Record, state: Mapping[str, Array]) -> None:
        """Of each array of the state its first number that is not finite, where there is one, stands for it."""
        numbers = {name.replace("_", " "): value for name, value in record.items() if isinstance(value, float)}
        numbers |= {f"gradient norm of {key}": norm for key, norm in record["gradient_norms"].items()}
        numbers |= {key: array.flat[np.isfinite(array).argmin()] for key, array in state.items()}
        for name, value in numbers.items():
            if not math.isfinite(value):
                failure = {"epoch": record["epoch"], "name": name, "value": str(value), "lr": record["lr"]}
                self.folder.write_failure(failure)
                kept = f"{self.folder.path} keeps the state after epoch {self.epoch}"
                raise DivergedError(
                    f"The {name} became {value} in epoch {record['epoch']} at a learning rate of {record['lr']:g}; it "
                    f"must stay finite. {kept if self.epoch else 'Nothing was kept'}. "
                    "Try a lower lr, or clip_grad_norm."
                )

    def _is_best(self, record: Record) -> bool:
        """The highest validation accuracy, then the lowest validation loss, then the earliest epoch."""
        if self.best_epoch is None:
            return True
        best = self.records[self.best_epoch - 1]
        return (record["validation_accuracy"], -record["validation_loss"]) > (
            best["validation_accuracy"],
            -best["validation_loss"],
        )


def _epoch_line(record: Record, epochs: int) -> str:
    line = (
        f"epoch {record['epoch']:0{len(str(epochs))}}/{epochs} loss={record['loss']:.4f} "
        f"train_acc={record['train_accuracy']:.4f} test_acc={record['test_accuracy']:.4f}"
    )
    return line + (f" val_acc={record['validation_accuracy']:.4f}" if "validation_accuracy" in record else "")


def split_validation(split: Split, recipe: Recipe, classes: list[str]) -> tuple[Split, Split | None]:
    """The training split without, and with only, the validation share."""
    if not recipe.validation_fraction:
        return split, None
    rest, share = stratified_split(
        split.labels, recipe.validation_fraction, recipe.seed, classes, name="validation_fraction"
    )
    return split.take(rest), split.take(share)
