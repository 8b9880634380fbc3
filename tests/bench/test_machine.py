from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from glassnet.bench import machine


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "GEMM_SIZE", 64)
    monkeypatch.setattr(machine, "COPY_BYTES", 1 << 16)


def test_a_machine_is_described_and_measured() -> None:
    found = machine.look(1)
    assert found.cores == 1
    assert found.processor
    assert found.versions["numpy"] == np.__version__
    assert "openblas" in (found.versions["blas"] or "")
    assert found.gemm_peak >= found.gemm_peak_1 > 1e6
    assert found.bandwidth > 1e6
    assert replace(found) == found


def test_ceilings_are_the_work_by_the_best_time(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []

    def half_a_second(action: Callable[[], object]) -> float:
        done.append(action())
        return 0.5

    monkeypatch.setattr(machine, "_best", half_a_second)
    assert machine._gemm_peak(1) == 2 * 64**3 / 0.5
    assert machine._bandwidth(2) == 2 * 2 * (1 << 16) / 0.5  # read and written, by two threads
    assert len(done) == 2


def test_the_best_of_several_tries_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0, 9, 10, 13, 20, 22, *range(30, 40)])
    monkeypatch.setattr(machine, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(machine, "TRIES", 3)
    assert machine._best(lambda: None) == 2


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert machine._version("no-such-package") is None
