"""Tests of the exercise sgd_step, with answers as learners write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.course import check

Wrong = dict[str, tuple[Callable[..., Any], str]]

seeds = st.integers(0, 2**32 - 1)
many_seeds = settings(max_examples=10, deadline=None)


def sgd_step(w, g, v, lr, momentum=0.0, weight_decay=0.0):  # type: ignore[no-untyped-def]
    g = g + weight_decay * w
    if momentum == 0:
        return w - lr * g, None
    v = g if v is None else momentum * v + g
    return w - lr * v, v


@given(seeds)
@many_seeds
def test_sgd_step_passes(seed: int) -> None:
    assert check("sgd_step", sgd_step, seed=seed)


def no_momentum(w, g, v, lr, momentum, weight_decay):  # type: ignore[no-untyped-def]
    g = g + weight_decay * w
    return w - lr * g, g if momentum else None


def dampened(w, g, v, lr, momentum, weight_decay):  # type: ignore[no-untyped-def]
    g = g + weight_decay * w
    v = (1 - momentum) * g + (0 if v is None else momentum * v)
    return w - lr * v, v if momentum else None


def signed_velocity(w, g, v, lr, momentum, weight_decay):  # type: ignore[no-untyped-def]
    g = g + weight_decay * w
    v = (0 if v is None else momentum * v) - lr * g
    return w + v, v if momentum else None


def in_place(w, g, v, lr, momentum, weight_decay):  # type: ignore[no-untyped-def]
    w -= lr * g
    return w, v


def always_velocity(w, g, v, lr, momentum, weight_decay):  # type: ignore[no-untyped-def]
    v = g + weight_decay * w + (0 if v is None else momentum * v)
    return w - lr * v, v


WRONG: Wrong = {
    "no momentum": (
        no_momentum,
        "w looks as if momentum were missing: the velocity is the gradient alone.",
    ),
    "dampened": (dampened, "w looks as if the gradient were scaled by 1 − momentum."),
    "uphill": (lambda w, g, v, lr, *rest: sgd_step(w, g, v, -lr, *rest), "it went up the gradient: the sign is wrong"),
    "no lr": (lambda w, g, v, lr, *rest: sgd_step(w, g, v, 1, *rest), "w looks as if lr were missing."),
    "no decay": (lambda w, g, v, lr, mu, decay: sgd_step(w, g, v, lr, mu), "w looks as if weight decay were missing."),
    "minus lr in the velocity": (signed_velocity, "lr and the minus were in the velocity, not after it"),
    "in place": (in_place, "Your function changes w, which belongs to its caller. Work on a copy."),
    "unfilled stub": (lambda w, g, v, *rest: (w, v), "w looks as if nothing changed."),
    "always a velocity": (always_velocity, "v looks as if there were a velocity without momentum: it must stay None."),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", WRONG)
def test_sgd_step_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = WRONG[name]
    feedback = check("sgd_step", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint
