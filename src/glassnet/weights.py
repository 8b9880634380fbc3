"""Tensor files of glassnet and of other projects.

Every tensor that glassnet writes goes through ``tensors_to_bytes``, because ``safetensors.numpy`` stores arrays
that are not C-contiguous silently wrong, and orders several metadata keys at random.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from glassnet.errors import DataError, as_path, examples, short_name
from glassnet.files import write_atomically
from glassnet.foreign_keys import to_own_keys
from glassnet.formats import agree, pluralize
from glassnet.progress import current_progress
from glassnet.pytorch_files import SUFFIXES as PYTORCH_SUFFIXES
from glassnet.pytorch_files import load_state_dict

Array = NDArray[Any]

WEIGHTS_SUFFIXES = (".safetensors", *PYTORCH_SUFFIXES)
_NUMPY_DTYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")


def save_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors and a JSON object as safetensors, atomically; equal content gives equal bytes.

    :param tensors: arrays of any shape and memory order, in a dtype that safetensors has.
    :raises OSError: if the file cannot be written.
    """
    write_atomically(path, tensors_to_bytes(tensors, metadata))


def tensors_to_bytes(tensors: Mapping[str, Array], metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of the file that ``save_tensors`` writes."""
    contiguous = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    # ascontiguousarray makes 0-d arrays 1-d
    shaped = {key: array.reshape(np.shape(tensors[key])) for key, array in contiguous.items()}
    return bytes(save(shaped, {"glassnet": json.dumps(metadata or {}, sort_keys=True)}))


def load_tensors(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read the tensors and the metadata of a safetensors file.

    :returns: arrays in the dtypes of the file, but float32 for bfloat16; and the metadata that ``save_tensors`` was
        given, which is empty for files of other projects.

    :raises DataError: if the file is missing or is not a whole safetensors file.
    """
    _check_exists(path)
    try:
        with safe_open(path, "numpy") as file:
            keys = list(file.keys())
            dtypes = {key: file.get_slice(key).get_dtype() for key in keys}
            tensors = {key: file.get_tensor(key) for key in keys if dtypes[key] in _NUMPY_DTYPES}
            metadata = json.loads((file.metadata() or {}).get("glassnet", "{}"))
        if bfloat16 := [key for key in keys if dtypes[key] == "BF16"]:
            tensors |= _bfloat16_to_float32(path.read_bytes(), bfloat16)
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path} must be a whole safetensors file. Got: {error}.") from None
    if unsupported := next((key for key in keys if key not in tensors), None):
        allowed = f"{', '.join(_NUMPY_DTYPES)} or BF16"
        raise DataError(
            f"{path} must hold tensors of {allowed}. Got {short_name(unsupported)} of {dtypes[unsupported]}."
        )
    return {key: tensors[key] for key in keys}, metadata


def load_weights(path: str | Path) -> dict[str, Array]:
    """Read a network's weights under torchvision's keys, from ``.safetensors`` or a file of PyTorch.

    The keys of other projects become torchvision's, which timm and pytorch-cifar-models have already: prefixes of
    DataParallel, torch.compile and FSDP, of Lightning modules and other wrappers go (``module.``, ``net.``,
    ``model.``); the last layer is ``fc``; the blocks of pytorch-cifar, pytorch_resnet_cifar10 and Hugging Face's
    ``ResNetForImageClassification`` are renamed. Tensors outside the prefix of a residual network, such as those of
    metrics, are left out, and the log says so.

    A checkpoint may hold the weights as its ``state_dict``, ``model_state_dict``, ``model`` or ``net``. A pickle is
    read by ``torch.load(weights_only=True)``, which runs no code. Floats of 16 bits become float32.

    :param path: a file that ends in ``.safetensors``, ``.pth``, ``.pt``, ``.th``, ``.ckpt``, ``.bin`` or ``.tar``.
    :raises DataError: if the file is missing, broken or of another kind, holds several networks, or anything but
        finite real tensors, a negative variance, or two tensors that get the same name.
    :raises GlassnetError: if a PyTorch file is read without PyTorch.
    """
    path = as_path("A weights file", path)
    if path.suffix == ".safetensors":
        state = load_tensors(path)[0]
    elif path.suffix in PYTORCH_SUFFIXES:
        _check_exists(path)
        state = load_state_dict(path)
    else:
        raise DataError(f"A weights file must end in {', '.join(WEIGHTS_SUFFIXES)}. Got {path}.")
    own_keys = to_own_keys(path, state)
    if left_out := [key for key in state if key not in own_keys]:
        are = agree(len(left_out), "is", "are")
        current_progress().log(
            f"{path}: {len(left_out)} of {len(state)} tensors {are} beside the network and left out{examples(left_out)}"
        )
    source_keys: dict[str, str] = {}
    for key, name in own_keys.items():
        _check_numbers(path, key, state[key])
        if (first := source_keys.setdefault(name, key)) != key:
            raise DataError(
                f"{path} must hold one tensor for {short_name(name)}. Got {short_name(first)} and {short_name(key)}."
            )
    return {
        name: state[key].astype(np.float32) if state[key].dtype == np.float16 else state[key]
        for name, key in source_keys.items()
    }


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} must be an existing file. Got nothing there.")


def _bfloat16_to_float32(content: bytes, keys: Collection[str]) -> dict[str, Array]:
    """Return bfloat16 tensors, which NumPy lacks, as float32: their bits are its upper 16."""
    return {
        key: (np.frombuffer(tensor["data"], "<u2").astype("<u4") << 16).view("<f4").reshape(tensor["shape"])
        for key, tensor in deserialize(content)  # type: ignore[no-untyped-call]
        if key in keys
    }


def _check_numbers(path: Path, key: str, array: Array) -> None:
    if array.dtype.kind == "c":
        raise DataError(f"{path} must hold real numbers. Got {short_name(key)} of {array.dtype}.")
    wrong, allowed = array[~np.isfinite(array)], "finite"
    if not wrong.size and key.endswith("running_var"):
        wrong, allowed = array[array < 0], "at least 0, as a variance is"
    if wrong.size:
        raise DataError(
            f"{short_name(key)} in {path} must be {allowed}. Got {wrong[0]}, {wrong.size} of "
            f"{pluralize(array.size, 'number')}."
        )
