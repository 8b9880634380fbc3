"""Tests of glassnet.api: the public functions that join packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet import engines
from glassnet.errors import ConfigError, DataError
from glassnet.progress import Progress
from glassnet.training import model as model_module
from glassnet.training import run as training_module


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, digits: gn.Dataset) -> list[Path]:
    folder = tmp_path_factory.mktemp("api")
    return [
        gn.train("tiny", "digits", samples=200, epochs=1, seed=seed, run=folder / str(seed), progress=Progress()).path
        for seed in (1, 2)
    ]


def test_train_writes_the_report(runs: list[Path]) -> None:
    assert (runs[0] / "report.html").is_file()


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[None]:
    """Return a list that gets a member for each call of a function."""
    calls: list[None] = []
    function = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


def test_train_loads_evaluates_and_draws_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = [count_calls(monkeypatch, module, "load_data") for module in (training_module, model_module)]
    evaluations = count_calls(monkeypatch, engines.Network, "evaluate")
    draws = count_calls(monkeypatch, engines, "initial_state_dict")
    run = gn.train("tiny", "digits", samples=200, epochs=3, run=tmp_path / "run", progress=Progress())
    assert (run.path / "report.html").is_file()
    assert [len(calls) for calls in (*loads, evaluations, draws)] == [1, 0, 3, 1]


def test_train_writes_the_report_that_a_run_folder_gives(digits: gn.Dataset, tmp_path: Path) -> None:
    run = gn.train("tiny", digits, epochs=2, run=tmp_path / "run", progress=Progress())
    written = (run.path / "report.html").read_bytes()
    assert b"Misclassified" in written
    assert gn.report(run.path, digits, tmp_path / "again.html").path.read_bytes() == written


def test_train_writes_the_report_of_the_best_weights_after_a_resume(digits: gn.Dataset, tmp_path: Path) -> None:
    options = {"epochs": 2, "lr": 0.3, "schedule": "constant", "seed": 1, "validation_fraction": 0.2}
    options |= {"run": tmp_path / "run", "progress": Progress()}
    gn.train("tiny", digits, stop_after_epoch=1, report=False, **options)
    run = gn.train("tiny", digits, resume=True, **options)
    assert (
        run.history[0]["validation_accuracy"] > run.history[1]["validation_accuracy"]
    )  # the results of the last differ
    written = (run.path / "report.html").read_bytes()
    assert gn.report(run.path, digits, tmp_path / "again.html").path.read_bytes() == written


def test_train_returns_a_run_without_its_data(digits: gn.Dataset, tmp_path: Path) -> None:
    run = gn.train("tiny", digits, epochs=1, run=tmp_path / "run", progress=Progress())
    assert run.dataset is None
    assert run.outcome is None


def test_train_leaves_the_report_out(digits: gn.Dataset, tmp_path: Path) -> None:
    run = gn.train("tiny", digits, epochs=1, run=tmp_path / "run", progress=Progress(), report=False)
    assert not (run.path / "report.html").exists()


def test_train_takes_fields_of_all_settings(digits: gn.Dataset, tmp_path: Path) -> None:
    fields = {"width": 4, "bn_eps": 1e-3, "lr": 0.2, "epochs": 1, "dtype": "float64", "kernels": "plain", "threads": 1}
    run = gn.train("tiny-bn", digits, run=tmp_path / "run", progress=Progress(), report=False, **fields)
    config = gn.load(run.path).config
    stored = {**config["spec"], **config["recipe"], **config}
    assert {name: stored[name] for name in fields} == fields


def test_train_names_the_closest_setting(digits: gn.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Got 'kernel'; did you mean 'kernels'\?"):
        gn.train("tiny", digits, run=tmp_path / "run", kernel="plain")


def test_report_returns_where_it_was_written(runs: list[Path], tmp_path: Path) -> None:
    report = gn.report(runs[0], output=tmp_path / "page.html")
    assert report.path == tmp_path / "page.html"
    assert report.path.is_file()
    assert "\n" not in repr(report)


def test_report_takes_a_dataset(runs: list[Path], tmp_path: Path, digits: gn.Dataset) -> None:
    assert gn.report(runs[0], digits, tmp_path / "page.html").path.is_file()


def test_compare_measures_and_writes_only_if_asked(runs: list[Path], tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for run in runs for path in run.rglob("*")}
    comparison = gn.compare(*runs)
    assert comparison.summary
    gn.compare(*runs, output=tmp_path / "comparison.html")
    assert (tmp_path / "comparison.html").is_file()
    assert {path: path.stat().st_mtime_ns for run in runs for path in run.rglob("*")} == before


def test_compare_needs_two_runs(runs: list[Path]) -> None:
    with pytest.raises(ConfigError, match="at least two runs"):
        gn.compare(runs[0])


def test_report_refuses_data_of_other_classes(runs: list[Path], digits: gn.Dataset, tmp_path: Path) -> None:
    other = gn.Dataset(digits.train.images[:40], digits.train.labels[:40] % 2, scale=16.0)
    with pytest.raises(DataError, match="classes"):
        gn.report(runs[0], other, tmp_path / "page.html")
