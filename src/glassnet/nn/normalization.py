"""Batch normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError, ShapeError
from glassnet.nn import arguments, layout
from glassnet.nn.module import Module, Parameter

Array = NDArray[Any]


class BatchNorm2d(Module):
    """Batch normalization over (N, H, W) (Ioffe & Szegedy 2015, algorithm 1) as torch.nn.BatchNorm2d computes it.

    Per channel, over the M = N·H·W values of a batch, with γ, β (C,)::

        μ = Σ x / M       σ² = Σ (x − μ)² / M       x̂ = (x − μ) / √(σ² + eps)       y = γ·x̂ + β

        dβ = Σ dy         dγ = Σ dy·x̂              dx = γ/√(σ² + eps) · (dy − dβ/M − x̂·dγ/M)

    The two subtracted terms are the gradient's way through μ and σ². Running statistics move as
    ``(1 − momentum)·old + momentum·new``, with the unbiased variance Σ (x − μ)² / (M − 1); ``momentum=None``
    averages over all batches. Evaluation mode normalizes by the running statistics; a layer that does not
    track them normalizes every batch by itself.

    :raises ShapeError: where x is not (N, C, H, W), or a training batch has one value per channel.
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
        self.num_features = C = arguments.integer("BatchNorm2d", "num_features", num_features)
        if not eps > 0:
            raise ConfigError(f"The eps of BatchNorm2d must be above 0. Got {eps!r}.")
        self.eps = eps
        self.momentum = None if momentum is None else arguments.probability("BatchNorm2d", "momentum", momentum)
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
        arguments.images("BatchNorm2d", x, self.num_features)
        pixels = _pixels(x)
        if self.training or not self.track_running_stats:
            M = pixels.shape[0] * pixels.shape[1]
            if M == 1 and self.training:
                raise ShapeError(
                    f"BatchNorm2d needs more than one value per channel to train. Got {x.shape}: use a larger batch."
                )
            mean = _sum(pixels) / M
            centred = pixels - mean
            var = _sum_of_products(centred, centred) / M
            if self.training and self.track_running_stats:
                self._track(mean, var * (M / (M - 1)))
        else:
            centred, var = pixels - self.running_mean, self.running_var
        inverse_std = 1 / np.sqrt(var + self.eps)
        x_hat = np.multiply(centred, inverse_std, out=centred)
        self.keep(x_hat, inverse_std)
        if self.weight is None or self.bias is None:
            return _pictures(x_hat.copy(), x.shape)
        y = x_hat * self.weight.data
        y += self.bias.data
        return _pictures(y, x.shape)

    def _track(self, mean: Array, unbiased_var: Array) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_var)):
            running[...] = (1 - momentum) * running + momentum * new

    def backward(self, dy: Array) -> Array:
        x_hat, inverse_std = self.kept()  # (N, H·W, C), (C,)
        dy_pixels = _pixels(dy)
        M = dy_pixels.shape[0] * dy_pixels.shape[1]
        dbeta = _sum(dy_pixels)
        dgamma = _sum_of_products(dy_pixels, x_hat)
        if self.weight is not None and self.bias is not None:
            self.weight.grad[...], self.bias.grad[...] = dgamma, dbeta
            inverse_std = inverse_std * self.weight.data
        dx = x_hat * (-dgamma / M)
        dx += dy_pixels
        dx -= dbeta / M
        dx *= inverse_std
        return _pictures(dx, dy.shape)


def _pixels(x: Array) -> Array:
    """(N, C, H, W) -> (N, H·W, C), a view where x is channels-last."""
    return layout.nhwc(x).reshape(x.shape[0], -1, x.shape[1])


def _pictures(pixels: Array, shape: tuple[int, ...]) -> Array:
    N, C, H, W = shape
    return layout.nchw(pixels.reshape(N, H, W, C))


# Sums over (N, H·W) of (N, H·W, C): of each picture, then of the pictures. Two short sums lose less than one long one.


def _sum(pixels: Array) -> Array:
    total: Array = (np.ones(pixels.shape[1], pixels.dtype) @ pixels).sum(axis=0)
    return total


def _sum_of_products(a: Array, b: Array) -> Array:
    total: Array = np.einsum("npc,npc->nc", a, b).sum(axis=0)
    return total
