"""Batch normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError, ShapeError
from glassnet.nn.checks import check_images, check_int, check_probability
from glassnet.nn.module import Module, Parameter

Array = NDArray[Any]


class BatchNorm2d(Module):
    """Batch normalization over (N, H, W) (Ioffe & Szegedy 2015, algorithm 1) as torch.nn.BatchNorm2d computes it.

    Per channel, over the M = N·H·W values of a batch, with γ, β (C,)::

        μ = Σ x / M       σ² = Σ (x − μ)² / M       x̂ = (x − μ) / √(σ² + eps)       y = γ·x̂ + β

        dβ = Σ dy         dγ = Σ dy·x̂              dx = γ/√(σ² + eps) · (dy − dβ/M − x̂·dγ/M)

    The two subtracted terms are the gradient through μ and σ², which ``functional.batch_norm_backward`` derives. A
    batch updates the running statistics to ``(1 − momentum)·old + momentum·new``, with the unbiased variance
    Σ (x − μ)² / (M − 1); ``momentum=None`` averages over all batches. Evaluation mode normalizes by the running
    statistics; a layer that does not track them normalizes every batch by its own.

    :raises ShapeError: if x is not (N, C, H, W), or a training batch has one value per channel.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.num_features = C = check_int("num_features of BatchNorm2d", num_features)
        if not eps > 0:
            raise ConfigError(f"eps of BatchNorm2d must be above 0. Got {eps!r}.")
        self.eps = eps
        self.momentum = None if momentum is None else check_probability("momentum of BatchNorm2d", momentum)
        self.weight = Parameter(np.ones(C, dtype)) if affine else None
        self.bias = Parameter(np.zeros(C, dtype)) if affine else None
        self.track_running_stats = track_running_stats
        if track_running_stats:
            self.buffer_names = ("running_mean", "running_var", "num_batches_tracked")
            self.running_mean, self.running_var = np.zeros(C, dtype), np.ones(C, dtype)
            self.num_batches_tracked = np.array(0, np.int64)

    def reset_parameters(self, rng: np.random.Generator) -> None:
        if self.weight is not None and self.bias is not None:
            self.weight.data[...], self.bias.data[...] = 1, 0
        if self.track_running_stats:
            self.running_mean[...], self.running_var[...], self.num_batches_tracked[...] = 0, 1, 0

    def forward(self, x: Array) -> Array:
        check_images("BatchNorm2d", x, self.num_features)
        gamma, beta = self._scale_and_shift(x.dtype)
        if self.track_running_stats and not self.training:
            return self.kernels.batch_norm_eval(x, gamma, beta, self.running_mean, self.running_var, self.eps)
        self._check_batch(x)
        y, saved, stats = self.kernels.batch_norm(x, gamma, beta, self.eps)
        self._update_running_stats(stats, x.size // self.num_features)
        self.save_for_backward(saved, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        dx, dgamma, dbeta = self.kernels.batch_norm_backward(dy, self.pop_saved(dy))
        if self.weight is not None and self.bias is not None:
            self.weight.grad[...], self.bias.grad[...] = dgamma, dbeta
        return dx

    def _scale_and_shift(self, dtype: DTypeLike) -> tuple[Array, Array]:
        if self.weight is None or self.bias is None:
            return np.ones(self.num_features, dtype), np.zeros(self.num_features, dtype)
        return self.weight.data, self.bias.data

    def _check_batch(self, x: Array) -> None:
        minimum = 2 if self.training else 1
        if x.size // self.num_features < minimum:
            raise ShapeError(
                f"input of BatchNorm2d must have at least {minimum} value{'s' * (minimum > 1)} per channel. "
                f"Got {x.shape}. Use a larger batch."
            )

    def _update_running_stats(self, stats: tuple[Array, Array], count: int) -> None:
        if self.training and self.track_running_stats:
            self.num_batches_tracked += 1
            momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            running = self.running_mean, self.running_var
            running[0][...], running[1][...] = self.kernels.update_running_stats(*running, stats, count, momentum)

    def extra_repr(self) -> str:
        affine, tracked = self.weight is not None, self.track_running_stats
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, {affine=}, track_running_stats={tracked}"
        )
