"""Start of several processes on this machine: ``devices`` is torchrun with a worker of ours (``worker.py``).

torchrun starts the workers, notices when one ends and ends the others. It is a process of its own, so that a notebook
or a script keeps its signals, needs no ``if __name__ == "__main__"`` and does not import torch. Rank 0 writes what
there is to show to its standard output, one JSON object a line. The workers' standard input is a pipe from here: when
it closes, by Ctrl-C or because this process is gone, rank 0 stops as by Ctrl-C. Their standard error goes to files,
since torchrun's own report follows each failure; the first line of ours is taken from there.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from glassnet import errors
from glassnet.errors import GlassnetError, RunError
from glassnet.progress import Progress, TerminalProgress

STOP_TIMEOUT = 15.0  # seconds that a stopped training may take to end


def launch(arguments: dict[str, Any]) -> Path:
    """Train in ``devices`` processes of this machine, and return the path of the run.

    :param arguments: the arguments of ``train`` by name, pickled for the workers but for ``progress``.
    :raises GlassnetError: of the kind and with the text that a worker raised, or if one ended without a word.
    :raises KeyboardInterrupt: after Ctrl-C, with rank 0's message.
    """
    progress = arguments.pop("progress") or TerminalProgress()
    del arguments["group"]
    with TemporaryDirectory(prefix="glassnet-") as folder:
        path = Path(folder, "arguments.pickle")
        with path.open("wb") as file:
            _Pickler(file).dump(arguments)
        with (
            Path(folder, "torchrun.log").open("w", encoding="utf-8") as log,
            subprocess.Popen(
                _command(arguments["devices"], path, folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C reaches this process alone
                text=True,
                encoding="utf-8",
            ) as process,
        ):
            try:
                result = _follow(process, progress)
            finally:
                process.kill()  # by now it has ended, unless this is an error; its workers notice
        if result is None:
            raise RunError(_first_line(Path(folder), arguments["devices"]))
    if "error" in result:
        raise _rebuild(result)
    return Path(result["run"])


class _Pickler(pickle.Pickler):
    """Writes a memory map as the name of its file, not as its numbers."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap):  # the whole map, not a view of it
            return np.memmap, (value.filename, value.dtype, "r", value.offset, value.shape)
        return NotImplemented


def _command(devices: int, arguments: Path, folder: str) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    return [*torchrun, "--log-dir", folder, "--redirects", "2", "-m", "glassnet.training.worker", str(arguments)]


def _follow(process: subprocess.Popen[str], progress: Progress) -> dict[str, Any] | None:
    """Show the events of rank 0 until the workers have ended, and return the last one: a run, or an error."""
    assert process.stdin is not None
    assert process.stdout is not None
    show = _Display(progress)
    try:
        result = show.events(process.stdout)
        process.wait(STOP_TIMEOUT)
        return result
    except KeyboardInterrupt:
        process.stdin.close()  # rank 0 then stops as by Ctrl-C
        return show.events(process.stdout) or {"error": "KeyboardInterrupt", "text": ""}
    finally:
        show.close()


class _Display:
    """Display of rank 0's events on the progress of this process."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.parts: list[tuple[ExitStack, Any]] = []

    def events(self, lines: Iterable[str]) -> dict[str, Any] | None:
        """Show all events, and return the result of the training; None if it ended without one."""
        result = None
        for line in lines:
            event = json.loads(line)
            if "run" in event or "error" in event:
                result = result or event
            else:
                getattr(self, event["call"])(*event["arguments"])
        return result

    def log(self, line: str) -> None:
        self.progress.log(line)

    def start(self, *task: Any) -> None:
        self.progress.start(*task)

    def advance(self, count: int) -> None:
        self.progress.advance(count)

    def finish(self) -> None:
        self.progress.finish()

    def start_part(self, *task: Any) -> None:
        stack = ExitStack()
        self.parts.append((stack, stack.enter_context(self.progress.part(*task))))

    def advance_part(self, count: int) -> None:
        self.parts[-1][1](count)

    def finish_part(self) -> None:
        self.parts.pop()[0].close()

    def close(self) -> None:
        while self.parts:
            self.finish_part()
        self.progress.finish()


def _rebuild(result: dict[str, Any]) -> BaseException:
    """Return the exception that a worker raised."""
    if result["error"] == "KeyboardInterrupt":
        return KeyboardInterrupt(*filter(None, [result["text"]]))
    kind = getattr(errors, result["error"], RunError)
    is_ours = isinstance(kind, type) and issubclass(kind, GlassnetError)
    return (kind if is_ours else RunError)(result["text"])


def _first_line(folder: Path, devices: int) -> str:
    """Return why the workers ended: a line of ours on their standard error, or else what torchrun reports first."""
    texts = [path.read_text("utf-8", "replace") for path in sorted(folder.rglob("stderr.log"))]
    for text in texts:
        if match := re.search(r"^Error: (Rank \d+ of .*)$", text, re.MULTILINE):
            return match[1]
    report = (folder / "torchrun.log").read_text("utf-8", "replace")
    cause = re.search(r"Root Cause.*?rank +: (\d+).*?exitcode +: (-?\d+)", report, re.DOTALL)
    last = next((lines[-1] for text in [*texts, report] if (lines := text.strip().splitlines())), "no message")
    if cause is None:
        return f"The training in {devices} processes ended: {last}"
    return f"Rank {cause[1]} of {devices}: the process ended with exit code {cause[2]}" + (
        f": {last}" if any(texts) else "."
    )
