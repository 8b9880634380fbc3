import numpy as np
import pytest
from threadpoolctl import threadpool_info

from glassnet.bench.backends import Backend, FastBackend, PlainBackend
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
