import re
from pathlib import Path

import pytest

from glassnet.data.cache import room
from glassnet.data.cache.room import CacheError, cache_errors, check_memory, check_room
from glassnet.errors import DataError


@pytest.fixture
def resources(monkeypatch):
    def set_resources(disk, memory):
        monkeypatch.setattr(room, "available_disk", lambda folder: disk)
        monkeypatch.setattr(room, "available_memory", lambda: memory)
        monkeypatch.setattr(room, "usable_cores", lambda: 2)

    return set_resources


def test_check_room_says_what_is_needed_and_available(resources):
    resources(10**12, 8 * 10**9)
    text = "2.5 GB of the disk's free 1.0 TB, and 245.8 MB of 8.0 GB of free memory"
    assert check_room(Path("c"), 2_500_000_000, 200_000) == text
    resources(10**12, None)
    assert check_room(Path("c"), 2_500_000_000, 200_000) == "2.5 GB of the disk's free 1.0 TB"


def test_check_room_raises_for_too_little(resources):
    resources(10**9, None)
    message = (
        "The cache in c must have room for 2.5 GB. Got 1.0 GB available. Set GLASSNET_CACHE to a folder on another "
    )
    with pytest.raises(CacheError, match=f"^{re.escape(message)}"):
        check_room(Path("c"), 2_500_000_000, 200_000)
    resources(10**12, 10**8)
    message = (
        "The memory must have room for 245.8 MB to decode 200,000 images. Got 100.0 MB available. End other programs, "
        "or load fewer images (--samples)."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        check_room(Path("c"), 1, 200_000)


def test_check_memory_names_the_way_on(resources):
    resources(10**9, 2 * 10**9)
    check_memory(10**9, None)
    message = (
        "The cache is full. The memory must have room for the images: 2.5 GB. Got 2.0 GB available. Load "
        "fewer images (--samples) or smaller ones (--image-size)."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        check_memory(2_500_000_000, "The cache is full.")
    resources(10**9, None)
    check_memory(10**15, None)


def test_cache_errors_names_the_folder():
    message = r"^The cache in c must be writable\. Got: Permission denied\. Set GLASSNET_CACHE to a folder that is\.$"
    with pytest.raises(CacheError, match=message), cache_errors(Path("c")):
        raise PermissionError(13, "Permission denied", "c/x")
