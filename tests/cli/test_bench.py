"""``glassnet bench``: what goes to stdout and stderr, and the exit codes."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from glassnet import bench as benching
from glassnet import cli
from glassnet.bench import available, timing
from tests.bench.small import report, timings

Result = tuple[int, str, str]
Call = Callable[..., Result]


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["glassnet", "bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """``glassnet bench ...`` in this process, with made-up measurements: exit code, stdout, stderr."""

    def measured(names: Any, rounds: int, *, memory: bool, progress: Any) -> benching.BenchReport:
        progress.log(f"{names} {rounds} {memory}")
        return report()

    def called(*arguments: str | Path) -> Result:
        return run_main(monkeypatch, *arguments), *capsys.readouterr()

    monkeypatch.setattr(benching, "run_bench", measured)
    return called


def test_bench_prints_tables_to_stdout_and_progress_to_stderr(call: Call) -> None:
    code, out, err = call("digits", "block", "--rounds", "3", "--no-memory")
    assert code == 0
    assert err == "['digits', 'block'] 3 False\n"
    assert "processor: A processor" in out
    assert "torch: not installed" in out
    assert "\nStep of tiny\nbackend " in out
    assert "The time of NumPy fast is 0.60 (0.50–0.70) × that of NumPy plain, 2 threads;" in out


def test_bench_measures_everything_by_default(call: Call) -> None:
    assert call()[2] == "[] 7 True\n"


def test_help_names_every_workload() -> None:
    (argument,) = (one for one in get_command(cli.app).commands["bench"].params if one.name == "workloads")
    listed = argument.help.removeprefix("Workloads: ").partition(".")[0]
    named = re.split(", | or ", listed)
    assert named == list(benching.WORKLOADS)


def test_bench_prints_one_json_object(call: Call) -> None:
    code, out, _ = call("--json")
    assert code == 0
    assert out.count("\n") == 1
    assert json.loads(out) == json.loads(json.dumps(report().to_dict()))


def test_bench_saves_and_compares(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    code, out, _ = call("--save", path)
    assert code == 0
    assert out.endswith(f"Saved {path}\n")
    code, out, _ = call("--against", path)
    assert code == 0
    assert f"Ratios beside {path}\nworkload" in out
    assert "worse" not in out
    code, out, _ = call("--against", path, "--json")
    assert len(json.loads(out)["against"]["rows"]) == 6


def test_bench_exits_with_1_if_a_ratio_got_worse(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    benching.save_bench(report(digits=timings(fast=(1.0, 1.0, 1.0))), path)
    code, out, err = call("--against", path)
    assert code == 1
    assert out.count("worse") == 2  # the times; not the memory
    assert err.splitlines()[-1].startswith("Error: 2 of 6 ratios grew by more than a quarter.")


def test_bench_reads_the_saved_file_before_it_measures(call: Call, tmp_path: Path) -> None:
    code, out, err = call("--against", tmp_path / "absent.json")
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {tmp_path / 'absent.json'} cannot be read")


def test_bench_writes_a_page(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("--output", tmp_path / "bench.html")
    assert code == 0
    assert out.endswith(f"Page {tmp_path / 'bench.html'}\n")
    assert (tmp_path / "bench.html").stat().st_size > 1_000_000


def test_bench_states_an_unknown_workload(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, "digit") == 1
    assert "Got 'digit'; did you mean 'digits'?" in capsys.readouterr().err


def test_bench_measures_a_model_with_its_fields(call: Call) -> None:
    code, _, err = call("--model", "resnet20", "--blocks", "1,1", "--image-size", "8", "--batch-size", "2")
    assert code == 0
    assert err.startswith("{'resnet20': Workload(title='Training step of resnet20 on 3×8×8, batch 2'")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--width", "4"], "Error: width must come with --model. Got no model.\n"),
        (["digits", "--model", "tiny"], "Error: --model must come without workloads. Got digits.\n"),
    ],
)
def test_bench_refuses_fields_without_a_model(call: Call, arguments: list[str], text: str) -> None:
    assert call(*arguments) == (1, "", text)


@pytest.mark.slow
def test_bench_measures_digits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(timing, "MIN_RUN_TIME", 1e-9)
    monkeypatch.setattr(available, "usable_cores", lambda: 1)
    assert run_main(monkeypatch, "digits", "--rounds", "1", "--json") == 0
    ratios = json.loads(capsys.readouterr().out)["workloads"]["digits"]["ratios"]
    measures = ("time",) if sys.platform != "linux" else ("time", "peak_memory")
    assert {(ratio["implementation"], ratio["measure"]) for ratio in ratios} == {
        (implementation, measure) for implementation in ("NumPy plain", "PyTorch") for measure in measures
    }
    assert all(ratio["quartiles"]["median"] > 0 for ratio in ratios)
