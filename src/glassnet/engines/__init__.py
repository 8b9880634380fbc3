"""The engines: the same network, computed by NumPy or by another library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as preset
from glassnet.data import make_rng
from glassnet.engines.base import Batch, Evaluation, Network, Trainer, TrainStats
from glassnet.engines.processes import ALONE, Processes
from glassnet.errors import ConfigError, GlassnetError
from glassnet.initialization import initial_state_dict

ENGINES = ("numpy", "torch")
DTYPES = ("float32", "float64")
KERNELS = ("fast", "plain")

__all__ = [
    "DTYPES",
    "ENGINES",
    "KERNELS",
    "Batch",
    "Evaluation",
    "Network",
    "Processes",
    "TrainStats",
    "Trainer",
    "build",
    "clone_network",
]


def build(
    spec: ResNetSpec | str,
    engine: str = "numpy",
    seed: int = 42,
    dtype: DTypeLike = "float32",
    device: str = "auto",
    precision: str | None = None,
    compile: bool = False,
    threads: int | None = None,
    channels_last: bool | None = None,
    processes: Processes = ALONE,
    kernels: str = "fast",
) -> Network:
    """A network with initial weights that follow from ``seed`` alone, whatever the engine.

    ``dtype`` is float32, to train, or float64, to prove. ``threads`` is how many compute on a CPU, by default all
    cores: the NumPy engine gets the same bits from any number, PyTorch takes it for the whole process (small images
    are quicker on one). The rest is the torch engine's: ``device`` "auto" (a GPU where there is one), "cpu", "cuda",
    "cuda:1" or "mps"; ``precision`` None, "32-true", "bf16-mixed" or "16-mixed"; ``compile`` hands the network to
    torch.compile; ``channels_last`` is the memory order of images, by default on where CUDA computes and off
    elsewhere; ``processes`` says which of several this one is: ``train`` starts them. ``kernels`` is the NumPy
    engine's: "fast", or "plain", which computes by the functions of ``glassnet.nn.functional``.

    :raises ConfigError: an unknown preset, engine, dtype or precision, a device that is not there, a seed that is none.
    :raises GlassnetError: the torch engine without PyTorch, or with one that fails to import.
    """
    if not isinstance(spec, ResNetSpec):
        spec = preset(spec)
    if engine not in ENGINES:
        raise ConfigError(f"The engine must be one of {', '.join(map(repr, ENGINES))}. Got {engine!r}.")
    if str(dtype) not in DTYPES and dtype not in (np.float32, np.float64):
        raise ConfigError(f"The dtype must be float32 or float64. Got {dtype!r}.")
    if kernels not in (allowed := KERNELS if engine == "numpy" else KERNELS[:1]):
        raise ConfigError(f"kernels must be {' or '.join(map(repr, allowed))} for engine={engine!r}. Got {kernels!r}.")
    dropout = make_rng(seed, "dropout")
    kind = _torch if engine == "torch" else _numpy
    network = kind(spec, np.dtype(dtype), device, precision, compile, threads, channels_last, processes, kernels)
    network.load_state_dict(initial_state_dict(spec, seed))
    network.seed_dropout(dropout)
    return network


def clone_network(network: Network, **changes: Any) -> Network:
    """A network on the same engine and device with the same weights and buffers, and dropout masks of its own.

    The two share nothing; what is done to the copy leaves the network, and every generator, as it was. ``changes``
    are arguments of ``build`` that are to differ, such as ``dtype="float64"``.
    """
    given: dict[str, Any] = {"dtype": network.dtype, "device": network.device, "precision": network.precision} | changes
    if network.engine == "torch":
        import torch

        with torch.random.fork_rng(devices=[]):  # torch.nn's layers draw weights, which are then replaced
            copy = build(network.spec, network.engine, **given)  # its number of threads is the process's own
    else:
        given.setdefault("threads", network.threads)
        given.setdefault("kernels", network.kernels)
        copy = build(network.spec, network.engine, **given)
    copy.load_state_dict(network.state_dict())
    return copy


def _numpy(
    spec: ResNetSpec,
    dtype: np.dtype[Any],
    device: str,
    precision: str | None,
    compile: bool,
    threads: int | None,
    channels_last: bool | None,
    processes: Processes,
    kernels: str,
) -> Network:
    for name, value, allowed in (
        ("device", device, ("auto", "cpu")),
        ("precision", precision, (None,)),
        ("compile", compile, (False,)),
        ("channels_last", channels_last, (None, True)),
        ("devices", processes.count, (1,)),
    ):
        if value not in allowed:
            choices = " or ".join(map(repr, allowed))
            raise ConfigError(f"The {name} of the NumPy engine must be {choices}. Got {value!r}.")
    from glassnet.engines.numpy_engine import NumpyNetwork

    return NumpyNetwork(spec, dtype, threads, kernels)


def _torch(
    spec: ResNetSpec,
    dtype: np.dtype[Any],
    device: str,
    precision: str | None,
    compile: bool,
    threads: int | None,
    channels_last: bool | None,
    processes: Processes,
    kernels: str,
) -> Network:
    try:
        import torch  # noqa: F401
    except Exception as error:  # whatever a broken installation ends in
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise GlassnetError("The torch engine needs PyTorch: pip install 'glassnet[torch]'") from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise GlassnetError(f"PyTorch is installed but fails to import: {reason}") from error
    from glassnet.engines.torch_engine import TorchNetwork

    return TorchNetwork(spec, dtype, device, precision, compile, threads, channels_last, processes)
