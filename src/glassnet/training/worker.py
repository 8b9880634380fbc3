"""A process of a training that ``launcher.py`` started with torchrun: ``python -m glassnet.training.worker FILE``."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

from glassnet.progress import Progress
from glassnet.training.run import train

SHOW_AFTER = 0.05  # seconds between two reports of finished steps
STOP_TIMEOUT = 4.0  # seconds in which a process ends after the one that started it


class EventProgress(Progress):
    """Sends what is to be shown as JSON lines to the process that started the workers."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._pending, self._due = stream, 0, 0.0

    def send(self, **event: Any) -> None:
        """Write one line."""
        with suppress(OSError):  # the other end is gone; standard input says so, too
            self._stream.write(json.dumps(event) + "\n")
            self._stream.flush()

    def _call(self, name: str, *arguments: Any) -> None:
        self._flush()
        self.send(call=name, arguments=arguments)

    def _flush(self) -> None:
        if self._pending:
            count, self._pending = self._pending, 0
            self.send(call="advance", arguments=[count])

    def log(self, line: str) -> None:
        self._call("log", line)

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        self._call("start", title, total, done, unit)

    def advance(self, count: int = 1) -> None:
        self._pending += count
        if perf_counter() > self._due:
            self._flush()
            self._due = perf_counter() + SHOW_AFTER

    def finish(self) -> None:
        self._call("finish")

    @contextmanager
    def part(self, title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        """Enclose a part of a task, or a task alone."""
        self._call("start_part", title, total, unit)
        n_pending, due = 0, perf_counter() + SHOW_AFTER

        def advance(count: int) -> None:
            nonlocal n_pending, due
            n_pending += count
            if perf_counter() > due:
                self.send(call="advance_part", arguments=[n_pending])
                n_pending, due = 0, perf_counter() + SHOW_AFTER

        try:
            yield advance
        finally:
            self._call("finish_part")


def main(path: str) -> None:
    """Train with the arguments in a file, and send the run or the error."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what else is printed must not come between the events
    progress = EventProgress(events)
    if os.environ["RANK"] == "0":
        threading.Thread(target=_stop_with_launcher, daemon=True).start()
    try:
        run = train(**pickle.loads(Path(path).read_bytes()), progress=progress)
    except BaseException as error:
        text = next(iter(str(error).splitlines()), "")
        progress.send(error=type(error).__name__, text=text)
        raise SystemExit(1) from error
    if os.environ["RANK"] == "0":
        progress.send(run=str(run.path))


def _stop_with_launcher() -> None:
    """Stop as by Ctrl-C when standard input ends."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(STOP_TIMEOUT)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
