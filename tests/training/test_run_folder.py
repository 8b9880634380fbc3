import errno
import fcntl
import gc
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from filelock import FileLock

from glassnet.errors import RunError
from glassnet.training.image_table import ImageTable
from glassnet.training.run_files import Checkpoint, RunFiles
from glassnet.training.run_folder import RunFolder
from glassnet.weights import load_tensors, save_tensors

CONFIG: dict[str, Any] = {
    "format": 3,
    "dtype": "float32",
    "seed": 0,
    "spec": {},
    "recipe": {"epochs": 2},
    "data": {},
}


def checkpoint(epoch: int, best_epoch: int | None = None) -> Checkpoint:
    return Checkpoint(
        epoch,
        best_epoch,
        {"fc.weight": np.full((2, 2), epoch, np.float32)},
        {"fc.weight/momentum_buffer": np.full((2, 2), -epoch, np.float32)},
        [{"epoch": number + 1, "loss": 0.1 * number} for number in range(epoch)],
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of two epochs, of which one is done."""
    folder = RunFolder(tmp_path / "run")
    folder.create(CONFIG, ImageTable())
    folder.save_epoch(checkpoint(1))
    return folder


def test_what_was_committed_comes_back(folder: RunFolder) -> None:
    folder.save_epoch(checkpoint(2, best_epoch=1))
    read = folder.restore()
    expected = checkpoint(2, best_epoch=1)
    assert (read.epoch, read.best_epoch, read.records) == (2, 1, expected.records)
    np.testing.assert_array_equal(read.network["fc.weight"], expected.network["fc.weight"])
    np.testing.assert_array_equal(
        read.optimizer["fc.weight/momentum_buffer"], expected.optimizer["fc.weight/momentum_buffer"]
    )
    assert folder.read_config() == CONFIG


def test_the_files_of_a_run(folder: RunFolder) -> None:
    folder.save_epoch(checkpoint(2, best_epoch=2))
    folder.unlock()
    files = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()}
    weights = {"last.safetensors", "best.safetensors", "state/checkpoint.safetensors"}
    assert files == {"config.json", "images.csv.gz", "metrics.jsonl"} | weights
    assert load_tensors(folder.best_path)[0]["fc.weight"][0, 0] == 2


def test_best_is_kept_until_another_is_better(folder: RunFolder) -> None:
    folder.save_epoch(checkpoint(2, best_epoch=2))
    folder.save_epoch(checkpoint(3, best_epoch=2))
    assert load_tensors(folder.best_path)[0]["fc.weight"][0, 0] == 2
    assert load_tensors(folder.last_path)[0]["fc.weight"][0, 0] == 3


def test_without_a_choice_there_is_no_best(folder: RunFolder) -> None:
    assert not folder.best_path.exists()


def test_restore_brings_a_stale_last_and_best_in_line(folder: RunFolder) -> None:
    stale = folder.last_path.read_bytes()
    folder.save_epoch(checkpoint(2, best_epoch=2))
    fresh = folder.last_path.read_bytes()
    folder.last_path.write_bytes(stale)
    folder.best_path.unlink()
    folder.restore()
    assert folder.last_path.read_bytes() == folder.best_path.read_bytes() == fresh


def test_restore_cuts_the_metrics_to_the_committed_epoch(folder: RunFolder) -> None:
    whole = folder.metrics_path.read_bytes()
    for more in (b'{"epoch": 2, "loss": 0.1}\n', b'{"epoch": 2, "lo', b'{"epoch": 2}\n{"ep'):
        folder.metrics_path.write_bytes(whole + more)
        assert len(folder.restore().records) == 1
        assert folder.metrics_path.read_bytes() == whole


def test_restore_refuses_metrics_that_lack_committed_epochs(folder: RunFolder) -> None:
    folder.metrics_path.write_text("", encoding="utf-8")
    told = "metrics.jsonl must have a whole line for each of 1 finished epoch. Got 0."
    with pytest.raises(RunError, match=re.escape(told)):
        folder.restore()


def test_restore_touches_nothing_that_is_in_line(folder: RunFolder, snapshot: Any) -> None:
    before = snapshot(folder.path)
    folder.restore()
    assert snapshot(folder.path) == before


def test_readers_leave_a_torn_last_line_out(folder: RunFolder) -> None:
    with folder.metrics_path.open("a", encoding="utf-8") as file:
        file.write('{"epoch": 2, "loss": 0.')
    assert [record["epoch"] for record in folder.read_records()] == [1]


def test_a_whole_line_that_is_no_record(folder: RunFolder) -> None:
    for garbage in (b"garbage\n", b"\xff\xfe\n"):
        folder.metrics_path.write_bytes(garbage)
        with pytest.raises(RunError, match=r"metrics\.jsonl, line 1, must be JSON. Got "):
            folder.read_records()


@pytest.mark.parametrize(("epochs", "line"), [((1, 1), 2), ((2,), 1), ((1, 2, 4), 3), ((1, 2, 3, 2), 4), ((0, 1), 1)])
def test_epochs_that_are_not_in_order(folder: RunFolder, epochs: tuple[int, ...], line: int) -> None:
    records = "".join(f'{{"epoch": {epoch}}}\n' for epoch in epochs)
    folder.metrics_path.write_text(records, encoding="utf-8")
    told = f"metrics.jsonl, line {line}, must be of epoch {line}. Got epoch {epochs[line - 1]}: the file is damaged."
    with pytest.raises(RunError, match=re.escape(told)):
        folder.read_records()


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "{}",
        '{"epoch": "1"}',
        '{"epoch": 1, "loss": "low"}',
        '{"epoch": 1, "gradient_norms": 3}',
        '{"epoch": 1, "gradient_norms": {"fc": "x"}}',
    ],
)
def test_a_line_of_something_else_than_numbers(folder: RunFolder, record: str) -> None:
    folder.metrics_path.write_text(f"{record}\n", encoding="utf-8")
    told = f"metrics.jsonl, line 1, must be the record of an epoch. Got {record!r}."
    with pytest.raises(RunError, match=re.escape(told)):
        folder.read_records()


def test_a_run_without_metrics_has_no_records(folder: RunFolder) -> None:
    folder.metrics_path.unlink()
    assert folder.read_records() == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "config.json must be JSON. Got an error: "),
        (b"\xff\xfe", "config.json must be JSON. Got an error: "),
        (b"[]", "config.json must have format 3. Got None."),
        (b"{}", "config.json must have format 3. Got None."),
        (b'{"format": 1}', "config.json must have format 3. Got 1."),
        (b'{"format": 3, "seed": 0, "spec": {}}', "config.json must have dtype, recipe, data. Got format, "),
    ],
)
def test_a_config_that_is_none(folder: RunFolder, content: bytes, told: str) -> None:
    folder.config_path.write_bytes(content)
    with pytest.raises(RunError, match=re.escape(told)) as caught:
        folder.read_config()
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    for path, received in ((tmp_path, "a path without config.json"), (tmp_path / "none", "nothing there")):
        with pytest.raises(RunError, match=re.escape(f"{path} must be a run folder. Got {received}.")):
            RunFolder(path).read_config()


def test_a_checkpoint_that_is_none(folder: RunFolder) -> None:
    whole = folder.checkpoint_path.read_bytes()
    for content in (b"", whole[:-1], b"garbage"):
        folder.checkpoint_path.write_bytes(content)
        told = "run must have a checkpoint to resume from. "
        with pytest.raises(RunError, match=re.escape(told)):
            folder.read_checkpoint()
    save_tensors(folder.checkpoint_path, {"x": np.ones(1)})
    with pytest.raises(
        RunError,
        match=re.escape("checkpoint.safetensors must have format 3. Got None."),
    ):
        folder.read_checkpoint()


class TestWhetherAFolderIsFree:
    @pytest.mark.parametrize("resume", [False, True])
    def test_nothing_is_there_or_nothing_is_in_it(self, tmp_path: Path, resume: bool) -> None:
        (tmp_path / "empty").mkdir()
        for path in (tmp_path / "none", tmp_path / "empty"):
            RunFolder(path).check_available(resume=resume)

    def test_an_unfinished_run(self, folder: RunFolder) -> None:
        told = "must be a new or empty folder. Got an unfinished run. Choose another folder, or --resume or --ov"
        with pytest.raises(RunError, match=re.escape(told)):
            folder.check_available()
        folder.check_available(resume=True)
        folder.check_available(overwrite=True)

    def test_a_finished_run(self, folder: RunFolder) -> None:
        folder.save_epoch(checkpoint(2))
        told = "must be a new or empty folder. Got a finished run. Choose another folder, or --overwrite."
        with pytest.raises(RunError, match=re.escape(told)):
            folder.check_available()
        folder.check_available(resume=True)
        folder.check_available(overwrite=True)

    def test_what_a_kill_before_the_first_epoch_left(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path)
        folder.create(CONFIG, ImageTable())
        folder.metrics_path.write_text('{"epoch": 1', encoding="utf-8")
        for name in (
            ".config.json.tmp",
            ".images.csv.gz.tmp",
            "state/.checkpoint.safetensors.tmp",
            ".next/config.json",
        ):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        folder.check_available()

    @pytest.mark.parametrize("arguments", [{}, {"resume": True}, {"overwrite": True}])
    @pytest.mark.parametrize(
        "name", ["last.safetensors", "best.safetensors", "report.html", "metrics.jsonl", "state/best.safetensors"]
    )
    @pytest.mark.parametrize("with_config", [False, True])
    def test_what_no_kill_leaves(
        self, tmp_path: Path, name: str, arguments: dict[str, bool], with_config: bool
    ) -> None:
        """Before the first commit there are no weights and no report, and no metrics without a configuration."""
        folder = RunFolder(tmp_path)
        if with_config:
            folder.create(CONFIG, ImageTable())
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("theirs", encoding="utf-8")
        if with_config and name == "metrics.jsonl":
            folder.check_available(**arguments)
            return
        told = f"{tmp_path} must be a new or empty folder. Got a folder that contains {name!r}."
        with pytest.raises(RunError, match=re.escape(told)):
            folder.check_available(**arguments)
        assert (tmp_path / name).read_text(encoding="utf-8") == "theirs"

    @pytest.mark.parametrize("arguments", [{}, {"resume": True}, {"overwrite": True}])
    def test_somebody_elses_folder(self, tmp_path: Path, arguments: dict[str, bool]) -> None:
        (tmp_path / "thesis.tex").touch()
        told = f"{tmp_path} must be a new or empty folder. Got a folder that contains 'thesis.tex'."
        with pytest.raises(RunError, match=re.escape(told)):
            RunFolder(tmp_path).check_available(**arguments)

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match=re.escape("file must be a folder. Got a file.")):
            RunFolder(tmp_path / "file").check_available(overwrite=True)


class TestReplacing:
    NEW: ClassVar = {**CONFIG, "seed": 7}

    def test_the_old_run_is_whole_until_the_new_one_commits(self, folder: RunFolder, snapshot: Any) -> None:
        folder.save_epoch(checkpoint(2, best_epoch=2))
        folder.report_path.touch()
        (folder.path / "notes.txt").write_text("mine", encoding="utf-8")
        before = snapshot(folder.path)
        folder.create(self.NEW, ImageTable())
        after = snapshot(folder.path)
        assert {name: after[name] for name in after if not name.startswith(".next/")} == before
        folder.save_epoch(checkpoint(1))
        files = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()}
        assert files == {
            *("config.json", "images.csv.gz", "metrics.jsonl", "last.safetensors", "state/checkpoint.safetensors"),
            *("notes.txt", ".lock"),
        }
        assert not folder.staging_path.exists()
        assert (folder.read_config(), folder.restore().epoch) == (self.NEW, 1)
        folder.save_epoch(checkpoint(2))
        assert folder.restore().epoch == 2

    def test_abandoned_it_leaves_the_old_run(self, folder: RunFolder, snapshot: Any) -> None:
        folder.unlock()
        before = snapshot(folder.path)
        folder.create(self.NEW, ImageTable())
        folder.discard()
        assert snapshot(folder.path) == before
        assert not folder.staging_path.exists()

    def test_what_a_stop_leaves(self, folder: RunFolder, tmp_path: Path) -> None:
        going_on = f"{folder.path} keeps the last finished epoch; resume with --run {folder.path} --resume."
        assert folder.interrupt_message() == going_on
        folder.create(self.NEW, ImageTable())
        kept = f"No epoch was finished; {folder.path} keeps the run that was to be replaced."
        assert folder.interrupt_message() == kept
        folder.save_epoch(checkpoint(1))
        assert folder.interrupt_message() == going_on
        first = RunFolder(tmp_path / "first")
        first.create(CONFIG, ImageTable())
        assert first.interrupt_message() == f"No epoch was finished; nothing of the run is kept in {first.path}."

    def test_abandoned_where_nothing_was_it_leaves_nothing(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path / "a" / "run")
        folder.create(CONFIG, ImageTable())
        folder.discard()
        assert not folder.path.exists()

    def test_abandoned_beside_somebodys_notes_it_leaves_them(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path)
        folder.create(CONFIG, ImageTable())
        (tmp_path / "notes.txt").touch()
        folder.discard()
        assert list(tmp_path.iterdir()) == [tmp_path / "notes.txt"]

    def test_a_committed_run_is_not_abandoned(self, folder: RunFolder, snapshot: Any) -> None:
        folder.unlock()
        before = snapshot(folder.path)
        folder.discard()
        assert snapshot(folder.path) == before


def test_a_record_that_is_not_finite_is_never_written(folder: RunFolder) -> None:
    spoiled = checkpoint(2)
    spoiled.records[-1]["loss"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.save_epoch(spoiled)
    assert folder.restore().epoch == 1


def test_a_full_disk_is_told_with_the_file(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left") as caught:
        folder.save_epoch(checkpoint(2))
    assert caught.value.filename == str(folder.metrics_path)


def test_every_line_is_one_object(folder: RunFolder) -> None:
    folder.save_epoch(checkpoint(2))
    lines = folder.metrics_path.read_bytes().split(b"\n")
    assert [json.loads(line)["epoch"] for line in lines[:-1]] == [1, 2]
    assert lines[-1] == b""


def test_another_programs_config_is_not_a_leftover_of_ours(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    for given in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(RunError, match="must have format 3. Got None"):
            RunFolder(tmp_path).check_available(**given)


HOLDS = """
import sys, time
from glassnet.training import RunFolder

folder = RunFolder(sys.argv[1])
folder.restore()
print("held", flush=True)
time.sleep(600)
"""


class TestOneProcessAtATime:
    @pytest.fixture
    def unlocked(self, folder: RunFolder) -> RunFolder:
        folder.unlock()
        return folder

    def told(self, folder: RunFolder) -> str:
        return re.escape(
            f"{folder.path} must not be in use. Got a folder in which another process is training. Choose another"
        )

    def test_a_second_one_is_refused_until_the_first_is_killed(self, unlocked: RunFolder, snapshot: Any) -> None:
        with subprocess.Popen([sys.executable, "-c", HOLDS, unlocked.path], stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            before = snapshot(unlocked.path)
            for attempt in (
                lambda: unlocked.create(CONFIG, ImageTable()),
                unlocked.restore,
                lambda: unlocked.check_available(resume=True),
                lambda: unlocked.check_available(overwrite=True),
            ):
                with pytest.raises(RunError, match=self.told(unlocked)):
                    attempt()
            assert snapshot(unlocked.path) == before
            holder.kill()
        assert unlocked.restore().epoch == 1

    def test_it_is_kept_while_an_old_run_is_replaced(self, unlocked: RunFolder) -> None:
        unlocked.create(CONFIG, ImageTable())
        for _ in range(2):
            with pytest.raises(RunError, match=self.told(unlocked)):
                RunFolder(unlocked.path).create(CONFIG, ImageTable())
            unlocked.save_epoch(checkpoint(1))
        unlocked.unlock()
        RunFolder(unlocked.path).create(CONFIG, ImageTable())

    def test_an_abandoned_one_lets_others_in(self, tmp_path: Path) -> None:
        first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
        first.create(CONFIG, ImageTable())
        with pytest.raises(RunError, match=self.told(first)):
            second.create(CONFIG, ImageTable())
        first.discard()
        assert not first.path.exists()
        second.create(CONFIG, ImageTable())

    def test_one_that_is_forgotten_lets_others_in(self, unlocked: RunFolder) -> None:
        RunFolder(unlocked.path).restore()
        gc.collect()
        unlocked.restore()

    def test_one_that_failed_lets_others_in(self, unlocked: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = unlocked.checkpoint_path.read_bytes()
        unlocked.checkpoint_path.write_bytes(whole[:-1])
        with pytest.raises(RunError, match="must be a whole safetensors file"):
            unlocked.restore()
        unlocked.checkpoint_path.write_bytes(whole)
        with monkeypatch.context() as patch:
            patch.setattr(RunFiles, "write_config", lambda *_: [][0])
            with pytest.raises(IndexError):
                unlocked.create(CONFIG, ImageTable())
        assert RunFolder(unlocked.path).restore().epoch == 1

    def test_a_folder_made_anew_meanwhile_is_locked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The one that is opened may be removed, by the one that had it, before it is locked."""
        first, acquire = RunFolder(tmp_path / "run"), FileLock.acquire

        def remove_first(lock: FileLock) -> None:
            monkeypatch.setattr(FileLock, "acquire", acquire)
            first.path.rmdir()
            lock.acquire()

        monkeypatch.setattr(FileLock, "acquire", remove_first)
        first.create(CONFIG, ImageTable())
        with pytest.raises(RunError, match=self.told(first)):
            RunFolder(first.path).create(CONFIG, ImageTable())

    def test_a_lock_whose_file_was_removed_is_none(self, unlocked: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        """One process opens the file, and another removes and unlocks it before the first one has locked it."""
        first, flock = RunFolder(unlocked.path), fcntl.flock
        first.restore()

        def unlock_first(descriptor: int, operation: int) -> None:
            monkeypatch.setattr(fcntl, "flock", flock)
            first.unlock()
            flock(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", unlock_first)
        unlocked.restore()
        with pytest.raises(RunError, match=self.told(unlocked)):
            RunFolder(unlocked.path).restore()

    def test_unlock_leaves_no_file(self, unlocked: RunFolder) -> None:
        assert not unlocked.lock_path.exists()
        unlocked.restore()
        assert unlocked.lock_path.exists()
        unlocked.unlock()
        assert not unlocked.lock_path.exists()

    def test_a_forked_process_does_not_keep_it(self, unlocked: RunFolder) -> None:
        unlocked.restore()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)  # until the parent closes its end
            os._exit(0)
        os.close(reading)
        unlocked.unlock()
        try:
            RunFolder(unlocked.path).restore()
        finally:
            os.close(writing)
            os.waitpid(child, 0)

    def test_on_a_file_system_without_locks_nobody_is_refused(
        self, unlocked: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def flock(*_: int) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", flock)
        unlocked.restore()
        RunFolder(unlocked.path).restore()
        unlocked.unlock()


class TestFailure:
    FAILURE: ClassVar[dict[str, Any]] = {"epoch": 2, "name": "loss", "value": "nan", "lr": 0.1}

    def test_it_comes_back(self, folder: RunFolder) -> None:
        assert folder.read_failure() is None
        folder.write_failure(self.FAILURE)
        assert folder.read_failure() == self.FAILURE

    def test_a_run_that_went_on_after_it_did_not_fail(self, folder: RunFolder) -> None:
        folder.write_failure(self.FAILURE)
        folder.save_epoch(checkpoint(2))
        assert folder.read_failure() is None

    def test_a_new_run_in_the_folder_has_none(self, folder: RunFolder) -> None:
        folder.write_failure(self.FAILURE)
        folder.diagnosis_path.touch()
        folder.create(CONFIG, ImageTable())
        folder.save_epoch(checkpoint(1))
        assert folder.read_failure() is None
        assert not folder.diagnosis_path.exists()

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"epoch": "two"}'])
    def test_a_damaged_one(self, folder: RunFolder, text: str) -> None:
        folder.failure_path.write_text(text)
        told = f"{folder.failure_path} must be the record of a failure. Got something else."
        with pytest.raises(RunError, match=re.escape(told)):
            folder.read_failure()

    def test_it_stays_where_nothing_was_committed_and_is_no_stranger(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path / "failed")
        folder.create(CONFIG, ImageTable())
        folder.write_failure({**self.FAILURE, "epoch": 1})
        folder.discard()
        assert folder.read_failure() is not None
        folder.diagnosis_path.touch()
        folder.check_available()
