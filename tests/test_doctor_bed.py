"""A part of benchmarks/doctor_bed.py: planted faults are found, and healthy runs have no finding."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "doctor_bed.py"


@pytest.fixture(scope="module")
def bed() -> ModuleType:
    spec = spec_from_file_location("doctor_bed", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bed_has_every_fault_twice_on_two_data_sets_and_seeds(bed: ModuleType) -> None:
    runs = list(bed.bed())
    assert len({run.name for run in runs}) == len(runs)
    assert sum(run.expected is None for run in runs) >= 60
    assert sum(run.expected is not None for run in runs) == 8 * len(bed.PLANTED)


def test_bed_plants_a_fault_for_every_check(bed: ModuleType) -> None:
    from glassnet.doctor import CHECKS

    planted = {expected for expected, *_ in bed.PLANTED.values()}
    effects = {"dead ReLUs after training"}  # of a learning rate too high, or of dead ReLUs before training
    assert planted | effects == {check.name for check in CHECKS}


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [
        *("rate too high, diverging", "rate too low", "exploding initialization", "dead ReLUs", "wrong gradient"),
        *("labels shuffled", "class folder duplicated", "normalization forgotten", "tiny", "tiny-bn, Adam"),
    ],
)
def test_diagnose_run_is_right(bed: ModuleType, row: str, tmp_path: Path) -> None:
    runs: Any = [run for run in bed.bed() if (run.row, run.data, run.seed) == (row, "digits", 1)]
    for run in runs:
        report = bed.diagnose_run(run, tmp_path)
        assert bed.is_right(run, report), (run.name, report["findings"])
        assert bed.diagnose_run(run, tmp_path) == report  # read from the file


def test_is_right_compares_the_first_finding(bed: ModuleType) -> None:
    planted, healthy = (next(run for run in bed.bed() if (run.expected is None) == none) for none in (False, True))
    first, second = {"name": "overfitting", "confidence": "high"}, {"name": planted.expected, "confidence": "high"}
    assert bed.is_right(planted, {"findings": [second, first]})
    assert not bed.is_right(planted, {"findings": [first, second]})
    assert not bed.is_right(planted, {"findings": []})
    assert not bed.is_right(healthy, {"findings": [first]})
    assert bed.is_right(healthy, {"findings": [{**first, "confidence": "medium"}]})
    assert "0 of 1 (0.0%" in bed.table([(planted, False)])


def test_contradicts_itself_needs_both_findings_of_a_pair(bed: ModuleType) -> None:
    high, low, other = ({"name": f"learning rate too {end}"} for end in ("high", "low", "slow"))
    assert bed.contradicts_itself({"findings": [low, other, high]})
    assert not bed.contradicts_itself({"findings": [low, other]})
    assert not bed.contradicts_itself({"findings": []})
