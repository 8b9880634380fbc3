"""What is sent to workers and comes back from them. Whole trainings: test_processes.py."""

import io
import json
import pickle
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassnet.errors import ConfigError, GlassnetError, RunError
from glassnet.progress import Progress
from glassnet.training.launcher import _Display, _first_line, _Pickler, _rebuild
from glassnet.training.worker import EventProgress

REPORT = """
Root Cause (first observed failure):
[0]:
  time      : 2026-11-28_19:35:39
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 22086)
============================================================
"""


class Recorder(Progress):
    """Keeps what it is to show."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def log(self, line: str) -> None:
        self.calls.append(line)

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        self.calls.append((title, total, done, unit))

    def advance(self, count: int = 1) -> None:
        self.calls.append(count)

    @contextmanager
    def part(self, title: str, total: int | None, unit: str) -> Any:
        self.calls.append(f"part {title} of {total} {unit}")
        yield self.calls.append
        self.calls.append("end of part")


def test_events_of_a_worker_are_shown_by_its_launcher() -> None:
    stream, recorder = io.StringIO(), Recorder()
    progress = EventProgress(stream)
    progress.log("é")
    progress.start("[PyTorch]", 10, 2)
    for _ in range(5):
        progress.advance()
    with progress.part("evaluating", None, "images") as advance:
        advance(3)
    progress.finish()
    progress.send(run="runs/a")
    result = _Display(recorder).events(stream.getvalue().splitlines())
    assert result == {"run": "runs/a"}
    steps = [call for call in recorder.calls if isinstance(call, int)]
    assert sum(steps) == 5
    others = [call for call in recorder.calls if not isinstance(call, int)]
    assert others == ["é", ("[PyTorch]", 10, 2, "steps"), "part evaluating of None images", "end of part"]


def test_display_keeps_the_first_error() -> None:
    lines = [json.dumps({"error": name, "text": name}) for name in ("ConfigError", "RunError")]
    assert _Display(Progress()).events(lines) == {"error": "ConfigError", "text": "ConfigError"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ConfigError", ConfigError),
        ("GlassnetError", GlassnetError),
        ("ZeroDivisionError", RunError),
        ("Path", RunError),
    ],
)
def test_rebuild_returns_an_error_of_ours(name: str, kind: type[Exception]) -> None:
    error = _rebuild({"error": name, "text": "Rank 1 of 2: no."})
    assert type(error) is kind
    assert str(error) == "Rank 1 of 2: no."


def test_rebuild_returns_an_interrupt_with_its_message() -> None:
    assert _rebuild({"error": "KeyboardInterrupt", "text": "runs/a keeps it."}).args == ("runs/a keeps it.",)
    assert _rebuild({"error": "KeyboardInterrupt", "text": ""}).args == ()


def test_first_line_is_ours_or_the_last_of_any(tmp_path: Path) -> None:
    for rank, text in enumerate(["[W socket.cpp] noise\n", "noise\nError: Rank 0 of 2: the process is gone.\nmore\n"]):
        (tmp_path / str(rank)).mkdir()
        (tmp_path / str(rank) / "stderr.log").write_text(text, encoding="utf-8")
    (tmp_path / "torchrun.log").write_text("report\n", encoding="utf-8")
    assert _first_line(tmp_path, 2) == "Rank 0 of 2: the process is gone."
    (tmp_path / "1" / "stderr.log").write_text("", encoding="utf-8")
    assert _first_line(tmp_path, 2) == "The training in 2 processes ended: [W socket.cpp] noise"
    (tmp_path / "torchrun.log").write_text(REPORT, encoding="utf-8")
    assert _first_line(tmp_path, 2) == "Rank 1 of 2: the process ended with exit code -9: [W socket.cpp] noise"
    (tmp_path / "0" / "stderr.log").write_text("", encoding="utf-8")
    assert _first_line(tmp_path, 2) == "Rank 1 of 2: the process ended with exit code -9."


def test_pickler_sends_the_name_of_a_mapped_file(tmp_path: Path) -> None:
    images = np.arange(100_000, dtype=np.uint8).reshape(10, 100, 100, 1)
    images.tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", np.uint8, "r", 0, images.shape)
    for array in (mapped, mapped[2:5]):
        file = io.BytesIO()
        _Pickler(file).dump(array)
        np.testing.assert_array_equal(pickle.loads(file.getvalue()), array)
        assert (len(file.getvalue()) < 1000) == (array is mapped)
