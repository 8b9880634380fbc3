import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from glassnet.data.files.image_file import ImageFile
from glassnet.data.images import decode_processes
from glassnet.data.images.decode_processes import decode_in_order, work_on_files
from glassnet.errors import GlassnetError
from glassnet.progress import Progress, show_progress


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are started for the first file already, and waited for."""
    monkeypatch.setattr(decode_processes, "SECONDS_ALONE", 0.0)
    monkeypatch.setattr(decode_processes, "_are_started", lambda first_answer: first_answer.result() == [])
    monkeypatch.setattr(decode_processes, "FILES_PER_TASK", 4)


def pids(numbers: list[int]) -> list[tuple[int, int]]:
    """Stand-in for a decoder: the number itself and the process that decoded it; later numbers take less time."""
    time.sleep(max(0.0, 0.02 - 0.001 * numbers[0]))
    return [(number, os.getpid()) for number in numbers]


def one_by_one(numbers: list[int]) -> list[tuple[int, int]]:
    time.sleep(0.001)
    return [(number, os.getpid()) for number in numbers]


def print_much(numbers: list[int]) -> list[int]:
    print("this must not arrive among the answers", flush=True)
    print("nor this", file=sys.stderr, flush=True)
    return numbers


def with_content(numbers: list[int]) -> list[tuple[int, bytes]]:
    return [(number, bytes([number]) * 300_000) for number in numbers]


def sleep_long(numbers: list[int]) -> list[int]:
    if numbers[0]:
        time.sleep(60)
    return numbers


def fail(numbers: list[int]) -> list[int]:
    raise KeyError(numbers[0])


def end_at_nine(numbers: list[int]) -> list[int]:
    if 9 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return numbers


def children() -> set[int]:
    """Return the decoding processes that this one started."""
    listed = subprocess.run(["ps", "-ewwo", "pid=,ppid=,args="], check=True, capture_output=True, text=True).stdout
    lines = (line.split(maxsplit=2) for line in listed.splitlines() if "decode_processes import" in line)
    return {int(pid) for pid, parent, _ in lines if int(parent) == os.getpid()}


def test_decode_in_order_keeps_the_order_over_processes() -> None:
    decoded = list(decode_in_order(range(50), pids, processes=2, ahead=8))
    assert [file for file, _ in decoded] == [number for _, (number, _) in decoded] == list(range(50))
    assert len({pid for _, (_, pid) in decoded}) == 2
    assert os.getpid() not in {pid for _, (_, pid) in decoded}


def test_decode_in_order_keeps_large_answers_apart() -> None:
    for number, (answer, content) in decode_in_order(range(200), with_content, 2, ahead=16):
        assert (answer, content) == (number, bytes([number]) * 300_000)


def test_decode_in_order_stays_in_this_process_for_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_processes, "SECONDS_ALONE", 9.0)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert {pid for _, (_, pid) in decode_in_order(range(9), pids, 2, 8)} == {os.getpid()}
    monkeypatch.setattr(decode_processes, "SECONDS_ALONE", 0.0)
    assert {pid for _, (_, pid) in decode_in_order(range(9), pids, 1, 8)} == {os.getpid()}
    assert list(decode_in_order([], pids, 1, 8)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_decode_in_order_reads_only_a_little_ahead(processes: int) -> None:
    taken = []

    def endless() -> Iterator[int]:
        for number in range(10**9):
            taken.append(number)
            yield number

    decoded = decode_in_order(endless(), pids, processes, ahead=8)
    for expected in range(30):
        number, _ = next(decoded)
        assert number == expected
        assert len(taken) <= expected + 8 + 2 * 4
    decoded.close()


def test_decode_in_order_decodes_in_this_process_until_the_others_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(decode_processes, "SECONDS_ALONE", 0.0)
    used = []
    for number, (decoded, pid) in decode_in_order(range(10**9), one_by_one, 2, 1):
        assert decoded == number
        used.append(pid)
        if len(set(used)) == 3:
            break
    here = used.count(os.getpid())
    assert set(used[:here]) == {os.getpid()}


def test_decode_in_order_separates_prints_from_answers() -> None:
    assert [number for _, number in decode_in_order(range(9), print_much, 2, 8)] == list(range(9))


def test_decode_in_order_raises_the_decoders_error() -> None:
    with pytest.raises(KeyError, match="0"):
        list(decode_in_order(range(9), fail, 2, 8))
    assert not children()


def test_decode_in_order_raises_if_a_process_ends() -> None:
    decoded = decode_in_order(range(40), end_at_nine, 2, 8)
    assert [next(decoded)[0] for _ in range(8)] == list(range(8))
    with pytest.raises(GlassnetError, match=r"^A process that decodes images ended unexpectedly \(SIGKILL\)"):
        next(decoded)
    assert not children()


def test_decode_in_order_ends_its_processes_if_it_is_left() -> None:
    decoded = decode_in_order(range(10**9), pids, 2, 8)
    next(decoded)
    next(decoded)
    assert len(children()) >= 2
    del decoded
    assert not children()


def test_decode_in_order_ends_its_processes_at_once() -> None:
    decoded = decode_in_order(range(10**9), sleep_long, 2, 8)
    next(decoded)
    start = time.monotonic()
    decoded.close()
    assert time.monotonic() - start < 20
    assert not children()


def test_decode_in_order_needs_no_guard_of_the_main_module_and_no_module_beside_it(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')", encoding="utf-8")
    (tmp_path / "script.py").write_text(
        "import sys\n"
        "sys.path.pop(0)  # the folder of this script\n"
        "from glassnet.data.images import decode_processes\n"
        "decode_processes.SECONDS_ALONE = 0\n"
        "decode_processes._are_started = lambda first_answer: first_answer.result() == []\n"
        "for file, decoded in decode_processes.decode_in_order('abc', list, 2, 1):\n"
        "    print(file, decoded)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("a a\nb b\nc c\n", "")


def test_ctrl_c_of_a_terminal_does_not_end_the_processes() -> None:
    """It reaches the whole group of processes; the one that started the others ends them."""
    decoded = decode_in_order(range(10**9), partial(interrupt_group, os.getpid()), 2, 8)
    assert [next(decoded)[0] for _ in range(20)] == list(range(20))
    decoded.close()


def interrupt_group(parent: int, numbers: list[int]) -> list[int]:
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGINT)
    return numbers


class Counter(Progress):
    def __init__(self) -> None:
        self.counts: list[int] = []

    @contextmanager
    def part(self, title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        self.begun = title, total
        yield self.counts.append


@pytest.mark.parametrize("count", [0, 1, 70])
def test_work_on_files_gives_places_and_counts_every_file(count: int) -> None:
    progress, files = Counter(), [ImageFile(str(number), bytes) for number in range(count)]
    with show_progress(progress):
        results = list(work_on_files(files, names_of, "reading"))
    assert [name for _, names in results for name in names] == [file.name for file in files]
    assert [start for start, _ in results] == list(range(0, count, 4))
    assert (progress.begun, sum(progress.counts)) == (("reading", count), count)


def names_of(files: Sequence[ImageFile]) -> list[str]:
    return [file.name for file in files]
