import json
from pathlib import Path
from typing import Any

import pytest

from glassnet.bench import compare, read_stored, store
from glassnet.errors import GlassnetError, RunError
from tests.bench.small import contest, report


def stored(**ratios: float) -> dict[str, Any]:
    """The stored form of a bench with step ratios changed: by engine, the factor."""
    told: dict[str, Any] = report(digits=[contest()]).as_json()
    for row in told["workloads"]["digits"]["ratios"]:
        if row["measure"] == "step":
            row["median"] *= ratios.get(row["engine"], 1.0)
    return told


def test_a_bench_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    store(report(), path)
    assert read_stored(path) == json.loads(json.dumps(report().as_json()))
    compared = compare(report(), read_stored(path))
    assert compared.note is None
    assert {change.ratio for change in compared.changes} == {change.stored for change in compared.changes}
    assert not any(change.is_worse for change in compared.changes)
    compared.raise_if_worse()


def test_more_than_a_quarter_is_marked() -> None:
    # Stored at 0.79 of what is measured now: 27 % worse. Stored at 0.81: 23 %.
    compared = compare(report(digits=[contest()]), stored(PyTorch=0.79, yardstick=0.81))
    marked = [change for change in compared.changes if change.is_worse]
    assert [(change.measure, change.engine) for change in marked] == [("step", "PyTorch")]
    assert marked[0].row()[""] == "WORSE"
    assert marked[0].row()["now ÷ stored"] == pytest.approx(1 / 0.79)
    assert marked[0].as_json()["worse"] is True
    told = r"1 of 8 ratios got worse by more than a quarter, most of all digits, training step, step to PyTorch: 2, "
    with pytest.raises(GlassnetError, match=told + r"stored 1\.58\.$"):
        compared.raise_if_worse()


def test_better_is_not_marked() -> None:
    compare(report(digits=[contest()]), stored(PyTorch=3.0)).raise_if_worse()


def test_what_was_not_stored_is_new() -> None:
    compared = compare(report(block=[contest()]), stored())
    assert {change.stored for change in compared.changes} == {None}
    assert {change.row()[""] for change in compared.changes} == {"new"}
    compared.raise_if_worse()


def test_another_machine_is_told() -> None:
    other = stored()
    other["machine"]["processor"] = "Another"
    other["machine"]["versions"]["torch"] = "2.5"
    compared = compare(report(digits=[contest()]), other)
    assert compared.note == "Stored elsewhere: processor Another, here A processor; torch 2.5, here None."


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"The stored bench .*bench\.json cannot be read: No such file or directory\."),
        (b"{", r"bench\.json is no stored bench: it is not JSON\."),
        (b"[]", r"bench\.json is no stored bench of format 1: `glassnet bench --save` writes one\."),
        (b'{"format": 2, "workloads": {}}', r"no stored bench of format 1"),
        (b'{"format": 1, "workloads": {}}', r"no stored bench of format 1"),
        (b'{"format": 1, "workloads": {"digits": {"ratios": [{}]}}}', r"no stored bench of format 1"),
        (b'{"format": 1, "workloads": [], "machine": {}}', r"no stored bench of format 1"),
    ],
)
def test_files_that_are_none(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=told):
        read_stored(path)


def test_a_bench_that_cannot_be_written_is_a_stated_failure(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"The bench .*absent.* cannot be written: No such file"):
        store(report(), tmp_path / "absent" / "bench.json")
