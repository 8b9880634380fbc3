"""Resources of the machine that this process may use: cores, memory and disk."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # version 2, as a container sees its own limits


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes of memory that are available, within a container's limit; None if the system does not say."""
    limits = []
    with suppress(OSError, StopIteration, ValueError):
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        limits.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):  # "max" where there is no limit
        largest, used = (int((_CGROUP / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        lines = (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = sum(int(line.split()[1]) for line in lines if re.match("(in)?active_file ", line))  # given up at once
        limits.append(max(largest - used + cached, 0))
    return min(limits, default=None)


def available_disk(folder: Path) -> int:
    """Return the bytes that can be written in a folder, or in the nearest folder above it that exists.

    :raises OSError: if the system does not say.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
