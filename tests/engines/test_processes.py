"""Several processes that train one network. A process of its own costs seconds, so few tests start any."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import active_children, current_process
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import glassnet as gn
from glassnet.data import make_rng
from glassnet.engines import ProcessGroup
from glassnet.engines.processes import worker_processes
from glassnet.errors import ConfigError, RunError
from glassnet.progress import Progress
from glassnet.training.loop import train_worker
from tests.training.runs import assert_same_run, train, untimed

TORCH: dict[str, Any] = {"engine": "torch", "device": "cpu", "dtype": "float64", "threads": 1}


class AfterEpoch(Progress):
    """Does something when an epoch ended."""

    def __init__(self, number: int, act: Callable[[], Any]) -> None:
        self.number, self.act = number, act

    def log(self, line: str) -> None:
        if f"] epoch {self.number}/" in line:
            self.act()


def weights(run: Path) -> dict[str, Any]:
    return gn.load_weights(run / "last.safetensors")


def assert_close(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float = 1e-12) -> None:
    assert list(ours) == list(theirs)
    for key, array in ours.items():
        np.testing.assert_allclose(theirs[key], array, rtol=0, atol=tolerance, err_msg=key)


@given(total=st.integers(0, 300), count=st.integers(1, 9))
def test_the_shares_of_a_batch(total: int, count: int) -> None:
    shares = [list(range(total))[ProcessGroup(rank, count).shard(total)] for rank in range(count)]
    assert [image for share in shares for image in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_three_processes_go_on_as_one_would(
    digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is random, batches that three do not divide, and a last one of a single image."""
    monkeypatch.setattr("glassnet.engines.torch_device.usable_cores", lambda: 3)
    few = gn.Dataset.from_splits(digits.train.take(np.arange(116)), digits.test, digits.classes, scale=16.0)
    options: dict[str, Any] = {"batch_size": 23, "epochs": 3, "dropout": 0.25, "augment": "flip-crop"}
    options |= {"recipe": gn.Recipe(optimizer="adam", lr=3e-3, weight_decay=1e-3), "clip_grad_norm": 0.5, **TORCH}
    alone = train(few, tmp_path / "alone", **options)
    train(few, tmp_path / "parts", **options, stop_after_epoch=1)
    together = train(few, tmp_path / "parts", **options, devices=3, resume=True)
    assert_close(weights(alone.path), weights(together.path))
    for ours, theirs in zip(untimed(alone.history), untimed(together.history), strict=True):
        norms = ours.pop("gradient_norms"), theirs.pop("gradient_norms")
        assert ours == pytest.approx(theirs, rel=1e-12)
        assert norms[0] == pytest.approx(norms[1], rel=1e-9)
    config = gn.load(together.path).config
    assert (config["devices"], config["device"]) == (3, "cpu")
    assert not active_children()


def test_a_process_that_dies_leaves_the_last_epoch_of_all(digits: gn.Dataset, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 3, **TORCH}
    told = f"Process 2 of 2 ended with exit code {-signal.SIGKILL}."
    kill = AfterEpoch(1, lambda: active_children()[0].kill())
    with pytest.raises(RunError, match=re.escape(told)):
        train(digits, tmp_path / "run", **options, devices=2, progress=kill)
    assert len(gn.load(tmp_path / "run").history) == 1
    assert not active_children()

    def fail() -> None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        train(digits, tmp_path / "run", **options, devices=2, progress=AfterEpoch(2, fail), resume=True)
    assert not active_children()
    train(digits, tmp_path / "alone", **options)
    resumed = train(digits, tmp_path / "run", **options, resume=True)
    assert_close(weights(tmp_path / "alone"), weights(resumed.path))


def test_a_failure_of_another_process_is_told() -> None:
    told = "Process 2 of 2 failed: 'NoneType' object has no attribute 'build'"
    task = (train_worker, None, None, range(0))
    with pytest.raises(RunError, match=re.escape(told)), worker_processes(ProcessGroup.create(2), *task):
        pass
    assert not active_children()


@pytest.mark.slow
def test_batch_normalization_sees_each_share_by_itself(digits: gn.Dataset, tmp_path: Path) -> None:
    """One step by hand: the mean of the halves' gradients, and the first half's running statistics."""
    recipe = gn.Recipe(lr=0.1, momentum=0.0, batch_size=200, epochs=1)
    run = train(digits, tmp_path / "run", model="tiny-bn", recipe=recipe, epochs=1, devices=2, **TORCH)
    order = make_rng(42, "shuffle", 1).permutation(200)
    images, labels = digits.normalization.apply(digits.train.images, "float64")[order], digits.train.labels[order]
    network = gn.build("tiny-bn", "torch", dtype="float64", device="cpu")
    halves = [network.trace(images[half], labels[half]) for half in (slice(100), slice(100, 200))]
    expected = network.state_dict() | halves[0].buffers
    for key in halves[0].gradients:
        expected[key] = expected[key] - 0.1 * np.mean([half.gradients[key] for half in halves], axis=0)
    assert_close(dict(sorted(expected.items())), weights(run.path))


PROGRAM = """
import sys
import glassnet as gn
from glassnet.progress import Progress

class Loud(Progress):
    def log(self, line):
        if "] epoch " in line:
            print(line, flush=True)

if __name__ == "__main__":
    gn.train("tiny-bn", "digits", engine="torch", device="cpu", run=sys.argv[1], resume=True, progress=Loud(), width=4,
             report=False, samples=300, recipe=gn.Recipe(), epochs=12, batch_size=25, dropout=0.25,
             devices=2, threads=1)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_killed_as_a_whole_and_resumed_to_the_same_bits(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")

    def start(run: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, str(script), str(tmp_path / run)], stdout=subprocess.PIPE, text=True)

    def finish(run: str) -> None:
        process = start(run)
        process.communicate(timeout=300)
        assert process.returncode == 0

    finish("whole")
    process = start("run")
    assert process.stdout is not None
    for _ in range(4):
        assert process.stdout.readline()
    others = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()
    assert others
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60  # the others notice and end by themselves
    while any(Path(f"/proc/{pid}").exists() for pid in others) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in others)
    finish("run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_the_command_prints_one_result(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "glassnet", "train", "digits", "--samples", "200", "--epochs", "2", "--run", "run"]
    command += ["--engine", "torch", "--device", "cpu", "--devices", "2", "--threads", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [*command, "--no-report"], capture_output=True, encoding="utf-8", cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "[PyTorch] on cpu, 2 processes, 1 thread each"
    assert lines[1].startswith("[PyTorch] settings other than the defaults: ")
    assert lines[2].startswith("[PyTorch] 200 training and 200 test images, ")
    assert [line.split()[2] for line in lines[3:5]] == ["1/2:", "2/2:"]
    assert len(lines) == 6
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"devices": 0}, "devices must be an integer of at least 1. Got 0."),
        ({"devices": "2"}, "devices must be an integer of at least 1. Got '2'."),
        ({"devices": 9999}, "devices must be at most "),
        ({"devices": 2, "engine": "numpy"}, "devices must be 1 for engine='numpy'. Got 2."),
    ],
)
def test_devices_that_are_not_to_be_had(digits: gn.Dataset, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        train(digits, tmp_path / "run", **{**TORCH, "threads": None, **options})
    assert not (tmp_path / "run").exists()


def test_a_script_without_a_guard(digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigError, match=re.escape("must do so under if __name__ == '__main__'")):
        train(digits, tmp_path / "run", devices=2, **TORCH)
    assert not (tmp_path / "run").exists()
