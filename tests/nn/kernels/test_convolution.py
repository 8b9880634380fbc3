"""What is particular to the fast convolution; tests/nn/test_kernels.py holds it to ``functional.conv2d``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.nn import functional
from glassnet.nn.kernels import Kernels, convolution, layout, parallel
from tests.nn.oracle import Array, compare, examples


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, int]]:
    """The shapes of images and of a kernel, and options with which at least one window fits."""
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    options = {
        "stride": draw(st.integers(1, 3)),
        "padding": draw(st.integers(0, 3)),
        "dilation": draw(st.integers(1, 2)),
    }
    smallest = (max(1, options["dilation"] * (k - 1) + 1 - 2 * options["padding"]) for k in kernel)
    size = (length + draw(st.integers(0, 9)) for length in smallest)
    N, C, O = draw(st.integers(0, 5)), draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 8, 20, 40]))
    return (N, C, *size), (O, C, *kernel), options


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def compare_with_functional(kernels: Kernels, x: Array, w: Array, b: Array | None, **options: int) -> None:
    y, saved = kernels.conv2d(x, w, b, **options)
    expected, expected_saved = functional.conv2d(x, w, b, **options)
    compare("y", y, expected)
    dy = normal(*y.shape, seed=9).astype(x.dtype)
    params = kernels.conv2d_backward_params(dy, saved)
    gradients = kernels.conv2d_backward(dy, saved)
    expected_gradients = functional.conv2d_backward(dy, expected_saved)
    for name, ours, theirs in zip(("dx", "dw", "db"), gradients, expected_gradients, strict=True):
        if ours is not None:
            compare(name, ours, theirs)
    compare("dw alone", params[0], expected_gradients[1])
    assert (gradients[2] is None) == (params[1] is None) == (b is None)


@examples
@given(cases(), st.sampled_from([1, 700, 5000, 1 << 21]), st.sampled_from([1, 2]), st.booleans())
def test_conv2d_is_functionals_in_blocks_and_threads(
    case: tuple[tuple[int, ...], tuple[int, ...], dict[str, int]], block_bytes: int, threads: int, bias: bool
) -> None:
    images, kernel, options = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "BLOCK_BYTES", block_bytes)
        b = normal(kernel[0], seed=2) if bias else None
        compare_with_functional(Kernels(threads), normal(*images), normal(*kernel, seed=1), b, **options)


@pytest.mark.parametrize(("channels", "outputs"), [(1, 8), (16, 16), (32, 32), (64, 64)])
@pytest.mark.parametrize("small_product", [0, 20_000, convolution.SMALL_PRODUCT])
def test_conv2d_is_functionals_with_small_products_of_any_size(
    channels: int, outputs: int, small_product: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "SMALL_PRODUCT", small_product)
    x, w = normal(5, channels, 9, 12), normal(outputs, channels, 3, 3, seed=1)  # the rows of a product leave a rest
    compare_with_functional(Kernels(), x, w, None, padding=1)


@pytest.mark.parametrize("stride", [1, 2])
def test_conv2d_gives_the_same_bits_with_any_number_of_threads(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 4000)
    x, w, b = (array.astype(np.float32) for array in (normal(17, 4, 8, 8), normal(6, 4, 3, 3), normal(6)))
    for _ in range(5):
        runs = []
        for threads in (1, 2, 3):
            kernels = Kernels(threads)
            y, saved = kernels.conv2d(x, w, b, stride, 1)
            dy = normal(*y.shape, seed=3).astype(np.float32)
            runs.append((y, *kernels.conv2d_backward(dy, saved), *kernels.conv2d_backward_params(dy, saved)))
        for first, second, third in zip(*runs, strict=True):
            np.testing.assert_array_equal(first, second)
            np.testing.assert_array_equal(first, third)


def test_conv2d_takes_a_larger_batch_after_a_small_one_and_back() -> None:
    """The workspace grows, and its views are made anew."""
    kernels = Kernels()
    for count in (2, 5, 1, 5, 9, 2):
        for kernel, padding in ((3, 1), (5, 2)):
            x, w = normal(count, 3, 6, 8, seed=count), normal(4, 3, kernel, kernel)
            compare_with_functional(kernels, x, w, normal(4), padding=padding)


@pytest.mark.parametrize("padding", [0, 1])
def test_one_workspace_serves_both_dtypes(padding: int) -> None:
    kernels = Kernels()
    x, w, b = normal(4, 3, 6, 8), normal(4, 3, 3, 3), normal(4)
    for dtype, count in ((np.float32, 4), (np.float32, 4), (np.float64, 1), (np.float32, 4), (np.float64, 4)):
        compare_with_functional(kernels, x[:count].astype(dtype), w.astype(dtype), b.astype(dtype), padding=padding)


def test_layers_of_one_workspace_do_not_mix_their_kernels() -> None:
    """A 1x1 kernel of 4 channels and one of 3 with a bias have matrices of one shape."""
    kernels = Kernels()
    for _ in range(2):
        for channels, has_bias in ((4, False), (3, True), (4, False)):
            x, w = normal(2, channels, 5, 8), normal(40, channels, 1, 1)  # 40 outputs: a wide window is one window
            compare_with_functional(kernels, x, w, normal(40) if has_bias else None)


def test_a_kernel_has_one_matrix_for_images_of_many_sizes() -> None:
    kernels = Kernels()
    for size in range(20, 3, -1):
        kernels.conv2d(normal(2, 3, size, 19), normal(4, 3, 3, 3))
    assert len(kernels.workspaces[0]._views) == 1


def test_conv2d_takes_any_memory_order() -> None:
    kernels, w, b = Kernels(), normal(4, 3, 3, 3), normal(4)
    x = layout.channels_last(normal(2, 3, 6, 8))
    y, _ = kernels.conv2d(x, w, b)
    for other in (np.ascontiguousarray(x), np.repeat(x, 2, axis=3)[..., ::2], np.asfortranarray(x)):
        np.testing.assert_array_equal(kernels.conv2d(other, layout.channels_last(w), b)[0], y)
