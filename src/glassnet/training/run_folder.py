"""The run folder: a run is created, resumed and replaced in it by one process at a time.

A run that replaces another one is written to ``.next`` until its first epoch is finished; until then the old one is
whole.

From ``create`` or ``restore`` to ``unlock`` or ``discard`` a process holds a lock on ``.lock``. The operating system
takes it from a process that dies.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from typing import Any

from glassnet.errors import RunError
from glassnet.files import temporary_path, write_atomically
from glassnet.training.image_table import ImageTable
from glassnet.training.run_files import Checkpoint, Record, RunFiles


class RunFolder(RunFiles):
    """The files of one run, and the order in which a training may write them."""

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path)
        self.lock_path = self.path / ".lock"
        self.staging_path = self.path / ".next"
        self._staging: RunFiles | None = None  # receives epochs, while an old run is here
        self._held_lock: Any = None

    def check_available(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Check that a run may be written to the folder: its files must not be overwritten, or mixed with others.

        The files that a run leaves if it is killed before its first epoch is finished are ignored.

        :raises RunError: if the folder holds a run with a finished epoch that is neither resumed nor replaced, or files
            that are not a run's; if another process is training in it; or if it is a file.
        """
        if self.path.is_dir() and self._held_lock is None:
            with self._keep_lock_on_success():
                if RunFiles(self.staging_path).has_checkpoint:  # killed while it replaced the old run
                    self._promote_staging()
            self.unlock()
        if self.has_checkpoint:
            if not (resume or overwrite):
                received, options = (
                    ("a finished run", "--overwrite")
                    if self.is_finished
                    else ("an unfinished run", "--resume or --overwrite")
                )
                raise RunError(
                    f"{self.path} must be a new or empty folder. Got {received}. Choose another folder, or {options}."
                )
        elif self.path.is_file():
            raise RunError(f"{self.path} must be a folder. Got a file.")
        elif self.path.is_dir():
            self._check_leftovers()

    def _check_leftovers(self) -> None:
        """Check that there are only files that a run writes before its first epoch is finished, configuration first."""
        state = self.checkpoint_path.parent
        written = (self.config_path, self.images_path, self.checkpoint_path)
        leftovers = set(map(temporary_path, written))
        leftovers |= {state, self.staging_path, self.lock_path}
        if self.config_path.is_file():
            self.read_config()
            leftovers |= {self.config_path, self.images_path, self.metrics_path, self.failure_path, self.diagnosis_path}
        paths = [*self.path.iterdir(), *(state.iterdir() if state.is_dir() else ())]
        foreign_files = sorted(path.relative_to(self.path).as_posix() for path in paths if path not in leftovers)
        if foreign_files:
            raise RunError(
                f"{self.path} must be a new or empty folder. Got a folder that contains {foreign_files[0]!r}."
            )

    def create(self, config: Mapping[str, Any], images: ImageTable) -> None:
        """Start a new run. A run that is here stays, until the new one's first epoch is finished.

        :param images: the table of its images, empty for imported weights.
        :raises RunError: if another process trains here.
        """
        with self._keep_lock_on_success():
            files: RunFiles = self
            if self.has_checkpoint:
                shutil.rmtree(self.staging_path, ignore_errors=True)
                files = self._staging = RunFiles(self.staging_path)
            files.start(config, images)

    def restore(self) -> Checkpoint:
        """Return the state after the last finished epoch, with all files in line with it.

        :raises RunError: if the run is damaged, or another process trains here.
        """
        with self._keep_lock_on_success():
            return self.repair()

    def save_epoch(self, checkpoint: Checkpoint) -> None:
        """Write the epoch that just ended; the first one of a new run replaces the old run."""
        if self._staging is None:
            super().save_epoch(checkpoint)
        else:
            self._staging.save_epoch(checkpoint)
            self._promote_staging()
            self._staging = None

    def _promote_staging(self) -> None:
        """Replace the old run; if a kill interrupts that, do it again. A reader never sees files of both runs."""
        new = RunFiles(self.staging_path)
        self.checkpoint_path.unlink(missing_ok=True)
        self.config_path.unlink(missing_ok=True)
        self.failure_path.unlink(missing_ok=True)
        results = (self.report_path, self.diagnosis_path, self.best_path, self.last_path, self.metrics_path)
        for path in (*results, self.images_path):
            if (source := new.path / path.name).is_file():
                write_atomically(path, source.read_bytes())
            else:
                path.unlink(missing_ok=True)
        write_atomically(self.config_path, new.config_path.read_bytes())
        write_atomically(self.checkpoint_path, new.checkpoint_path.read_bytes())
        new.checkpoint_path.unlink()
        shutil.rmtree(new.path)

    def write_failure(self, failure: Record) -> None:
        """Write what ended the training, unless the failed run was to replace another one."""
        if self._staging is None:
            super().write_failure(failure)

    def discard(self) -> None:
        """Remove a new run that ended before its first epoch was finished, and unlock the folder.

        A run with a finished epoch stays; so do the settings of one that failed, for the doctor, unless it was to
        replace another run.
        """
        if self._staging is not None:
            shutil.rmtree(self._staging.path, ignore_errors=True)
            self._staging = None
        elif not self.has_checkpoint and not self.failure_path.is_file():
            written = (self.metrics_path, self.images_path, self.config_path, self.lock_path)
            for path in (temporary_path(self.checkpoint_path), *written):
                with suppress(PermissionError):  # Windows: a lock that is held
                    path.unlink(missing_ok=True)
            for folder in (self.checkpoint_path.parent, self.path):
                with suppress(OSError):  # the folder is not empty
                    folder.rmdir()
        self.unlock()

    def interrupt_message(self) -> str:
        """Return the message after Ctrl-C: what the folder keeps."""
        if (self._staging or self).has_checkpoint:
            return f"{self.path} keeps the last finished epoch; resume with --run {self.path} --resume."
        if self._staging is None:
            return f"No epoch was finished; nothing of the run is kept in {self.path}."
        return f"No epoch was finished; {self.path} keeps the run that was to be replaced."

    @contextmanager
    def _keep_lock_on_success(self) -> Iterator[None]:
        """Lock the folder; unlock it if the block fails.

        A notebook keeps an error, and with it this object: the next attempt must find no lock.
        """
        self._lock()
        try:
            yield
        except BaseException:
            self.unlock()
            raise

    def _lock(self) -> None:
        """Keep other processes out, until ``unlock`` or the end of this object or this process.

        :raises RunError: if another process trains here.
        """
        from filelock import FileLock, Timeout

        while self._held_lock is None:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.lock_path, timeout=0.1, poll_interval=0.02, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                raise RunError(
                    f"{self.path} must not be in use. Got a folder in which another process is training. "
                    "Choose another folder, or wait until that training ends."
                ) from None
            except FileNotFoundError:  # another process has just removed the folder
                continue
            except OSError:  # a file system without locks
                return
            self._held_lock = lock

    def unlock(self) -> None:
        """Let other processes in; nothing more is written."""
        if self._held_lock is not None:
            with suppress(OSError):  # on Windows it goes with the lock
                self.lock_path.unlink()
            self._held_lock.release()
            self._held_lock = None


class UnwrittenRunFolder(RunFolder):
    """The run folder in a process that does not write it: one of several, and not the first."""

    def save_epoch(self, checkpoint: Checkpoint) -> None:
        """Do nothing."""

    def write_failure(self, failure: Record) -> None:
        """Do nothing."""

    def discard(self) -> None:
        """Do nothing."""

    def interrupt_message(self) -> str:
        """Return nothing: the first process says it."""
        return ""
