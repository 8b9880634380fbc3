"""Exercises: the patches of a convolution, and their way back into the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.course.functions import Case, FunctionExercise, Mistake
from glassnet.course.windows import SCATTERING, window_cases
from glassnet.nn.functional import col2im, im2col, output_size

Array = NDArray[Any]


def _patch_cases(rng: np.random.Generator) -> Iterator[Case]:
    for label, x, window in window_cases(rng):
        yield Case(label, {"x": x, **window})


def _col2im_cases(rng: np.random.Generator) -> Iterator[Case]:
    for label, x, window in window_cases(rng):
        yield Case(label, {"patches": rng.standard_normal(im2col(x, **window).shape), "shape": x.shape, **window})


def _as_patches(x: Array, order: tuple[int, ...], *window: Any) -> Array:
    """Return the patches with the axes (N, Ho, Wo, C, kh, kw) of their values in another order."""
    kernel_size, stride, padding, dilation = window
    grid = output_size(x.shape[2:], kernel_size, stride, padding, dilation)
    patches = im2col(x, *window)
    values = patches.reshape(len(x), *grid, x.shape[1], *kernel_size).transpose(order)
    return values.reshape(patches.shape)


IM2COL = FunctionExercise(
    name="im2col",
    chapter=3,
    task="Copy the pixels of every window into one row of a matrix.",
    stub='''\
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    """Return the patches of x: (N, C, H, W) -> (N·Ho·Wo, C·kh·kw).

    A row has the pixels of one window, in the order channels, rows, columns. The
    rows are in the order images, rows, columns of windows. kernel_size is (kh, kw);
    stride, padding and dilation are ints. The padding is of zeros.
    """
    ...
    return patches
''',
    reference=im2col,
    returns="patches",
    cases=_patch_cases,
    mistakes=(
        Mistake("the padding were missing", lambda x, k, stride, padding, d: im2col(x, k, stride, 0, d)),
        Mistake("the stride were ignored", lambda x, k, stride, padding, d: im2col(x, k, 1, padding, d)),
        Mistake("the dilation were ignored", lambda x, k, stride, padding, d: im2col(x, k, stride, padding, 1)),
        Mistake(
            "the padding repeated the border, where it should be zeros",
            lambda x, k, stride, p, d: im2col(np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), "edge"), k, stride, 0, d),
        ),
        Mistake("the channels were last within a row", lambda x, *window: _as_patches(x, (0, 1, 2, 4, 5, 3), *window)),
        Mistake(
            "rows and columns of the kernel were exchanged within a row",
            lambda x, *window: _as_patches(x, (0, 1, 2, 3, 5, 4), *window),
        ),
        Mistake("the images were last in the order of rows", lambda x, *w: _as_patches(x, (1, 2, 0, 3, 4, 5), *w)),
        Mistake(
            "the windows went down the columns, not along the rows",
            lambda x, *window: _as_patches(x, (0, 2, 1, 3, 4, 5), *window),
        ),
        Mistake("rows and columns of the matrix were exchanged", lambda *arguments: im2col(*arguments).T),
    ),
)


def _windows_of_patches(patches: Array, shape: Any, kernel_size: Any, *window: Any) -> Array:
    """Return patches as windows: (N·Ho·Wo, C·kh·kw) -> (N, C, kh, kw, Ho, Wo)."""
    grid = output_size(shape[2:], kernel_size, *window)
    return patches.reshape(shape[0], *grid, shape[1], *kernel_size).transpose(0, 3, 4, 5, 1, 2)


def _col2im_into(add: Any) -> Any:
    """Return col2im with another way to put windows (N, C, kh, kw, Ho, Wo) into the image."""
    return lambda patches, shape, kernel_size, *window: add(
        _windows_of_patches(patches, shape, kernel_size, *window), shape, *window
    )


COL2IM = FunctionExercise(
    name="col2im",
    chapter=3,
    task="Add each row of patches back to its window: the backward pass of im2col.",
    stub='''\
def col2im(patches, shape, kernel_size, stride=1, padding=0, dilation=1):
    """Add each row to its window: (N·Ho·Wo, C·kh·kw) -> shape (N, C, H, W).

    Rows and columns are in the order that im2col gives them. A pixel gets the sum
    over all windows that contain it; what falls on the padding is dropped.
    kernel_size is (kh, kw); stride, padding and dilation are ints.
    """
    ...
    return x
''',
    reference=col2im,
    returns="x",
    cases=_col2im_cases,
    mistakes=(
        *(Mistake(hint, _col2im_into(add)) for hint, add in SCATTERING),
        Mistake(
            "rows and columns of the kernel were exchanged within a row",
            lambda patches, shape, k, *window: col2im(
                patches.reshape(-1, shape[1], *k[::-1]).swapaxes(2, 3).reshape(patches.shape), shape, k, *window
            ),
        ),
        Mistake(
            "the channels were read as last within a row",
            lambda patches, shape, k, *window: col2im(
                patches.reshape(-1, *k, shape[1]).transpose(0, 3, 1, 2).reshape(patches.shape), shape, k, *window
            ),
        ),
    ),
)

EXERCISES = (IM2COL, COL2IM)
