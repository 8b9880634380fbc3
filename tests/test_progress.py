import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

import glassnet as gn
from glassnet import measures
from glassnet.progress import Progress, TerminalProgress, current_progress, show_progress, track


def run_task(progress: Progress, n_steps: int = 4) -> None:
    progress.start("NumPy", 40, done=8)
    for _ in range(n_steps):
        progress.advance()
    progress.log("[NumPy] epoch 03/10")
    progress.finish()
    progress.log("over")


def test_terminal_progress_writes_log_lines_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    run_task(TerminalProgress())
    assert capsys.readouterr() == ("", "[NumPy] epoch 03/10\nover\n")


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("glassnet.progress.BAR_AFTER", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def test_terminal_progress_shows_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_terminal(monkeypatch)
    run_task(TerminalProgress())
    out, err = capsys.readouterr()
    assert out == ""
    assert "[NumPy] epoch 03/10" in err
    assert "over" in err
    assert "8/40" in err or "12/40" in err  # 8 steps were done before
    assert "steps," in err


def test_terminal_progress_estimates_the_time_after_20_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count()
    monkeypatch.setattr("glassnet.progress.perf_counter", lambda: 10.0 * next(clock))
    run_task(TerminalProgress(), 19)
    assert "about" not in capsys.readouterr().err
    run_task(TerminalProgress(), 21)
    assert capsys.readouterr().err.startswith("[NumPy] about 16.0 s for 32 steps\n[NumPy] epoch")


def test_terminal_progress_estimates_nothing_for_a_short_task(capsys: pytest.CaptureFixture[str]) -> None:
    run_task(TerminalProgress(), 21)  # in less than MIN_ETA seconds
    assert "about" not in capsys.readouterr().err
    progress = TerminalProgress()
    progress.start("bench", 20, unit="passes")
    progress.advance(20)
    progress.finish()
    assert capsys.readouterr().err == ""


def test_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run_task(Progress())
    assert capsys.readouterr() == ("", "")


def test_track_counts_on_the_current_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_terminal(monkeypatch)
    with show_progress(TerminalProgress()), track("decoding", 320) as advance:
        for _ in range(10):
            advance(32)
    out, err = capsys.readouterr()
    assert out == ""
    assert "[decoding]" in err
    assert re.search(r"\d+/320.* images,", err)


def test_track_shows_a_part_below_the_running_task(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_terminal(monkeypatch)
    progress = TerminalProgress()
    with show_progress(progress):
        progress.start("NumPy", 40)
        with track("evaluating", 450) as advance:
            advance(256)
            progress.bar.refresh()
            assert [task.description for task in progress.bar.tasks] == [r"\[NumPy]", r"\[evaluating]"]
        assert len(progress.bar.tasks) == 1
        progress.finish()
    assert "256/450" in capsys.readouterr().err


def test_track_shows_no_bar_for_a_moment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    use_terminal(monkeypatch)
    monkeypatch.setattr("glassnet.progress.BAR_AFTER", 60.0)
    with show_progress(TerminalProgress()), track("decoding", 320) as advance:
        advance(320)
    assert capsys.readouterr() == ("", "")


def test_track_is_silent_without_a_terminal_or_a_progress(capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (TerminalProgress(), current_progress()):
        with show_progress(progress), track("decoding", 320) as advance:
            advance(320)
    assert capsys.readouterr() == ("", "")


def test_show_progress_ends_with_its_block() -> None:
    before, shown = current_progress(), TerminalProgress()
    with suppress(ValueError), show_progress(shown):
        assert current_progress() is shown
        raise ValueError
    assert current_progress() is before


class Parts(Progress):
    """Keeps title, total, unit and the counted units of every part."""

    def __init__(self) -> None:
        self.parts: list[list[str | int]] = []

    @contextmanager
    def part(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        part: list[str | int] = [title, total, unit, 0]
        self.parts.append(part)

        def count_units(number: int) -> None:
            part[3] = int(part[3]) + number

        yield count_units


@pytest.fixture
def parts() -> Iterator[list[list[str | int]]]:
    progress = Parts()
    with show_progress(progress):
        yield progress.parts


def test_evaluations_are_tracked(parts: list[list[str | int]], trained: gn.Model) -> None:
    digits = gn.load_data("digits")
    trained.evaluate(digits)
    measures.outcome(trained, digits.train)
    assert parts == [["evaluating", 450, "images", 450], ["evaluating", 1347, "images", 1347]]


def test_decoding_is_tracked(parts: list[list[str | int]], tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(20):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    data = gn.load_data(tmp_path)
    assert parts == [
        ["scanning", 40, "images", 40],
        ["decoding", len(data.train), "images", len(data.train)],
        ["decoding", len(data.test), "images", len(data.test)],
    ]


def test_a_training_tracks_the_evaluation_of_each_epoch(tmp_path: Path) -> None:
    progress = Parts()
    gn.train("tiny", "digits", samples=50, test_samples=40, epochs=2, run=tmp_path / "run", progress=progress)
    assert progress.parts == [["evaluating", 40, "images", 40]] * 2
    assert current_progress() is not progress
