"""Bugs in schedules, groups of parameters and the NumPy engine's trainer."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassnet import nn
from glassnet.engines import averaging, numpy_engine, numpy_parts, trainer
from glassnet.engines import class_weights as weights_of_classes
from glassnet.nn import optimizer
from glassnet.recipe import Recipe
from glassnet.training import schedule
from planted_bugs.planting import CIFAR, NORM, SMOOTH, TINY, WEIGHTS, Row, fixed, on_argument, on_result

SGD, ADAM, ADAMW = ({"optimizer": name} for name in ("sgd", "adam", "adamw"))
SHARDS = {**NORM, "shards": 2}
CLIP = {**NORM, "clip_grad_norm": 0.1}
EMA = {**NORM, "ema": 0.9}


def by_parameter(plain: Any) -> Any:
    def clip(own: Any, max_norm: float) -> None:
        for parameter in own.parameters.values():
            parameter.grad *= min(1, max_norm / (np.linalg.norm(parameter.grad) + 1e-6))

    return clip


def pooled(plain: Any) -> Any:
    """BatchNorm's statistics of the parts are added, not averaged."""
    return lambda sums, fraction: plain(sums, 1.0)


TRAINING: list[Row] = [
    (
        "dampened",
        optimizer,
        "sgd_step",
        lambda plain: lambda w, g, v, *a: plain(w, g if v is None else 0.9 * g, v, *a),
        "sgd",
        NORM,
    ),
    (
        "Nesterov ignored",
        optimizer,
        "sgd_step",
        lambda plain: lambda *a: plain(*a[:6], False),
        "sgd",
        {**NORM, "nesterov": True},
    ),
    (
        "learning rate in the momentum",
        optimizer,
        "sgd_step",
        lambda plain: lambda w, g, v, lr, *a: plain(w, lr * g, v, 1.0, *a),
        "sgd weight decay",
        NORM,
    ),
    ("decay doubled", optimizer, "sgd_step", on_argument(5, lambda decay: 2 * decay), "weight decay", TINY),
    ("momentum 0.99", optimizer, "sgd_step", on_argument(4, lambda m: 0.99), "sgd", CIFAR),
    ("no bias correction", optimizer, "adam_step", on_argument(4, lambda t: 10**9), "adam", {**NORM, **ADAM}),
    ("eps 1e-7", optimizer, "adam_step", fixed(eps=1e-7), "adam", {**TINY, **ADAM}),
    ("beta 0.99", optimizer, "adam_step", fixed(betas=(0.9, 0.99)), "adamw", {**TINY, **ADAMW}),
    (
        "decay through the moments",
        optimizer,
        "adam_step",
        fixed(decoupled=False),
        "adamw weight decay",
        {**NORM, **ADAMW},
    ),
    ("decay beside the moments", optimizer, "adam_step", fixed(decoupled=True), "adam weight decay", {**NORM, **ADAM}),
    ("everything decays", Recipe, "decays", lambda plain: lambda recipe, ndim: True, "weight decay", NORM),
    (
        "only matrices decay",
        Recipe,
        "decays",
        lambda plain: lambda recipe, ndim: ndim == 2,
        "weight decay",
        {**NORM, **ADAMW},
    ),
    (
        "scope all ignored",
        Recipe,
        "decays",
        lambda plain: lambda recipe, ndim: ndim > 1,
        "weight decay",
        {**NORM, "weight_decay_scope": "all"},
    ),
    (
        "the head at the body's rate",
        trainer,
        "HEAD_LAYERS",
        lambda plain: (),
        "body_lr sgd weight decay",
        {**NORM, "body_lr": 0.1},
    ),
    ("clipped one by one", numpy_engine.NumpyTrainer, "_clip", by_parameter, "clipping", CLIP),
    (
        "clipped to twice the norm",
        numpy_engine.NumpyTrainer,
        "_clip",
        on_argument(1, lambda n: 2 * n),
        "clipping",
        CLIP,
    ),
    (
        "not clipped",
        numpy_engine.NumpyTrainer,
        "_clip",
        lambda plain: lambda *a: None,
        "clipping",
        {**TINY, "clip_grad_norm": 0.05},
    ),
    (
        "smoothing ignored",
        nn.CrossEntropyLoss,
        "__init__",
        lambda plain: lambda loss, smoothing=0.0, weight=None: plain(loss, 0.0, weight),
        "loss",
        SMOOTH,
    ),
    ("weights by root", weights_of_classes, "balanced_weights", on_result(np.sqrt), "loss CrossEntropyLoss", WEIGHTS),
    (
        "weights of mean 1",
        weights_of_classes,
        "balanced_weights",
        on_result(lambda w: w / w.mean()),
        "loss CrossEntropyLoss",
        {**WEIGHTS, "label_smoothing": 0.0},
    ),
    (
        "average without its ramp",
        averaging.WeightAverage,
        "update",
        lambda plain: lambda average: average._move(1 - average.decay) or setattr(average, "steps", average.steps + 1),
        "moving average",
        EMA,
    ),
    (
        "average moves too little",
        averaging.ArrayAverage,
        "_move",
        on_argument(1, lambda rate: 0.5 * rate),
        "moving average",
        EMA,
    ),
    ("statistics of parts not weighted", numpy_parts.PartSums, "pop", pooled, "parts", SHARDS),
    (
        "statistics of parts lost",
        numpy_parts.PartSums,
        "apply",
        lambda plain: lambda sums, total: sums.vector.__setitem__(..., total),
        "parts",
        SHARDS,
    ),
    (
        "second part lost",
        numpy_engine,
        "part_rows",
        on_result(lambda rows: [rows[0], slice(rows[1].start, rows[1].start)]),
        "parts",
        SHARDS,
    ),
    (
        "gradients of parts added",
        numpy_engine.NumpyTrainer,
        "_compute",
        lambda plain: lambda own, part, x, y, total=None: plain(own, part, x, y, None),
        "parts",
        SHARDS,
    ),
    (
        "cosine ends at half",
        schedule,
        "_cosine",
        lambda plain: lambda a, b, f: plain(a, b, f / 2),
        "schedule",
        {**TINY, "schedule": "cosine"},
    ),
    (
        "one-cycle rises to the end",
        schedule,
        "_cosine",
        lambda plain: lambda a, b, f: a + (b - a) * f,
        "schedule",
        {**TINY, "schedule": "one-cycle"},
    ),
    (
        "step at a third",
        schedule,
        "_schedule",
        lambda plain: lambda recipe, n: np.where(np.arange(n) < n / 3, recipe.lr, recipe.lr / 10),
        "schedule",
        {**TINY, "schedule": "step"},
    ),
    (
        "schedule as long as without warm-up",
        schedule,
        "_schedule",
        lambda plain: lambda recipe, n: plain(recipe, round(n / 0.8))[:n],
        "schedule",
        {**TINY, "schedule": "cosine", "warmup": 2.0},
    ),
    ("constant halves", schedule, "_schedule", on_result(lambda rates: rates / 2), "schedule", {**TINY, "warmup": 2.0}),
]
