"""Device, precision and process group of the PyTorch engine."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from glassnet.compute import Compute
from glassnet.engines.processes import ProcessGroup
from glassnet.errors import ConfigError, choice_error
from glassnet.resources import usable_cores


def choose_device(compute: Compute, processes: ProcessGroup) -> torch.device:
    """Return the device of this process: ``auto`` is the first kind of cuda, mps and cpu that is available.

    Several processes have a GPU each, or share a CPU.

    :raises ConfigError: if the device is not available or does not have the precision, or there are more processes
        than GPUs or usable cores.
    """
    name, counts = compute.device, _device_counts()
    kind, _, number = (next(iter(counts)) if name == "auto" else name).partition(":")
    if kind not in counts or number not in ("", *map(str, range(counts[kind]))):
        gpus = [f"{kind}:{index}" for kind, count in counts.items() if kind != "cpu" for index in range(count)]
        raise choice_error("device", ["auto", *counts, *gpus], name)
    count = processes.world_size
    if count > 1:
        if number:
            raise ConfigError(f"device must be a kind, such as {kind!r}, for {count} devices. Got {name!r}.")
        limit = usable_cores() if kind == "cpu" else counts[kind]
        if count > limit and processes.rank == 0:  # the first process checks for all of them
            raise ConfigError(f"devices must be at most {limit} on {kind}. Got {count}.")
    if (kind, compute.precision) == ("cpu", "16-mixed"):
        raise ConfigError("precision must be 32-true or bf16-mixed on a CPU. Got '16-mixed'.")
    return torch.device(kind) if kind == "cpu" else torch.device(kind, int(number or processes.rank))


def _device_counts() -> dict[str, int]:
    with warnings.catch_warnings():
        # CUDA that cannot be initialized only means that there is no GPU to use.
        warnings.filterwarnings("ignore", message=".*CUDA.*", category=UserWarning)
        counts = {
            "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
            "mps": int(torch.backends.mps.is_available()),
            "cpu": 1,
        }
    return {kind: count for kind, count in counts.items() if count}


def autocast(precision: str | None, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which torch computes in the precision's shorter numbers, where they are safe."""
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision or "")
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def join_processes(processes: ProcessGroup, device: torch.device) -> None:
    """Wait until all processes of a training have met, at a port of this machine."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"tcp://127.0.0.1:{processes.port}",
        rank=processes.rank,
        world_size=processes.world_size,
    )
