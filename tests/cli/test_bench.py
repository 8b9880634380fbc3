"""``glassnet bench``: what goes where, what is told, how it ends."""

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
from glassnet.bench import clock, workloads
from tests.bench.small import contest, report

Result = tuple[int, str, str]
Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """``glassnet bench ...`` in this process, with made-up measurements: exit code, stdout, stderr."""

    def measured(names: Any, rounds: int, *, memory: bool, tell: Callable[[str], None]) -> benching.BenchReport:
        tell(f"{names} {rounds} {memory}")
        return report()

    def called(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["glassnet", "bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    monkeypatch.setattr(benching, "bench", measured)
    return called


def test_tables_go_to_stdout_and_progress_to_stderr(call: Call) -> None:
    code, out, err = call("digits", "layers", "--rounds", "3", "--no-memory")
    assert code == 0
    assert err == "[bench] ['digits', 'layers'] 3 False\n"
    assert "Processor: A processor" in out
    assert "Title of digits\ncontender " in out
    assert "digits: glassnet's time is 0.60 (0.50–0.70) × that of yardstick, 2 threads;" in out
    assert "Title of layers\nlayer " in out


def test_by_default_everything_is_measured(call: Call) -> None:
    assert call()[2] == "[bench] [] 7 True\n"


def test_help_names_every_workload() -> None:
    (argument,) = (one for one in get_command(cli.app).commands["bench"].params if one.name == "workloads")
    named = re.findall(r"[a-z0-9-]+", argument.help.partition(";")[0].replace(" or ", ", "))
    assert named == list(workloads.WORKLOADS)


def test_json_is_one_object(call: Call) -> None:
    code, out, _ = call("--json")
    assert code == 0
    assert out.count("\n") == 1
    assert json.loads(out) == json.loads(json.dumps(report().as_json()))


def test_a_saved_bench_is_what_the_next_is_compared_with(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    code, out, _ = call("--save", path)
    assert code == 0
    assert out.endswith(f"Saved {path}\n")
    code, out, _ = call("--against", path)
    assert code == 0
    assert f"Ratios beside {path}\nworkload" in out
    assert "WORSE" not in out
    code, out, _ = call("--against", path, "--json")
    assert len(json.loads(out)["against"]["changes"]) == len(report().ratios())


def test_a_ratio_that_got_worse_ends_in_exit_code_1(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    benching.store(report(digits=[contest(ours=(1.0, 1.0, 1.0))]), path)
    code, out, err = call("--against", path)
    assert code == 1
    assert out.count("WORSE") == 6  # of each engine the forward and the backward pass and the step; not the memory
    assert err.splitlines()[-1].startswith("Error: 6 of ")


def test_a_missing_file_is_told_before_anything_is_measured(call: Call, tmp_path: Path) -> None:
    code, out, err = call("--against", tmp_path / "absent.json")
    assert (code, out) == (1, "")
    assert err.startswith("Error: The stored bench ")


def test_a_page_is_written_where_it_is_asked_for(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("--output", tmp_path / "bench.html")
    assert code == 0
    assert out.endswith(f"Page {tmp_path / 'bench.html'}\n")
    assert (tmp_path / "bench.html").stat().st_size > 1_000_000


def test_an_unknown_workload_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["glassnet", "bench", "digit"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("Error: workload must be one of digits, ")


@pytest.mark.slow
def test_digits_are_really_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(clock, "TURN", 1e-9)
    monkeypatch.setattr(workloads, "usable_cores", lambda: 1)
    monkeypatch.setattr(sys, "argv", ["glassnet", "bench", "digits", "--rounds", "1", "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    told = json.loads(capsys.readouterr().out)["workloads"]["digits"]
    engines = {(ratio["engine"], ratio["measure"]) for ratio in told["ratios"]}
    measures = ("forward", "backward", "step") if sys.platform != "linux" else ("forward", "backward", "step", "memory")
    assert engines == {(engine, measure) for engine in ("yardstick", "PyTorch") for measure in measures}
    assert all(ratio["median"] > 0 for ratio in told["ratios"])
