"""A split on the device of the PyTorch engine, and the batches gathered from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glassnet.data import Augmentation, Normalization, Split
from glassnet.engines.records import Batch


@dataclass(frozen=True)
class DeviceSplit:
    """A split on the device: images uint8 (N, H, W, C), labels int64 (N,), mean and std in the network's dtype."""

    images: Tensor
    labels: Tensor
    scale: float
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, split: Split, normalization: Normalization, dtype: torch.dtype, device: torch.device) -> Self:
        """Copy a split to the device."""
        return cls(
            torch.from_numpy(split.images).to(device),
            torch.from_numpy(split.labels).to(device),
            normalization.scale,
            torch.tensor(normalization.mean, dtype=dtype, device=device),
            torch.tensor(normalization.std, dtype=dtype, device=device),
        )

    def gather(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the augmented and normalized images (N, C, H, W) of a batch, and their labels (N,)."""
        indices = torch.from_numpy(batch.indices).to(self.labels.device)
        images = self.images[indices]
        if batch.augmentation is not None:
            images = _augment(images, batch.augmentation)
        x = (images.to(self.mean.dtype) / self.scale - self.mean) / self.std
        return x.permute(0, 3, 1, 2), self.labels[indices]


def to_array(tensor: Tensor) -> NDArray[Any]:
    """Return a C-contiguous copy on the CPU."""
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _augment(images: Tensor, augmentation: Augmentation) -> Tensor:
    """Pad, crop and flip images (N, H, W, C) as ``Augmentation.apply`` does."""
    N, H, W, _ = images.shape
    border = augmentation.padding
    padded = torch.nn.functional.pad(images, (0, 0, border, border, border, border))
    offsets = torch.from_numpy(augmentation.offsets).to(images.device)
    flips = torch.from_numpy(augmentation.flips).to(images.device)
    rows = offsets[:, :1] + torch.arange(H, device=images.device)
    columns = offsets[:, 1:] + torch.arange(W, device=images.device)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    index = torch.arange(N, device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]]
