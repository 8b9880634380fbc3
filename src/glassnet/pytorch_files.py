"""The state dict in a file that PyTorch wrote, alone or in a checkpoint. No code of a pickle runs."""

from __future__ import annotations

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, GlassnetError, short_name
from glassnet.formats import pluralize
from glassnet.progress import current_progress

Array = NDArray[Any]

SUFFIXES = (".pth", ".pt", ".th", ".ckpt", ".bin", ".tar")
# Names under which checkpoints hold the weights, the usual ones first: Lightning and the ImageNet example of PyTorch,
# its tutorials, timm and DeiT, pytorch-cifar.
_MEMBERS = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "weights")
_NUMPY_NAMES = (
    *("numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
)


def load_state_dict(path: Path) -> dict[str, Array]:
    """Return the tensors of a PyTorch file as C-contiguous arrays, floats of fewer than 32 bits as float32.

    Of a checkpoint these are the tensors of its state dict; the log names it where there are several.

    :raises DataError: if the file is broken, needs code of a pickle, or holds no state dict.
    :raises GlassnetError: if PyTorch is not installed.
    """
    content = _load(path)
    state = _find_state_dict(path, content)
    try:
        return {key: _to_array(path, key, tensor) for key, tensor in state.items()}
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{path} must hold plain arrays. Got: {str(error).splitlines()[0].rstrip('.')}.") from None


def _to_array(path: Path, key: str, tensor: Any) -> Array:
    torch = _torch(path)
    n_stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    if tensor.numel() > n_stored:  # a view that repeats few numbers may be as large as it likes
        size = "×".join(map(str, tensor.shape))
        raise DataError(
            f"{path} must hold plain arrays. Got {short_name(key)} of {size} in {pluralize(n_stored, 'number')}."
        )
    is_short = tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64)
    return np.array((tensor.float() if is_short else tensor).detach().numpy(), order="C")  # NumPy has no bfloat16


def _torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise GlassnetError(f"Reading {path} needs PyTorch: pip install 'glassnet[torch]' ({error})") from error
    return torch


def _load(path: Path) -> Any:
    torch = _torch(path)
    # Checkpoints have numbers of NumPy beside the weights. The unpickler gets objects that do nothing in their place.
    stand_ins = [type("_Ignored", (_Ignored,), _module_and_name(name)) for name in _NUMPY_NAMES]
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        needed = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
        raise DataError(
            f"{path} must hold tensors only. Got a pickle that could run code{f' ({needed[1]})' if needed else ''}. "
            "If you trust its source, read it with torch.load(..., weights_only=False) and save the state dict alone."
        ) from None
    except (RuntimeError, OSError) as error:
        reason = re.split(r"\. |\n", str(error))[0] or type(error).__name__  # what follows is advice to run its code
        raise DataError(f"{path} must be a whole PyTorch file. Got: {reason.rstrip('.')}.") from None
    except Exception:  # a damaged pickle may raise anything, with a text that does not help
        raise DataError(f"{path} must be a whole PyTorch file. Got content that torch.save does not write.") from None


class _Ignored:
    """Stand-in for a number or an array of NumPy in a pickle: takes everything, holds nothing."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _module_and_name(name: str) -> dict[str, str]:
    module, _, qualname = name.rpartition(".")
    return {"__module__": module, "__qualname__": qualname}


def _find_state_dict(path: Path, content: Any) -> dict[str, Any]:
    if _is_state_dict(path, content):
        return dict(content)
    items = content.items() if isinstance(content, dict) else ()
    members = {name: member for name, member in items if _is_state_dict(path, member)}
    name = next((name for name in _MEMBERS if name in members), None)
    if name is None and len(members) == 1:
        name = next(iter(members))
    if name is None:
        received = f"several: {', '.join(map(repr, list(members)[:3]))}" if members else "something else"
        raise DataError(f"{path} must hold a state dict, from names to tensors. Got {received}.")
    if len(members) > 1:
        others = ", ".join(str(other)[:40] for other in members if other != name)
        current_progress().log(f"{path}: the weights are those under {name}; those under {others} are left out")
    return dict(members[name])


def _is_state_dict(path: Path, value: Any) -> bool:
    tensor = _torch(path).Tensor
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(key, str) and isinstance(member, tensor) for key, member in value.items())
    )
