"""Several processes that train one network together, each on its share of every batch.

The process that calls ``train`` is the first. It alone evaluates, prints and writes the run folder; it starts the
others, which take the same steps on their shares and know of no folder. So whichever of them dies, and whenever, the
folder holds the last epoch that all of them had finished.
"""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from glassnet.errors import ConfigError, GlassnetError, RunError

PATIENCE = 1.0  # seconds that a process may take to end after another one noticed


@dataclass(frozen=True)
class Processes:
    """One of ``count`` processes, which meet at a port of this machine."""

    rank: int = 0
    count: int = 1
    port: int = 0

    @classmethod
    def first_of(cls, count: int) -> Self:
        """The first of ``count``, with a free port.

        :raises ConfigError: in a script that one of the others imports, and that trains while it is imported.
        """
        if count == 1:
            return cls()
        if getattr(current_process(), "_inheriting", False):  # what multiprocessing itself looks at
            raise ConfigError(
                "A script that trains on several devices must do so under if __name__ == '__main__': "
                "each of its processes imports it."
            )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return cls(0, count, free.getsockname()[1])

    def share(self, total: int) -> slice:
        """Which of ``total`` images are this process's: neighbours, as many as another's or one more or less."""
        return slice(total * self.rank // self.count, total * (self.rank + 1) // self.count)


ALONE = Processes()


class _Other:
    """A process beside the first, and what it says."""

    def __init__(self, processes: Processes, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        context = get_context("spawn")
        self.channel, theirs = context.Pipe(duplex=False)
        # Daemons end with the process that started them, where that one ends in order.
        self.process = context.Process(target=_work, args=(theirs, task, processes, arguments), daemon=True)
        self.title = f"Process {processes.rank + 1} of {processes.count}"
        self.process.start()
        theirs.close()

    def await_beginning(self) -> None:
        """One that cannot begin would leave the first one waiting at the port."""
        try:
            self.channel.recv()
        except EOFError:
            raise GlassnetError(f"{self.title} did not begin.") from None

    def check(self, cause: Exception | None = None) -> None:
        """:raises RunError: where it failed."""
        if self.process.exitcode:
            with suppress(EOFError):
                raise RunError(f"{self.title} failed: {self.channel.recv()}") from cause
            raise RunError(f"{self.title} ended with exit code {self.process.exitcode}.") from cause

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.channel.close()


@contextmanager
def beside(first: Processes, task: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """While the context lasts, the other processes run ``task(processes, *arguments)``. Its end waits for theirs; an
    error ends them.

    They are new interpreters (Python's "spawn"), which work from a notebook, too; arguments are pickled.

    :raises RunError: where one of them failed.
    """
    others: list[_Other] = []
    in_order = False
    try:
        for rank in range(1, first.count):
            others.append(_Other(replace(first, rank=rank), task, arguments))
        for other in others:
            other.await_beginning()
        yield
    except Exception as error:
        ended = wait([other.process.sentinel for other in others], PATIENCE)
        for other in others:
            if other.process.sentinel in ended:
                other.process.join()  # its exit code comes a moment after its sentinel
            other.check(error)
        raise
    else:
        for other in others:
            other.process.join()
            other.check()
        in_order = True
    finally:
        for other in others:
            other.end()
        _leave_group(first, in_order=in_order)


def _work(channel: Connection, task: Callable[..., None], processes: Processes, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    channel.send("begun")
    try:
        task(processes, *arguments)
    except Exception as error:
        with suppress(OSError):  # the first one is gone
            channel.send(next(iter(str(error).splitlines()), type(error).__name__))
        sys.exit(1)
    _leave_group(processes)


def _leave_group(processes: Processes, *, in_order: bool = True) -> None:
    if processes.count > 1:
        import torch.distributed

        if torch.distributed.is_initialized():
            if not in_order:
                # Its end would wait for its threads and hold Python's lock meanwhile (PyTorch 2.13), and one that is
                # just letting go of failed work waits for that lock. So this group stays until the process ends.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(torch.distributed.group.WORLD))
            torch.distributed.destroy_process_group()
