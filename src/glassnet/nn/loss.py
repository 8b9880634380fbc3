"""The loss."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from glassnet.errors import ShapeError
from glassnet.nn.checks import check_probability
from glassnet.nn.module import Module

Array = NDArray[Any]


class CrossEntropyLoss(Module):
    """Mean cross-entropy of logits z (N, K) and labels (N,), as torch.nn.CrossEntropyLoss with ``label_smoothing`` ε.

    With t the labels one-hot, and q = (1 − ε)·t + ε/K (Szegedy et al. 2016, sec. 7)::

        loss = −1/N · Σ_{n,k} q[n,k] · log softmax(z)[n,k]        dz = (softmax(z) − q) / N

    :raises ShapeError: if the logits are not (N, K), or the labels not one integer in [0, K) per row.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = check_probability("label_smoothing of CrossEntropyLoss", label_smoothing)

    def __call__(self, logits: Array, labels: Array) -> float:  # type: ignore[override]  # a loss takes two
        return self.forward(logits, labels)

    def forward(self, logits: Array, labels: Array) -> float:  # type: ignore[override]  # a loss takes two
        _check(logits, labels)
        loss, saved = self.kernels.cross_entropy(logits, labels, self.label_smoothing)
        self.save_for_backward(saved, ())
        return loss

    def backward(self) -> Array:  # type: ignore[override]  # the gradient of the loss itself is 1
        return self.kernels.cross_entropy_backward(1.0, self.pop_saved())


def _check(logits: Array, labels: Array) -> None:
    if logits.ndim != 2 or 0 in logits.shape:
        raise ShapeError(
            f"logits of CrossEntropyLoss must have shape (N, K) with N and K at least 1. Got {logits.shape}."
        )
    N, K = logits.shape
    if labels.shape != (N,) or labels.dtype.kind not in "iu":
        given = f"{labels.dtype} of shape {labels.shape}"
        raise ShapeError(f"labels of CrossEntropyLoss must be {N} integers. Got {given}.")
    if not (labels.min() >= 0 and labels.max() < K):
        wrong = labels[(labels < 0) | (labels >= K)][0]
        raise ShapeError(f"labels of CrossEntropyLoss must be from 0 to {K - 1}. Got {wrong}.")
