"""A slice of benchmarks/doctor_bed.py: planted runs are found, healthy ones are left in peace."""

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


def test_every_planting_is_there_twice_on_two_data_sets_and_seeds(bed: ModuleType) -> None:
    runs = list(bed.bed())
    assert len({one.name for one in runs}) == len(runs)
    assert sum(one.expected is None for one in runs) >= 60
    assert sum(one.expected is not None for one in runs) == 8 * len(bed.PLANTED)


def test_every_diagnosis_is_planted(bed: ModuleType) -> None:
    from glassnet.doctor import DIAGNOSES

    assert {expected for expected, *_ in bed.PLANTED.values()} == {diagnosis.name for diagnosis in DIAGNOSES}


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [
        *("rate too high, diverging", "rate too low", "exploding initialization", "dead ReLUs", "wrong gradient"),
        *("labels shuffled", "class folder duplicated", "normalization forgotten", "tiny", "tiny-bn, Adam"),
    ],
)
def test_a_slice(bed: ModuleType, row: str, tmp_path: Path) -> None:
    chosen: Any = [one for one in bed.bed() if (one.row, one.data, one.seed) == (row, "digits", 1)]
    for one in chosen:
        said = bed.said_of(one, tmp_path)
        assert bed.judged(one, said), (one.name, said["findings"])
        assert bed.said_of(one, tmp_path) == said  # from the file


def test_a_wrong_answer_counts_as_wrong(bed: ModuleType) -> None:
    planted, healthy = (next(one for one in bed.bed() if (one.expected is None) == none) for none in (False, True))
    found = {"findings": [{"name": "overfitting", "sure": "high"}, {"name": planted.expected, "sure": "high"}]}
    assert not bed.judged(planted, found)
    assert not bed.judged(planted, {"findings": []})
    assert not bed.judged(healthy, found)
    assert bed.judged(healthy, {"findings": [{"name": "overfitting", "sure": "medium"}]})
    assert "0 of 1 (0.0%" in bed.table([(planted, False)])
