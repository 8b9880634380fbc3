"""Processes that are gone. The watchdog needs the standard library alone, so its processes start quickly."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from glassnet.engines import watchdog

PROGRAM = """
import importlib.util, os, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("watchdog", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
rank, place = int(sys.argv[2]), Path(sys.argv[3])

class Store:
    def set(self, key, value):
        (place / "new").write_text(value)
        (place / "new").rename(place / key)
    def get(self, key):
        while not (place / key).exists():
            time.sleep(0.01)
        return (place / key).read_text()

dog = module.Watchdog(rank, 3, rank, lambda line: print(line, flush=True))
dog.remedy = "Resume it."
dog.start(Store(), "localhost")
print("ready", flush=True)
command = sys.stdin.readline().strip()
if command == "stop":
    dog.stop()
elif command == "fail":
    dog.fail("the disk is full.")
    print("own words", flush=True)
elif command == "busy":
    while True:
        pass
"""


@contextmanager
def three_processes(tmp_path: Path, *launcher: str, **environment: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start three processes that watch each other."""
    arguments = [sys.executable, "-c", PROGRAM, watchdog.__file__]
    variables = {**os.environ, **environment}
    processes = [
        subprocess.Popen(
            [*launcher, *arguments, str(rank), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=variables,
        )
        for rank in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def say(process: subprocess.Popen[str], command: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{command}\n")
    process.stdin.flush()


def ends(processes: list[subprocess.Popen[str]]) -> tuple[list[str], list[int], float]:
    """Wait for all ends, 10 seconds at most: lines of output, exit codes, and the seconds that it took."""
    start = time.monotonic()
    limit = threading.Timer(10, lambda: [process.kill() for process in processes])
    limit.start()
    texts = [process.stdout.read() for process in processes if process.stdout is not None]
    codes = [process.wait(10) for process in processes]
    limit.cancel()
    return [line for text in texts for line in text.splitlines()], codes, time.monotonic() - start


@pytest.mark.parametrize("victim", [0, 2])
def test_watchdog_ends_the_others_when_a_process_is_killed(tmp_path: Path, victim: int) -> None:
    with three_processes(tmp_path) as processes:
        for process in processes:
            say(process, "busy")
        processes[victim].kill()
        lines, codes, seconds = ends(processes)
    assert lines == [f"Rank {victim} of 3: the process is gone. Resume it."]
    assert codes == [-signal.SIGKILL if rank == victim else 1 for rank in range(3)]
    assert seconds < 5


def test_watchdog_reports_the_failure_of_one_rank_once(tmp_path: Path) -> None:
    with three_processes(tmp_path) as processes:
        say(processes[1], "fail")
        lines, codes, seconds = ends(processes)
    assert lines == ["Rank 1 of 3: the disk is full."]
    assert codes == [1, 1, 1]
    assert seconds < 5


def test_watchdog_lets_rank_0_report_its_own_failure(tmp_path: Path) -> None:
    with three_processes(tmp_path) as processes:
        say(processes[0], "fail")
        lines, codes, _ = ends(processes)
    assert lines[-1] == "own words"
    assert codes == [0, 1, 1]


def test_watchdog_is_silent_when_all_have_finished(tmp_path: Path) -> None:
    with three_processes(tmp_path) as processes:
        for process in processes:
            say(process, "stop")
        lines, codes, _ = ends(processes)
    assert (lines, codes) == ([], [0, 0, 0])


@pytest.mark.skipif(not hasattr(os, "getppid") or os.name == "nt", reason="processes keep no new parent")
def test_watchdog_ends_a_process_whose_launcher_is_killed(tmp_path: Path) -> None:
    """A launcher for each process, as torchrun is; the second one is killed."""
    run = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with three_processes(tmp_path, sys.executable, "-c", run, TORCHELASTIC_RUN_ID="here") as launchers:
        launchers[1].kill()
        lines, _, seconds = ends(launchers)
    assert len(lines) == 1
    assert lines[0].startswith("Rank 1 of 3: its launcher is gone. Resume it.")
    assert seconds < 5
