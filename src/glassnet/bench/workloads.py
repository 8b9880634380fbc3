"""Workloads of ``glassnet bench``: a training step, or the logits, of a network on one batch of random images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec, spec
from glassnet.verify.golden.cases import GoldenCase

Array = NDArray[Any]


@dataclass(frozen=True)
class Workload:
    """A network and a batch size; a training step is forward with the loss, backward, and SGD with momentum."""

    title: str
    spec: ResNetSpec
    batch_size: int
    is_training: bool = True

    def state(self) -> dict[str, Array]:
        """Return weights and buffers in float64, none of them 0 or 1."""
        return GoldenCase(self.spec).state()

    def batch(self, dtype: str) -> tuple[Array, Array]:
        """Return images (N, C, H, W) and labels (N,)."""
        rng = np.random.default_rng(0)
        images = rng.standard_normal((self.batch_size, self.spec.in_channels, *self.spec.size)).astype(dtype)
        return images, rng.integers(self.spec.classes, size=self.batch_size)


def training_step(spec: ResNetSpec, batch_size: int) -> Workload:
    """Return the training step of any network as a workload, with the network's name in its title."""
    shape = "×".join(map(str, (spec.in_channels, *spec.size)))
    return Workload(f"Training step of {spec.preset} on {shape}, batch {batch_size}", spec, batch_size)


BLOCK = ResNetSpec(blocks=(1,))  # 3×32×32: a convolution to 16 channels, one residual block, and the head

WORKLOADS = {
    "digits": training_step(spec("tiny"), 64),
    "block": Workload("Training step of one residual block of 16 channels on 3×32×32, batch 64", BLOCK, 64),
    "resnet20": training_step(spec("resnet20"), 128),
    "resnet20-inference": Workload("Logits of resnet20 on 3×32×32, batch 128", spec("resnet20"), 128, False),
}
