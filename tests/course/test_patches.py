"""Tests of the exercises im2col and col2im, with answers as learners write them."""

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


def im2col(x, kernel_size, stride=1, padding=0, dilation=1, border=0.0):  # type: ignore[no-untyped-def]
    kh, kw = kernel_size
    N, C, H, W = x.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=border)
    rows = []
    for n in range(N):
        for i in range(0, H + 2 * padding - dilation * (kh - 1), stride):
            for j in range(0, W + 2 * padding - dilation * (kw - 1), stride):
                row = []
                for c in range(C):
                    for u in range(kh):
                        for v in range(kw):
                            row.append(x[n, c, i + u * dilation, j + v * dilation])
                rows.append(row)
    return np.array(rows)


def col2im(patches, shape, kernel_size, stride=1, padding=0, dilation=1, add=1, cut=True):  # type: ignore[no-untyped-def]
    N, C, H, W = shape
    kh, kw = kernel_size
    x = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    rows = iter(patches)
    for n in range(N):
        for i in range(0, H + 2 * padding - dilation * (kh - 1), stride):
            for j in range(0, W + 2 * padding - dilation * (kw - 1), stride):
                values = next(rows).reshape(C, kh, kw)
                for u in range(kh):
                    for v in range(kw):
                        pixel = n, slice(None), i + u * dilation, j + v * dilation
                        x[pixel] = add * x[pixel] + values[:, u, v]
    return x[:, :, padding : padding + H, padding : padding + W] if cut else x


@given(seeds)
@many_seeds
def test_im2col_passes(seed: int) -> None:
    assert check("im2col", im2col, seed=seed)


@given(seeds)
@many_seeds
def test_col2im_passes(seed: int) -> None:
    assert check("col2im", col2im, seed=seed)


def channels_last(x, kernel_size, *rest):  # type: ignore[no-untyped-def]
    patches = im2col(x, kernel_size, *rest)
    return patches.reshape(-1, x.shape[1], *kernel_size).transpose(0, 2, 3, 1).reshape(patches.shape)


IM2COL: Wrong = {
    "no padding": (lambda x, k, s, p, d: im2col(x, k, s, 0, d), "the padding were missing.\nWrong in 3 of 10 cases"),
    "no stride": (lambda x, k, s, p, d: im2col(x, k, 1, p, d), "patches looks as if the stride were ignored."),
    "no dilation": (lambda x, k, s, p, d: im2col(x, k, s, p), "patches looks as if the dilation were ignored."),
    "channels last": (channels_last, "patches looks as if the channels were last within a row."),
    "padding of ones": (lambda *arguments: im2col(*arguments, border=1.0), "patches is wrong in"),
    "columns of patches": (lambda *arguments: im2col(*arguments).T, "rows and columns of the matrix were exchanged"),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", IM2COL)
def test_im2col_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = IM2COL[name]
    feedback = check("im2col", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint


COL2IM: Wrong = {
    "overwritten": (lambda *arguments: col2im(*arguments, add=0), "overlapping windows were not added: = where it"),
    "padding left on": (lambda *arguments: col2im(*arguments, cut=False), "x looks as if the padding were not cut off"),
    "wrong cut": (
        lambda patches, shape, *rest: col2im(patches, shape, *rest, cut=False)[:, :, : shape[2], : shape[3]],
        "x looks as if the padding were cut off at one side only, the bottom and the right.",
    ),
    "averaged": (
        lambda *arguments: col2im(*arguments) / np.maximum(1, col2im(np.ones_like(arguments[0]), *arguments[1:])),
        "x is wrong in",
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", COL2IM)
def test_col2im_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = COL2IM[name]
    feedback = check("col2im", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint
