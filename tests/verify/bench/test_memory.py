import subprocess
import sys

import numpy as np
import pytest

from glassnet.errors import GlassnetError
from glassnet.verify.bench import memory
from glassnet.verify.bench.contenders import Glassnet, Part
from glassnet.verify.bench.tasks import Training
from tests.verify.bench.small import SMALL

pytestmark = pytest.mark.skipif(not memory.CLEAR.exists(), reason="only Linux tells the highest resident memory anew")

MEBI = 1 << 20


class Greedy(Glassnet):
    """Takes 64 MiB while it runs, and has taken 256 before."""

    def training(self, task: Training, dtype: str) -> Part:
        np.ones(256 * MEBI, np.uint8)

        def once() -> dict[str, float]:
            np.ones(64 * MEBI, np.uint8)
            return {}

        return Part(self.at_work, once, dict)


def test_what_a_run_takes_is_what_is_measured() -> None:
    taken = memory.measure(Training(SMALL, 4), Greedy(1))
    assert 63 * MEBI < taken < 72 * MEBI  # the system counts in batches of pages


def test_a_process_of_its_own_measures_a_workload() -> None:
    taken = memory.peak_memory("digits", "yardstick, 1 thread")
    assert taken is not None
    assert MEBI < taken < 20 * MEBI


def test_the_columns_that_the_yardstick_keeps_show() -> None:
    """In a process of its own: what other tests let go would be taken again."""
    columns = 4 * 32 * 9 * (3 * 1024 + 16 * 1024 * 2 + 16 * 256 + 32 * 256)
    program = (
        "from glassnet import spec; from glassnet.verify.bench import memory; "
        "from glassnet.verify.bench.contenders import Yardstick; from glassnet.verify.bench.tasks import Training; "
        "print(memory.measure(Training(spec('resnet20', blocks=(1, 1)), 32), Yardstick(1)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert int(done.stdout) > columns


def test_a_process_that_fails_is_a_stated_failure() -> None:
    told = r"The memory of yardstick, 1 thread on nothing cannot be measured: KeyError: 'nothing'"
    with pytest.raises(GlassnetError, match=told):
        memory.peak_memory("nothing", "yardstick, 1 thread")


def test_where_the_system_does_not_tell_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CLEAR", memory.CLEAR / "absent")
    monkeypatch.setattr(sys, "executable", "nothing is run")
    assert memory.peak_memory("digits", "glassnet, 1 thread") is None
