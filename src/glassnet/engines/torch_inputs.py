"""Arrays on the device of the PyTorch engine: images, normalized there, and labels."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glassnet.data import Normalization


def to_array(tensor: Tensor) -> NDArray[Any]:
    """Return a C-contiguous copy on the CPU."""
    return np.array(tensor.detach().cpu().numpy(), order="C")


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on the device. CUDA copies from pinned memory, while the CPU goes on."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def normalize(images: Tensor, normalization: Normalization, dtype: torch.dtype) -> Tensor:
    """Return images, uint8 (N, H, W, C), as ``normalization.apply`` does: (N, C, H, W), channels-last in memory."""
    mean, std = _mean_and_std(normalization, dtype, images.device)
    return ((images.to(dtype) / normalization.scale - mean) / std).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _mean_and_std(normalization: Normalization, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, dtype=dtype, device=device) for values in (normalization.mean, normalization.std))
    return mean, std
