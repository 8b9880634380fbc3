import subprocess
import sys
from types import ModuleType

import pytest

from glassnet.architecture import parameter_count
from glassnet.bench import workloads
from glassnet.bench.tasks import Inference, Layer, Training
from glassnet.bench.workloads import BLOCK, WORKLOADS, engine_named, engines, path_steps


def test_the_table() -> None:
    assert list(WORKLOADS) == ["digits", "block", "resnet20", "resnet20-inference", "layers", "path"]
    for name, workload in WORKLOADS.items():
        tasks = workload.tasks()
        assert all(isinstance(task, Training | Layer) for task in tasks), name
        assert workload.has_memory == (len(tasks) == 1 and isinstance(tasks[0], Training)), name
        assert len({task.name for task in tasks}) == len(tasks), name
    assert isinstance(WORKLOADS["resnet20-inference"].tasks()[0], Inference)
    (convolution,) = WORKLOADS["path"].tasks()
    assert convolution.name == "Conv2d 16→16, 32×32"


def test_block_is_a_convolution_one_block_and_the_head() -> None:
    assert (BLOCK.in_channels, BLOCK.image_size, BLOCK.width, BLOCK.blocks) == (3, 32, 16, (1,))
    assert parameter_count(BLOCK) == 3 * 9 * 16 + 2 * 16 * 9 * 16 + 3 * 2 * 16 + 16 * 10 + 10


def test_everybody_takes_part_on_one_thread_and_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "usable_cores", lambda: 4)
    contenders, missing = engines()
    assert missing is None
    names = [one.name for one in contenders if one.engine != "glassnet"]
    assert names == [
        "yardstick, 1 thread",
        "yardstick, 4 threads",
        "bare GEMM, 1 thread",
        "bare GEMM, 4 threads",
        "PyTorch, NCHW, 1 thread",
        "PyTorch, NCHW, 4 threads",
        "PyTorch, channels-last, 1 thread",
        "PyTorch, channels-last, 4 threads",
    ]
    monkeypatch.setattr(workloads, "usable_cores", lambda: 1)
    assert len(engines()[0]) == 5


def test_everybody_is_found_by_name() -> None:
    for contender in engines()[0]:
        assert engine_named(contender.name).name == contender.name
    with pytest.raises(StopIteration):
        engine_named("nobody")


WITHOUT_TORCH = """
import sys
from glassnet.bench.workloads import engine_named, engines

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name=name)

engine_named("yardstick, 1 thread")
assert "torch" not in sys.modules
sys.meta_path.insert(0, NoTorch())
print(engines()[1])
"""


def test_pytorch_need_not_be_there() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout == "PyTorch takes no part: No module named 'torch'\n"


def test_without_pytorch_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "glassnet.bench.torch_contender", None)
    for contenders, missing in (engines(), path_steps()):
        assert "PyTorch" not in {one.engine for one in contenders}
        assert {"glassnet"} < {one.engine for one in contenders}
        assert missing is not None
        assert missing.startswith("PyTorch takes no part: ")


def test_a_broken_pytorch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise OSError("libtorch.so: cannot open shared object file\nmore")

    name = "glassnet.bench.torch_contender"
    monkeypatch.setitem(sys.modules, name, Broken(name))
    assert engines()[1] == "PyTorch takes no part: libtorch.so: cannot open shared object file"
