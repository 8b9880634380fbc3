"""Trials side by side, each in one of several processes, which end with the one that started them."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any

from glassnet.errors import RunError
from glassnet.progress import Progress

if TYPE_CHECKING:
    from glassnet.studies.trials import Outcome, Trial, Workshop

_SECONDS = 0.2  # between two looks at how far the processes are


def train_in_processes(
    workshop: "Workshop",
    trials: "Iterable[Trial]",
    workers: int,
    advance: "Callable[[Trial, int], None]",
    finish: "Callable[[Outcome], None]",
) -> None:
    """Trains every trial in one of ``workers`` processes; ``advance`` and ``finish`` are called in this one.

    Whatever ends this early, an interrupt too, ends the others at their next step; what they finished is kept.

    :raises RunError: a process that vanished, or whatever ended a training.
    """
    context = get_context("spawn")  # a fork would take over locks and threads of BLAS in whatever state they are
    stop, epochs = context.Event(), context.SimpleQueue()
    with ProcessPoolExecutor(workers, context, _enter, (workshop, epochs, stop)) as pool:
        try:
            with _interrupts_held_back():
                running = {pool.submit(_train, trial): trial for trial in trials}
            by_name = {trial.name: trial for trial in running.values()}
            while running:
                done, _ = wait(running, _SECONDS, FIRST_COMPLETED)
                while not epochs.empty():
                    name, count = epochs.get()
                    advance(by_name[name], count)
                for future in done:
                    running.pop(future)
                    finish(future.result())
        except BrokenProcessPool:
            raise RunError(
                "A process that trained vanished; often there was not enough memory for all. Try fewer workers."
            ) from None
        finally:
            stop.set()
            # One that is only just starting still looks for what this process shares with it.
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal. Those started in here never see one: the parent does, when this ends,
    and says stop.

    :raises KeyboardInterrupt: at the end, where there was one.
    """
    if current_thread() is not main_thread():  # only the main thread is asked
        yield
        return
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    if hasattr(signal, "pthread_sigmask"):  # not on Windows; whoever is started inherits what is blocked
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt


class _Reporting(Progress):
    """Tells the parent of each epoch, and ends the training when the parent says stop."""

    def __init__(self, trial: "Trial") -> None:
        self.trial = trial

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        _HERE["epochs"].put((self.trial.name, done * self.trial.recipe.epochs // total))

    def advance(self, count: int = 1) -> None:
        if _HERE["stop"].is_set():
            raise KeyboardInterrupt

    def log(self, line: str) -> None:
        if "] epoch " in line:
            _HERE["epochs"].put((self.trial.name, 1))


_HERE: dict[str, Any] = {}  # of a process that trains: its workshop, the queue of epochs, the sign to stop


def _enter(workshop: "Workshop", epochs: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    Thread(target=_leave_with_parent, daemon=True).start()
    _HERE.update(workshop=workshop, epochs=epochs, stop=stop)


def _leave_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "this runs in a child"
    parent.join()
    os._exit(1)  # a run folder survives a kill at any instant


def _train(trial: "Trial") -> "Outcome":
    outcome: Outcome = _HERE["workshop"].train(trial, _Reporting(trial))
    return outcome
