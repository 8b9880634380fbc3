"""Devices and precisions: what is there, what is asked for, and what Fabric is told."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import glassnet as gn
from glassnet.engines import Processes, torch_fabric
from glassnet.errors import ConfigError


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "tpu", "", "cpu:x:y", "cpu:1", "auto:0"])
def test_a_device_that_is_not_there(device: str) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is an MPS device")
    message = f"The device {device!r} is not to be had here. Available: auto, cpu"
    with pytest.raises(ConfigError, match=re.escape(message)):
        gn.build("tiny", "torch", device=device)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"precision": "8-true"}, "The precision must be one of 32-true, bf16-mixed, 16-mixed. Got '8-true'."),
        (
            {"precision": "bf16-mixed", "dtype": "float64"},
            "The precision 'bf16-mixed' mixes in shorter numbers; it needs dtype float32.",
        ),
        ({"precision": "16-mixed", "device": "cpu"}, "The precision '16-mixed' needs a GPU. Got the device 'cpu'."),
    ],
)
def test_a_precision_that_is_not_to_be_had(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        gn.build("tiny", "torch", **options)


def test_a_cuda_that_cannot_start_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> bool:
        warnings.warn("CUDA initialization: the driver is too old", UserWarning, stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warn)
    assert gn.build("tiny", "torch").device in ("cpu", "mps:0")


def test_the_devices_that_fabric_knows_are_the_ones_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fabric(**options: Any) -> Any:
        asked.update(options)
        return real(accelerator="cpu", devices=1)

    real = torch_fabric.Fabric
    monkeypatch.setattr(torch_fabric, "Fabric", fabric)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, expected in (
        ("auto", ("cuda", 1)),
        ("cuda", ("cuda", 1)),
        ("cuda:1", ("cuda", [1])),
        ("cpu", ("cpu", 1)),
    ):
        gn.build("tiny", "torch", device=device, precision="bf16-mixed")
        assert (asked["accelerator"], asked["devices"]) == expected
        assert asked["precision"] == "bf16-mixed"


@pytest.mark.parametrize(
    ("device", "count", "told"),
    [
        ("cuda", 3, "There are not 3 devices of kind 'cuda' here. Available: 2."),
        ("auto", 3, "There are not 3 devices of kind 'cuda' here. Available: 2."),
        ("cuda:1", 2, "2 devices need a kind of device, as in 'cuda'. Got 'cuda:1'."),
    ],
)
def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch, device: str, count: int, told: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=re.escape(told)):
        torch_fabric.fabric_for(device, None, np.dtype("float32"), Processes(0, count, 1))


def test_each_process_has_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU has room for any number of processes; nothing is asked of the environment."""
    monkeypatch.setenv("LOCAL_RANK", "7")
    monkeypatch.setenv("MASTER_PORT", "1")
    fabric = torch_fabric.fabric_for("cpu", None, np.dtype("float32"), Processes(3, 5, 4711))
    assert (fabric.global_rank, fabric.local_rank, fabric.world_size, str(fabric.device)) == (3, 3, 5, "cpu")
