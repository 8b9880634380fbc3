import re
import warnings
from typing import Any

import pytest
import torch

import glassnet as gn
from glassnet.compute import Compute
from glassnet.engines import ProcessGroup
from glassnet.engines.torch_device import autocast, choose_device
from glassnet.errors import ConfigError


def compute(device: str, precision: Any = None) -> Compute:
    return Compute(engine="torch", device=device, precision=precision)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "tpu", "", "cpu:x:y", "cpu:1", "auto:0"])
def test_device_must_be_available(device: str) -> None:
    if torch.backends.mps.is_available():
        pytest.skip("there is an MPS device")
    with pytest.raises(ConfigError, match=re.escape(f"device must be one of auto, cpu. Got {device!r}")):
        gn.build("tiny", "torch", device=device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "8-true"}, "precision must be one of '32-true', 'bf16-mixed', '16-mixed' or None. Got '8-true'"),
        (
            {"precision": "bf16-mixed", "dtype": "float64"},
            "precision must be None or '32-true' for dtype='float64'. Got 'bf16-mixed'.",
        ),
        (
            {"precision": "16-mixed", "device": "cpu"},
            "precision must be 32-true or bf16-mixed on a CPU. Got '16-mixed'.",
        ),
    ],
)
def test_precision_must_fit_the_dtype_and_the_device(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        gn.build("tiny", "torch", **options)


def test_choose_device_ignores_a_cuda_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> bool:
        warnings.warn("CUDA initialization: the driver is too old", UserWarning, stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warn)
    assert gn.build("tiny", "torch").device in ("cpu", "mps:0")


@pytest.mark.parametrize(
    ("name", "device"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu"), ("cpu:0", "cpu")],
)
@pytest.mark.usefixtures("two_gpus")
def test_choose_device_of_one_process(name: str, device: str) -> None:
    precision = "16-mixed" if "cuda" in device else "bf16-mixed"
    assert str(choose_device(compute(name, precision), ProcessGroup())) == device


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("cuda:2", 1, "device must be one of auto, cuda, cpu, cuda:0, cuda:1. Got 'cuda:2'"),
        ("cuda", 3, "devices must be at most 2 on each machine with cuda. Got 3."),
        ("auto", 3, "devices must be at most 2 on each machine with cuda. Got 3."),
        ("cuda:1", 2, "device must be a kind, such as 'cuda', for 2 processes. Got 'cuda:1'."),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_choose_device_refuses_more_processes_than_devices(name: str, count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        choose_device(compute(name), ProcessGroup(0, count, 0, count))


@pytest.mark.usefixtures("two_gpus")
def test_choose_device_gives_each_process_of_a_machine_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    groups = [ProcessGroup(rank, 4, rank % 2, 2) for rank in range(4)]
    assert [str(choose_device(compute("auto"), group)) for group in groups] == ["cuda:0", "cuda:1"] * 2
    assert str(choose_device(compute("cpu"), ProcessGroup(3, 5, 3, 5))) == "cpu"


def test_choose_device_takes_the_gpu_that_srun_shows(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert str(choose_device(compute("cuda"), ProcessGroup(1, 2, 1, 2, is_slurm=True))) == "cuda:0"
    with pytest.raises(ConfigError, match="devices must be at most 1 on each machine with cuda. Got 2."):
        choose_device(compute("cuda"), ProcessGroup(1, 2, 1, 2))


@pytest.mark.parametrize(("precision", "dtype"), [(None, torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_autocast_computes_in_the_precision(precision: str | None, dtype: torch.dtype) -> None:
    x = torch.ones(2, 2)
    with autocast(precision, torch.device("cpu")):
        assert (x @ x).dtype == dtype
