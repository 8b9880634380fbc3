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


def test_explore_of_a_folder_of_runs_lists_them(explore: Call, run: Model) -> None:
    code, _, error = explore(run.path.parent)
    assert code == 1
    assert error.endswith(f"Got a path without config.json. Choose one of the runs inside: {run.path}.\n")


def test_explore_says_why_a_page_has_no_images(explore: Call, run: Model) -> None:
    config = run.path / "config.json"
    text = config.read_text(encoding="utf-8").replace('"source": "digits"', '"source": "/nowhere/photos"')
    config.write_text(text, encoding="utf-8")
    code, out, error = explore(run.path, "--json")
    assert code == 0
    assert json.loads(out)["run"] == str(run.path)
    assert error.startswith("The page has no images: /nowhere/photos is not there any more.")
