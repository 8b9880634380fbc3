"""Tests of glassnet.api: the public functions that join packages."""

from __future__ import annotations

from pathlib import Path

import pytest

import glassnet as gn
from glassnet.errors import ConfigError, DataError
from glassnet.progress import Progress


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, digits: gn.Dataset) -> list[Path]:
    folder = tmp_path_factory.mktemp("api")
    return [
        gn.train("tiny", "digits", samples=200, epochs=1, seed=seed, run=folder / str(seed), progress=Progress()).path
        for seed in (1, 2)
    ]


def test_train_writes_the_report(runs: list[Path]) -> None:
    assert (runs[0] / "report.html").is_file()


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
