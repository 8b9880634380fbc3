"""The loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.errors import ConfigError, ShapeError
from glassnet.nn.checks import check_probability
from glassnet.nn.module import Module

Array = NDArray[Any]


class CrossEntropyLoss(Module):
    """Mean cross-entropy of logits z (N, K) and labels (N,), as torch.nn.CrossEntropyLoss with ``label_smoothing`` ε.

    With t the labels one-hot, and q = (1 − ε)·t + ε/K (Szegedy et al. 2016, sec. 7)::

        loss = −1/N · Σ_{n,k} q[n,k] · log softmax(z)[n,k]        dz = (softmax(z) − q) / N

    With a ``weight`` w (K,) for each class, q = w·((1 − ε)·t + ε/K), and W = Σ_n w[label_n] in place of N::

        loss = −1/W · Σ_{n,k} q[n,k] · log softmax(z)[n,k]        dz = (softmax(z)·Σ_k q[n,k] − q) / W

    :raises ConfigError: if the weights are not finite numbers of at least 0 in one axis.
    :raises ShapeError: if the logits are not (N, K), or the labels not one integer in [0, K) per row.
    """

    def __init__(self, label_smoothing: float = 0.0, weight: ArrayLike | None = None) -> None:
        super().__init__()
        self.label_smoothing = check_probability("label_smoothing of CrossEntropyLoss", label_smoothing)
        self.weight = None if weight is None else np.asarray(weight)
        if self.weight is not None and not _are_weights(self.weight):
            raise ConfigError(f"weight of CrossEntropyLoss must be finite numbers of at least 0. Got {weight!r}.")

    def __call__(self, logits: Array, labels: Array) -> float:  # type: ignore[override]  # a loss takes two
        return self.forward(logits, labels)

    def forward(self, logits: Array, labels: Array) -> float:  # type: ignore[override]  # a loss takes two
        _check(logits, labels, self.weight)
        if self.weight is None:
            loss, saved = self.kernels.cross_entropy(logits, labels, self.label_smoothing)
        else:
            weight = self.weight.astype(logits.dtype, copy=False)
            loss, saved = self.kernels.weighted_cross_entropy(logits, labels, weight, self.label_smoothing)
        self.save_for_backward(saved, ())
        return loss

    def backward(self) -> Array:  # type: ignore[override]  # the gradient of the loss itself is 1
        kernels = self.kernels
        function = kernels.cross_entropy_backward if self.weight is None else kernels.weighted_cross_entropy_backward
        return function(1.0, self.pop_saved())


def _are_weights(weight: Array) -> bool:
    return weight.ndim == 1 and weight.dtype.kind in "fiu" and bool((np.isfinite(weight) & (weight >= 0)).all())


def _check(logits: Array, labels: Array, weight: Array | None) -> None:
    if logits.ndim != 2 or 0 in logits.shape:
        raise ShapeError(
            f"logits of CrossEntropyLoss must have shape (N, K) with N and K at least 1. Got {logits.shape}."
        )
    N, K = logits.shape
    if weight is not None and weight.shape != (K,):
        raise ShapeError(f"weight of CrossEntropyLoss must have shape ({K},), one for each class. Got {weight.shape}.")
    if labels.shape != (N,) or labels.dtype.kind not in "iu":
        given = f"{labels.dtype} of shape {labels.shape}"
        raise ShapeError(f"labels of CrossEntropyLoss must be {N} integers. Got {given}.")
    if not (labels.min() >= 0 and labels.max() < K):
        wrong = labels[(labels < 0) | (labels >= K)][0]
        raise ShapeError(f"labels of CrossEntropyLoss must be from 0 to {K - 1}. Got {wrong}.")
