"""Exercises: the convolution and its gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.course.functions import Case, FunctionExercise, Mistake
from glassnet.course.windows import SCATTERING, window_cases
from glassnet.nn.functional import conv2d, conv2d_backward, output_size

Array = NDArray[Any]


def _convolution_cases(rng: np.random.Generator) -> Iterator[Case]:
    for number, (label, x, window) in enumerate(window_cases(rng)):
        channels = x.shape[1] if label == "as many channels out as in" else int(rng.integers(3, 5))
        w = rng.standard_normal((channels, x.shape[1], *window.pop("kernel_size")))
        b = rng.standard_normal(channels) if number else None
        yield Case(label if number else f"{label}, no bias", {"x": x, "w": w, "b": b, **window})


def _of_image(index: int) -> Any:
    """Return conv2d whose y is 0 but for one image."""

    def forward(*arguments: Any) -> Any:
        y, saved = conv2d(*arguments)
        one = np.zeros_like(y)
        one[index] = y[index]
        return one, saved

    return forward


def _padded_by(sides: Any) -> Any:
    """Return conv2d with other (before, after) paddings of each axis."""
    return lambda x, w, b, stride, padding, dilation: conv2d(x, w, b, stride, (sides(padding),) * 2, dilation)


def _short_steps(x: Array, w: Array, b: Any, stride: int, padding: int, dilation: int) -> Any:
    Ho, Wo = output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y, saved = conv2d(x, w, b, 1, padding, dilation)
    return y[:, :, :Ho, :Wo], saved


def _bias_times(factor: Any) -> Any:
    return lambda x, w, b, *window: conv2d(x, w, None if b is None else b * factor(w), *window)


CONV2D = FunctionExercise(
    name="conv2d",
    chapter=2,
    task="Slide kernels over images: the forward pass of a convolution.",
    stub='''\
def conv2d(x, w, b=None, stride=1, padding=0, dilation=1):
    """Return y (N, O, Ho, Wo) and saved.

    x (N, C, H, W), kernels w (O, C, kh, kw), bias b (O,) or None; stride, padding
    and dilation are ints. saved is what your backward function needs; it may be
    None here.

        y[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] · x̃[n, c, s·i + d·u, s·j + d·v]

    x̃ is x with padding rows and columns of zeros at each side.
    """
    ...
    return y, saved
''',
    reference=conv2d,
    returns=("y", "_saved"),
    cases=_convolution_cases,
    mistakes=(
        Mistake("the kernel were flipped", lambda x, w, *rest: conv2d(x, w[:, :, ::-1, ::-1], *rest)),
        Mistake(
            "rows and columns of the kernel were exchanged", lambda x, w, *rest: conv2d(x, w.swapaxes(2, 3), *rest)
        ),
        Mistake("the bias were missing", _bias_times(lambda w: 0)),
        Mistake("the bias were added once for each channel of x", _bias_times(lambda w: w.shape[1])),
        Mistake("the bias were added once for each weight of the kernel", _bias_times(lambda w: w[0].size)),
        Mistake("only the first channel of x were read", lambda x, w, *rest: conv2d(x[:, :1], w[:, :1], *rest)),
        Mistake("only the last channel of x were read", lambda x, w, *rest: conv2d(x[:, -1:], w[:, -1:], *rest)),
        Mistake("the channels were averaged, not summed", lambda x, w, *rest: conv2d(x, w / w.shape[1], *rest)),
        Mistake("the padding were missing", lambda x, w, b, s, p, d: conv2d(x, w, b, s, 0, d)),
        Mistake("only the top and the left were padded", _padded_by(lambda p: (p, 0))),
        Mistake("only the bottom and the right were padded", _padded_by(lambda p: (0, p))),
        Mistake("the image were at the top left of the padding, not in its middle", _padded_by(lambda p: (0, 2 * p))),
        Mistake("the padding were doubled", _padded_by(lambda p: (2 * p, 2 * p))),
        Mistake(
            "the padding repeated the border, where it should be zeros",
            lambda x, w, b, s, p, d: conv2d(np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), "edge"), w, b, s, 0, d),
        ),
        Mistake("the stride were ignored", lambda x, w, b, s, p, d: conv2d(x, w, b, 1, p, d)),
        Mistake("the windows moved by one pixel, not by the stride", _short_steps),
        Mistake("the dilation were ignored", lambda x, w, b, s, p, d: conv2d(x, w, b, s, p, 1)),
        Mistake("only the first image were computed", _of_image(0)),
        Mistake("only the last image were computed", _of_image(-1)),
        Mistake("only rows were padded, not columns", lambda x, w, b, s, p, d: conv2d(x, w, b, s, (p, 0), d)),
        Mistake("only rows had the stride, not columns", lambda x, w, b, s, p, d: conv2d(x, w, b, (s, 1), p, d)),
        Mistake("the channels of y were last", lambda *arguments: (conv2d(*arguments)[0].transpose(0, 2, 3, 1), None)),
        Mistake(
            "there were one window too few in each axis",
            lambda *arguments: (conv2d(*arguments)[0][:, :, :-1, :-1], None),
        ),
    ),
)


# The gradients of the convolution


def _with(saved: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    names = ("patches", "shape", "w", "has_bias", "stride", "padding", "dilation")
    return tuple(changes.get(name, value) for name, value in zip(names, saved, strict=True))


def _wrong_dx(add: Any) -> Any:
    """Return conv2d_backward with another way to put the windows of dx into the image."""

    def backward(dy: Array, saved: tuple[Any, ...]) -> Any:
        _, shape, w, _, *window = saved
        _, dw, db = conv2d_backward(dy, saved)
        return add(np.einsum("noij,ocuv->ncuvij", dy, w), shape, *window), dw, db

    return backward


def _wrong_dw(change: Any) -> Any:
    def backward(dy: Array, saved: tuple[Any, ...]) -> Any:
        dx, dw, db = conv2d_backward(dy, saved)
        return dx, change(dw), db

    return backward


def _wrong_db(change: Any) -> Any:
    def backward(dy: Array, saved: tuple[Any, ...]) -> Any:
        dx, dw, db = conv2d_backward(dy, saved)
        return dx, dw, None if db is None else change(dy)

    return backward


def _exchanged_channels(dy: Array, saved: tuple[Any, ...]) -> Any:
    w = saved[2]
    return conv2d_backward(dy, _with(saved, w=w.swapaxes(0, 1)) if w.shape[0] == w.shape[1] else saved)


def _unmoved_rows(dy: Array, saved: tuple[Any, ...]) -> Any:
    N, O, Ho, Wo = dy.shape
    return conv2d_backward(dy.reshape(N, Ho, Wo, O).transpose(0, 3, 1, 2), saved)


def _only(index: Any) -> Any:
    """Return conv2d_backward of a dy that is 0 but at one index."""

    def backward(dy: Array, saved: tuple[Any, ...]) -> Any:
        part = np.zeros_like(dy)
        part[index] = dy[index]
        return conv2d_backward(part, saved)

    return backward


CONV2D_BACKWARD = FunctionExercise(
    name="conv2d_backward",
    chapter=3,
    task="Compute the gradients of a convolution's input, kernels and bias.",
    stub='''\
def conv2d_backward(dy, saved):
    """Return dx (N, C, H, W), dw (O, C, kh, kw) and db (O,).

    dy is (N, O, Ho, Wo). Without a bias, db is None. saved is what
    glassnet.nn.functional.conv2d returns; the patches are im2col's,
    (N·Ho·Wo, C·kh·kw), and shape is x's, (N, C, H, W).
    """
    patches, shape, w, has_bias, stride, padding, dilation = saved
    ...
    return dx, dw, db
''',
    reference=conv2d_backward,
    returns=("dx", "dw", "db"),
    cases=_convolution_cases,
    forward=conv2d,
    mistakes=(
        Mistake(
            "the kernel were flipped",
            lambda dy, saved: conv2d_backward(dy, _with(saved, w=saved[2][:, :, ::-1, ::-1])),
        ),
        *(Mistake(hint, _wrong_dx(add)) for hint, add in SCATTERING),
        Mistake("input and output channels of the kernel were exchanged", _exchanged_channels),
        Mistake("the kernel were flipped", _wrong_dw(lambda dw: dw[:, :, ::-1, ::-1])),
        Mistake("rows and columns of the kernel were exchanged", _wrong_dw(lambda dw: dw.swapaxes(2, 3))),
        Mistake("input and output channels were exchanged", _wrong_dw(lambda dw: dw.swapaxes(0, 1))),
        Mistake("it were not summed over the images", _wrong_db(lambda dy: dy.sum(axis=(2, 3)))),
        Mistake("it were not summed over the pixels", _wrong_db(lambda dy: dy.sum(axis=0))),
        Mistake("it were averaged over the pixels, not summed", _wrong_db(lambda dy: dy.sum(axis=0).mean(axis=(1, 2)))),
        Mistake("dy were reshaped to rows before its channels were moved to the end", _unmoved_rows),
        Mistake("it were divided by the number of images", lambda dy, saved: conv2d_backward(dy / len(dy), saved)),
        Mistake(
            "it were divided by the number of windows in the batch",
            lambda dy, saved: conv2d_backward(dy / len(saved[0]), saved),
        ),
        Mistake("the sum over the images were missing: only the last one counts", _only(-1)),
        Mistake("the sum over the images were missing: only the first one counts", _only(0)),
        Mistake("the sum over the output channels were missing: only the last one counts", _only(np.s_[:, -1])),
        Mistake("the sum over the output channels were missing: only the first one counts", _only(np.s_[:, 0])),
    ),
)

EXERCISES = (CONV2D, CONV2D_BACKWARD)
