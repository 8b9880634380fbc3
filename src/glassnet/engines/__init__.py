"""The engines: the same network, computed by NumPy or by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as get_spec
from glassnet.compute import Compute
from glassnet.data import make_rng
from glassnet.engines.base import Network
from glassnet.engines.process_group import SINGLE_PROCESS, ProcessGroup
from glassnet.engines.records import Batch, TrainStats
from glassnet.engines.trainer import Trainer
from glassnet.errors import ConfigError, GlassnetError
from glassnet.initialization import initial_state_dict

__all__ = [
    "Batch",
    "Compute",
    "Network",
    "ProcessGroup",
    "TrainStats",
    "Trainer",
    "build",
    "build_network",
    "clone_network",
]


def build(
    spec: ResNetSpec | str,
    engine: str = "numpy",
    seed: int = 42,
    dtype: DTypeLike = "float32",
    *,
    state: Mapping[str, Any] | None = None,
    **compute: Any,
) -> Network:
    """Return a network with initial weights that follow from ``seed`` alone, whatever the engine.

    :param spec: a ResNetSpec, or the name of a preset.
    :param engine: ``numpy``, with gradients written by hand, or ``torch``.
    :param dtype: ``float32`` for training, or ``float64`` for gradient checks.
    :param state: weights and buffers under torch's keys, in place of drawn ones: large networks take a while to draw.
    :param compute: further fields of ``Compute``: ``kernels`` (``fast`` or ``plain``: NumPy engine), ``threads`` (the
        NumPy engine computes the same bits with any number; PyTorch takes it for the whole process), and of the
        PyTorch engine ``device``, ``precision``, ``compile`` and ``channels_last``.
    :raises ConfigError: if a preset, field or value is unknown, or a device is not available.
    :raises GlassnetError: if PyTorch is missing, or fails to import; or if ``state`` does not fit the network.
    """
    name = np.dtype(dtype).name if dtype in (np.float32, np.float64) else dtype
    settings = Compute(engine=engine, dtype=name).replace(**compute)  # type: ignore[arg-type]
    if settings.devices != 1:
        raise ConfigError(f"devices must be 1 to build a network. Got {settings.devices}.")
    return build_network(get_spec(spec) if not isinstance(spec, ResNetSpec) else spec, settings, seed, state=state)


def build_network(
    spec: ResNetSpec,
    compute: Compute,
    seed: int,
    processes: ProcessGroup = SINGLE_PROCESS,
    state: Mapping[str, Any] | None = None,
) -> Network:
    """Return a network as ``build`` does, as that of one of several processes.

    :raises ConfigError: if a device is not available, or the seed is invalid.
    """
    dropout_rng = make_rng(seed, "dropout")
    network: Network
    if compute.engine == "torch":
        _check_torch()
        from glassnet.engines.torch_engine import TorchNetwork

        network = TorchNetwork(spec, compute, processes)
    else:
        from glassnet.engines.numpy_engine import NumpyNetwork

        network = NumpyNetwork(spec, compute)
    network.load_state_dict(initial_state_dict(spec, seed) if state is None else state)
    network.seed_dropout(dropout_rng)
    return network


def clone_network(network: Network, **changes: Any) -> Network:
    """Return a network with the same weights and buffers, on the same engine and device, with its own dropout masks.

    The two share nothing; what is done to the copy leaves the network, and every generator, as it was.

    :param changes: fields of ``Compute`` that differ, such as ``dtype="float64"``.
    """
    own = {"devices": 1, "all_reduce": "tree", "compile": False, "channels_last": None}
    if network.engine == "torch":
        import torch

        compute = network.compute.replace(**{**own, "threads": None, **changes})  # threads are the whole process's
        with torch.random.fork_rng(devices=[]):  # torch.nn's layers draw weights, which are then replaced
            return build_network(network.spec, compute, 0, state=network.state_dict())
    return build_network(network.spec, network.compute.replace(**{**own, **changes}), 0, state=network.state_dict())


def _check_torch() -> None:
    try:
        import torch  # noqa: F401
    except Exception as error:  # a broken installation may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise GlassnetError("The torch engine needs PyTorch: pip install 'glassnet[torch]'") from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise GlassnetError(f"PyTorch is installed but fails to import: {reason}") from error
