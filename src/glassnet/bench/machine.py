"""The machine and the versions that measurements were taken with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from threadpoolctl import threadpool_info

from glassnet.resources import usable_cores

Machine = dict[str, str | int | None]


def describe_machine() -> Machine:
    """Return processor, cores, system and versions; the version of a package that is not installed is None."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: _version(package) for package in ("glassnet", "numpy", "torch")},
        "blas": _blas(),
    }


def _processor() -> str:
    """Return the processor's name, if the system has one."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _blas() -> str | None:
    """Return name and version of NumPy's BLAS, and the kernels that it selected for this processor."""
    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            words = (library["internal_api"], library["version"], library.get("architecture"))
            return " ".join(word for word in words if word)
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
