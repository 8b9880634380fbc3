"""A part of benchmarks/hostile_files.py: files of every format, whole and damaged, are read or listed in silence."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hostile_files.py"


@pytest.fixture(scope="module")
def hostile_files():
    spec = importlib.util.spec_from_file_location("hostile_files", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_whole_and_damaged_files_raise_nothing_foreign_and_print_nothing(hostile_files, tmp_path):
    hostile_files.write_files(tmp_path, 200, seed=0, step=4)
    results, lines = hostile_files.run_child(sorted(tmp_path.iterdir()))
    assert lines == []
    counts = Counter((result["name"].partition("-")[0], result["kind"]) for result in results)
    assert not [result for result in results if result["kind"] in ("foreign", "ended")]
    assert {kind for group, kind in counts if group == "whole"} == {"read"}
    assert counts["whole", "read"] > 80
    assert counts["damaged", "refused"] > 20
