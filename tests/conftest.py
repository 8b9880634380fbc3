"""What the tests of several rooms share."""

import os

# One thread for each worker of pytest-xdist, and for what it starts. Read when NumPy and PyTorch are first imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from collections.abc import Callable
from pathlib import Path

import pytest

import glassnet as gn

Snapshot = Callable[[Path], dict[str, tuple[bytes, int]]]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that lies beside the checkout, for tests that need real pictures."""
    folder = Path(os.environ.get("GLASSNET_SHARED", Path(__file__).parents[1] / "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set GLASSNET_SHARED to the folder of shared data")
    return folder


@pytest.fixture(scope="session")
def digits() -> gn.Dataset:
    """200 training digits and all 450 test digits: an epoch of tiny takes a few hundredths of a second."""
    return gn.load_data("digits", samples=200)


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """Every file below a folder with its bytes and its time, to see that nothing was touched."""

    def taken(folder: Path) -> dict[str, tuple[bytes, int]]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    return taken
