"""Tests of the exercises about max-pooling and the ReLU, with answers as learners write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.course import check

Wrong = dict[str, tuple[Callable[..., Any], str]]

seeds = st.integers(0, 2**32 - 1)
many_seeds = settings(max_examples=10, deadline=None)


def max_pool2d(x, kernel_size, stride, padding=0, dilation=1, border=-np.inf, best=np.argmax):  # type: ignore[no-untyped-def]
    N, C, H, W = x.shape
    kh, kw = kernel_size
    x_pad = np.full((N, C, H + 2 * padding, W + 2 * padding), border)
    x_pad[:, :, padding : padding + H, padding : padding + W] = x
    rows = range(0, H + 2 * padding - dilation * (kh - 1), stride)
    columns = range(0, W + 2 * padding - dilation * (kw - 1), stride)
    y = np.zeros((N, C, len(rows), len(columns)))
    winner = np.zeros((N, C, 1, len(rows), len(columns)), int)
    for n, c in np.ndindex(N, C):
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                window = [x_pad[n, c, top + u * dilation, left + v * dilation] for u in range(kh) for v in range(kw)]
                winner[n, c, 0, i, j] = best(window)
                y[n, c, i, j] = window[winner[n, c, 0, i, j]]
    return y, (winner, x.shape, kernel_size, stride, padding, dilation)


def max_pool2d_backward(dy, saved, add=1, to_all=False, by_rows=False):  # type: ignore[no-untyped-def]
    winner, (N, C, H, W), (kh, kw), stride, padding, dilation = saved
    dx = np.zeros((N, C, H + 2 * padding + 9, W + 2 * padding + 9))
    for n, c, i, j in np.ndindex(*dy.shape):
        index = winner[n, c, 0, i, j]
        offsets = np.ndindex(kh, kw) if to_all else [divmod(index, kh if by_rows else kw)]
        for u, v in offsets:
            pixel = n, c, i * stride + u * dilation, j * stride + v * dilation
            dx[pixel] = add * dx[pixel] + dy[n, c, i, j]
    return dx[:, :, padding : padding + H, padding : padding + W]


def relu_backward(dy, saved):  # type: ignore[no-untyped-def]
    dx = dy.copy()
    dx[~saved[0]] = 0
    return dx


@given(seeds)
@many_seeds
def test_max_pool2d_passes(seed: int) -> None:
    assert check("max_pool2d", max_pool2d, seed=seed)


@given(seeds)
@many_seeds
def test_max_pool2d_backward_passes(seed: int) -> None:
    assert check("max_pool2d_backward", max_pool2d_backward, seed=seed)


@given(seeds)
@many_seeds
def test_relu_backward_passes(seed: int) -> None:
    assert check("relu_backward", relu_backward, seed=seed)


def last_of_equals(window: list[float]) -> int:
    return len(window) - 1 - int(np.argmax(window[::-1]))


MAX_POOL2D: Wrong = {
    "zeros around": (lambda *arguments: max_pool2d(*arguments, border=0.0), "x were padded by zeros, which are larger"),
    "last of ties": (
        lambda *arguments: max_pool2d(*arguments, best=last_of_equals),
        "winner looks as if the last of several equal values won, not the first.\nWrong in 1 of 9 cases",
    ),
    "minimum": (
        lambda *arguments: max_pool2d(*arguments, border=np.inf, best=np.argmin),
        "y looks as if the smallest value won.",
    ),
    "own stride": (
        lambda x, k, stride, *rest: max_pool2d(x, k, 2, *rest),
        "y looks as if the stride were always 2.",
    ),
    "no dilation": (
        lambda x, k, s, p, d: max_pool2d(x, k, s, p),
        "y looks as if the dilation were ignored.\nWrong in",
    ),
    "y alone": (lambda *arguments: (max_pool2d(*arguments)[0], None), "must return 6 results"),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", MAX_POOL2D)
def test_max_pool2d_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = MAX_POOL2D[name]
    feedback = check("max_pool2d", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint


MAX_POOL2D_BACKWARD: Wrong = {
    "overwritten": (
        lambda dy, saved: max_pool2d_backward(dy, saved, add=0),
        "dx looks as if overlapping windows were not added: = where it should be +=.",
    ),
    "to all": (
        lambda dy, saved: max_pool2d_backward(dy, saved, to_all=True),
        "the mask were missing: every pixel",
    ),
    "average": (
        lambda dy, saved: max_pool2d_backward(dy / (saved[2][0] * saved[2][1]), saved, to_all=True),
        "dx looks as if it were the gradient of average pooling.\nWrong in 9 of 9 cases",
    ),
    "divided by kh": (
        lambda dy, saved: max_pool2d_backward(dy, saved, by_rows=True),
        "dx looks as if winner were divided by the rows of the window, not by its columns.",
    ),
    "negative": (lambda dy, saved: -max_pool2d_backward(dy, saved), "dx looks as if its sign were wrong."),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", MAX_POOL2D_BACKWARD)
def test_max_pool2d_backward_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = MAX_POOL2D_BACKWARD[name]
    feedback = check("max_pool2d_backward", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint


RELU_BACKWARD: Wrong = {
    "no mask": (lambda dy, saved: dy, "dx looks as if the mask were missing."),
    "mask of dy": (lambda dy, saved: np.where(dy > 0, dy, 0), "dx looks as if the mask were that of dy, not of x."),
    "other side": (lambda dy, saved: np.where(saved[0], 0, dy), "dx looks as if the mask were inverted."),
    "mask": (lambda dy, saved: saved[0].astype(float), "dx looks as if the mask itself were returned."),
    "in place": (lambda dy, saved: np.multiply(dy, saved[0], out=dy), "changes dy, which belongs to its caller."),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", RELU_BACKWARD)
def test_relu_backward_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = RELU_BACKWARD[name]
    feedback = check("relu_backward", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint
