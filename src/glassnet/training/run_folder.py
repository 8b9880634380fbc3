"""The run folder: all that a training leaves, and all that other commands read.

A run commits through one file, ``state/checkpoint.safetensors``, replaced in one step. Everything else follows
from it: ``metrics.jsonl`` may be a line ahead of it, ``last.safetensors`` and ``best.safetensors`` an epoch
behind, after a kill between two writes; ``restore`` puts that right.

A run that replaces another one waits in ``.next`` until its first epoch is committed there; until then the old one
is whole.

One process at a time writes: from ``create`` or ``restore`` to ``release`` or ``abandon`` it has a lock on the folder
itself, which leaves no file and which the kernel takes from a process that dies.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any
from weakref import finalize

from numpy.typing import NDArray

from glassnet.errors import DataError, RunError, as_path
from glassnet.files import add_path_to_error, temporary_path, write_atomically
from glassnet.weights import load_tensors, save_tensors

try:
    import fcntl
except ImportError:  # Windows has none: there nobody is kept out
    fcntl = None  # type: ignore[assignment]

FORMAT = 2
Arrays = dict[str, NDArray[Any]]
Record = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """The state after ``epoch`` finished epochs: weights and buffers, the optimizer's arrays, and all records."""

    epoch: int
    best_epoch: int | None  # chosen by validation
    network: Arrays
    optimizer: Arrays
    records: list[Record] = field(default_factory=list)


class RunFolder:
    """The files of one run and the order in which they are written."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path("A run folder", path)
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.last_path = self.path / "last.safetensors"
        self.best_path = self.path / "best.safetensors"
        self.report_path = self.path / "report.html"
        self.diagnosis_path = self.path / "doctor.html"
        self.checkpoint_path = self.path / "state" / "checkpoint.safetensors"
        self.failure_path = self.path / "state" / "failure.json"
        self.staging_path = self.path / ".next"
        self._next: RunFolder | None = None  # where epochs are committed, while it waits
        self._locked: int | None = None  # the descriptor of the folder, while other processes are kept out

    @property
    def has_checkpoint(self) -> bool:
        return self.checkpoint_path.is_file()

    def check_available(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Refuse a folder in which something lies that a new run would write over or mix with.

        What a run left that was killed before its first epoch was committed is in nobody's way.

        :raises RunError: a committed run that is neither to be resumed nor replaced, another folder that is not
            empty, one in which another process trains, or a file.
        """
        if self.path.is_dir() and self._locked is None:
            self._lock()
            try:
                if RunFolder(self.staging_path).has_checkpoint:  # killed while it took its place
                    self._promote_staging()
            finally:
                self.release()
        if self.has_checkpoint:
            if not (resume or overwrite):
                state, way = (
                    ("a finished run", "") if self.is_finished else ("an unfinished run", ", --resume to go on")
                )
                raise RunError(f"{self.path} holds {state}. Choose another folder{way}, or --overwrite to replace it.")
        elif self.path.is_file():
            raise RunError(f"{self.path} is a file. A run needs a folder.")
        elif self.path.is_dir():
            self._check_leftovers()

    def _check_leftovers(self) -> None:
        """What a run writes before its first commit, and no more, is a killed run's; a configuration comes first."""
        state = self.checkpoint_path.parent
        possible = {temporary_path(self.config_path), state, temporary_path(self.checkpoint_path), self.staging_path}
        if self.config_path.is_file():
            self.read_config()
            possible |= {self.config_path, self.metrics_path, self.failure_path, self.diagnosis_path}
        found = [*self.path.iterdir(), *(state.iterdir() if state.is_dir() else ())]
        strangers = sorted(path.relative_to(self.path).as_posix() for path in found if path not in possible)
        if strangers:
            raise RunError(f"{self.path} holds {strangers[0]!r}, which is no run's. Choose a new or empty folder.")

    @property
    def is_finished(self) -> bool:
        recipe = self.read_config()["recipe"]  # imported weights have none
        try:
            return recipe is None or self.read_checkpoint().epoch >= int(recipe["epochs"])
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{self.config_path} has a recipe without a number of epochs: {recipe!r}.") from None

    def create(self, config: Mapping[str, Any]) -> None:
        """Begin a new run. One that is here already stays, until the new one's first epoch is committed.

        :raises RunError: another process trains here.
        """
        with self._locked_unless_it_fails():
            if self.has_checkpoint:
                shutil.rmtree(self.staging_path, ignore_errors=True)
                self._next = RunFolder(self.staging_path)
                self._next._begin(config)
            else:
                self._begin(config)

    def _begin(self, config: Mapping[str, Any]) -> None:
        self.checkpoint_path.parent.mkdir(parents=True, exist_ok=True)
        self.failure_path.unlink(missing_ok=True)
        self.diagnosis_path.unlink(missing_ok=True)
        self.write_config(config)
        self.metrics_path.write_text("", encoding="utf-8")

    @contextmanager
    def _locked_unless_it_fails(self) -> Iterator[None]:
        """A notebook keeps the error, and with it this object: it must not keep the next attempt out."""
        self._lock()
        try:
            yield
        except BaseException:
            self.release()
            raise

    def _lock(self) -> None:
        """Keep other processes out, until ``release`` or the end of this object or this process.

        :raises RunError: another one is in.
        """
        while fcntl is not None and self._locked is None:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY)  # programs that are started do not inherit it
            self._locked, self._close = descriptor, finalize(self, os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close()
                self._locked = None
                raise RunError(
                    f"{self.path} is in use: another process trains there. Choose another folder, or wait for its end."
                ) from None
            except OSError:  # a file system without locks
                return
            if not (self.path.exists() and os.path.samestat(os.fstat(descriptor), self.path.stat())):
                self.release()  # whoever was in has removed what was opened

    def release(self) -> None:
        """Let other processes in: nothing more is written."""
        if self._locked is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._locked, fcntl.LOCK_UN)  # forked processes, where there are any, hold it as well
            self._close()
            self._locked = None

    def abandon(self) -> None:
        """Remove a new run that ended before its first epoch was committed, and let other processes in; otherwise
        change nothing. One that failed leaves its settings and its failure to the doctor, unless it was to replace
        another."""
        if self._next is not None:
            self._next.abandon()
        elif not self.has_checkpoint and not self.failure_path.is_file():
            for path in (temporary_path(self.checkpoint_path), self.metrics_path, self.config_path):
                path.unlink(missing_ok=True)
            for folder in (self.checkpoint_path.parent, self.path):
                with suppress(OSError):  # somebody else's files
                    folder.rmdir()
        self.release()

    def interrupt_message(self) -> str:
        """What a training that is stopped now leaves here, for whoever stopped it."""
        new = self._next or self
        if new.has_checkpoint:
            return f"{self.path} keeps the last finished epoch; --run {self.path} --resume goes on from there."
        kept = (
            f"nothing of the run is kept in {self.path}"
            if new is self
            else f"{self.path} keeps the run that was to be replaced"
        )
        return f"No epoch was finished; {kept}."

    def _promote_staging(self) -> None:
        """Replace the old run: after a kill at any instant, do it again. No instant shows half of a run."""
        new = RunFolder(self.staging_path)
        self.checkpoint_path.unlink(missing_ok=True)
        self.config_path.unlink(missing_ok=True)
        self.failure_path.unlink(missing_ok=True)
        for path in (self.report_path, self.diagnosis_path, self.best_path, self.last_path, self.metrics_path):
            if (source := new.path / path.name).is_file():
                write_atomically(path, source.read_bytes())
            else:
                path.unlink(missing_ok=True)
        write_atomically(self.config_path, new.config_path.read_bytes())
        write_atomically(self.checkpoint_path, new.checkpoint_path.read_bytes())
        new.checkpoint_path.unlink()
        shutil.rmtree(new.path)

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_atomically(self.config_path, (json.dumps(config, indent=2) + "\n").encode())

    def commit(self, checkpoint: Checkpoint) -> None:
        """Make the epoch that just ended part of the run: its line of metrics, the checkpoint, the weights."""
        if self._next is not None:
            self._next.commit(checkpoint)
            self._promote_staging()
            self._next = None
            return
        with add_path_to_error(self.metrics_path), self.metrics_path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(map(_line, checkpoint.records[-1:]))
        tensors = {f"network/{key}": array for key, array in checkpoint.network.items()}
        tensors |= {f"optimizer/{key}": array for key, array in checkpoint.optimizer.items()}
        about = {"format": FORMAT, "epoch": checkpoint.epoch, "best_epoch": checkpoint.best_epoch}
        save_tensors(self.checkpoint_path, tensors, about)
        self._write_weights(checkpoint)

    def write_failure(self, failure: Record) -> None:
        """What ended the training in an epoch that is not committed, for whoever asks why."""
        if self._next is None:
            write_atomically(self.failure_path, _line(failure).encode())

    def read_failure(self) -> Record | None:
        """What ``write_failure`` was given; None where the training did not fail, or went on after it."""
        try:
            failure = dict(json.loads(self.failure_path.read_text(encoding="utf-8")))
            return failure if failure["epoch"] > len(self.read_records()) else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise RunError(f"{self.failure_path} is not the record of a failure.") from None

    def _write_weights(self, checkpoint: Checkpoint) -> None:
        save_tensors(self.last_path, checkpoint.network)
        if checkpoint.best_epoch == checkpoint.epoch:
            save_tensors(self.best_path, checkpoint.network)

    def restore(self) -> Checkpoint:
        """The committed state, after bringing the other files in line with it.

        :raises RunError: a run that is not whole, or in which another process trains.
        """
        with self._locked_unless_it_fails():
            return self._restored()

    def _restored(self) -> Checkpoint:
        checkpoint = self.read_checkpoint()
        if len(checkpoint.records) < checkpoint.epoch:
            raise RunError(
                f"{self.metrics_path} has {len(checkpoint.records)} whole lines and the run {checkpoint.epoch} epochs."
            )
        write_atomically(self.metrics_path, "".join(map(_line, checkpoint.records)).encode())
        self._write_weights(checkpoint)
        return checkpoint

    def read_checkpoint(self) -> Checkpoint:
        try:
            tensors, about = load_tensors(self.checkpoint_path)
        except DataError as error:
            raise RunError(f"{self.path} has no committed epoch to go on from. {error}") from None
        self._check_format(self.checkpoint_path, about)
        parts: dict[str, Arrays] = {"network": {}, "optimizer": {}}
        try:
            for key, array in tensors.items():
                part, _, name = key.partition("/")
                parts[part][name] = array
            epoch, best_epoch = about["epoch"], about["best_epoch"]
        except KeyError as error:
            raise RunError(
                f"{self.checkpoint_path} is not a run's checkpoint: {error} is unknown or missing."
            ) from None
        return Checkpoint(epoch, best_epoch, **parts, records=self.read_records()[:epoch])

    def read_config(self) -> dict[str, Any]:
        """:raises RunError: a folder that is missing, holds no run, or a run of another format."""
        if not self.config_path.is_file():
            raise RunError(f"{self.path} is not a run folder: it has no config.json.")
        try:
            config = json.loads(self.config_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.config_path} is not JSON: {error}.") from None
        self._check_format(self.config_path, config)
        missing = [name for name in ("dtype", "seed", "spec", "recipe", "data") if name not in config]
        if missing:
            raise RunError(f"{self.config_path} must have {', '.join(missing)}. Got {', '.join(config)}.")
        return dict(config)

    def _check_format(self, path: Path, about: Any) -> None:
        found = about.get("format") if isinstance(about, dict) else None
        if found != FORMAT:
            raise RunError(f"{path} has format {found!r}. This glassnet reads format {FORMAT}.")

    def read_records(self) -> list[Record]:
        """One record per epoch; a last line that a kill tore is left out."""
        if not self.metrics_path.is_file():
            return []
        records: list[Record] = []
        lines = self.metrics_path.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last line end is torn, or empty
            try:
                record = json.loads(line)
            except ValueError:
                raise RunError(f"{self.metrics_path}, line {number}, is not JSON: {line[:60]!r}.") from None
            if not _is_record(record):
                raise RunError(f"{self.metrics_path}, line {number}, is not the record of an epoch: {line[:60]!r}.")
            if record["epoch"] != number:
                raise RunError(
                    f"{self.metrics_path}, line {number}, must be of epoch {number}. Got epoch {record['epoch']}: "
                    "the file is damaged."
                )
            records.append(record)
        return records


def _is_record(record: Any) -> bool:
    """Whether these are an epoch's numbers by name; None is one that is not known."""
    if not isinstance(record, dict) or type(record.get("epoch")) is not int:
        return False
    norms = record.get("gradient_norms", {})
    numbers = [value for name, value in record.items() if name != "gradient_norms"]
    return isinstance(norms, dict) and all(
        value is None or type(value) in (int, float) for value in [*numbers, *norms.values()]
    )


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
