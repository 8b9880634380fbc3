"""Batch normalization."""

from __future__ import annotations

from functools import partial
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
        lines, C = layout.lines(x), self.num_features  # (N·H, W·C)
        wide = partial(layout.along_line, width=x.shape[3])
        if self.training or not self.track_running_stats:
            M = lines.size // C
            if M == 1 and self.training:
                raise ShapeError(
                    f"BatchNorm2d needs more than one value per channel to train. Got {x.shape}: use a larger batch."
                )
            mean = layout.channel_sum(lines, C) / M
            centred = lines - wide(mean)
            var = layout.channel_dot(centred, centred, C) / M
            if self.training and self.track_running_stats:
                self._track(mean, var * (M / (M - 1)))
        else:
            centred, var = lines - wide(self.running_mean), self.running_var
        inverse_std = 1 / np.sqrt(var + self.eps)
        x_hat = np.multiply(centred, wide(inverse_std), out=centred)
        self.keep(x_hat, inverse_std)
        if self.weight is None or self.bias is None:
            return layout.from_lines(x_hat.copy(), x.shape)
        y = x_hat * wide(self.weight.data)
        y += wide(self.bias.data)
        return layout.from_lines(y, x.shape)

    def _track(self, mean: Array, unbiased_var: Array) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_var)):
            running[...] = (1 - momentum) * running + momentum * new

    def backward(self, dy: Array) -> Array:
        x_hat, inverse_std = self.kept()  # (N·H, W·C), (C,)
        dy_lines, C = layout.lines(dy), self.num_features
        wide = partial(layout.along_line, width=dy.shape[3])
        M = dy_lines.size // C
        dbeta = layout.channel_sum(dy_lines, C)
        dgamma = layout.channel_dot(dy_lines, x_hat, C)
        if self.weight is not None and self.bias is not None:
            self.weight.grad[...], self.bias.grad[...] = dgamma, dbeta
            inverse_std = inverse_std * self.weight.data
        dx = x_hat * wide(-dgamma / M)
        dx += dy_lines
        dx -= wide(dbeta / M)
        dx *= wide(inverse_std)
        return layout.from_lines(dx, dy.shape)
