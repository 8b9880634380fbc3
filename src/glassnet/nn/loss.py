"""The loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ShapeError
from glassnet.nn import arguments
from glassnet.nn.module import Module

Array = NDArray[Any]


def log_softmax(logits: Array) -> Array:
    """log softmax over the last axis: z − max z − log Σ exp(z − max z), without exponentials that overflow."""
    shifted: Array = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis."""
    return np.exp(log_softmax(logits))


class CrossEntropyLoss(Module):
    """Mean cross-entropy of logits z (N, K) and labels (N,), as torch.nn.CrossEntropyLoss with ``label_smoothing`` ε.

    With t the labels one-hot, and q = (1 − ε)·t + ε/K (Szegedy et al. 2016, sec. 7)::

        loss = −1/N · Σ_{n,k} q[n,k] · log softmax(z)[n,k]        dz = (softmax(z) − q) / N

    :raises ShapeError: where the logits are not (N, K), or the labels not one integer in [0, K) per row.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = arguments.probability("CrossEntropyLoss", "label_smoothing", label_smoothing)

    def __call__(self, logits: Array, labels: Array) -> float:  # type: ignore[override]  # a loss takes two
        return self.forward(logits, labels)

    def forward(self, logits: Array, labels: Array) -> float:  # type: ignore[override]  # a loss takes two
        if logits.ndim != 2 or 0 in logits.shape:
            raise ShapeError(f"CrossEntropyLoss takes logits of shape (N, K), neither 0. Got {logits.shape}.")
        N, K = logits.shape
        if labels.shape != (N,) or labels.dtype.kind not in "iu":
            raise ShapeError(f"CrossEntropyLoss takes {N} integer labels. Got {labels.dtype} of shape {labels.shape}.")
        if not (labels.min() >= 0 and labels.max() < K):
            wrong = labels[(labels < 0) | (labels >= K)][0]
            raise ShapeError(f"CrossEntropyLoss takes labels from 0 to {K - 1}. Got {wrong}.")
        log_p = log_softmax(logits)
        others, true = self.label_smoothing / K, (np.arange(N), labels)
        target = np.full((N, K), others, log_p.dtype)
        target[true] = others + 1 - self.label_smoothing
        self.keep(log_p, target)
        total = (1 - self.label_smoothing) * log_p[true].sum().item()
        if self.label_smoothing:  # 0 times the −∞ of a class that is ruled out would be NaN
            total += others * log_p.sum().item()
        loss: float = total / -N
        return loss

    def backward(self) -> Array:  # type: ignore[override]  # the gradient of the loss itself is 1
        log_p, target = self.kept()
        dz: Array = (np.exp(log_p) - target) / len(log_p)
        return dz
