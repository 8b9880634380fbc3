"""Tests of the exercise about the residual block, with answers as learners write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet import nn
from glassnet.course import check, residual_block
from glassnet.nn.functional import conv2d_backward, relu_backward

Wrong = dict[str, tuple[Callable[..., Any], str]]

seeds = st.integers(0, 2**32 - 1)
many_seeds = settings(max_examples=10, deadline=None)


def residual_backward(dy, saved):  # type: ignore[no-untyped-def]
    saved_a, saved_h, saved_f, saved_y = saved
    g = relu_backward(dy, saved_y)
    dh, dw2, db2 = conv2d_backward(g, saved_f)
    da = relu_backward(dh, saved_h)
    dx, dw1, db1 = conv2d_backward(da, saved_a)
    return dx + g, dw1, db1, dw2, db2


def test_residual_block_is_the_layer_of_the_same_parameters() -> None:
    rng = np.random.default_rng(0)
    body = [nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1)]
    block = nn.Residual(nn.Sequential(*body), nn.Identity(), nn.ReLU()).to(np.float64)
    for parameter in block.parameters():
        parameter.data[...] = rng.standard_normal(parameter.data.shape)
    x, dy = rng.standard_normal((2, 3, 2, 4, 5))
    y, saved = residual_block(x, *(parameter.data for parameter in block.parameters()))
    np.testing.assert_allclose(y, block(x), rtol=0, atol=1e-12)
    expected = block.backward(dy), *(parameter.grad for parameter in block.parameters())
    for mine, right in zip(residual_backward(dy, saved), expected, strict=True):
        np.testing.assert_allclose(mine, right, rtol=0, atol=1e-12)


@given(seeds)
@many_seeds
def test_residual_backward_passes(seed: int) -> None:
    assert check("residual_backward", residual_backward, seed=seed)


def no_shortcut(dy, saved):  # type: ignore[no-untyped-def]
    dx, *others = residual_backward(dy, saved)
    return dx - relu_backward(dy, saved[3]), *others


def unmasked_shortcut(dy, saved):  # type: ignore[no-untyped-def]
    dx, *others = residual_backward(dy, saved)
    return dx - relu_backward(dy, saved[3]) + dy, *others


def everywhere(mask):  # type: ignore[no-untyped-def]
    return (np.ones_like(mask[0]),)


WRONG: Wrong = {
    "no shortcut": (no_shortcut, "dx looks as if the gradient through the shortcut were missing."),
    "shortcut alone": (
        lambda dy, saved: (relu_backward(dy, saved[3]), *residual_backward(dy, saved)[1:]),
        "dx looks as if the gradient through the convolutions were missing.",
    ),
    "shortcut past the last ReLU": (unmasked_shortcut, "gradient through the shortcut did not pass the last ReLU."),
    "no last mask": (
        lambda dy, saved: residual_backward(dy, (*saved[:3], everywhere(saved[3]))),
        "dx looks as if the mask of the last ReLU were missing.",
    ),
    "no inner mask": (
        lambda dy, saved: residual_backward(dy, (saved[0], everywhere(saved[1]), *saved[2:])),
        "dx looks as if the mask of the ReLU between the convolutions were missing.",
    ),
    "order": (
        lambda dy, saved: tuple(residual_backward(dy, saved)[k] for k in (0, 3, 4, 1, 2)),
        "dw1 has the values of dw2: return the results in the order dx, dw1, db1, dw2, db2.",
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", WRONG)
def test_residual_backward_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = WRONG[name]
    feedback = check("residual_backward", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint
