"""Batch normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError, ShapeError
from glassnet.nn import arguments, layout
from glassnet.nn.module import Module, Parameter
from glassnet.nn.scratch import Scratch

Array = NDArray[Any]

FAR = 4  # variances between a mean and what was taken for it


class BatchNorm2d(Module):
    """Batch normalization over (N, H, W) (Ioffe & Szegedy 2015, algorithm 1) as torch.nn.BatchNorm2d computes it.

    Per channel, over the M = N·H·W values of a batch, with γ, β (C,)::

        μ = Σ x / M       σ² = Σ (x − μ)² / M       x̂ = (x − μ) / √(σ² + eps)       y = γ·x̂ + β

        dβ = Σ dy         dγ = Σ dy·x̂              dx = γ/√(σ² + eps) · (dy − dβ/M − x̂·dγ/M)

    The two subtracted terms are the gradient's way through μ and σ². Running statistics move as
    ``(1 − momentum)·old + momentum·new``, with the unbiased variance Σ (x − μ)² / (M − 1); ``momentum=None``
    averages over all batches. Evaluation mode normalizes by the running statistics, as torch by x·s + (β − μ·s) with
    s = γ/√(σ² + eps), where digits are lost if μ is many σ from 0; a layer that does not track them normalizes every
    batch by itself.

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
        y = layout.nchw(self.workers.empty(layout.nhwc(x).shape, x.dtype))
        # y = (source − offset)·scale + β, with the offset multiplied out
        if self.training or not self.track_running_stats:
            source, (mean, offset, var) = y, self._centre(x, y)
        else:
            source, mean, offset, var = x, self.running_mean, self.running_mean, self.running_var
        inverse_std = 1 / np.sqrt(var + self.eps)
        self.keep(x, mean, inverse_std)
        scale = inverse_std if self.weight is None else inverse_std * self.weight.data
        shift = -offset * scale if self.bias is None else self.bias.data - offset * scale
        scale, shift = (layout.along_line(vector, x.shape[3]) for vector in (scale, shift))

        def normalize(part: slice, _: Scratch) -> None:
            lines = np.multiply(layout.lines(source[part]), scale, out=layout.lines(y[part]))
            lines += shift

        self.workers.map(normalize, len(x), x[:1].nbytes)
        return y

    def _centre(self, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """y = x − K for a K near the mean; the batch's μ, μ − K, which is the mean of y, and σ², each (C,).

        As σ² is the mean square of y less (μ − K)², a K too far from μ costs it digits (shifted data: Chan, Golub &
        LeVeque 1983, sec. 3).
        """
        N, C, H, W = x.shape
        M = N * H * W
        if M == 0 or (M == 1 and self.training):
            needed = "more than one value per channel to train" if self.training else "a value per channel"
            raise ShapeError(f"BatchNorm2d needs {needed}. Got {x.shape}: use a larger batch.")

        def centred(middle: Array) -> tuple[Array, Array]:
            line = layout.along_line(middle, W)

            def moments(part: slice, _: Scratch) -> Array:
                lines = np.subtract(layout.lines(x[part]), line, out=layout.lines(y[part]))
                return np.stack([layout.channel_sum(lines, C), layout.channel_dot(lines, lines, C)])

            offset, square = self.workers.sum(moments, N, x[:1].nbytes) / M
            return offset, np.maximum(square - offset**2, 0)

        middle = layout.channel_sum(layout.lines(x[:1]), C) / (H * W)
        offset, var = centred(middle)
        if (offset**2 > FAR * var).any():  # the first picture is not like the others
            middle = middle + offset
            offset, var = centred(middle)
        mean = middle + offset
        if self.training and self.track_running_stats:
            self._track(mean, var * (M / (M - 1)))
        return mean, offset, var

    def _track(self, mean: Array, unbiased_var: Array) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_var)):
            running[...] = (1 - momentum) * running + momentum * new

    def backward(self, dy: Array) -> Array:
        x, mean, inverse_std = self.kept()
        C, M = self.num_features, dy.size // self.num_features
        dx = layout.nchw(self.workers.empty(layout.nhwc(dy).shape, dy.dtype))
        middle = layout.along_line(mean, dy.shape[3])

        def totals(part: slice, _: Scratch) -> Array:
            centred = np.subtract(layout.lines(x[part]), middle, out=layout.lines(dx[part]))
            lines = layout.lines(dy[part])
            return np.stack([layout.channel_sum(lines, C), layout.channel_dot(lines, centred, C)])

        dbeta, dgamma = self.workers.sum(totals, len(dy), dy[:1].nbytes)
        dgamma = dgamma * inverse_std
        scale = inverse_std
        if self.weight is not None and self.bias is not None:
            self.weight.grad[...], self.bias.grad[...] = dgamma, dbeta
            scale = inverse_std * self.weight.data
        constants = (-inverse_std * dgamma / M, dbeta / M, scale)
        slope, shift, scale = (layout.along_line(vector, dy.shape[3]) for vector in constants)

        def combine(part: slice, _: Scratch) -> None:
            lines = layout.lines(dx[part])
            lines *= slope
            lines += layout.lines(dy[part])
            lines -= shift
            lines *= scale

        self.workers.map(combine, len(dy), dy[:1].nbytes)
        return dx
