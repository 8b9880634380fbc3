import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from glassnet.bench import backends
from glassnet.bench.backends import Backend, FastBackend, PlainBackend, available_backends
from glassnet.bench.torch_backend import TorchBackend
from glassnet.bench.workloads import Workload
from tests.bench.small import SMALL, TINY, all_backends

every_backend = pytest.mark.parametrize("backend", all_backends(), ids=lambda backend: backend.name)


@every_backend
def test_prepare_returns_a_step_that_changes_every_weight_and_buffer(backend: Backend) -> None:
    workload = Workload("step", SMALL, 8)
    task = backend.prepare(workload, "float64")
    assert task.run_once() > 0
    before, after = workload.state(), task.state()
    assert before.keys() == after.keys()
    for key in before:
        assert after[key].dtype == before[key].dtype
        assert np.abs(after[key] - before[key]).max() > 0, key


@every_backend
def test_prepare_returns_logits_for_inference(backend: Backend) -> None:
    task = backend.prepare(Workload("logits", SMALL, 8, is_training=False))
    logits = np.asarray(task.run_once())
    assert (logits.shape, logits.dtype) == ((8, 10), np.float32)
    before = Workload("logits", SMALL, 8).state()
    assert all(np.allclose(after, before[key]) for key, after in task.state().items())


def test_steps_on_one_batch_stay_finite() -> None:
    task = FastBackend(1).prepare(TINY)
    losses = [task.run_once() for _ in range(100)]
    assert np.isfinite(losses).all()
    assert losses[-1] > losses[0] / 2


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if "openblas" in library["filepath"]}


def test_thread_limits_hold_blas_and_restore_it() -> None:
    before = blas_threads()
    for threads in (1, 2):
        with PlainBackend(threads).thread_limits():
            assert blas_threads() == {threads}
    assert blas_threads() == before


def test_name_has_implementation_layout_and_threads() -> None:
    assert PlainBackend(1).name == "NumPy plain, 1 thread"
    assert TorchBackend(2, "channels-last").name == "PyTorch, channels-last, 2 threads"


def test_available_backends_use_one_thread_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "usable_cores", lambda: 4)
    found, missing = available_backends()
    assert missing is None
    assert [backend.name for backend in found] == [
        "NumPy fast, 1 thread",
        "NumPy fast, 4 threads",
        "NumPy plain, 1 thread",
        "NumPy plain, 4 threads",
        "PyTorch, NCHW, 1 thread",
        "PyTorch, NCHW, 4 threads",
        "PyTorch, channels-last, 1 thread",
        "PyTorch, channels-last, 4 threads",
    ]
    monkeypatch.setattr(backends, "usable_cores", lambda: 1)
    assert len(available_backends()[0]) == 4


WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name=name)

sys.meta_path.insert(0, NoTorch())
from glassnet.bench.backends import available_backends
print(*available_backends(), sep="\\n")
"""


def test_available_backends_without_pytorch() -> None:
    process = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, capture_output=True, encoding="utf-8")
    found, missing = process.stdout.splitlines()
    assert "TorchBackend" not in found
    assert missing == "PyTorch was not measured: No module named 'torch'"


def test_available_backends_with_a_broken_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise OSError("libtorch.so: cannot open shared object file\nmore")

    name = "glassnet.bench.torch_backend"
    monkeypatch.setitem(sys.modules, name, Broken(name))
    found, missing = available_backends()
    assert {backend.implementation for backend in found} == {"NumPy fast", "NumPy plain"}
    assert missing == "PyTorch was not measured: libtorch.so: cannot open shared object file"
