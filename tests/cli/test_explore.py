import json
from pathlib import Path

import pytest

from glassnet.training import Model
from tests.calls import Call, caller


@pytest.fixture
def explore(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(monkeypatch, capsys, "explore")


def test_explore_prints_the_page(explore: Call, run: Model) -> None:
    path = run.path / "explore.html"
    assert explore(run.path) == (0, f"Page {path}\n", "")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_explore_prints_one_json_object(explore: Call, run: Model, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    code, out, _ = explore(run.path, "--output", path, "--data", "digits", "--json")
    assert code == 0
    assert json.loads(out) == {"run": str(run.path), "page": str(path), "bytes": path.stat().st_size}


def test_explore_of_no_run_is_one_line(explore: Call, tmp_path: Path) -> None:
    error = f"Error: {tmp_path} must be a run folder. Got a path without config.json.\n"
    assert explore(tmp_path) == (1, "", error)
