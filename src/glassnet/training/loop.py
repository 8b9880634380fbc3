"""The training loop, one for every engine."""

from __future__ import annotations

import math
from time import perf_counter

from glassnet.data import (
    Dataset,
    Normalization,
    Split,
    draw,
    epoch_batches,
    random_stream,
    stratified_split,
)
from glassnet.engines import Batch, Network, Trainer
from glassnet.errors import DivergedError
from glassnet.recipe import Recipe
from glassnet.training.progress import Progress
from glassnet.training.run_folder import Checkpoint, Record, RunFolder
from glassnet.training.schedule import learning_rates


class Loop:
    """One training: where it stands, and how it takes the next epoch."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        data: Dataset,
        normalization: Normalization,
        folder: RunFolder,
        progress: Progress,
        evaluate_train: bool,
        freeze: str | None,
    ) -> None:
        self.network, self.recipe, self.folder = network, recipe, folder
        self.evaluate_train, self.progress = evaluate_train, progress
        train_split, validation_split = _held_out(data.train, recipe, data.classes)
        self.train = network.place(train_split, normalization)
        self.validation = validation_split and network.place(validation_split, normalization)
        self.test = network.place(data.test, normalization)
        self.count = len(train_split)
        self.steps = math.ceil(self.count / recipe.batch_size)
        self.rates = learning_rates(recipe, recipe.epochs * self.steps)
        self.trainer: Trainer = network.trainer(recipe, freeze)
        self.epoch = 0
        self.best_epoch: int | None = None
        self.records: list[Record] = []

    def restore(self, checkpoint: Checkpoint) -> None:
        self.epoch, self.best_epoch, self.records = checkpoint.epoch, checkpoint.best_epoch, checkpoint.records
        self.network.load_state_dict(checkpoint.network)
        self.trainer.load_state(checkpoint.optimizer)

    def run(self, epochs: int) -> None:
        if self.epoch >= epochs:
            return
        start, seconds = perf_counter(), None
        self.progress.begin(self.network.engine_title, self.recipe.epochs, self.epoch, self.steps)
        try:
            while self.epoch < epochs:
                self._take_epoch()
                self.progress.epoch(self.records[-1])
            seconds = perf_counter() - start
        finally:
            self.progress.end(seconds)

    def _take_epoch(self) -> None:
        start = perf_counter()
        recipe, epoch = self.recipe, self.epoch + 1
        augmentation = random_stream(recipe.seed, "augment", epoch)
        self.network.seed_dropout(random_stream(recipe.seed, "dropout", epoch))
        rates = self.rates[self.epoch * self.steps : epoch * self.steps]
        batches = epoch_batches(self.count, recipe.batch_size, random_stream(recipe.seed, "shuffle", epoch))
        for rate, indices in zip(rates, batches, strict=True):
            changes = draw(recipe.augment, len(indices), augmentation)
            self.trainer.step(Batch(self.train, indices, changes), lr=float(rate))
            self.progress.step()
        record = self._measured(epoch, float(rates[-1]))
        record["seconds"] = perf_counter() - start
        if self.validation is not None and self._is_best(record):
            self.best_epoch = epoch
        records = [*self.records, record]
        state = self.network.state_dict()
        self.folder.commit(Checkpoint(epoch, self.best_epoch, state, self.trainer.state(), records))
        self.epoch, self.records = epoch, records

    def _measured(self, epoch: int, lr: float) -> Record:
        totals = self.trainer.totals()
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
            evaluated = self.network.evaluate(self.train)
            record |= {"train_evaluated_loss": evaluated.loss, "train_evaluated_accuracy": evaluated.accuracy}
        self._check_finite(record)
        return record

    def _check_finite(self, record: Record) -> None:
        numbers = {name.replace("_", " "): value for name, value in record.items() if isinstance(value, float)}
        numbers |= {f"gradient norm of {key}": norm for key, norm in record["gradient_norms"].items()}
        for name, value in numbers.items():
            if not math.isfinite(value):
                kept = f"{self.folder.path} keeps the state after epoch {self.epoch}"
                raise DivergedError(
                    f"The {name} became {value} in epoch {record['epoch']} at a learning rate of {record['lr']:g}; it "
                    f"must stay finite. {kept if self.epoch else 'Nothing was kept'}. Try a lower lr, or clip_gradient."
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


def _held_out(split: Split, recipe: Recipe, classes: list[str]) -> tuple[Split, Split | None]:
    """The training split without, and with only, the validation share."""
    if not recipe.validation:
        return split, None
    rest, share = stratified_split(split.labels, recipe.validation, recipe.seed, classes)
    return split.take(rest), split.take(share)
