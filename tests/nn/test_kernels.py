"""Every kernel against its function in ``functional``, forward and backward, over options, sizes and threads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from glassnet.nn import functional, kernels
from glassnet.nn.kernels import Kernels, layout, parallel
from tests.nn.oracle import Array, compare

# Images with N, C, H, W that leave tails in blocks, wide windows and small products, or have an axis of length 1.
SIZES = [(5, 3, 9, 12), (7, 1, 6, 5), (1, 4, 8, 8), (3, 16, 7, 1), (2, 5, 16, 8), (33, 8, 8, 8)]


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A function with options, the shapes of its arguments for images of a size, and the smallest (H, W)."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    shapes: Callable[[Shape], list[Shape]] = lambda size: [size]
    smallest: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        return ", ".join([self.name, *(f"{key} {value}" for key, value in self.options.items())])


def kernel_of(kernel_size: tuple[int, int], outputs: int = 6, bias: bool = True) -> Callable[[Shape], list[Shape]]:
    """The shapes of images, of a convolution's kernel and of its bias."""
    return lambda size: [size, (outputs, size[1], *kernel_size), *([(outputs,)] if bias else [])]


def channel_vectors(size: Shape) -> list[Shape]:
    return [size, size[1:2], size[1:2]]


def features(size: Shape) -> list[Shape]:
    """The shapes of x, w and b for a linear layer."""
    return [size[:2], (size[3], size[1]), size[3:]]


CASES = [
    Case("conv2d", {}, kernel_of((3, 3)), (3, 3)),
    Case("conv2d", {"padding": 1}, kernel_of((3, 3), 16, bias=False)),
    Case("conv2d", {"stride": 2, "padding": 1}, kernel_of((3, 3))),
    Case("conv2d", {"stride": 2}, kernel_of((1, 1), 8, bias=False)),
    Case("conv2d", {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)}, kernel_of((1, 4)), (1, 3)),
    Case("conv2d", {"padding": 2, "dilation": 2}, kernel_of((3, 3), 3)),
    Case("conv2d", {"padding": ((0, 1), (1, 2))}, kernel_of((2, 4), 5)),
    Case("conv2d", {"padding": 3, "stride": 2}, kernel_of((7, 7), 20)),
    Case("conv2d", {"padding": (3, 2)}, kernel_of((2, 2), 2)),  # beyond the kernel
    Case("batch_norm", {}, channel_vectors),
    Case("batch_norm", {"eps": 0.1}, channel_vectors),
    Case("relu"),
    Case("max_pool2d", {"kernel_size": 2}, smallest=(2, 2)),
    Case("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    Case("max_pool2d", {"kernel_size": (2, 3), "stride": 1, "padding": (1, 0), "dilation": (1, 2)}, smallest=(1, 5)),
    Case("avg_pool2d", {"kernel_size": 2}, smallest=(2, 2)),
    Case("avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    Case("avg_pool2d", {"kernel_size": (1, 3), "stride": (2, 1), "padding": (0, 1)}),
    Case("avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    Case("adaptive_avg_pool2d"),
    Case("zero_pad_shortcut", {"out_channels": 21, "stride": 2}),
    Case("zero_pad_shortcut", {"out_channels": 16}),
    Case("flatten"),
    Case("dropout", {}, lambda size: [size, size]),
    Case("linear", {}, features),
    Case("linear", {}, lambda size: features(size)[:2]),
]


def draw(shape: tuple[int, ...], dtype: Any, seed: int, tied: bool = False) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.integers(-2, 3, shape) if tied else rng.standard_normal(shape)).astype(dtype)


def arrays_of(result: Any) -> list[Array]:
    """The arrays of a result, in order; None, of a gradient that there is not, is left out."""
    if isinstance(result, tuple):
        return [array for part in result for array in arrays_of(part)]
    return [] if result is None else [result]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_kernel_is_its_function(
    case: Case, size: tuple[int, int, int, int], dtype: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if size[2] < case.smallest[0] or size[3] < case.smallest[1]:
        pytest.skip("no window fits on an image of this size")
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1000)  # many blocks, the last one smaller
    fast, plain = Kernels(threads), functional
    tied = case.name == "max_pool2d"
    arguments = [draw(shape, dtype, seed, tied) for seed, shape in enumerate(case.shapes(size))]
    exact = [array.astype(np.float64) for array in arguments]
    y, saved, *stats = getattr(fast, case.name)(*map(layout.channels_last, arguments), **case.options)
    expected, expected_saved, *expected_stats = getattr(plain, case.name)(*exact, **case.options)
    results, expected_results = [y, *arrays_of(tuple(stats))], [expected, *arrays_of(tuple(expected_stats))]
    backward = f"{case.name}_backward"
    dy = draw(y.shape, dtype, seed=99)
    results += arrays_of(getattr(fast, backward)(layout.channels_last(dy), saved))
    gradients = getattr(plain, backward)(dy.astype(np.float64), expected_saved)
    expected_results += arrays_of(gradients)[: len(results) - len(expected_results)]  # without db where there is no b
    for number, (ours, theirs) in enumerate(zip(results, expected_results, strict=True)):
        compare(f"result {number}", ours.astype(dtype), theirs.astype(dtype))
    assert {array.dtype for array in [results[0], *results[1 + len(stats) * 2 :]]} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("mean", [0, 3, 1e4])
def test_batch_norm_eval_is_its_function(mean: float, dtype: Any) -> None:
    x, gamma, beta, center = (draw(shape, dtype, seed) for seed, shape in enumerate([(5, 3, 9, 12), (3,), (3,), (3,)]))
    arguments = x + dtype(mean), gamma, beta, center + dtype(mean), np.abs(gamma) + dtype(0.5)
    expected = functional.batch_norm_eval(*(array.astype(np.float64) for array in arguments), 0.1)
    compare("y", Kernels(2).batch_norm_eval(*arguments, 0.1), expected.astype(dtype))


def test_max_pool2d_winner_is_its_function() -> None:
    x = draw((5, 3, 9, 12), np.float64, 0, tied=True)
    saved = [functions.max_pool2d(x, (3, 2), 2, 1)[1] for functions in (Kernels(), functional)]
    winner = Kernels().max_pool2d_winner(saved[0])
    np.testing.assert_array_equal(winner, functional.max_pool2d_winner(saved[1]))


@pytest.mark.parametrize("name", ["add", "identity", "dropout_mask"])
def test_functions_without_a_backward_pass(name: str) -> None:
    x, other = draw((5, 3, 9, 12), np.float32, 0), draw((5, 3, 9, 12), np.float32, 1)
    arguments = {"add": (x, other), "identity": (x,), "dropout_mask": (np.abs(x) / 9, 0.1, np.float32)}[name]
    compare(name, getattr(Kernels(2), name)(*arguments), getattr(functional, name)(*arguments))


@pytest.mark.parametrize("functions", [Kernels(), functional])
def test_relu_passes_nan(functions: Any) -> None:
    x = np.array([np.nan, -1, -0.0, 0, 2, np.inf, -np.inf])
    y, saved = functions.relu(x)
    np.testing.assert_array_equal(y, [np.nan, 0, 0, 0, 2, np.inf, 0])  # np.fmax would turn NaN into 0
    dy = np.arange(1.0, 8)
    np.testing.assert_array_equal(functions.relu_backward(dy, saved), [1, 0, 0, 0, 5, 6, 0])


def test_kernels_have_the_names_and_arguments_of_functional() -> None:
    """So that ``functional`` can stand in the place of a ``Kernels``."""
    methods = {name: value for name, value in vars(Kernels).items() if not name.startswith("_")}
    for name, method in methods.items():
        ours = list(inspect.signature(getattr(Kernels(), name)).parameters)
        assert ours == list(inspect.signature(getattr(functional, name)).parameters), name
        assert method is not None
    layers_use = {name for name in vars(functional) if name.endswith("_backward")}
    assert layers_use <= set(methods)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 3000)
    x, gamma, beta = draw((17, 4, 8, 8), np.float32, 0), draw((4,), np.float32, 1), draw((4,), np.float32, 2)
    results = []
    for threads in (1, 2, 5):
        fast = Kernels(threads)
        y, saved, stats = fast.batch_norm(x, gamma, beta)
        results.append([y, *stats, *fast.batch_norm_backward(y + x, saved), fast.adaptive_avg_pool2d(x)[0]])
    for first, *others in zip(*results, strict=True):
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_every_kernel_is_tested() -> None:
    tested = {case.name for case in CASES} | {f"{case.name}_backward" for case in CASES}
    tested |= {"batch_norm_eval", "max_pool2d_winner", "add", "identity", "dropout_mask"}
    tested |= {"conv2d_backward_params"}  # tests/nn/kernels/test_convolution.py
    own = {name for name, value in vars(Kernels).items() if inspect.isfunction(value)}
    assert own - tested == set()
    assert kernels.Kernels is Kernels
