"""Processes side by side. Each test starts some, which takes a second or two."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import glassnet as gn
from glassnet.errors import RunError
from glassnet.studies.trials import Trial, train_all
from glassnet.training import RunFolder
from tests.studies.test_trials import Told, trial
from tests.training.runs import assert_same_run


def test_processes_train_to_the_same_bits_as_this_one(digits: gn.Dataset, tmp_path: Path) -> None:
    trials, told = [trial("a"), trial("b", seed=1), trial("wild", lr=1e20)], Told()
    side_by_side = train_all(trials, digits, tmp_path / "two", workers=2, watch=told)
    train_all(trials, digits, tmp_path / "one", watch=Told())
    assert [outcome.trial.name for outcome in side_by_side] == ["a", "b", "wild"]
    assert sorted(told.finished) == ["a", "b", "wild"]
    assert told.epochs == {"a": 2, "b": 2, "wild": 0}
    assert "became" in side_by_side[2].failure
    for name in ("a", "b"):
        assert_same_run(tmp_path / "one" / name, tmp_path / "two" / name)


def test_an_interrupt_ends_the_processes_at_once_and_keeps_what_is_done(digits: gn.Dataset, tmp_path: Path) -> None:
    endless = [trial("a", epochs=100_000), trial("b", epochs=100_000)]
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        train_all(endless, digits, tmp_path, workers=2, watch=Told(after=6))
    assert time.perf_counter() - start < 60
    committed = [RunFolder(tmp_path / name) for name in ("a", "b") if RunFolder(tmp_path / name).has_checkpoint]
    assert committed
    assert not committed[0].is_finished


@pytest.mark.slow
def test_a_process_that_vanishes_is_a_stated_failure(
    digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killing(Told):
        def advance(self, trial: Trial, epochs: int) -> None:
            for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)

    if not Path("/proc").is_dir():
        pytest.skip("finds its children in /proc")
    with pytest.raises(RunError, match=r"A process that trained vanished; .* Try fewer workers."):
        train_all([trial("a", epochs=100_000)], digits, tmp_path, workers=2, watch=Killing())


ENDLESS = """
import sys
import glassnet as gn
from glassnet.studies.trials import Trial, train_all

if __name__ == "__main__":
    trials = [Trial(name, gn.spec("tiny", width=2), gn.Recipe(epochs=100_000)) for name in "ab"]
    train_all(trials, gn.load_data("digits", samples=200), sys.argv[1], workers=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, script, tmp_path / "runs"], stderr=subprocess.DEVNULL)
    while not (RunFolder(tmp_path / "runs" / "a").has_checkpoint and RunFolder(tmp_path / "runs" / "b").has_checkpoint):
        assert parent.poll() is None
        time.sleep(0.1)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) >= 2
    parent.kill()
    parent.wait()
    deadline = time.perf_counter() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.perf_counter() < deadline, "a process outlived its parent"
        time.sleep(0.1)
