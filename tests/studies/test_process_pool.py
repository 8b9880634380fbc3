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
from glassnet.studies.process_pool import FractionProgress, run_in_processes
from glassnet.studies.trials import run_trials
from glassnet.training import RunFolder
from tests.studies.test_trials import RecordingProgress, trial
from tests.training.runs import assert_same_run


def test_fraction_progress_reports_what_is_done() -> None:
    fractions: list[float] = []
    progress = FractionProgress(fractions.append)
    progress.start("training", 8, done=2)
    progress.advance()
    progress.advance(5)
    assert fractions == [0.25, 0.375, 1.0]


def test_workers_train_to_the_same_bits_as_one_process(digits: gn.Dataset, tmp_path: Path) -> None:
    trials, progress = [trial("a"), trial("b", seed=1), trial("wild", lr=1e20)], RecordingProgress()
    parallel = run_trials(trials, digits, tmp_path / "two", workers=2, progress=progress)
    run_trials(trials, digits, tmp_path / "one")
    assert [result.trial.name for result in parallel] == ["a", "b", "wild"]
    assert sorted(line.split()[1] for line in progress.lines[1:-1]) == ["a:", "b:", "wild:"]
    assert progress.percent == 100
    assert "became" in parallel[2].failure
    for name in ("a", "b"):
        assert_same_run(tmp_path / "one" / name, tmp_path / "two" / name)


def test_an_interrupt_stops_the_workers_and_keeps_their_epochs(digits: gn.Dataset, tmp_path: Path) -> None:
    endless = [trial("a", epochs=400), trial("b", epochs=400)]
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        run_trials(endless, digits, tmp_path, workers=2, progress=RecordingProgress(interrupt_at=2))
    assert time.perf_counter() - start < 60
    interrupted = [RunFolder(tmp_path / name) for name in ("a", "b") if RunFolder(tmp_path / name).has_checkpoint]
    assert interrupted
    assert not interrupted[0].is_finished


def test_an_error_in_a_worker_is_raised_as_it_is() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        run_in_processes(divmod, [0], 1, lambda task, fraction: None, lambda result: None)


@pytest.mark.slow
def test_a_killed_worker_is_an_error(digits: gn.Dataset, tmp_path: Path) -> None:
    class KillingProgress(RecordingProgress):
        def advance(self, count: int = 1) -> None:
            for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)

    if not Path("/proc").is_dir():
        pytest.skip("finds its children in /proc")
    error = "A worker process ended unexpectedly, often because memory ran out. Try fewer workers."
    with pytest.raises(RunError, match=error):
        run_trials([trial("a", epochs=400)], digits, tmp_path, workers=2, progress=KillingProgress())


ENDLESS = """
import sys
import glassnet as gn
from glassnet.studies.trials import Trial, run_trials

if __name__ == "__main__":
    trials = [Trial(name, gn.spec("tiny", width=2), gn.Recipe(epochs=100_000)) for name in "ab"]
    run_trials(trials, gn.load_data("digits", samples=200), sys.argv[1], workers=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
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
