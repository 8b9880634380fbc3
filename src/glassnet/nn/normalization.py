"""Batch normalization."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError, ShapeError
from glassnet.nn import arguments, layout
from glassnet.nn.module import Module, Parameter
from glassnet.nn.scratch import Scratch

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
        mean, var = self._statistics(x)
        inverse_std = 1 / np.sqrt(var + self.eps)
        self.keep(x, mean, inverse_std)
        wide = partial(layout.along_line, width=x.shape[3])
        middle, scale = wide(mean), wide(inverse_std if self.weight is None else inverse_std * self.weight.data)
        shift = None if self.bias is None else wide(self.bias.data)
        y = layout.nchw(self.workers.empty(layout.nhwc(x).shape, x.dtype))

        def normalize(part: slice, _: Scratch) -> None:
            lines = np.subtract(layout.lines(x[part]), middle, out=layout.lines(y[part]))
            lines *= scale
            if shift is not None:
                lines += shift

        self.workers.map(normalize, len(x), x[:1].nbytes)
        return y

    def _statistics(self, x: Array) -> tuple[Array, Array]:
        """μ and σ² (C,) of the batch, or the running ones."""
        if not self.training and self.track_running_stats:
            return self.running_mean, self.running_var
        C = self.num_features
        M = x.size // C
        if M < 2 and self.training:
            raise ShapeError(
                f"BatchNorm2d needs more than one value per channel to train. Got {x.shape}: use a larger batch."
            )

        def moments(part: slice, scratch: Scratch) -> tuple[int, Array, Array]:
            lines = layout.lines(x[part])
            count = lines.size // C
            mean = layout.channel_sum(lines, C) / count
            centred = _centred(lines, layout.along_line(mean, x.shape[3]), scratch)
            return count, mean, layout.channel_dot(centred, centred, C)

        # How the blocks' means differ is the rest of the variance (Chan, Golub & LeVeque 1983, eq. 1.5).
        counts, means, squares = map(np.array, zip(*self.workers.map(moments, len(x), x[:1].nbytes), strict=True))
        shares = (counts / M).astype(x.dtype)
        mean = shares @ means
        var = squares.sum(axis=0) / M + shares @ (means - mean) ** 2
        if self.training and self.track_running_stats:
            self._track(mean, var * (M / (M - 1)))
        return mean, var

    def _track(self, mean: Array, unbiased_var: Array) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_var)):
            running[...] = (1 - momentum) * running + momentum * new

    def backward(self, dy: Array) -> Array:
        x, mean, inverse_std = self.kept()
        C, M = self.num_features, dy.size // self.num_features
        wide = partial(layout.along_line, width=dy.shape[3])
        middle = wide(mean)

        def totals(part: slice, scratch: Scratch) -> Array:
            lines = layout.lines(dy[part])
            centred = _centred(layout.lines(x[part]), middle, scratch)
            return np.stack([layout.channel_sum(lines, C), layout.channel_dot(lines, centred, C)])

        dbeta, dgamma = self.workers.sum(totals, len(dy), dy[:1].nbytes)
        dgamma = dgamma * inverse_std
        scale = inverse_std
        if self.weight is not None and self.bias is not None:
            self.weight.grad[...], self.bias.grad[...] = dgamma, dbeta
            scale = inverse_std * self.weight.data
        slope, shift, scale = wide(-inverse_std * dgamma / M), wide(dbeta / M), wide(scale)
        dx = layout.nchw(self.workers.empty(layout.nhwc(dy).shape, dy.dtype))

        def combine(part: slice, _: Scratch) -> None:
            lines = np.subtract(layout.lines(x[part]), middle, out=layout.lines(dx[part]))
            lines *= slope
            lines += layout.lines(dy[part])
            lines -= shift
            lines *= scale

        self.workers.map(combine, len(dy), dy[:1].nbytes)
        return dx


def _centred(lines: Array, middle: Array, scratch: Scratch) -> Array:
    """x − μ, in the scratch."""
    centred: Array = np.subtract(lines, middle, out=scratch.empty("centred", lines.shape, lines.dtype))
    return centred
