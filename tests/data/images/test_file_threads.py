import threading
import time

import pytest

from glassnet.data.images import file_threads
from glassnet.data.images.file_threads import map_files
from glassnet.progress import Progress, show_progress


class Recorder(Progress):
    def __init__(self):
        self.counts = []

    def part(self, title, total, unit):
        from contextlib import nullcontext

        self.begun = title, total
        return nullcontext(self.counts.append)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 70])
@pytest.mark.parametrize("threshold", [0, 100])
def test_map_files_keeps_the_order_and_counts_every_file(monkeypatch, count, threshold):
    monkeypatch.setattr(file_threads, "_WORTH_A_THREAD", threshold)
    progress = Recorder()
    with show_progress(progress):
        assert map_files(lambda index: index**2, range(count), "squaring") == [index**2 for index in range(count)]
    assert progress.begun == ("squaring", count)
    assert sum(progress.counts) == count


@pytest.mark.parametrize(("seconds", "n_threads"), [(0.002, 2), (0, 1)])
def test_map_files_uses_threads_for_slow_files_alone(monkeypatch, seconds, n_threads):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    threads = []

    def work(index):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        threads.append(threading.get_ident())
        time.sleep(0.001)  # so that both threads get a block

    map_files(work, range(69), "working")
    assert len(set(threads[5:])) == n_threads


def test_map_files_passes_an_error_on():
    def fail(index):
        raise KeyError(index)

    with pytest.raises(KeyError):
        map_files(fail, range(40), "failing")
