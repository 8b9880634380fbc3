"""The files of one run: how each is written and read.

``config.json`` holds the settings, ``images.csv.gz`` the images with their content hashes, ``metrics.jsonl`` a line for
each epoch, ``state/checkpoint.safetensors`` the state after the last finished epoch, ``last.safetensors`` its weights,
and ``best.safetensors`` those that validation chose.

The checkpoint alone decides what is finished, and is replaced in one step. After a kill between two writes
``metrics.jsonl`` may be a line ahead of it, and the two weight files an epoch behind; ``repair`` puts that right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from glassnet.errors import DataError, RunError, as_path, choice_error
from glassnet.files import add_path_to_error, write_atomically
from glassnet.formats import pluralize
from glassnet.training.early_stopping import has_stopped
from glassnet.training.image_table import ImageTable
from glassnet.weights import load_tensors, save_tensors

FORMAT = 3
_FIELDS = ("dtype", "seed", "spec", "recipe", "data")
Arrays = dict[str, NDArray[Any]]
Record = dict[str, Any]  # the numbers of one epoch, with the keys that Run describes


def validation_rank(record: Record) -> tuple[float, float]:
    """Return what the best epoch has the most of: validation accuracy, then the least loss."""
    return record["validation_accuracy"], -record["validation_loss"]


@dataclass(frozen=True)
class Checkpoint:
    """The state after ``epoch`` finished epochs: weights and buffers, the optimizer's arrays, and all records."""

    epoch: int
    best_epoch: int | None  # the epoch that validation selected
    network: Arrays
    optimizer: Arrays
    records: list[Record] = field(default_factory=list)

    @property
    def weights(self) -> Arrays:
        """The weights that are evaluated and saved: their moving averages with a recipe's ``ema``, or the network's."""
        return {key: self.optimizer.get(f"{key}/average", array) for key, array in self.network.items()}


class RunFiles:
    """The files of one run, at their paths."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path("A run folder", path)
        self.config_path = self.path / "config.json"
        self.images_path = self.path / "images.csv.gz"
        self.metrics_path = self.path / "metrics.jsonl"
        self.last_path = self.path / "last.safetensors"
        self.best_path = self.path / "best.safetensors"
        self.report_path = self.path / "report.html"
        self.diagnosis_path = self.path / "doctor.html"
        self.checkpoint_path = self.path / "state" / "checkpoint.safetensors"
        self.failure_path = self.path / "state" / "failure.json"

    @property
    def has_checkpoint(self) -> bool:
        """Whether at least one epoch is finished."""
        return self.checkpoint_path.is_file()

    @property
    def is_finished(self) -> bool:
        """Whether all epochs of the recipe are finished, or the training stopped early; imported weights are.

        :raises RunError: if the configuration or the checkpoint is missing or damaged.
        """
        recipe = self.read_config()["recipe"]  # imported weights have none
        try:
            if recipe is None:
                return True
            checkpoint, patience = self.read_checkpoint(), recipe.get("patience")
            return checkpoint.epoch >= int(recipe["epochs"]) or has_stopped(patience, checkpoint.records)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RunError(f"{self.config_path}: recipe must have a number of epochs. Got {recipe!r}.") from None

    def weights_path(self, name: str | None = None) -> Path:
        """Return the file of the ``best`` or the ``last`` weights; by default the best if validation selected some.

        :raises RunError: if the name is neither, or the run has no such weights.
        """
        paths = {"best": self.best_path, "last": self.last_path}
        name = name or ("best" if self.best_path.is_file() else "last")
        if name not in paths:
            raise choice_error("weights", paths, name, RunError)
        if not (path := paths[name]).is_file():
            raise RunError(f"{self.path} must have {path.name}. Got a run without a finished, or a selected, epoch.")
        return path

    def start(self, config: Mapping[str, Any], images: ImageTable) -> None:
        """Write the files of a run whose first epoch is not finished yet: configuration, images and empty metrics."""
        self.checkpoint_path.parent.mkdir(parents=True, exist_ok=True)
        self.failure_path.unlink(missing_ok=True)
        self.diagnosis_path.unlink(missing_ok=True)
        self.write_config(config)
        write_atomically(self.images_path, images.to_bytes())
        self.metrics_path.write_text("", encoding="utf-8")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration as JSON, atomically."""
        write_atomically(self.config_path, (json.dumps(config, indent=2) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """Return what ``write_config`` wrote.

        :raises RunError: if the folder is missing, holds no run, or a run of another format.
        """
        if not self.config_path.is_file():
            received = "a path without config.json" if self.path.exists() else "nothing there"
            inside = sorted(str(config.parent) for config in self.path.glob("*/config.json"))
            remedy = f" Choose one of the runs inside: {', '.join(inside)}." if inside else ""
            raise RunError(f"{self.path} must be a run folder. Got {received}.{remedy}")
        try:
            config = json.loads(self.config_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.config_path} must be JSON. Got an error: {error}.") from None
        _check_format(self.config_path, config)
        if missing := [name for name in _FIELDS if name not in config]:
            raise RunError(f"{self.config_path} must have {', '.join(missing)}. Got {', '.join(config)}.")
        return dict(config)

    def read_images(self) -> ImageTable:
        """Return the images of the run, and those that runs before it were trained on.

        :raises RunError: if the file is missing or damaged.
        """
        try:
            return ImageTable.parse(self.images_path.read_bytes())
        except (OSError, DataError) as error:
            received = error.strerror if isinstance(error, OSError) else error
            raise RunError(f"{self.images_path} must be the list of the run's images. Got: {received}.") from None

    def save_epoch(self, checkpoint: Checkpoint) -> None:
        """Write the epoch that just ended: its line of metrics, the checkpoint, the weights.

        :raises OSError: if a file cannot be written.
        """
        with add_path_to_error(self.metrics_path), self.metrics_path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(map(_to_line, checkpoint.records[-1:]))
        tensors = {f"network/{key}": array for key, array in checkpoint.network.items()}
        tensors |= {f"optimizer/{key}": array for key, array in checkpoint.optimizer.items()}
        metadata = {"format": FORMAT, "epoch": checkpoint.epoch, "best_epoch": checkpoint.best_epoch}
        save_tensors(self.checkpoint_path, tensors, metadata)
        self._write_weights(checkpoint)

    def _write_weights(self, checkpoint: Checkpoint) -> None:
        save_tensors(self.last_path, checkpoint.weights)
        if checkpoint.best_epoch == checkpoint.epoch:
            save_tensors(self.best_path, checkpoint.weights)

    def read_checkpoint(self) -> Checkpoint:
        """Return the state after the last finished epoch.

        :raises RunError: if there is none, or its file is damaged.
        """
        try:
            tensors, metadata = load_tensors(self.checkpoint_path)
        except DataError as error:
            raise RunError(f"{self.path} must have a checkpoint to resume from. {error}") from None
        _check_format(self.checkpoint_path, metadata)
        parts: dict[str, Arrays] = {"network": {}, "optimizer": {}}
        try:
            for key, array in tensors.items():
                part, _, name = key.partition("/")
                parts[part][name] = array
            epoch, best_epoch = metadata["epoch"], metadata["best_epoch"]
        except KeyError as error:
            raise RunError(
                f"{self.checkpoint_path} must be a run's checkpoint. Got a file with {error} unknown or missing."
            ) from None
        return Checkpoint(epoch, best_epoch, **parts, records=self.read_records()[:epoch])

    def repair(self) -> Checkpoint:
        """Bring the other files in line with the checkpoint, and return that.

        :raises RunError: if metrics of finished epochs are missing.
        """
        checkpoint = self.read_checkpoint()
        if len(checkpoint.records) < checkpoint.epoch:
            raise RunError(
                f"{self.metrics_path} must have a whole line for each of "
                f"{pluralize(checkpoint.epoch, 'finished epoch')}. "
                f"Got {len(checkpoint.records)}."
            )
        write_atomically(self.metrics_path, "".join(map(_to_line, checkpoint.records)).encode())
        self._write_weights(checkpoint)
        return checkpoint

    def read_records(self) -> list[Record]:
        """Return one record for each epoch, without an incomplete last line that a killed process left."""
        if not self.metrics_path.is_file():
            return []
        lines = self.metrics_path.read_text(encoding="utf-8", errors="replace").split("\n")
        # The text after the last line end is incomplete, or empty.
        return [self._parse_line(line, number) for number, line in enumerate(lines[:-1], start=1)]

    def _parse_line(self, line: str, number: int) -> Record:
        subject = f"{self.metrics_path}, line {number},"
        try:
            record = json.loads(line)
        except ValueError:
            raise RunError(f"{subject} must be JSON. Got {line[:60]!r}.") from None
        if not _is_record(record):
            raise RunError(f"{subject} must be the record of an epoch. Got {line[:60]!r}.")
        if record["epoch"] != number:
            raise RunError(f"{subject} must be of epoch {number}. Got epoch {record['epoch']}: the file is damaged.")
        return dict(record)

    def write_failure(self, failure: Record) -> None:
        """Write what ended the training in an epoch that did not finish."""
        write_atomically(self.failure_path, _to_line(failure).encode())

    def read_failure(self) -> Record | None:
        """Return what ``write_failure`` wrote; None if the training did not fail, or was resumed beyond the failure.

        :raises RunError: if the file is damaged.
        """
        try:
            failure = dict(json.loads(self.failure_path.read_text(encoding="utf-8")))
            return failure if failure["epoch"] > len(self.read_records()) else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise RunError(f"{self.failure_path} must be the record of a failure. Got something else.") from None


def images_of_weights(path: Path) -> ImageTable:
    """Return the images of the run in whose folder a weights file is; none for a file elsewhere.

    :raises RunError: if the run's list of images is damaged.
    """
    run = RunFiles(path.parent)
    return run.read_images() if run.images_path.is_file() else ImageTable()


def _check_format(path: Path, metadata: Any) -> None:
    received = metadata.get("format") if isinstance(metadata, dict) else None
    if received != FORMAT:
        raise RunError(f"{path} must have format {FORMAT}. Got {received!r}.")


def _is_record(record: Any) -> bool:
    """Whether these are an epoch's numbers by name; None stands for a missing value."""
    if not isinstance(record, dict) or type(record.get("epoch")) is not int:
        return False
    norms = record.get("gradient_norms", {})
    numbers = [value for name, value in record.items() if name != "gradient_norms"]
    return isinstance(norms, dict) and all(
        value is None or type(value) in (int, float) for value in [*numbers, *norms.values()]
    )


def _to_line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
