import sys
from typing import Any

import pytest

from glassnet.training.progress import Progress, TerminalProgress

RECORD: dict[str, Any] = {
    "epoch": 3,
    "loss": 1.23456,
    "train_accuracy": 0.5,
    "test_loss": 2.0,
    "test_accuracy": 0.25,
    "lr": 0.1,
}


def shown(progress: Progress, **more: Any) -> None:
    progress.begin("NumPy", 10, 2, 4)
    for _ in range(4):
        progress.step()
    progress.epoch({**RECORD, **more})
    progress.end(12.345)


def test_one_line_an_epoch_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    shown(TerminalProgress())
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("[NumPy] epoch 03/10 loss=1.2346 train_acc=0.5000 test_acc=0.2500\n[NumPy] 12.3 s in all\n")


def test_validation_is_told_where_it_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    shown(TerminalProgress(), validation_accuracy=0.75)
    assert "test_acc=0.2500 val_acc=0.7500\n" in capsys.readouterr().err


def test_a_terminal_gets_the_same_lines_and_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    shown(TerminalProgress())
    out, err = capsys.readouterr()
    assert out == ""
    assert "[NumPy] epoch 03/10 loss=1.2346 train_acc=0.5000 test_acc=0.2500" in err
    assert "[NumPy] 12.3 s in all" in err
    assert "8/40" in err or "12/40" in err  # two epochs were behind us


def test_a_training_that_was_stopped_tells_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TerminalProgress()
    progress.begin("NumPy", 10, 0, 4)
    progress.end()
    assert capsys.readouterr().err == ""


def test_nothing_is_shown_unless_somebody_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown(Progress())
    assert capsys.readouterr() == ("", "")
