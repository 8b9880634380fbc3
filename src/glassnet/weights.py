"""Tensor files, ours and those of other projects.

Every tensor that glassnet writes goes through ``save_tensors``, because ``safetensors.numpy`` stores arrays
that are not C-contiguous silently wrong, and orders several metadata keys at random.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glassnet.atomic import write_atomically
from glassnet.errors import DataError

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
    """A network's weights under torch's keys, with the names of well-known projects changed to ours.

    A leading ``module.`` (torch's DataParallel) goes, and ``linear.`` becomes ``fc.``.

    :raises DataError: a file that is missing, broken or of another kind than ``.safetensors``.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise DataError(f"Weights are read from .safetensors files. Got {path}.")
    return {_own_key(key): array for key, array in load_tensors(path)[0].items()}


def _own_key(key: str) -> str:
    key = key.removeprefix("module.")
    return f"fc.{key.removeprefix('linear.')}" if key.startswith("linear.") else key
