"""What is fast against what is defined: the same numbers from both, whatever the window, the band and the blocks."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.nn import convolution, fast_convolution, parallel
from glassnet.nn.fast_convolution import Band
from glassnet.nn.parallel import Workers
from glassnet.nn.scratch import Scratch
from glassnet.nn.window import Window
from tests.nn.oracle import Array, compare, examples


def window(kernel: tuple[int, int], stride: int = 1, padding: int = 0, dilation: int = 1) -> Window:
    border = (padding, padding)
    return Window("Conv2d", kernel, (stride, stride), (border, border), (dilation, dilation))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Window, tuple[int, int, int, int], int]:
    """A window, the shape (N, H, W, C) of pictures that it fits, and a number of outputs."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride, dilation, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 3))
    height, width = (max(1, dilation * (length - 1) + 1 - 2 * padding) + draw(st.integers(0, 9)) for length in kernel)
    shape = (draw(st.integers(0, 5)), height, width, draw(st.integers(1, 5)))
    return window(kernel, stride, padding, dilation), shape, draw(st.sampled_from([1, 3, 8, 20, 40]))


def drawn(case: tuple[Window, tuple[int, int, int, int], int], seed: int = 0) -> tuple[Array, Array, Array, Array]:
    """x, weight, bias and dy."""
    laid, shape, outputs = case
    rng = np.random.default_rng(seed)
    dy = (shape[0], *laid.output_size(shape[1:3]), outputs)
    return tuple(rng.standard_normal(s) for s in (shape, (outputs, *laid.kernel_size, shape[3]), (outputs,), dy))  # type: ignore[return-value]


@examples
@given(cases(), st.sampled_from([1, 700, 5000, 1 << 21]), st.sampled_from([1, 2]))
def test_it_is_the_definition(
    case: tuple[Window, tuple[int, int, int, int], int], block_bytes: int, threads: int
) -> None:
    laid, (x, weight, bias, dy), workers = case[0], drawn(case), Workers(threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "BLOCK_BYTES", block_bytes)
        y = fast_convolution.correlate(x, weight, bias, laid, workers)
        plain = fast_convolution.correlate(x, weight, None, laid, workers)
        dx, dweight = fast_convolution.gradients(x, dy, weight, laid, workers)
        alone = fast_convolution.kernel_gradient(x, dy, laid, workers)
    compare("output", y, convolution.correlate(x, weight, bias, laid))
    compare("output without bias", plain, convolution.correlate(x, weight, None, laid))
    expected_dx, expected_dweight = convolution.gradients(x, dy, weight, laid)
    compare("gradient of x", dx, expected_dx)
    compare("gradient of the kernel", dweight, expected_dweight)
    compare("gradient of the kernel, alone", alone, expected_dweight)


@pytest.mark.parametrize(("channels", "outputs", "width"), [(1, 8, 4), (16, 16, 2), (32, 32, 1), (64, 64, 1)])
@pytest.mark.parametrize("small_product", [0, 20_000, fast_convolution.SMALL_PRODUCT])
def test_bands_and_small_products_change_nothing(
    channels: int, outputs: int, width: int, small_product: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_convolution, "SMALL_PRODUCT", small_product)
    laid = window((3, 3), padding=1)
    assert Band(laid, (9, 12), channels, outputs).width == width
    case = (laid, (5, 9, 12, channels), outputs)  # a product's rows leave a rest
    x, weight, _, dy = drawn(case)
    compare(
        "output",
        fast_convolution.correlate(x, weight, None, laid, Workers()),
        convolution.correlate(x, weight, None, laid),
    )
    for ours, expected in zip(
        fast_convolution.gradients(x, dy, weight, laid, Workers()),
        convolution.gradients(x, dy, weight, laid),
        strict=True,
    ):
        compare("gradient", ours, expected)


@examples
@given(cases())
def test_the_two_ways_between_kernel_and_matrix_are_transposes(
    case: tuple[Window, tuple[int, int, int, int], int],
) -> None:
    laid, shape, outputs = case
    band = Band(laid, shape[1:3], shape[3], outputs)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((outputs, *laid.kernel_size, shape[3]))
    matrix = band.matrix(weight, None, Scratch())
    assert matrix.shape == (band.columns, band.width * outputs)
    assert np.count_nonzero(matrix) == band.width * weight.size
    sums = rng.standard_normal(matrix.shape)
    assert np.vdot(matrix, sums) == pytest.approx(np.vdot(weight, band.kernel(sums)), rel=1e-9, abs=1e-9)

    bias = rng.standard_normal(outputs)
    with_bias = Band(laid, shape[1:3], shape[3], outputs, has_ones=True).matrix(weight, bias, Scratch())
    np.testing.assert_array_equal(with_bias, np.vstack([matrix, np.tile(bias, band.width)]))


@pytest.mark.parametrize("stride", [1, 2])
def test_the_bits_do_not_depend_on_the_number_of_threads(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 4000)
    case = (window((3, 3), stride, 1), (17, 8, 8, 4), 6)
    x, weight, bias, dy = (array.astype(np.float32) for array in drawn(case))
    for _ in range(5):
        runs = [
            (
                fast_convolution.correlate(x, weight, bias, case[0], workers),
                *fast_convolution.gradients(x, dy, weight, case[0], workers),
                fast_convolution.kernel_gradient(x, dy, case[0], workers),
            )
            for workers in (Workers(1), Workers(2), Workers(3))
        ]
        for first, second, third in zip(*runs, strict=True):
            np.testing.assert_array_equal(first, second)
            np.testing.assert_array_equal(first, third)


def test_a_larger_batch_after_a_small_one_and_back() -> None:
    """The scratch is made anew and its views with it."""
    workers, laid = Workers(), window((3, 3), padding=1)
    for count in (2, 5, 1, 5, 9, 2):
        x, weight, bias, _ = drawn((laid, (count, 6, 8, 3), 4), seed=count)
        y = fast_convolution.correlate(x, weight, bias, laid, workers)
        compare("output", y, convolution.correlate(x, weight, bias, laid))
        other = window((5, 5), padding=2)
        x, weight, bias, _ = drawn((other, (count, 6, 8, 3), 4), seed=count)
        y = fast_convolution.correlate(x, weight, bias, other, workers)
        compare("output", y, convolution.correlate(x, weight, bias, other))


@pytest.mark.parametrize("padding", [0, 1])
def test_one_scratch_serves_both_dtypes(padding: int) -> None:
    workers, laid = Workers(), window((3, 3), padding=padding)
    x, weight, bias, _ = drawn((laid, (4, 6, 8, 3), 4))
    for dtype, count in ((np.float32, 4), (np.float32, 4), (np.float64, 1), (np.float32, 4), (np.float64, 4)):
        own = x[:count].astype(dtype), weight.astype(dtype), bias.astype(dtype)
        compare("output", fast_convolution.correlate(*own, laid, workers), convolution.correlate(*own, laid))


def test_layers_of_one_scratch_do_not_mix_their_kernels() -> None:
    """A 1x1 kernel of 4 channels and one of 3 with a bias have matrices of one shape."""
    workers, laid = Workers(), window((1, 1))
    for _ in range(2):
        for channels, has_bias in ((4, False), (3, True), (4, False)):
            x, weight, bias, _ = drawn((laid, (2, 5, 8, channels), 40))  # so many that a band is one window
            own = bias if has_bias else None
            y = fast_convolution.correlate(x, weight, own, laid, workers)
            compare("output", y, convolution.correlate(x, weight, own, laid))


def test_kernels_are_kept_once_for_pictures_of_many_sizes() -> None:
    workers, laid = Workers(), window((3, 3))
    for size in range(20, 3, -1):
        x, weight, bias, _ = drawn((laid, (2, size, 19, 3), 4))
        fast_convolution.correlate(x, weight, bias, laid, workers)
    assert len(workers.scratches[0]._views) == 1


def test_the_definition_takes_any_memory_order() -> None:
    laid = window((3, 3), padding=0)
    x, weight, bias, dy = drawn((laid, (2, 6, 8, 3), 4))
    gaps = np.repeat(x, 2, axis=2)[:, :, ::2]
    np.testing.assert_array_equal(
        convolution.correlate(gaps, weight, bias, laid), convolution.correlate(x, weight, bias, laid)
    )
    for ours, expected in zip(
        convolution.gradients(gaps, dy, weight, laid), convolution.gradients(x, dy, weight, laid), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


def test_a_band_has_as_many_windows_as_fit() -> None:
    for outputs, line, width in [(1, 8, 4), (8, 8, 4), (9, 8, 2), (16, 6, 2), (16, 7, 1), (17, 8, 1), (8, 6, 2)]:
        band = Band(window((3, 3), padding=1), (4, line), 5, outputs)
        assert band.width == width
        assert band.run == 2 + width
        assert band.columns == 3 * (2 + width) * 5
        assert band.picture_columns == prod((4, line)) // width * band.columns
