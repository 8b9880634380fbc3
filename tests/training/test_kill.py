"""A run killed at any instant, then resumed, is the run that was never interrupted."""

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet.training import RunFolder
from tests.training.runs import EVERYTHING, assert_same_run, train


class Killed(BaseException):
    """The process is gone: nothing that comes after it touches a file."""


@contextmanager
def killed_at(instant: int) -> Iterator[list[str]]:
    """Dies at the given one of the instants before, within and after each change to a file; lists those it passed."""
    passed: list[str] = []
    plain = {name: getattr(Path, name) for name in ("write_bytes", "write_text", "replace", "unlink", "open")}

    def reach(name: str) -> None:
        if len(passed) == instant:
            raise Killed
        passed.append(name)

    def write_bytes(self: Path, content: bytes) -> int:
        reach(f"before {self.name}")
        plain["write_bytes"](self, content[: len(content) // 2])
        reach(f"within {self.name}")
        return int(plain["write_bytes"](self, content))

    def replace(self: Path, target: Path) -> Path:
        reach(f"before replacing {target.name}")
        plain["replace"](self, target)
        reach(f"after replacing {target.name}")
        return target

    def unlink(self: Path, missing_ok: bool = False) -> None:
        reach(f"before removing {self.name}")
        plain["unlink"](self, missing_ok)

    def opened(self: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode != "a":
            return plain["open"](self, mode, *arguments, **named)
        reach(f"before a line of {self.name}")
        file = plain["open"](self, mode, *arguments, **named)
        write = file.write

        def torn(text: str) -> None:
            write(text[: len(text) // 2])
            file.flush()
            try:
                reach(f"within a line of {self.name}")
            except Killed:
                file.close()
                raise
            write(text[len(text) // 2 :])

        file.write, file.writelines = torn, lambda lines: [torn(line) for line in lines]
        return file

    with pytest.MonkeyPatch.context() as patch:
        for name, function in (
            ("write_bytes", write_bytes),
            ("replace", replace),
            ("unlink", unlink),
            ("open", opened),
        ):
            patch.setattr(Path, name, function)
        yield passed


SHORT: dict[str, Any] = {**EVERYTHING, "epochs": 2, "batch_size": 100, "evaluate_train": False}


def is_killed(instant: int, data: gn.Dataset, run: Path, **again: Any) -> bool:
    with killed_at(instant):
        try:
            train(data, run, **SHORT, **again)
        except Killed:
            died = True
        else:
            died = False
    gc.collect()  # the end of a process drops its locks at once, whatever refers to them
    return died


@pytest.fixture(scope="module")
def few(digits: gn.Dataset) -> gn.Dataset:
    train, test = digits.train, digits.test
    return gn.Dataset(
        *(train.images[:150], train.labels[:150]),
        test_images=test.images[:50],
        test_labels=test.labels[:50],
        scale=16.0,
    )


@pytest.fixture(autouse=True)
def _quick_collection() -> Iterator[None]:
    """The collector would look at what all tests before have left each time that a process ends here: 60 s in all."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_at_every_instant_between_two_changes_to_a_file(few: gn.Dataset, tmp_path: Path) -> None:
    """Killed at one instant of the whole run, resumed and killed at the same instant of what is left, resumed."""
    train(few, tmp_path / "whole", **SHORT)
    for instant in range(100):
        run = tmp_path / str(instant)
        if not is_killed(instant, few, run):
            break
        if (run / "last.safetensors").is_file():  # what others may read is committed
            assert RunFolder(run).has_checkpoint
        is_killed(instant, few, run, resume=True)
        train(few, run, **SHORT, resume=True)
        assert_same_run(run, tmp_path / "whole")
    assert instant > 25  # metrics, checkpoint, last and best of two epochs


def test_at_every_instant_of_replacing_an_old_run(few: gn.Dataset, tmp_path: Path) -> None:
    """The old run is whole, or the new one goes on; the two are never mixed, and never are both gone."""
    train(few, tmp_path / "whole", **SHORT)
    old = {"model": "tiny", "epochs": 1, "validation_fraction": 0.2}
    train(few, tmp_path / "old", **old)
    (tmp_path / "old" / "report.html").touch()
    outcomes: list[str] = []
    for instant in range(100):
        run = tmp_path / str(instant)
        shutil.copytree(tmp_path / "old", run)
        if not is_killed(instant, few, run, overwrite=True):
            break
        here, new = RunFolder(run), RunFolder(run / ".next")
        if new.has_checkpoint:  # the new one has an epoch, which must not be lost
            outcomes.append("new")
            if here.has_checkpoint:  # wholly the old one or wholly the new one
                pairs = [(one.config_path, one.metrics_path, one.checkpoint_path) for one in (here, new)]
                assert len({old.read_bytes() == new.read_bytes() for old, new in zip(*pairs, strict=True)}) == 1
            is_killed(instant % 7, few, run, resume=True)
        elif gn.load(run).network.spec.preset == "tiny":
            outcomes.append("old")
            shutil.rmtree(run / ".next", ignore_errors=True)
            assert_same_run(run, tmp_path / "old")
            assert (run / "report.html").is_file()
            train(few, run, **SHORT, overwrite=True, stop_after_epoch=1)
        train(few, run, **SHORT, resume=True)
        assert_same_run(run, tmp_path / "whole")
        assert not (run / "report.html").exists()
    assert {"old", "new"} == set(outcomes)
    assert instant > 40


PROGRAM = """
import os, sys
import glassnet as gn
from glassnet.progress import Progress

class Loud(Progress):
    def start(self, *task):
        print("started", flush=True)
    def log(self, line):
        if "] epoch " in line:
            print(line, flush=True)

gn.train("tiny-bn", "digits", run=sys.argv[1], resume=True, progress=Loud(), recipe=gn.Recipe(schedule="one-cycle"),
         report=False, samples=300, epochs=12, batch_size=50, width=4, dropout=0.25, augment="flip-crop",
         validation_fraction=0.2)
"""


def start(run: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(run)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def kill_and_resume(run: Path, lines: int, seconds: float) -> None:
    """Kill a run so many seconds after it printed so many lines, then let it go on to its end."""
    process = start(run)
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline()
    time.sleep(seconds)
    process.kill()
    process.communicate(timeout=120)
    finish(run)


def finish(run: Path) -> None:
    """Run the program to its end in this process: another one would import everything again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["", str(run)])
        exec(PROGRAM, {})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody killed."""
    run = tmp_path_factory.mktemp("kill") / "whole"
    finish(run)
    return run


def test_a_killed_process(uninterrupted: Path, tmp_path: Path) -> None:
    kill_and_resume(tmp_path / "run", 4, 0.01)  # three epochs of twelve are done
    assert_same_run(tmp_path / "run", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_ten_processes_killed_at_random_instants(uninterrupted: Path, tmp_path: Path, seed: int) -> None:
    whole = sum(record["seconds"] for record in gn.load(uninterrupted).history)
    kill_and_resume(tmp_path / "run", 1, random.Random(seed).uniform(0, whole))
    assert_same_run(tmp_path / "run", uninterrupted)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process on Windows")
def test_ctrl_c_ends_the_command_with_one_line_and_keeps_the_last_epoch(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "glassnet", "train", "digits", "--epochs", "1000", "--run", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    while "epoch 0003/1000" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=60)
    assert process.returncode == 1, rest
    assert out == ""
    *told, last = [*lines, *rest.splitlines(keepends=True)]
    kept = f"{run} keeps the last finished epoch; resume with --run {run} --resume."
    assert last == f"Error: Stopped. {kept}\n"
    assert all(line.startswith("[NumPy] ") for line in told)
    epochs = [line.split()[2] for line in told if line.startswith("[NumPy] epoch ")]
    assert epochs == [f"{number:04}/1000:" for number in range(1, len(epochs) + 1)]
    assert len(gn.load(run).history) >= len(epochs)
    assert not (run / "report.html").exists()
