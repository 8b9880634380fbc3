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

FAR = 4  # standard deviations between a mean and 0


class BatchNorm2d(Module):
    """Batch normalization over (N, H, W) (Ioffe & Szegedy 2015, algorithm 1) as torch.nn.BatchNorm2d computes it.

    Per channel, over the M = N·H·W values of a batch, with γ, β (C,)::

        μ = Σ x / M       σ² = Σ (x − μ)² / M       x̂ = (x − μ) / √(σ² + eps)       y = γ·x̂ + β

        dβ = Σ dy         dγ = Σ dy·x̂              dx = γ/√(σ² + eps) · (dy − dβ/M − x̂·dγ/M)

    The two subtracted terms are the gradient's way through μ and σ². Running statistics move as
    ``(1 − momentum)·old + momentum·new``, with the unbiased variance Σ (x − μ)² / (M − 1); ``momentum=None``
    averages over all batches. Evaluation mode normalizes by the running statistics; a layer that does not track them
    normalizes every batch by itself.

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
        if self.training or not self.track_running_stats:
            source, middle, offset, var = self._moments(x, y)
        else:
            source, middle, offset, var = x, None, self.running_mean, self.running_var
            if _is_far(offset, var):
                source, offset = self._centre(x, offset, y), np.zeros_like(offset)
        inverse_std = 1 / np.sqrt(var + self.eps)
        self.keep(x, middle, offset, inverse_std)
        # y = (source − offset)·scale + β, with the offset multiplied out
        scale = inverse_std if self.weight is None else inverse_std * self.weight.data
        shift = -offset * scale if self.bias is None else self.bias.data - offset * scale
        scale, shift = (layout.along_line(vector, x.shape[3]) for vector in (scale, shift))

        def normalize(part: slice, _: Scratch) -> None:
            lines = np.multiply(layout.lines(source[part]), scale, out=layout.lines(y[part]))
            lines += shift

        self.workers.map(normalize, len(x), x[:1].nbytes)
        return y

    def _moments(self, x: Array, y: Array) -> tuple[Array, Array | None, Array, Array]:
        """Of a batch: what to normalize, the K that was taken from it, its mean and its σ².

        That is x, None, μ, σ² as a rule. A mean of many σ would cost digits, as σ² is the mean square less the square
        of the mean; then it is y = x − K with K = μ to rounding, K, μ − K, σ² (shifted data: Chan, Golub & LeVeque
        1983, sec. 3).
        """
        M = x.size // self.num_features
        if M == 0 or (M == 1 and self.training):
            needed = "more than one value per channel to train" if self.training else "a value per channel"
            raise ShapeError(f"BatchNorm2d needs {needed}. Got {x.shape}: use a larger batch.")
        source, middle = x, None
        offset, var = self._mean_and_var(x)
        if _is_far(offset, var):
            source, middle = self._centre(x, offset, y), offset
            offset, var = self._mean_and_var(y)
        if self.training and self.track_running_stats:
            self._track(offset if middle is None else middle + offset, var * (M / (M - 1)))
        return source, middle, offset, var

    def _mean_and_var(self, x: Array) -> tuple[Array, Array]:
        C = self.num_features

        def sums(part: slice, _: Scratch) -> Array:
            lines = layout.lines(x[part])
            return np.stack([layout.channel_sum(lines, C), layout.channel_dot(lines, lines, C)])

        with np.errstate(over="ignore", invalid="ignore"):  # a σ² that is not finite counts as far
            mean, square = self.workers.sum(sums, len(x), x[:1].nbytes) / (x.size // C)
            return mean, np.maximum(square - mean**2, 0)

    def _centre(self, x: Array, middle: Array, out: Array) -> Array:
        """``out``, in which is x − middle."""
        line = layout.along_line(middle, x.shape[3])

        def work(part: slice, _: Scratch) -> None:
            np.subtract(layout.lines(x[part]), line, out=layout.lines(out[part]))

        self.workers.map(work, len(x), x[:1].nbytes)
        return out

    def _track(self, mean: Array, unbiased_var: Array) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_var)):
            running[...] = (1 - momentum) * running + momentum * new

    def backward(self, dy: Array) -> Array:
        x, middle, offset, inverse_std = self.kept()
        arguments.gradient("BatchNorm2d", dy, x.shape)
        C, M = self.num_features, dy.size // self.num_features
        dx = layout.nchw(self.workers.empty(layout.nhwc(dy).shape, dy.dtype))
        source = x if middle is None else self._centre(x, middle, dx)

        def totals(part: slice, _: Scratch) -> Array:
            lines = layout.lines(dy[part])
            return np.stack([layout.channel_sum(lines, C), layout.channel_dot(lines, layout.lines(source[part]), C)])

        dbeta, dgamma = self.workers.sum(totals, len(dy), dy[:1].nbytes)
        dgamma = (dgamma - offset * dbeta) * inverse_std
        scale = inverse_std
        if self.weight is not None and self.bias is not None:
            self.weight.grad[...], self.bias.grad[...] = dgamma, dbeta
            scale = inverse_std * self.weight.data
        # dx = scale·(dy − dβ/M − (source − offset)·slope), with the offset multiplied out
        slope = inverse_std * dgamma / M
        constants = (-slope, dbeta / M - offset * slope, scale)
        slope, shift, scale = (layout.along_line(vector, dy.shape[3]) for vector in constants)

        def combine(part: slice, _: Scratch) -> None:
            lines = np.multiply(layout.lines(source[part]), slope, out=layout.lines(dx[part]))
            lines += layout.lines(dy[part])
            lines -= shift
            lines *= scale

        self.workers.map(combine, len(dy), dy[:1].nbytes)
        return dx


def _is_far(mean: Array, var: Array) -> bool:
    """Is a mean so many σ from 0, or so large, that products and squares of x itself would cost digits?"""
    return not bool((np.isfinite(var) & (np.abs(mean) <= FAR * np.sqrt(var))).all())
