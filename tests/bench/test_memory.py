import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from glassnet.architecture import ResNetSpec
from glassnet.bench import memory
from glassnet.bench.backends import FastBackend, PlainBackend
from glassnet.bench.timing import TimedTask
from glassnet.bench.workloads import WORKLOADS, Workload
from glassnet.errors import GlassnetError
from tests.bench.small import TINY

pytestmark = pytest.mark.skipif(not memory.CLEAR.exists(), reason="only Linux resets the peak of resident memory")

MEBI = 1 << 20


class GreedyBackend(FastBackend):
    """Takes 64 MiB while it runs, and has taken 256 before."""

    def prepare(self, workload: Workload, dtype: str = "float32") -> TimedTask:
        np.ones(256 * MEBI, np.uint8)
        return TimedTask(self.thread_limits, lambda: np.ones(64 * MEBI, np.uint8) is None, dict)


def test_measure_growth_is_the_memory_of_a_run() -> None:
    program = (
        "from tests.bench.test_memory import *\n"
        "print(memory.measure_growth(TINY, GreedyBackend(1)))"  # memory that other tests freed would be taken again
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert 63 * MEBI < int(process.stdout) < 72 * MEBI  # the system counts in batches of pages


def test_peak_memory_of_a_workload() -> None:
    size = memory.peak_memory(WORKLOADS["digits"], FastBackend(1))
    assert size is not None
    assert MEBI < size < 20 * MEBI


def test_peak_memory_contains_the_columns_that_plain_keeps() -> None:
    workload = Workload("step", ResNetSpec("resnet20", blocks=(1, 1)), 32)
    columns = 4 * 32 * 9 * (3 * 1024 + 16 * 1024 * 2 + 16 * 256 + 32 * 256)
    size = memory.peak_memory(workload, PlainBackend(1))
    assert size is not None
    assert size > columns


def test_peak_memory_states_a_failed_process() -> None:
    text = (
        r"Peak memory cannot be measured for NumPy plain, 1 thread in 'Step of tiny': "
        r"AttributeError: 'str' object has no attribute"
    )
    with pytest.raises(GlassnetError, match=text):
        memory.peak_memory(replace(TINY, spec="tiny"), PlainBackend(1))


def test_peak_memory_is_none_where_the_system_does_not_measure_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CLEAR", memory.CLEAR / "absent")
    monkeypatch.setattr(sys, "executable", "nothing is run")
    assert memory.peak_memory(TINY, FastBackend(1)) is None
