import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from time import sleep
from typing import Any

import numpy as np
import pytest

from glassnet.nn.kernels import parallel
from glassnet.nn.kernels.parallel import BlockExecutor
from glassnet.nn.kernels.workspace import Workspace


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("items", "item_bytes", "sizes"), [(7, 400, [2, 2, 2, 1]), (3, 10**6, [1, 1, 1]), (4, 0, [4])])
def test_map_results_are_in_the_order_of_the_blocks(
    threads: int, items: int, item_bytes: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1000)
    parts = BlockExecutor(threads).map(lambda block, _: block, items, item_bytes)
    assert [block.stop - block.start for block in parts] == sizes
    assert [place for block in parts for place in range(items)[block]] == list(range(items))


def test_map_of_nothing_is_empty() -> None:
    assert BlockExecutor(2).map(lambda block, _: 1 / 0, 0, 8) == []
    assert BlockExecutor(2).sum(lambda block, _: np.zeros(3)[block].sum(), 0, 8) == 0


@pytest.mark.parametrize("blocks", [3, 8])
def test_threads_work_at_the_same_time_each_with_a_workspace_of_its_own(
    blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1)
    meeting = threading.Barrier(2, timeout=20)  # would break if one thread did all the work
    seen: list[tuple[int, int]] = []

    def compute_block(block: slice, workspace: Workspace) -> None:
        if block.start < 2:
            meeting.wait()
        seen.append((threading.get_ident(), id(workspace)))

    BlockExecutor(2).map(compute_block, blocks, 1)
    assert len(seen) == blocks
    assert len({thread for thread, _ in seen}) == len({workspace for _, workspace in seen}) == len(set(seen)) == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_sums_have_the_same_bits_from_any_number_of_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 64)
    x = (np.random.default_rng(0).standard_normal(1000) * 10.0 ** np.arange(1000).__mod__(12)).astype(np.float32)
    one: Any = BlockExecutor(1).sum(lambda block, _: x[block].sum(), len(x), 4)
    for _ in range(20):
        assert BlockExecutor(threads).sum(lambda block, _: x[block].sum(), len(x), 4) == one


@pytest.mark.parametrize("bad", [0, 1, 7])
def test_what_one_thread_raises_is_raised_when_all_have_stopped(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1)
    workers, working = BlockExecutor(3), []

    def compute_block(block: slice, _: Workspace) -> None:
        working.append(block)
        if block.start == bad:
            raise ValueError(f"block {bad}")
        working.remove(block)

    with pytest.raises(ValueError, match=f"block {bad}"):
        workers.map(compute_block, 8, 1)
    assert working == [slice(bad, bad + 1)]
    assert workers.map(lambda block, _: block.start, 3, 1) == [0, 1, 2]  # and they go on


@pytest.mark.parametrize("in_caller", [True, False])
def test_map_raises_the_error_of_any_thread(in_caller: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1)
    both = threading.Barrier(2, timeout=20)
    ended: list[bool] = []

    def compute_block(block: slice, _: Workspace) -> None:
        both.wait()  # each thread has one of the two blocks
        if (threading.current_thread() is threading.main_thread()) == in_caller:
            raise ValueError("bad")
        sleep(0.05)
        ended.append(True)

    with pytest.raises(ValueError, match="bad"):
        BlockExecutor(2).map(compute_block, 2, 1)
    assert ended == [True]


def test_map_raises_an_error_that_is_falsy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1)
    both = threading.Barrier(2, timeout=20)

    class Nothing(Exception):  # noqa: N818
        def __bool__(self) -> bool:
            return False

    def compute_block(block: slice, _: Workspace) -> None:
        both.wait()
        if threading.current_thread() is not threading.main_thread():
            raise Nothing

    with pytest.raises(Nothing):
        BlockExecutor(2).map(compute_block, 2, 1)


def test_map_threads_have_the_callers_errstate(monkeypatch: pytest.MonkeyPatch) -> None:
    """What overflows warns, raises or is silent as the caller wants it, in whichever thread it happens."""
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1)
    both = threading.Barrier(2, timeout=20)

    def compute_block(block: slice, _: Workspace) -> dict[str, str]:
        both.wait()  # each thread has one of the two blocks
        np.ones(1000) / np.zeros(1000)
        return dict(np.geterr())

    for setting in ("ignore", "raise"):
        with np.errstate(divide="ignore", over=setting):  # type: ignore[arg-type]
            assert BlockExecutor(2).map(compute_block, 2, 1) == [np.geterr()] * 2


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        sleep(0.001)


class Held:
    """Stands for an array; a weak reference tells whether anybody holds it."""


@pytest.mark.parametrize("fails", [False, True])
def test_map_holds_no_reference_when_it_is_done(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arrays' memory is handed out again, which counts on it."""
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1)
    both = threading.Barrier(2, timeout=20)
    gc.disable()
    try:
        for _ in range(100):
            held = Held()

            def compute_block(block: slice, _: Workspace, held: Held = held) -> None:
                both.wait()
                if fails and threading.current_thread() is not threading.main_thread():
                    raise ValueError(held)

            gone = weakref.ref(held)
            with suppress(ValueError):
                BlockExecutor(2).map(compute_block, 2, 1)
            del compute_block, held
            if fails:  # the other thread lets go of the error a moment after it told of it
                wait_until(lambda: gone() is None)  # noqa: B023
            assert gone() is None
    finally:
        gc.enable()


def test_there_is_a_thread_for_every_core_however_many_ask_first() -> None:
    """In a process of its own, where nobody has asked yet."""
    script = """
import sys, threading
from glassnet.nn.kernels.parallel import BlockExecutor
sys.setswitchinterval(1e-6)
together = threading.Barrier(8)
def first():
    together.wait()
    BlockExecutor(2).map(lambda block, _: None, 10**7, 1)
askers = [threading.Thread(target=first) for _ in range(8)]
[asker.start() for asker in askers]
[asker.join() for asker in askers]
print(sum(thread.name.startswith("glassnet-") for thread in threading.enumerate()))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert int(ended.stdout) == os.cpu_count()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system sends no signal to a thread")
def test_map_waits_for_threads_on_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1)
    both, at_work, main = threading.Barrier(2, timeout=20), [], threading.get_ident()

    def compute_block(block: slice, _: Workspace) -> None:
        both.wait()
        if threading.get_ident() != main:
            at_work.append(block)
            for _ in range(3):
                sleep(0.1)
                signal.pthread_kill(main, signal.SIGINT)  # it waits by now
            at_work.remove(block)

    with pytest.raises(KeyboardInterrupt):
        BlockExecutor(2).map(compute_block, 2, 1)
    assert not at_work


def test_elementwise_keeps_dtype_and_memory_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 100)
    x = np.random.default_rng(0).standard_normal((5, 4, 4, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    mask = x > 0
    y = BlockExecutor(2).elementwise(np.multiply, x, mask)
    np.testing.assert_array_equal(y, x * mask)
    assert (y.dtype, y.strides) == (x.dtype, x.strides)


def test_executor_can_be_copied() -> None:
    workers = BlockExecutor(2)
    workers.map(lambda block, workspace: workspace.empty("columns", (3,), np.float32), 10**7, 1)
    assert len(deepcopy(workers).workspaces) == 2


def _child(queue: Any) -> None:
    queue.put(BlockExecutor(2).map(lambda block, _: block.start, 10**7, 1)[:2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that a fork of threads is risky: so it is
def test_a_forked_process_has_threads_of_its_own() -> None:
    here = BlockExecutor(2).map(lambda block, _: block.start, 10**7, 1)[:2]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_child, args=(queue,))
    process.start()
    try:
        assert queue.get(timeout=30) == here
        process.join(timeout=30)
        assert process.exitcode == 0
    finally:
        process.kill()
