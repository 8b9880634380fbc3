import os

import pytest

from glassnet import resources
from glassnet.resources import available_disk, available_memory, usable_cores


def test_usable_cores_counts_at_least_this_one():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.fixture
def system(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    return tmp_path


def test_available_memory_is_the_least_of_the_limits(system):
    assert available_memory() is None
    (system / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:     8 kB\n")
    assert available_memory() == 8192
    (system / "memory.max").write_text("9000\n")
    (system / "memory.current").write_text("6000\n")
    (system / "memory.stat").write_text("anon 1\nfile 5100\ninactive_file 3000\nactive_file 2000\n")
    assert available_memory() == 8000
    (system / "memory.current").write_text("15000\n")
    assert available_memory() == 0
    (system / "memory.max").write_text("max\n")
    assert available_memory() == 8192


def test_available_disk_looks_at_the_nearest_folder_that_exists(tmp_path):
    assert available_disk(tmp_path / "not" / "yet") > 0
