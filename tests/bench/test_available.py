import subprocess
import sys
from types import ModuleType

import pytest

from glassnet.bench import available
from glassnet.bench.available import available_backends
from tests.without_torch import BLOCK_TORCH


def test_available_backends_use_one_thread_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "usable_cores", lambda: 4)
    found, missing = available_backends()
    assert missing is None
    assert [backend.name for backend in found] == [
        "NumPy fast, 1 thread",
        "NumPy fast, 4 threads",
        "NumPy plain, 1 thread",
        "NumPy plain, 4 threads",
        "PyTorch, NCHW, 1 thread",
        "PyTorch, NCHW, 4 threads",
        "PyTorch, channels-last, 1 thread",
        "PyTorch, channels-last, 4 threads",
    ]
    monkeypatch.setattr(available, "usable_cores", lambda: 1)
    assert len(available_backends()[0]) == 4


WITHOUT_TORCH = f"""{BLOCK_TORCH}from glassnet.bench.available import available_backends
print(*available_backends(), sep="\\n")
"""


def test_available_backends_without_pytorch() -> None:
    process = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, capture_output=True, encoding="utf-8")
    found, missing = process.stdout.splitlines()
    assert "TorchBackend" not in found
    assert missing == "PyTorch was not measured: No module named 'torch'"


def test_available_backends_with_a_broken_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise OSError("libtorch.so: cannot open shared object file\nmore")

    name = "glassnet.bench.torch_backend"
    monkeypatch.setitem(sys.modules, name, Broken(name))
    found, missing = available_backends()
    assert {backend.implementation for backend in found} == {"NumPy fast", "NumPy plain"}
    assert missing == "PyTorch was not measured: libtorch.so: cannot open shared object file"
