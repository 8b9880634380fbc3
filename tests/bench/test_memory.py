import subprocess
import sys

import numpy as np
import pytest

from glassnet.bench import memory
from glassnet.bench.contenders import Glassnet, Part
from glassnet.bench.tasks import Training
from glassnet.errors import GlassnetError

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


def measured_in_a_process_of_its_own(contender: str, *imports: str, task: str) -> int:
    """What other tests let go would be taken again, or let go meanwhile."""
    program = "; ".join(
        [
            "from glassnet import spec",
            "from glassnet.bench import memory",
            "from glassnet.bench.tasks import Training",
            *imports,
            f"print(memory.measure({task}, {contender}))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    return int(done.stdout)


def test_what_a_run_takes_is_what_is_measured() -> None:
    taken = measured_in_a_process_of_its_own(
        "Greedy(1)",
        "from tests.bench.small import SMALL",
        "from tests.bench.test_memory import Greedy",
        task="Training(SMALL, 4)",
    )
    assert 63 * MEBI < taken < 72 * MEBI  # the system counts in batches of pages


def test_a_process_of_its_own_measures_a_workload() -> None:
    taken = memory.peak_memory("digits", "yardstick, 1 thread")
    assert taken is not None
    assert MEBI < taken < 20 * MEBI


def test_the_columns_that_the_yardstick_keeps_show() -> None:
    columns = 4 * 32 * 9 * (3 * 1024 + 16 * 1024 * 2 + 16 * 256 + 32 * 256)
    taken = measured_in_a_process_of_its_own(
        "Yardstick(1)",
        "from glassnet.bench.contenders import Yardstick",
        task="Training(spec('resnet20', blocks=(1, 1)), 32)",
    )
    assert taken > columns


def test_a_process_that_fails_is_a_stated_failure() -> None:
    told = r"The memory of yardstick, 1 thread on nothing cannot be measured: KeyError: 'nothing'"
    with pytest.raises(GlassnetError, match=told):
        memory.peak_memory("nothing", "yardstick, 1 thread")


def test_where_the_system_does_not_tell_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CLEAR", memory.CLEAR / "absent")
    monkeypatch.setattr(sys, "executable", "nothing is run")
    assert memory.peak_memory("digits", "glassnet, 1 thread") is None
