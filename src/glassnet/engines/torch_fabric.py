"""Where the PyTorch engine computes: device, precision and processes, through Lightning Fabric."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from glassnet.engines.processes import Processes
from glassnet.errors import ConfigError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def fabric_for(device: str, precision: str | None, dtype: np.dtype[Any], processes: Processes) -> Any:
    """A Fabric for this process. Several processes meet when it is launched, each on a device of its own.

    :raises ConfigError: a device or precision that is unknown or not to be had here.
    """
    if precision not in (None, *PRECISIONS):
        raise ConfigError(f"The precision must be one of {', '.join(PRECISIONS)}. Got {precision!r}.")
    if dtype == np.float64 and precision not in (None, "32-true"):
        raise ConfigError(f"The precision {precision!r} mixes in shorter numbers; it needs dtype float32.")
    with warnings.catch_warnings():
        # CUDA that cannot be initialized only means that there is no GPU to use.
        warnings.filterwarnings("ignore", message=".*CUDA.*", category=UserWarning)
        kind, devices = _chosen(device, processes)
        if (kind, precision) == ("cpu", "16-mixed"):
            raise ConfigError("The precision '16-mixed' needs a GPU. Got the device 'cpu'.")
        together: dict[str, Any] = {}
        if processes.count > 1:
            together = {"strategy": _DistributedDataParallel(), "plugins": [_Meeting(processes)]}
        chosen: Any = precision or "32-true"
        return Fabric(accelerator=kind, devices=devices, precision=chosen, **together)


def _chosen(device: str, processes: Processes) -> tuple[str, Any]:
    """The kind of the device, and what Fabric calls ``devices``: how many of them, or the number of one."""
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    usable = [name for name, count in counts.items() if count]
    kind, _, number = (usable[0] if device == "auto" else str(device)).partition(":")
    if number not in ("", *map(str, range(counts.get(kind, 0)))) or kind not in usable:
        raise ConfigError(f"The device {device!r} is not to be had here. Available: {', '.join(['auto', *usable])}.")
    if processes.count == 1:
        return kind, [int(number)] if number and kind != "cpu" else 1
    if number:
        raise ConfigError(f"{processes.count} devices need a kind of device, as in 'cuda'. Got {device!r}.")
    if kind != "cpu" and processes.count > counts[kind]:
        raise ConfigError(f"There are not {processes.count} devices of kind {kind!r} here. Available: {counts[kind]}.")
    return kind, processes.count


class _DistributedDataParallel(DDPStrategy):
    """The processes are there already; Fabric's launcher would start the whole program once more for each."""

    def _configure_launcher(self) -> None:
        self._launcher = None

    def backward(self, tensor: torch.Tensor, *arguments: Any, **named: Any) -> None:
        with warnings.catch_warnings():  # said of kernels of one channel, whose memory orders are the same
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            super().backward(tensor, *arguments, **named)

    def setup_environment(self) -> None:
        logger = logging.getLogger("lightning_fabric")  # it congratulates itself on stderr
        level = logger.level
        logger.setLevel(logging.WARNING)
        try:
            super().setup_environment()
        finally:
            logger.setLevel(level)


class _Meeting(LightningEnvironment):
    """Who this process is, and where the others are, said rather than read from the environment's variables."""

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self._processes = processes

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self._processes.port

    def local_rank(self) -> int:
        return self._processes.rank

    def node_rank(self) -> int:
        return 0
