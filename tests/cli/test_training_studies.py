"""The commands of the studies that train many networks."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from glassnet.studies import trials
from tests.calls import Call

SHORT = ("--samples", "200", "--epochs", "1", "--workers", "1")
DEGRADATION = ("degradation", "--depths", "8,14", "--norms", "batch", "--width", "2", "--seeds", "2", *SHORT)
SWEEP = ("sweep", "digits", "--model", "tiny", "width=2,3", "norm=none,batch", "--seeds", "2", *SHORT)


def test_degradation_prints_table_and_summary_and_writes_its_page(call: Call, tmp_path: Path) -> None:
    code, out, err = call(*DEGRADATION)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "network"
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["plain", "batch", "8"],
        ["plain", "batch", "14"],
        ["residual", "batch", "8"],
        ["residual", "batch", "14"],
    ]
    assert lines[5].startswith("With batch normalization, ")
    assert lines[-1] == "Page study-degradation-digits.html"
    assert (tmp_path / "study-degradation-digits.html").stat().st_size > 1_000_000
    assert len(list((tmp_path / "studies" / "degradation-digits").iterdir())) == 8
    assert err.splitlines()[0] == f"8 runs in {Path('studies', 'degradation-digits')}"
    assert re.match(r"\[8/8\] .*: train loss ", err.splitlines()[-2])

    code, out, err = call(*DEGRADATION, "--json")
    output = json.loads(out, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert (code, output["page"], len(output["curves"])) == (0, "study-degradation-digits.html", 8)
    assert err.splitlines()[0] == f"8 runs in {Path('studies', 'degradation-digits')}, 8 of them there already"

    code, out, err = call(*DEGRADATION, "--epochs", "2")
    assert (code, out) == (1, "")
    assert re.match(r"Error: recipe.epochs must be 1 to resume .*seed=0. Got 2.", err.splitlines()[-1])


def test_sweep_prints_a_table_to_paste(call: Call, tmp_path: Path) -> None:
    code, out, err = call(*SWEEP)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "| width | norm | parameters | validation accuracy | validation loss | seconds |"
    assert all(line.count("|") == 7 for line in lines[:6])
    assert lines[7].startswith("The best of 4 settings of tiny on digits is “")
    assert lines[-1] == "Page study-sweep-digits.html"
    assert len(list((tmp_path / "studies" / "sweep-digits").iterdir())) == 8

    code, out, err = call(*SWEEP, "pool=max,avg", "--json", "--output", "here.html")
    output = json.loads(out, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert (code, output["page"], len(output["settings"])) == (0, "here.html", 8)
    assert err.splitlines()[0].endswith("sweep-digits, 8 of them there already")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("degradation", "--depths", "8,9"),
            "depths must be 6n + 2 with n of at least 1, such as 8, 20 or 56. Got 9.",
        ),
        (
            ("degradation", "--depths", "8"),
            "depths must be at least two that differ. Got [8].",
        ),
        (("degradation", "--norms", "layer"), "norm must be one of 'batch', 'none'. Got 'layer'."),
        (("degradation", "nowhere"), "Got 'nowhere'."),
        (("sweep", "digits", "blks=1"), "Got 'blks'; did you mean 'blocks'?"),
        (
            ("sweep", "digits", "blocks=one"),
            "blocks must be an integer, or one for each stage as in 1+2+3. Got 'one'.",
        ),
        (
            ("sweep", "digits", "blocks=1", "pool=mean"),
            "blocks=1, pool=mean cannot be trained. pool must",
        ),
        (("sweep", "digits", "lr=.1", "--model", "tinny"), "Got 'tinny'; did you mean 'tiny'?"),
        (
            ("sweep", "digits", "lr=.1", "--validation-fraction", "1"),
            "validation_fraction must be a finite number of at least 0",
        ),
        (("sweep", "digits", "zero_init=true"), "zero_init=true cannot be trained. zero_init must be False"),
    ],
)
def test_invalid_arguments_are_one_line_errors(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], error: str
) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert re.fullmatch(f"Error: .*{re.escape(error)}.*\n", err), err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--seeds", "--workers"])
def test_numbers_below_one_are_usage_errors(call: Call, option: str) -> None:
    code, out, err = call("degradation", option, "0")
    assert (code, out) == (2, "")
    assert "Usage: " in err


def test_an_interrupt_is_a_one_line_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "train", interrupted)
    monkeypatch.setattr(trials.TrialRunner, "check", lambda runner, trial: None)
    code, out, err = call(*DEGRADATION)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "Error: The study was interrupted. The same command resumes it from the last finished epochs."
    )


def _trains(pid: int, runs: Path) -> bool:
    return any(runs.glob("*/state/checkpoint.safetensors"))


def _starts(pid: int, runs: Path) -> bool:
    """Its processes are there, and still importing."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return len(children.read_text("ascii").split()) > 1  # multiprocessing's own watcher, and one that trains


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("moment", [_trains, _starts])
def test_ctrl_c_at_a_terminal_ends_all_processes(moment: Callable[[int, Path], bool], tmp_path: Path) -> None:
    """The terminal sends the signal to every process of its group; none of them may answer with a traceback."""
    command = [sys.executable, "-m", "glassnet", "study", *DEGRADATION, "--workers", "2"]
    endless = [*command, "--epochs", "20000"]
    runs = tmp_path / "studies" / "degradation-digits"
    with subprocess.Popen(
        endless, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            while not moment(process.pid, runs):
                assert process.poll() is None
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):  # all have ended, as they should
                os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out) == (1, b"")
    assert err.decode().splitlines()[-1].startswith("Error: The study was interrupted. ")
    assert b"Traceback" not in err
