import sys

import pytest

from glassnet.progress import Progress, TerminalProgress, format_duration


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


def test_terminal_progress_shows_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    run_task(TerminalProgress())
    out, err = capsys.readouterr()
    assert out == ""
    assert "[NumPy] epoch 03/10" in err
    assert "over" in err
    assert "8/40" in err or "12/40" in err  # 8 steps were done before
    assert "steps," in err


def test_terminal_progress_estimates_the_time_after_20_steps(capsys: pytest.CaptureFixture[str]) -> None:
    run_task(TerminalProgress(), 19)
    assert "about" not in capsys.readouterr().err
    run_task(TerminalProgress(), 21)
    assert capsys.readouterr().err.startswith("[NumPy] about 0.0 s for 32 steps\n[NumPy] epoch")


def test_terminal_progress_estimates_nothing_for_a_short_task(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TerminalProgress()
    progress.start("bench", 20, unit="passes")
    progress.advance(20)
    progress.finish()
    assert capsys.readouterr().err == ""


def test_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run_task(Progress())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (7530, "2 h 5 min")]
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
