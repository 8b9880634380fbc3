"""Work on image files in their order, by processes of their own where there are many.

Scanning and decoding small files is mostly Python's own work, which threads do one at a time (benchmarks/README.md has
figures). The processes are started by ``subprocess``, not by ``multiprocessing``, whose processes import the program's
main module: a script that predicts would need ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from queue import SimpleQueue
from threading import Lock
from time import perf_counter
from typing import Any, TypeVar

from glassnet.data.files.image_file import ImageFile
from glassnet.errors import GlassnetError
from glassnet.progress import track
from glassnet.resources import usable_cores

File = TypeVar("File")
Decoded = TypeVar("Decoded")
Task = TypeVar("Task")
Result = TypeVar("Result")
Decode = Callable[[list[File]], list[Decoded]]

FILES_PER_TASK = 32
MAX_PROCESSES = 16  # each takes about 40 MB
SECONDS_ALONE = 0.3  # of work in this process before others are started, which takes about as long

# Ctrl-C reaches every process of a terminal; the one that started the others ends them.
_PROGRAM = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from {} import _serve; _serve()"


def decode_in_order(
    files: Iterable[File], decode: Decode[File, Decoded], processes: int, ahead: int
) -> Iterator[tuple[File, Decoded]]:
    """Yield each file with what ``decode`` returns for it, in order, while the next ones are decoded.

    ``files`` is read as far ahead as files are decoded, so that any number of them takes the same memory.

    :param decode: decodes a list of files; files and function must be picklable.
    :param processes: number of processes; 1 stands for this one. Few files are decoded in this one, too.
    :param ahead: number of files to decode ahead of the one that is yielded.
    :raises GlassnetError: if a process ends unexpectedly. An error of ``decode`` is raised as it is.
    """
    size = min(FILES_PER_TASK, ahead)
    iterator = iter(files)
    tasks = iter(lambda: list(islice(iterator, size)), [])
    for task, decoded in map_in_order(tasks, decode, processes, -(-ahead // size)):
        yield from zip(task, decoded, strict=True)


def work_on_files(
    files: Sequence[ImageFile], function: Callable[[Sequence[ImageFile]], Result], title: str
) -> Iterator[tuple[int, Result]]:
    """Yield what a function returns for some files at a time, in order, with the index of the first of them.

    The cores that this process may use work on them; see ``map_in_order``.

    :param title: the progress's, which counts the files.
    """
    tasks = (files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK))
    processes, start = usable_cores(), 0
    with track(title, len(files)) as advance:
        for part, result in map_in_order(tasks, function, processes, 4 * processes):
            yield start, result
            start += len(part)
            advance(len(part))


def map_in_order(
    tasks: Iterable[Task], function: Callable[[Task], Result], processes: int, ahead: int
) -> Iterator[tuple[Task, Result]]:
    """Yield each task with what a function returns for it, in order, while processes work on the next ones.

    :param function: must be picklable, as tasks and results.
    :param processes: number of processes; 1 stands for this one. The first tasks are worked on in this one, too.
    :param ahead: number of tasks to work on ahead of the one that is yielded.
    :raises GlassnetError: if a process ends unexpectedly. An error of the function is raised as it is.
    """
    tasks = iter(tasks)
    seconds = 0.0
    while processes == 1 or seconds < SECONDS_ALONE:
        try:
            task = next(tasks)
        except StopIteration:
            return
        start = perf_counter()
        result = function(task)
        seconds += perf_counter() - start
        yield task, result
    pending: deque[tuple[Task, Future[Result]]] = deque()
    with _started_processes(min(processes, MAX_PROCESSES)) as submit:
        first_answer = submit(list, [])
        for task in tasks:
            if not _are_started(first_answer):
                yield task, function(task)
                continue
            pending.append((task, submit(function, task)))
            if len(pending) > ahead:
                yield _first_result(pending)
        while pending:
            yield _first_result(pending)


def _are_started(first_answer: Future[Any]) -> bool:
    return first_answer.done()


def _first_result(pending: deque[tuple[Task, Future[Result]]]) -> tuple[Task, Result]:
    task, future = pending.popleft()
    return task, future.result()


@contextmanager
def _started_processes(count: int) -> Iterator[Callable[..., Future[Any]]]:
    """Start processes; yield the function that gives a task to one of them."""
    processes: list[_Process] = []
    free: SimpleQueue[_Process] = SimpleQueue()

    def run(*task: Any) -> Any:
        process = free.get()
        try:
            return process.run(task)
        finally:
            free.put(process)

    threads = ThreadPoolExecutor(2 * count)
    try:
        while len(processes) < count:  # one by one, so that Ctrl-C ends those that there are
            processes.append(_Process())
        for process in processes * 2:  # the next task is sent while one is worked on
            free.put(process)
        yield lambda *task: threads.submit(run, *task)
    finally:
        for process in processes:
            process.popen.kill()  # ends the wait of its threads
        threads.shutdown(cancel_futures=True)
        for process in processes:
            with suppress(BrokenPipeError), process.popen:  # closes the pipes and waits
                pass


class _Process:
    """A process that works on tasks in their order. Two threads may give it one each."""

    def __init__(self) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.popen = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM.format(__name__)],  # -P: no module of the current directory
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders written in C print there
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        )
        self.sending, self.receiving = Lock(), Lock()

    def run(self, task: tuple[Any, ...]) -> Any:
        """Return the result of a task; an error in it is raised."""
        with ExitStack() as received:
            try:
                with self.sending:
                    assert self.popen.stdin is not None
                    pickle.dump(task, self.popen.stdin)
                    self.popen.stdin.flush()
                    received.enter_context(self.receiving)  # before the next task is sent: answers keep the order
                assert self.popen.stdout is not None
                result = pickle.load(self.popen.stdout)
            except (OSError, EOFError) as error:
                raise GlassnetError(
                    f"A process that decodes images ended unexpectedly ({self._wait()}), often because memory ran out."
                ) from error
        if isinstance(result, Exception):
            raise result
        return result

    def _wait(self) -> str:
        code = self.popen.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _serve() -> None:
    """Run the tasks that arrive on stdin, and answer on stdout, until stdin ends with the process at its other side."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # decoders must not print among the answers
    while True:
        try:
            function, argument = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            result = function(argument)
        except Exception as error:  # raised where the answer arrives
            result = error
        pickle.dump(result, answers, pickle.HIGHEST_PROTOCOL)  # copies arrays once less
        answers.flush()
