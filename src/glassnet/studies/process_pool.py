"""Tasks in parallel processes, which end with the process that started them."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread, current_thread, main_thread
from typing import Any, TypeVar

from glassnet.errors import RunError
from glassnet.progress import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")

_POLL_SECONDS = 0.2


class FractionProgress(Progress):
    """Progress of one task, reported as the fraction that is done. Log lines are dropped."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self.report = report

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        self.total, self.done = total, done
        self.report(done / total)

    def advance(self, count: int = 1) -> None:
        self.done += count
        self.report(self.done / self.total)


def run_in_processes(
    function: Callable[[Task, Progress], Result],
    tasks: Sequence[Task],
    workers: int,
    on_progress: Callable[[Task, float], None],
    on_result: Callable[[Result], None],
) -> None:
    """Call ``function(task, progress)`` for every task, each in one of ``workers`` processes.

    An error or an interrupt stops all workers at their next step.

    :param on_progress: called in this process with a task and the fraction of it that is done, a few times a second.
    :param on_result: called in this process with every result.
    :raises RunError: if a worker process ended unexpectedly. An error of ``function`` is raised as it is.
    """
    context = get_context("spawn")  # a fork would copy BLAS's locks and threads in whatever state they are
    fractions, stop = context.RawArray("d", len(tasks)), context.RawValue("b", 0)
    with ProcessPoolExecutor(workers, context, _init_worker, (function, fractions, stop)) as pool:
        try:
            with _block_interrupts():
                pending = {pool.submit(_run_task, index, task) for index, task in enumerate(tasks)}
            while pending:
                completed, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
                for task, fraction in zip(tasks, fractions, strict=True):
                    on_progress(task, fraction)
                for future in completed:
                    on_result(future.result())
        except BrokenProcessPool:
            raise RunError(
                "A worker process ended unexpectedly, often because memory ran out. Try fewer workers."
            ) from None
        finally:
            stop.value = 1
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Delay Ctrl-C, which reaches every process of a terminal, until the block ends.

    The processes started in the block never receive it: this one does, and stops them.

    :raises KeyboardInterrupt: at the end of the block, if there was one.
    """
    if current_thread() is not main_thread():  # only the main thread receives signals
        yield
        return
    received: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    can_mask = hasattr(signal, "pthread_sigmask")  # not on Windows; a new process inherits the mask
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_mask else set()
    try:
        yield
    finally:
        if can_mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        signal.signal(signal.SIGINT, handler)
    if received:
        raise KeyboardInterrupt


_worker_state: dict[str, Any] = {}  # in a worker process: what _init_worker received


def _init_worker(function: Any, fractions: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows the mask was not inherited
    Thread(target=_exit_with_parent, daemon=True).start()
    _worker_state.update(function=function, fractions=fractions, stop=stop)


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "this runs in a worker process"
    parent.join()
    os._exit(1)  # a run folder survives a kill at any instant


def _run_task(index: int, task: Any) -> Any:
    def report(fraction: float) -> None:
        if _worker_state["stop"].value:
            raise KeyboardInterrupt
        _worker_state["fractions"][index] = fraction

    return _worker_state["function"](task, FractionProgress(report))
