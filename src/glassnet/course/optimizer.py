"""Exercise: one step of stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.course.functions import Case, FunctionExercise, Mistake
from glassnet.nn.functional import sgd_step

Array = NDArray[Any]


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    lr, momentum, decay = rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.9), rng.uniform(0.05, 0.2)
    settings: dict[str, tuple[bool, float, float]] = {
        "no momentum": (False, 0.0, 0.0),
        "momentum, the first step": (False, momentum, 0.0),
        "momentum, a later step": (True, momentum, 0.0),
        "weight decay": (False, 0.0, decay),
        "momentum and weight decay": (True, momentum, decay),
    }
    for label, (later, mu, weight_decay) in settings.items():
        w, g, v = rng.standard_normal((3, int(rng.integers(2, 4)), 4))
        step = {"lr": round(lr, 3), "momentum": round(mu, 3), "weight_decay": round(weight_decay, 3)}
        yield Case(label, {"w": w, "g": g, "v": v if later else None, **step})


def _step(rule: Any) -> Any:
    """Return sgd_step by another rule, from w, g with its decay, v (0 at first), lr, momentum and weight_decay."""

    def step(w: Array, g: Array, v: Array | None, lr: float, momentum: float, weight_decay: float) -> Any:
        previous = np.zeros_like(g) if v is None else v
        next_w, next_v = rule(w, g + weight_decay * w, previous, lr, momentum, weight_decay)
        return next_w, next_v if momentum else None

    return step


def _velocity(g: Array, v: Array, lr: float, momentum: float) -> Array:
    return momentum * v + g


def _move(w: Array, g: Array, v: Array, lr: float) -> Array:
    return w - lr * v


def _both(velocity: Any = _velocity, move: Any = _move) -> Any:
    """Return sgd_step with another rule of v or w."""

    def rule(w: Array, g: Array, v: Array, lr: float, momentum: float, weight_decay: float) -> Any:
        v = velocity(g, v, lr, momentum)
        return move(w, g, v, lr), v

    return _step(rule)


def _nesterov(w: Array, g: Array, v: Array | None, lr: float, momentum: float, weight_decay: float) -> Any:
    return sgd_step(w, g, v, lr, momentum, weight_decay, nesterov=True)


def _always_velocity(w: Array, g: Array, v: Array | None, lr: float, momentum: float, weight_decay: float) -> Any:
    next_w, next_v = sgd_step(w, g, v, lr, momentum, weight_decay)
    return next_w, g + weight_decay * w if next_v is None else next_v


SGD_STEP = FunctionExercise(
    name="sgd_step",
    chapter=4,
    task="Take one step of stochastic gradient descent, with momentum and weight decay.",
    stub='''\
def sgd_step(w, g, v, lr, momentum=0.0, weight_decay=0.0):
    """Return the next w and v, of w's shape. v is None in the first step.

    g is the gradient of w. Weight decay adds weight_decay·w to it. The velocity v
    sums up gradients, the older ones shrunk by momentum in each step, and begins
    with the first gradient; lr is applied to v afterwards. Without momentum, v
    stays None.
    """
    ...
    return w, v
''',
    reference=sgd_step,
    returns=("w", "v"),
    cases=_cases,
    mistakes=(
        Mistake("nothing changed", lambda w, g, v, *rest: (w, v)),
        Mistake("w moved along the gradient, not along the velocity", _both(move=lambda w, g, v, lr: w - lr * g)),
        Mistake("momentum were missing: the velocity is the gradient alone", _both(lambda g, v, lr, mu: g)),
        Mistake("the old velocity were not shrunk by momentum", _both(lambda g, v, lr, mu: v + g)),
        Mistake("the gradient were scaled by 1 − momentum", _both(lambda g, v, lr, mu: mu * v + (1 - mu) * g)),
        Mistake("momentum scaled the gradient, not the velocity", _both(lambda g, v, lr, mu: v + (mu or 1) * g)),
        Mistake(
            "lr were applied in the velocity, not after it",
            _both(lambda g, v, lr, mu: mu * v + lr * g, lambda w, g, v, lr: w - v),
        ),
        Mistake(
            "lr and the minus were in the velocity, not after it",
            _both(lambda g, v, lr, mu: mu * v - lr * g, lambda w, g, v, lr: w + v),
        ),
        Mistake("it went up the gradient: the sign is wrong", _both(move=lambda w, g, v, lr: w + lr * v)),
        Mistake(
            "lr were applied twice, in the velocity and after it",
            lambda w, g, v, lr, *rest: sgd_step(w, lr * g, v, lr, *rest),
        ),
        Mistake("lr were missing", _both(move=lambda w, g, v, lr: w - v)),
        Mistake(
            "the old velocity moved w, not the new one",
            _step(lambda w, g, v, lr, mu, _: (w - lr * (v if mu else g), mu * v + g)),
        ),
        Mistake("weight decay were missing", lambda w, g, v, lr, mu, d: sgd_step(w, g, v, lr, mu)),
        Mistake(
            "the sign of weight decay were wrong", lambda w, g, v, lr, mu, decay: sgd_step(w, g, v, lr, mu, -decay)
        ),
        Mistake(
            "weight decay bypassed the velocity",
            _step(lambda w, g, v, lr, mu, d: (w - lr * (mu * v + g), mu * v + g - d * w)),
        ),
        Mistake(
            "weight decay had no lr",
            _step(
                lambda w, g, v, lr, mu, decay: (w - lr * (mu * v + g - decay * w) - decay * w, mu * v + g - decay * w)
            ),
        ),
        Mistake("it were Nesterov's momentum", _nesterov),
        Mistake("there were a velocity without momentum: it must stay None", _always_velocity),
    ),
)

EXERCISES = (SGD_STEP,)
