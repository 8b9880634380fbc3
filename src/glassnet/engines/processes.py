"""Several processes that train one network together, each on its shard of every batch.

The process that calls ``train`` is the first. It alone evaluates, logs and writes the run folder; it starts the
workers, which take the same steps on their shards and do not access the run folder. If any process dies, at any time,
the folder holds the last epoch that all of them had finished.
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

SHUTDOWN_TIMEOUT = 1.0  # seconds that a process may take to end after another one noticed


@dataclass(frozen=True)
class ProcessGroup:
    """One of ``world_size`` processes, which meet at a port of this machine."""

    rank: int = 0
    world_size: int = 1
    port: int = 0

    @classmethod
    def create(cls, world_size: int) -> Self:
        """Return the first of ``world_size`` processes, with a free port.

        :raises ConfigError: if a worker imports a script that trains while it is imported.
        """
        if world_size == 1:
            return cls()
        if getattr(current_process(), "_inheriting", False):  # multiprocessing itself checks this
            raise ConfigError(
                "A script that trains on several devices must do so under if __name__ == '__main__'. "
                "Got a training during import: each worker process imports the script."
            )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return cls(0, world_size, free.getsockname()[1])

    def shard(self, total: int) -> slice:
        """Return the slice of ``total`` images that this process computes; shards differ by one image at most."""
        return slice(total * self.rank // self.world_size, total * (self.rank + 1) // self.world_size)


SINGLE_PROCESS = ProcessGroup()


class _WorkerProcess:
    """A process beside the first, and the pipe from it."""

    def __init__(self, group: ProcessGroup, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        context = get_context("spawn")
        self.receiver, sender = context.Pipe(duplex=False)
        # Daemons end with the process that started them, if that one exits cleanly.
        self.process = context.Process(target=_run_worker, args=(sender, task, group, arguments), daemon=True)
        self.title = f"Process {group.rank + 1} of {group.world_size}"
        self.process.start()
        sender.close()

    def wait_until_started(self) -> None:
        """Wait for the worker's first message: if it died before, the first process would wait at the port forever.

        :raises GlassnetError: if the worker ended before.
        """
        try:
            self.receiver.recv()
        except EOFError:
            raise GlassnetError(f"{self.title} did not start.") from None

    def check(self, cause: Exception | None = None) -> None:
        """Check that the worker did not fail.

        :raises RunError: if it failed.
        """
        if self.process.exitcode:
            with suppress(EOFError):
                raise RunError(f"{self.title} failed: {self.receiver.recv()}") from cause
            raise RunError(f"{self.title} ended with exit code {self.process.exitcode}.") from cause

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.receiver.close()


@contextmanager
def worker_processes(first: ProcessGroup, task: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Run ``task(group, *arguments)`` in the other processes while the context lasts.

    Its end waits for theirs; an error ends them. They are new interpreters (Python's "spawn"), so that this works in a
    notebook, too; arguments are pickled.

    :raises RunError: if one of them failed.
    """
    workers: list[_WorkerProcess] = []
    clean_exit = False
    try:
        for rank in range(1, first.world_size):
            workers.append(_WorkerProcess(replace(first, rank=rank), task, arguments))
        for worker in workers:
            worker.wait_until_started()
        yield
    except Exception as error:
        ended = wait([worker.process.sentinel for worker in workers], SHUTDOWN_TIMEOUT)
        for worker in workers:
            if worker.process.sentinel in ended:
                worker.process.join()  # its exit code comes a moment after its sentinel
            worker.check(error)
        raise
    else:
        for worker in workers:
            worker.process.join()
            worker.check()
        clean_exit = True
    finally:
        for worker in workers:
            worker.end()
        _leave_group(first, clean_exit=clean_exit)


def _run_worker(sender: Connection, task: Callable[..., None], group: ProcessGroup, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    sender.send("started")
    try:
        task(group, *arguments)
    except Exception as error:
        with suppress(OSError):  # the first process has ended
            sender.send(next(iter(str(error).splitlines()), type(error).__name__))
        sys.exit(1)
    _leave_group(group)


def _leave_group(group: ProcessGroup, *, clean_exit: bool = True) -> None:
    if group.world_size > 1:
        import torch.distributed

        if torch.distributed.is_initialized():
            if not clean_exit:
                # The group's end would wait for its threads while it holds Python's lock (PyTorch 2.13), and a thread
                # that is just dropping failed work waits for that lock. So the group stays until the process ends.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(torch.distributed.group.WORLD))
            torch.distributed.destroy_process_group()
