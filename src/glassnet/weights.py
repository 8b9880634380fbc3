"""Tensor files, ours and those of other projects.

Every tensor that glassnet writes goes through ``save_tensors``, because ``safetensors.numpy`` stores arrays
that are not C-contiguous silently wrong, and orders several metadata keys at random.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from glassnet.errors import DataError, GlassnetError, as_path
from glassnet.files import write_atomically

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
            keys = list(file.keys())
            kinds = {key: file.get_slice(key).get_dtype() for key in keys}
            tensors = {key: file.get_tensor(key) for key in keys if kinds[key] in _NUMPY_HAS}
            about = json.loads((file.metadata() or {}).get("glassnet", "{}"))
        if wide := [key for key in keys if kinds[key] == "BF16"]:
            tensors |= _widened(path.read_bytes(), wide)
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is not a whole safetensors file: {error}.") from None
    if odd := next((key for key in keys if key not in tensors), None):
        raise DataError(f"{path} holds {odd} as {kinds[odd]}; weights are read from {', '.join(_NUMPY_HAS)} and BF16.")
    return {key: tensors[key] for key in keys}, about


_NUMPY_HAS = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")


def _widened(content: bytes, keys: Collection[str]) -> dict[str, Array]:
    """bfloat16, which NumPy has not, as float32, of which it is the upper half."""
    return {
        key: (np.frombuffer(about["data"], "<u2").astype("<u4") << 16).view("<f4").reshape(about["shape"])
        for key, about in deserialize(content)  # type: ignore[no-untyped-call]
        if key in keys
    }


def load_weights(path: str | Path) -> dict[str, Array]:
    """A network's weights under torch's keys, from ``.safetensors``, or from PyTorch's ``.pth``, ``.pt`` and ``.th``.

    The names of well-known projects become ours: a wrapper's prefix goes (``module.`` of DataParallel, ``_orig_mod.``
    of torch.compile), ``linear.`` becomes ``fc.`` and a block's ``shortcut.`` becomes ``downsample.`` (pytorch-cifar).
    torchvision's and timm's residual networks have our names already. Of a checkpoint with a ``state_dict`` in it that
    is taken. A pickle is read by ``torch.load(weights_only=True)``, which runs no code. Floats of 16 bits become
    float32.

    :raises DataError: a file that is missing, broken, of another kind, or that holds anything but finite real tensors,
        a negative variance, or two tensors under what is one name of ours.
    :raises GlassnetError: a PyTorch file without PyTorch.
    """
    path = as_path("The file of weights", path)
    if path.suffix == ".safetensors":
        state = load_tensors(path)[0]
    elif path.suffix in PYTORCH_SUFFIXES:
        state = _load_pytorch(path)
    else:
        raise DataError(f"Weights are read from .safetensors, {', '.join(PYTORCH_SUFFIXES)} files. Got {path}.")
    theirs: dict[str, str] = {}
    for key, array in state.items():
        _check_numbers(path, key, array)
        if (first := theirs.setdefault(_own_key(key), key)) != key:
            raise DataError(f"{path} holds both {first} and {key}, and either is {_own_key(key)} here; one must go.")
    return {
        own: state[key].astype(np.float32) if state[key].dtype == np.float16 else state[key]
        for own, key in theirs.items()
    }


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
    except (RuntimeError, OSError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} is not a whole PyTorch file: {reason}") from None
    except Exception:  # a damaged pickle may end in any, whose text says nothing of the file
        raise DataError(f"{path} is not a whole PyTorch file: its content is not what torch.save writes.") from None
    state = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise DataError(f"{path} is not a state dict: it must map names to tensors.")
    exact = (torch.float32, torch.float64)  # shorter floats become float32: NumPy has not all of them
    floats = {key: t.float() if t.is_floating_point() and t.dtype not in exact else t for key, t in state.items()}
    try:
        return {key: np.array(tensor.detach().numpy(), order="C") for key, tensor in floats.items()}
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{path} holds a tensor that is no plain array: {str(error).splitlines()[0]}") from None


def _check_numbers(path: Path, key: str, array: Array) -> None:
    if array.dtype.kind == "c":
        raise DataError(f"{path} holds {key} as {array.dtype}; weights are real numbers.")
    wrong, allowed = array[~np.isfinite(array)], "finite"
    if not wrong.size and key.endswith("running_var"):
        wrong, allowed = array[array < 0], "at least 0, as a variance is"
    if wrong.size:
        raise DataError(f"{path} holds {wrong[0]} in {key}, {wrong.size} of {array.size}; it must be {allowed}.")


def _own_key(key: str) -> str:
    for prefix in ("module.", "_orig_mod."):
        key = key.removeprefix(prefix)
    key = f"fc.{key.removeprefix('linear.')}" if key.startswith("linear.") else key
    return key.replace(".shortcut.", ".downsample.")
