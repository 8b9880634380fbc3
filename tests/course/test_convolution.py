"""Tests of the exercises about the convolution, with answers as learners write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.course import check

seeds = st.integers(0, 2**32 - 1)
many_seeds = settings(max_examples=10, deadline=None)


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1):  # type: ignore[no-untyped-def]
    N, C, H, W = x.shape
    O, _, kh, kw = w.shape
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    padded[:, :, padding : padding + H, padding : padding + W] = x
    Ho = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    Wo = (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((N, O, Ho, Wo))
    for n in range(N):
        for o in range(O):
            for i in range(Ho):
                for j in range(Wo):
                    top, left = i * stride, j * stride
                    window = padded[n, :, top : top + dilation * (kh - 1) + 1 : dilation]
                    window = window[:, :, left : left + dilation * (kw - 1) + 1 : dilation]
                    y[n, o, i, j] = (window * w[o]).sum()
    if b is not None:
        y += b[None, :, None, None]
    return y, None


def conv2d_backward(dy, saved):  # type: ignore[no-untyped-def]
    patches, shape, w, has_bias, stride, padding, dilation = saved
    N, C, H, W = shape
    _, O, Ho, Wo = dy.shape
    kh, kw = w.shape[2:]
    patches = patches.reshape(N, Ho, Wo, C, kh, kw)
    dw = np.zeros_like(w)
    dx = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    for n in range(N):
        for o in range(O):
            for i in range(Ho):
                for j in range(Wo):
                    dw[o] += dy[n, o, i, j] * patches[n, i, j]
                    rows = slice(i * stride, i * stride + dilation * (kh - 1) + 1, dilation)
                    columns = slice(j * stride, j * stride + dilation * (kw - 1) + 1, dilation)
                    dx[n, :, rows, columns] += dy[n, o, i, j] * w[o]
    dx = dx[:, :, padding : padding + H, padding : padding + W]
    return dx, dw, dy.sum(axis=(0, 2, 3)) if has_bias else None


def changed(function: Callable[..., Any], change: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with ``change(results, *arguments)`` as its results."""
    return lambda *arguments: change(function(*arguments), *arguments)


@given(seeds)
@many_seeds
def test_conv2d_passes_with_loops(seed: int) -> None:
    assert check("conv2d", conv2d, seed=seed)


@given(seeds)
@many_seeds
def test_conv2d_backward_passes_with_loops(seed: int) -> None:
    assert check("conv2d_backward", conv2d_backward, seed=seed)


def corner_padding(x, w, b=None, stride=1, padding=0, dilation=1):  # type: ignore[no-untyped-def]
    N, C, H, W = x.shape
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    padded[:, :, :H, :W] = x
    return conv2d(padded, w, b, stride, 0, dilation)


FORWARD: dict[str, tuple[Callable[..., Any], str]] = {
    "flipped": (lambda x, w, *rest: conv2d(x, w[:, :, ::-1, ::-1], *rest), "y looks as if the kernel were flipped."),
    "no padding": (lambda x, w, b, s, p, d: conv2d(x, w, b, s, 0, d), "the padding were missing.\nWrong in 3 of 10"),
    "no stride": (lambda x, w, b, s, p, d: conv2d(x, w, b, 1, p, d), "the stride were ignored.\nWrong in 3 of 10"),
    "no dilation": (lambda x, w, b, s, p, d: conv2d(x, w, b, s, p), "the dilation were ignored.\nWrong in 2 of 10"),
    "no bias": (lambda x, w, b, *rest: conv2d(x, w, None, *rest), "the bias were missing.\nWrong in 9 of 10"),
    "image in the corner": (corner_padding, "y looks as if the image were at the top left of the padding"),
    "one channel": (lambda x, w, *rest: conv2d(x[:, :1], w[:, :1], *rest), "only the first channel of x were read"),
    "mean": (lambda x, w, *rest: conv2d(x, w / x.shape[1], *rest), "the channels were averaged, not summed"),
    "only y": (lambda *arguments: conv2d(*arguments)[0], "must return 2 results: y, saved. Got one ndarray of shape"),
    "negative": (changed(conv2d, lambda result, *_: (-result[0], None)), "y looks as if its sign were wrong."),
    "float32": (
        changed(conv2d, lambda result, *_: (result[0].astype(np.float32), None)),
        "y must have the dtype of the input, float64. Got float32, which loses digits.",
    ),
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("seed", range(2))
def test_conv2d_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = FORWARD[name]
    feedback = check("conv2d", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint


def scattered(dy: Any, saved: Any, add: bool, cut: bool) -> Any:
    """Return dx as conv2d_backward's loops compute it, with = in place of += or with the padding left on."""
    _, shape, w, _, stride, padding, dilation = saved
    (N, C, H, W), (O, _, kh, kw) = shape, w.shape
    dx = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    for n, i, j in np.ndindex(N, *dy.shape[2:]):
        window = sum(dy[n, o, i, j] * w[o] for o in range(O))
        for u, v in np.ndindex(kh, kw):
            pixel = n, slice(None), i * stride + u * dilation, j * stride + v * dilation
            dx[pixel] = add * dx[pixel] + window[:, u, v]
    return dx[:, :, padding : padding + H, padding : padding + W] if cut else dx


def last_image_only(result, dy, saved):  # type: ignore[no-untyped-def]
    patches, shape, *_ = saved
    per_image = patches.reshape(shape[0], -1, patches.shape[1])
    dw = dy[-1].reshape(dy.shape[1], -1) @ per_image[-1]
    return result[0], dw.reshape(result[1].shape), result[2]


def with_kernel(dy, saved, kernel):  # type: ignore[no-untyped-def]
    return conv2d_backward(dy, (*saved[:2], kernel, *saved[3:]))


BACKWARD: dict[str, tuple[Callable[..., Any], str]] = {
    "flipped": (
        lambda dy, saved: (with_kernel(dy, saved, saved[2][:, :, ::-1, ::-1])[0], *conv2d_backward(dy, saved)[1:]),
        "dx looks as if the kernel were flipped.",
    ),
    "overwritten": (
        lambda dy, saved: (scattered(dy, saved, add=False, cut=True), *conv2d_backward(dy, saved)[1:]),
        "dx looks as if overlapping windows were not added: = where it should be +=.",
    ),
    "padding left on": (
        lambda dy, saved: (scattered(dy, saved, add=True, cut=False), *conv2d_backward(dy, saved)[1:]),
        "dx looks as if the padding were not cut off.\nWrong in 3 of 10 cases, the simplest with padding 1",
    ),
    "divided": (
        changed(conv2d_backward, lambda r, dy, saved: (r[0], r[1] / len(dy), r[2])),
        "dw looks as if it were divided by the number of images.\nWrong in 9 of 10 cases, the simplest with several im",
    ),
    "last image": (
        changed(conv2d_backward, last_image_only),
        "dw looks as if the sum over the images were missing: only the last one counts.",
    ),
    "bias of each image": (
        changed(conv2d_backward, lambda r, dy, saved: (r[0], r[1], dy.sum(axis=(2, 3)))),
        "db must be None here. Got ndarray.",
    ),
    "bias not summed": (
        changed(conv2d_backward, lambda r, dy, saved: (r[0], r[1], dy.sum(axis=(2, 3)) if saved[3] else None)),
        "db looks as if it were not summed over the images.",
    ),
    "bias missing": (changed(conv2d_backward, lambda r, *_: (r[0], r[1], None)), "db must be an array. Got None."),
    "dw turned": (
        changed(conv2d_backward, lambda r, *_: (r[0], r[1][:, :, ::-1, ::-1], r[2])),
        "dw looks as if the kernel were flipped.",
    ),
    "dw exchanged": (
        changed(conv2d_backward, lambda r, *_: (r[0], r[1].swapaxes(0, 1), r[2])),
        "dw looks as if input and output channels were exchanged.",
    ),
    "all zeros": (
        changed(conv2d_backward, lambda r, *_: (r[0], np.zeros_like(r[1]), r[2])),
        "dw looks as if it were never filled: all values are 0.",
    ),
}


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("seed", range(2))
def test_conv2d_backward_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = BACKWARD[name]
    feedback = check("conv2d_backward", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint
