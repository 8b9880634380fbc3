import json
from pathlib import Path
from typing import Any

import pytest

from glassnet.bench import compare_saved, load_bench, save_bench
from glassnet.errors import GlassnetError, RunError
from tests.bench.small import report, timings


def saved_with(**factors: float) -> dict[str, Any]:
    """Return a saved bench whose ratios of time are multiplied, by implementation."""
    data: dict[str, Any] = report(digits=timings()).to_dict()
    for ratio in data["workloads"]["digits"]["ratios"]:
        if ratio["measure"] == "time":
            ratio["quartiles"]["median"] *= factors.get(ratio["implementation"].replace(" ", "_"), 1.0)
    return data


def test_save_bench_and_load_bench(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    save_bench(report(), path)
    assert load_bench(path) == json.loads(json.dumps(report().to_dict()))
    compared = compare_saved(report(), load_bench(path))
    assert compared.note is None
    assert [row["growth"] for row in compared.rows] == 6 * [1.0]
    assert {row["result"] for row in compared.rows} == {""}
    compared.raise_if_worse()


def test_compare_saved_marks_a_growth_by_more_than_a_quarter() -> None:
    # Saved as 0.79 of the ratio now: 27 % worse. Saved as 0.81: 23 %.
    compared = compare_saved(report(digits=timings()), saved_with(PyTorch=0.79, NumPy_plain=0.81))
    marked = [row for row in compared.rows if row["result"] == "worse"]
    assert [(row["measure"], row["implementation"]) for row in marked] == [("time", "PyTorch")]
    assert marked[0]["growth"] == pytest.approx(1 / 0.79)
    text = r"^1 of 4 ratios grew by more than a quarter\. Worst is time of digits beside PyTorch: 2, saved 1\.58\.$"
    with pytest.raises(GlassnetError, match=text):
        compared.raise_if_worse()


def test_raise_if_worse_names_the_worst() -> None:
    compared = compare_saved(report(digits=timings()), saved_with(PyTorch=0.7, NumPy_plain=0.5))
    with pytest.raises(GlassnetError, match=r"^2 of 4 .* beside NumPy plain: 0\.6, saved 0\.3\.$"):
        compared.raise_if_worse()


def test_compare_saved_does_not_mark_a_smaller_ratio() -> None:
    compare_saved(report(digits=timings()), saved_with(PyTorch=3.0)).raise_if_worse()


def test_compare_saved_marks_new_ratios() -> None:
    compared = compare_saved(report(block=timings()), saved_with())
    assert {(row["saved"], row["growth"], row["result"]) for row in compared.rows} == {(None, None, "new")}
    compared.raise_if_worse()


def test_compare_saved_notes_another_machine() -> None:
    other = saved_with()
    other["machine"] = {**other["machine"], "processor": "Another", "torch": "2.5", "system": "Another OS"}
    compared = compare_saved(report(digits=timings()), other)
    assert compared.note == "Saved elsewhere: processor Another, here A processor; torch 2.5, here None."


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, r"bench\.json cannot be read: No such file or directory\."),
        (b"{", r"bench\.json must be a bench of format 2, as `glassnet bench --save` writes it\."),
        (b"[]", r"must be a bench of format 2"),
        (b'{"format": 1, "workloads": {}, "machine": {}}', r"must be a bench of format 2"),
        (b'{"format": 2, "workloads": {}}', r"must be a bench of format 2"),
        (b'{"format": 2, "workloads": {"digits": {"ratios": [{}]}}}', r"must be a bench of format 2"),
        (b'{"format": 2, "workloads": [], "machine": {}}', r"must be a bench of format 2"),
    ],
)
def test_load_bench_refuses_other_files(content: bytes | None, text: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=text):
        load_bench(path)


def test_save_bench_states_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"absent.* cannot be written: No such file"):
        save_bench(report(), tmp_path / "absent" / "bench.json")
