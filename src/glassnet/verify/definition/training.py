"""The steps of a training, from the papers of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import cos, pi, sqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from glassnet.recipe import Recipe

Array = NDArray[Any]
ComputeLogits = Callable[[Mapping[str, Tensor], slice], Tensor]


def defined_rates(recipe: Recipe, steps: int) -> list[float]:
    """Return the learning rate of each of ``steps`` steps: torch's schedules, one step at a time."""
    warmup = round(steps * recipe.warmup / recipe.epochs)
    return [
        recipe.lr * (step + 1) / (warmup + 1) if step < warmup else _rate(recipe, step - warmup, steps - warmup)
        for step in range(steps)
    ]


def _rate(recipe: Recipe, step: int, steps: int) -> float:
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** ((2 * step >= steps) + (4 * step >= 3 * steps))
    if recipe.schedule == "cosine":
        return recipe.lr * (1 + cos(pi * step / steps)) / 2
    if recipe.schedule == "one-cycle":  # as torch's OneCycleLR: 30 % up from a 25th, down to a 10,000th of that
        peak = 0.3 * steps - 1
        if step <= peak:
            return _between(recipe.lr / 25, recipe.lr, step / max(peak, 1))
        return _between(recipe.lr, recipe.lr / 25e4, (step - peak) / (steps - 1 - peak))
    return recipe.lr


def _between(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + cos(pi * fraction)) / 2


def class_weights(recipe: Recipe, labels: Tensor, classes: int) -> Tensor | None:
    """Return N / (K · n_c) for each of K classes with n_c of N labels, 0 where there is none; None without weights."""
    if recipe.class_weights == "none":
        return None
    counts = torch.bincount(labels, minlength=classes).double()
    return torch.where(counts > 0, len(labels) / (classes * counts), 0.0)


def _mean(key: str, moved: list[tuple[float, dict[str, Tensor]]]) -> Tensor:
    """Return the mean of the parts' running statistics, each with its fraction of the images; of counters one."""
    if not moved[0][1][key].is_floating_point():
        return moved[0][1][key]
    return torch.stack([fraction * buffers[key] for fraction, buffers in moved]).sum(dim=0)


class DefinedTraining:
    """Steps of a recipe's optimizer on one batch.

    :param logits: computes logits from weights, for rows of the batch, and moves BatchNorm's buffers.
    :param buffers: BatchNorm's buffers.
    """

    def __init__(
        self,
        recipe: Recipe,
        weights: dict[str, Tensor],
        buffers: dict[str, Tensor],
        labels: Tensor,
        classes: int,
        logits: ComputeLogits,
    ) -> None:
        self.recipe, self.weights, self.buffers, self.labels, self.logits = recipe, weights, buffers, labels, logits
        self.arrays: dict[str, dict[str, Tensor]] = {}  # of the optimizer, by their name, then key
        self.steps = 0
        self.class_weights = class_weights(recipe, labels, classes)
        self.averages = {key: tensor.clone() for key, tensor in self._averaged()} if recipe.ema else {}

    def _averaged(self) -> Iterator[tuple[str, Tensor]]:
        tensors = {**self.weights, **self.buffers}
        return ((key, tensor) for key, tensor in tensors.items() if tensor.is_floating_point())

    def step(self, lr: float) -> tuple[float, dict[str, Tensor]]:
        """Take a step; return the loss before it, and the gradients as the optimizer uses them."""
        self.steps += 1
        loss, gradients = self._gradients()
        if self.recipe.clip_grad_norm is not None:  # Pascanu et al. 2013
            norm = sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
            scale = min(1.0, self.recipe.clip_grad_norm / (norm + 1e-6))
            gradients = {key: gradient * scale for key, gradient in gradients.items()}
        for key, gradient in gradients.items():
            is_head = key.split(".")[0] == "fc"
            is_decayed = self.recipe.weight_decay_scope == "all" or (key.endswith("weight") and gradient.ndim > 1)
            rate = lr if is_head else lr * self.recipe.body_lr
            self._update(key, gradient, rate, self.recipe.weight_decay if is_decayed else 0.0)
        decay = min(self.recipe.ema, (1 + self.steps) / (10 + self.steps))
        if self.recipe.ema:
            self.averages = {key: decay * self.averages[key] + (1 - decay) * value for key, value in self._averaged()}
        return loss, gradients

    def _gradients(self) -> tuple[float, dict[str, Tensor]]:
        """Return the loss and its gradients: those of the batch's parts, each of which BatchNorm normalizes alone."""
        rows = np.array_split(np.arange(len(self.labels)), self.recipe.shards or 1)
        parts = [slice(part[0], part[-1] + 1) for part in rows if len(part)]
        before, moved = self.buffers, list[tuple[float, dict[str, Tensor]]]()
        leaves = {key: weight.requires_grad_() for key, weight in self.weights.items()}
        total = self._weight(slice(None))
        loss = torch.zeros((), dtype=torch.float64)
        for part in parts:
            self.buffers = {key: buffer.clone() for key, buffer in before.items()}
            mean = functional.cross_entropy(
                self.logits({**leaves, **self.buffers}, part),
                self.labels[part],
                self.class_weights,
                label_smoothing=self.recipe.label_smoothing,
            )
            loss = loss + mean * (self._weight(part) / total)
            moved.append((len(self.labels[part]) / len(self.labels), self.buffers))
        self.buffers = {key: _mean(key, moved) for key in before}
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        self.weights = {key: weight.detach() for key, weight in leaves.items()}
        return float(loss.detach()), dict(zip(leaves, gradients, strict=True))

    def _weight(self, rows: slice) -> float:
        labels = self.labels[rows]
        return float(len(labels)) if self.class_weights is None else float(self.class_weights[labels].sum())

    def _update(self, key: str, g: Tensor, lr: float, decay: float) -> None:
        w, recipe = self.weights[key], self.recipe
        if recipe.optimizer == "adamw":  # Loshchilov & Hutter 2019
            w = w - lr * decay * w
        else:
            g = g + decay * w
        if recipe.optimizer == "sgd":
            if recipe.momentum:
                buffers = self.arrays.setdefault("momentum_buffer", {})
                buffers[key] = recipe.momentum * buffers[key] + g if key in buffers else g
                g = g + recipe.momentum * buffers[key] if recipe.nesterov else buffers[key]  # Sutskever et al. 2013
            self.weights[key] = w - lr * g
            return
        m, v = (self.arrays.setdefault(name, {}).get(key, torch.zeros_like(w)) for name in ("exp_avg", "exp_avg_sq"))
        m, v, t = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g, self.steps  # Kingma & Ba 2015, algorithm 1
        self.arrays["exp_avg"][key], self.arrays["exp_avg_sq"][key] = m, v
        self.weights[key] = w - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
