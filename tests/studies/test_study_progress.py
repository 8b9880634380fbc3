import re
import sys
from pathlib import Path

import pytest

import glassnet as gn
from glassnet.studies.study_progress import TerminalWatch
from glassnet.studies.trials import train_all
from tests.studies.test_trials import trial


def test_a_line_for_each_run_on_stderr(digits: gn.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_all([trial("a")], digits, tmp_path, watch=TerminalWatch())
    capsys.readouterr()
    train_all([trial("a"), trial("wild", lr=1e20)], digits, tmp_path)  # a terminal's watch is the default
    out, err = capsys.readouterr()
    first, second, third, last = err.splitlines()
    assert out == ""
    assert first == f"2 runs in {tmp_path}, 1 of them there already"
    assert re.fullmatch(r"\[1/2\] a: loss=\d\.\d{4} train_accuracy=\d\.\d{4} test_accuracy=\d\.\d{4}", second)
    assert re.match(r"\[2/2\] wild: diverged. The .* became .* Try a lower lr, or clip_grad_norm.", third)
    assert re.fullmatch(r"2 of 2 runs are finished, after \d+\.\d s", last)


def test_a_terminal_gets_a_bar_over_all_runs(
    digits: gn.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    watch, ends = TerminalWatch(), []
    monkeypatch.setattr(watch, "end", lambda: (ends.append(watch.bar.tasks[0]), TerminalWatch.end(watch)))
    trials = [trial("a"), trial("b", seed=1, epochs=4)]  # the longer one comes first
    train_all(trials, digits, tmp_path, watch=watch)
    (bar,) = ends
    assert bar.completed == bar.total == sum(one.work for one in trials)
    assert bar.description == "2 of 2 runs"
    assert "[1/2] b: loss=" in capsys.readouterr().err
