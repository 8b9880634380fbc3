"""Tensor files, ours and those of other projects.

Every tensor that glassnet writes goes through ``save_tensors``, because ``safetensors.numpy`` stores arrays
that are not C-contiguous silently wrong, and orders several metadata keys at random.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glassnet.atomic import write_atomically
from glassnet.errors import DataError, GlassnetError

Array = NDArray[Any]


def save_tensors(path: Path, tensors: Mapping[str, Array], about: Mapping[str, Any] | None = None) -> None:
    """Write ``tensors`` and the JSON object ``about`` as safetensors, atomically; equal content gives equal bytes."""
    contiguous = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    # ascontiguousarray makes 0-d arrays 1-d
    shaped = {key: array.reshape(np.shape(tensors[key])) for key, array in contiguous.items()}
    metadata = {"glassnet": json.dumps(about or {}, sort_keys=True)}
    write_atomically(path, save(shaped, metadata))


def load_tensors(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors of a safetensors file and what ``save_tensors`` was told about them (empty for other files').

    :raises DataError: a file that is missing or is not a whole safetensors file.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    try:
        with safe_open(path, "numpy") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # safe_open is no mapping
            about = json.loads((file.metadata() or {}).get("glassnet", "{}"))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is not a whole safetensors file: {error}.") from None
    return tensors, about


def load_weights(path: str | Path) -> dict[str, Array]:
    """A network's weights under torch's keys, from ``.safetensors``, or from PyTorch's ``.pth``, ``.pt`` and ``.th``.

    The names of well-known projects become ours: a wrapper's prefix goes (``module.`` of DataParallel, ``_orig_mod.``
    of torch.compile), ``linear.`` becomes ``fc.`` and a block's ``shortcut.`` becomes ``downsample.`` (pytorch-cifar).
    torchvision's and timm's residual networks have our names already. Of a checkpoint with a ``state_dict`` in it that
    is taken. A pickle is read by ``torch.load(weights_only=True)``, which runs no code.

    :raises DataError: a file that is missing, broken, of another kind, or that holds anything but tensors.
    :raises GlassnetError: a PyTorch file without PyTorch.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        state = load_tensors(path)[0]
    elif path.suffix in PYTORCH_SUFFIXES:
        state = _load_pytorch(path)
    else:
        raise DataError(f"Weights are read from .safetensors, {', '.join(PYTORCH_SUFFIXES)} files. Got {path}.")
    return {_own_key(key): array for key, array in state.items()}


PYTORCH_SUFFIXES = (".pth", ".pt", ".th")


def _load_pytorch(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    try:
        import torch
    except ImportError as error:
        raise GlassnetError(f"Reading {path} needs PyTorch: pip install 'glassnet[torch]' ({error})") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise DataError(f"{path} holds more than tensors; what could run code is not read.") from None
    except (RuntimeError, OSError, EOFError, ValueError, LookupError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} is not a whole PyTorch file: {reason}") from None
    state = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path} is not a state dict: it must map names to tensors.")
    exact = (torch.float32, torch.float64)  # shorter floats become float32: NumPy has not all of them
    floats = {key: t.float() if t.is_floating_point() and t.dtype not in exact else t for key, t in state.items()}
    try:
        return {str(key): np.array(tensor.detach().numpy(), order="C") for key, tensor in floats.items()}
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{path} holds a tensor that is no plain array: {str(error).splitlines()[0]}") from None


def _own_key(key: str) -> str:
    for prefix in ("module.", "_orig_mod."):
        key = key.removeprefix(prefix)
    key = f"fc.{key.removeprefix('linear.')}" if key.startswith("linear.") else key
    return key.replace(".shortcut.", ".downsample.")
