"""Device, precision and errors of the PyTorch engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from glassnet.compute import Compute
from glassnet.engines.process_group import ProcessGroup
from glassnet.errors import ConfigError, GlassnetError, choice_error


def choose_device(compute: Compute, processes: ProcessGroup) -> torch.device:
    """Return the device of this process: ``auto`` is the first kind of cuda, mps and cpu that is available.

    Several processes of a machine have a GPU each, or share its CPU.

    :raises ConfigError: if the device is not available or does not have the precision, or a machine has more processes
        than GPUs.
    """
    name, counts = compute.device, _device_counts()
    kind, _, number = (next(iter(counts)) if name == "auto" else name).partition(":")
    if kind not in counts or number not in ("", *map(str, range(counts[kind]))):
        gpus = [f"{kind}:{index}" for kind, count in counts.items() if kind != "cpu" for index in range(count)]
        raise choice_error("device", ["auto", *counts, *gpus], name)
    if processes.world_size > 1 and number:
        count = processes.world_size
        raise ConfigError(f"device must be a kind, such as {kind!r}, for {count} processes. Got {name!r}.")
    sees_own_gpu = processes.is_slurm and counts[kind] == 1  # srun may show each process its own alone
    if kind != "cpu" and processes.local_world_size > counts[kind] and not sees_own_gpu:
        raise ConfigError(
            f"devices must be at most {counts[kind]} on each machine with {kind}. Got {processes.local_world_size}."
        )
    if (kind, compute.precision) == ("cpu", "16-mixed"):
        raise ConfigError("precision must be 32-true or bf16-mixed on a CPU. Got '16-mixed'.")
    if kind == "cpu":
        return torch.device(kind)
    device = torch.device(kind, int(number or (0 if sees_own_gpu else processes.local_rank)))
    if processes.world_size > 1:
        torch.cuda.set_device(device)
    return device


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


@contextmanager
def as_glassnet_error() -> Iterator[None]:
    """Raise torch's errors, such as those of shapes that do not fit, as a GlassnetError."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise GlassnetError(str(error).strip().splitlines()[0]) from error
