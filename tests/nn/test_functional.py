"""``functional`` against torch, every gradient included, and against numerical differentiation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassnet.nn import functional
from glassnet.nn.kernels import Kernels
from glassnet.verify.naive_convolution import convolution as by_definition
from tests.nn.oracle import FLOATS, Array, compare, examples, images, tensor

TF = torch.nn.functional


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def compare_with_torch(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    oracle: Callable[..., torch.Tensor],
    *arguments: Array,
) -> None:
    """Compare y and, for a random dy, the gradient with respect to every argument."""
    before = [array.copy() for array in arguments]
    tensors = [tensor(array).requires_grad_() for array in arguments]
    y, saved = forward(*arguments)[:2]
    expected = oracle(*tensors)
    compare("y", y, expected)
    dy = normal(*y.shape, seed=99).astype(y.dtype)  # never all ones: BatchNorm would give 0
    gradients = backward(dy.copy(), saved)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    gradients = tuple(gradient for gradient in gradients if gradient is not None)  # db without a bias
    for number, (gradient, theirs) in enumerate(
        zip(gradients, torch.autograd.grad(expected, tensors, tensor(dy)), strict=True)
    ):
        compare(f"gradient of argument {number}", gradient, theirs)
    for array, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(array, copy)


# Windows.


@examples
@given(images(smallest=(3, 3)), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2))
def test_im2col_and_col2im_are_torchs(x: Array, stride: int, dilation: int, padding: int) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    patches = functional.im2col(x, 2, **options)
    theirs = TF.unfold(tensor(x), 2, **options)  # (N, C·kh·kw, Ho·Wo)
    compare("patches", patches, theirs.transpose(1, 2).reshape(-1, theirs.shape[1]))
    back = functional.col2im(patches, x.shape, 2, **options)
    compare("images", back, TF.fold(theirs, x.shape[2:], 2, **options))


def test_output_size_counts_the_windows_that_fit() -> None:
    assert functional.output_size((5, 8), (3, 2), (2, 3), ((0, 1), 1), (1, 2)) == (2, 3)


# Layers.


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@examples
@given(
    images(smallest=(5, 5), integers=False),
    st.integers(1, 3),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.tuples(st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.booleans(),
)
def test_conv2d_is_torchs(
    x: Array, outputs: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, bias: bool
) -> None:
    w = normal(outputs, x.shape[1], *kernel_size, seed=1).astype(x.dtype)
    b = [normal(outputs, seed=2).astype(x.dtype)] if bias else []
    compare_with_torch(
        lambda x, w, b=None: functional.conv2d(x, w, b, stride, padding, dilation),
        functional.conv2d_backward,
        lambda x, w, b=None: TF.conv2d(x, w, b, stride, padding, dilation),
        *(x, w, *b),
    )


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (1, 0, 1), (2, 2, 2), (1, 2, 2)])
def test_conv2d_is_its_definition(stride: int, padding: int, dilation: int) -> None:
    x, w, b = normal(2, 2, 6, 5), normal(3, 2, 3, 2), normal(3)
    y, _ = functional.conv2d(x, w, b, stride, padding, dilation)
    compare("y", y, by_definition(x, w, b, stride, padding, dilation))


def test_conv2d_backward_params_is_a_part_of_conv2d_backward() -> None:
    y, saved = functional.conv2d(normal(2, 3, 5, 6), normal(4, 3, 3, 3), normal(4))
    dy = normal(*y.shape)
    for ours, theirs in zip(
        functional.conv2d_backward_params(dy, saved), functional.conv2d_backward(dy, saved)[1:], strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("bias", [None, np.ones(4)])
def test_db_is_none_only_without_a_bias(bias: Array | None) -> None:
    for functions in (functional, Kernels()):
        y, saved = functions.conv2d(normal(2, 3, 5, 6), normal(4, 3, 3, 3), bias)
        assert (functions.conv2d_backward(y, saved)[2] is None) == (bias is None)
        assert (functions.conv2d_backward_params(y, saved)[1] is None) == (bias is None)
        y, saved = functions.linear(normal(2, 3), normal(4, 3), bias)
        assert (functions.linear_backward(y, saved)[2] is None) == (bias is None)


@examples
@given(images(smallest=(2, 2), integers=False), st.sampled_from([1e-5, 1e-2]))
def test_batch_norm_is_torchs(x: Array, eps: float) -> None:
    C = x.shape[1]
    gamma, beta = normal(C, seed=1).astype(x.dtype), normal(C, seed=2).astype(x.dtype)
    compare_with_torch(
        lambda x, gamma, beta: functional.batch_norm(x, gamma, beta, eps),
        functional.batch_norm_backward,
        lambda x, gamma, beta: TF.batch_norm(x, None, None, gamma, beta, True, 0.1, eps),
        *(x, gamma, beta),
    )
    running = [normal(C, seed=3).astype(x.dtype), np.abs(normal(C, seed=4)).astype(x.dtype) + x.dtype.type(1)]
    y = functional.batch_norm_eval(x, gamma, beta, running[0], running[1], eps)
    tensors = [tensor(array) for array in running]
    compare("y in evaluation", y, TF.batch_norm(tensor(x), *tensors, tensor(gamma), tensor(beta), False, 0.1, eps))
    stats = functional.batch_norm(x, gamma, beta, eps)[2]
    updated = functional.update_running_stats(running[0], running[1], stats, x.size // C, 0.3)
    TF.batch_norm(tensor(x), *tensors, None, None, True, 0.3, eps)  # updates the running statistics
    for ours, theirs in zip(updated, tensors, strict=True):
        compare("running statistics", ours, theirs)


def test_batch_norm_backward_removes_the_mean_and_the_component_along_x_hat() -> None:
    x, gamma, dy, eps = normal(4, 3, 5, 2, seed=1), normal(3, seed=2), normal(4, 3, 5, 2, seed=3), 0.1
    _, saved, (_, var) = functional.batch_norm(x, gamma, np.zeros(3), eps)
    dx, dgamma, _ = functional.batch_norm_backward(dy, saved)
    np.testing.assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=1e-12)
    without_removal = gamma / np.sqrt(var + eps) * dgamma
    np.testing.assert_allclose((dx * saved[0]).sum(axis=(0, 2, 3)), without_removal * eps / (var + eps), atol=1e-12)


@examples
@given(images())
def test_relu_is_torchs(x: Array) -> None:
    compare_with_torch(functional.relu, functional.relu_backward, TF.relu, x)


def test_relu_is_torchs_at_zero_and_nan() -> None:
    x = np.array([np.nan, -0.0, 0.0, 1.0, -1.0, np.inf, -np.inf])
    theirs = tensor(x).requires_grad_()
    y, saved = functional.relu(x)
    np.testing.assert_array_equal(y, TF.relu(theirs).detach().numpy())
    dy = normal(*x.shape)
    (expected,) = torch.autograd.grad(TF.relu(theirs), theirs, tensor(dy))
    np.testing.assert_array_equal(functional.relu_backward(dy, saved), expected.numpy())


@examples
@given(
    images(smallest=(5, 5)),
    st.tuples(st.integers(2, 3), st.integers(2, 3)),
    st.sampled_from([None, 1, (2, 3)]),
    st.integers(0, 1),
    st.sampled_from([1, (1, 2)]),
    st.booleans(),
)
def test_pools_are_torchs(
    x: Array, kernel_size: Any, stride: Any, padding: int, dilation: Any, count_include_pad: bool
) -> None:
    compare_with_torch(
        lambda x: functional.max_pool2d(x, kernel_size, stride, padding, dilation),
        functional.max_pool2d_backward,
        lambda x: TF.max_pool2d(x, kernel_size, stride, padding, dilation),
        x,
    )
    compare_with_torch(
        lambda x: functional.avg_pool2d(x, kernel_size, stride, padding, count_include_pad),
        functional.avg_pool2d_backward,
        lambda x: TF.avg_pool2d(x, kernel_size, stride, padding, count_include_pad=count_include_pad),
        x,
    )
    compare_with_torch(
        functional.adaptive_avg_pool2d,
        functional.adaptive_avg_pool2d_backward,
        lambda x: TF.adaptive_avg_pool2d(x, 1),
        x,
    )


def test_max_pool2d_winner_is_torchs_index() -> None:
    x = np.array([[[[1.0, 5, 5, 2], [5, 3, 2, 2]]]])
    _, saved = functional.max_pool2d(x, 2)
    np.testing.assert_array_equal(functional.max_pool2d_winner(saved), [[[[1, 0]]]])  # the first of equal ones


def torch_zero_pad(x: torch.Tensor, out_channels: int, stride: int) -> torch.Tensor:
    new = out_channels - x.shape[1]
    return TF.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, new // 2, new - new // 2))


@examples
@given(images(), st.integers(0, 5), st.integers(1, 3))
def test_zero_pad_shortcut_is_what_autograd_makes_of_it(x: Array, more: int, stride: int) -> None:
    channels = x.shape[1] + more
    compare_with_torch(
        lambda x: functional.zero_pad_shortcut(x, channels, stride),
        functional.zero_pad_shortcut_backward,
        lambda x: torch_zero_pad(x, channels, stride),
        x,
    )


@examples
@given(images())
def test_flatten_add_and_identity_are_torchs(x: Array) -> None:
    compare_with_torch(functional.flatten, functional.flatten_backward, lambda x: torch.flatten(x, 1), x)
    compare("sum", functional.add(x, np.cos(x)), tensor(x) + tensor(np.cos(x)))
    copy = functional.identity(x)
    compare("copy", copy, x)
    assert not np.shares_memory(copy, x)


@examples
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.booleans(), st.sampled_from(FLOATS))
def test_linear_is_torchs(batch: int, before: int, after: int, bias: bool, dtype: type) -> None:
    shapes = [(batch, before), (after, before), *([(after,)] if bias else [])]
    arrays = [normal(*shape, seed=seed).astype(dtype) for seed, shape in enumerate(shapes)]
    compare_with_torch(functional.linear, functional.linear_backward, TF.linear, *arrays)


def test_dropout_multiplies_by_its_mask() -> None:
    random = np.random.default_rng(0).random((4, 5))
    mask = functional.dropout_mask(random, 0.2, np.float32)
    np.testing.assert_array_equal(mask, np.where(random < 0.2, 0, np.float32(1.25)))
    assert mask.dtype == np.float32
    x = normal(4, 5)
    y, saved = functional.dropout(x, mask)
    np.testing.assert_array_equal(y, mask * x)
    np.testing.assert_array_equal(functional.dropout_backward(x, saved), mask * x)
    assert not functional.dropout_mask(random, 1.0, np.float64).any()


# A block, as the docstring of the module writes it.


def test_the_block_of_the_docstring_is_what_autograd_makes_of_it() -> None:
    shapes = [(3, 2, 5, 4), (2, 2, 3, 3), (2,), (2,), (3, 2, 5, 4)]
    x, w, gamma, beta, dy = (normal(*shape, seed=seed) for seed, shape in enumerate(shapes))
    assert functional.__doc__ is not None
    code = functional.__doc__.partition("there and back::")[2].partition("**Letters.**")[0]
    names: dict[str, Any] = {"x": x, "w": w, "gamma": gamma, "beta": beta, "dy": dy}
    exec(inspect.cleandoc(code), vars(functional) | {}, names)
    tensors = [tensor(array).requires_grad_() for array in (x, w, gamma, beta)]
    f = TF.batch_norm(TF.conv2d(tensors[0], tensors[1], padding=1), None, None, *tensors[2:], training=True)
    y = TF.relu(tensors[0] + f)
    compare("y", names["y"], y)
    for name, theirs in zip(("dx", "dw", "dgamma", "dbeta"), torch.autograd.grad(y, tensors, tensor(dy)), strict=True):
        compare(name, names[name], theirs)


# The loss.


@examples
@given(st.integers(1, 6), st.integers(1, 7), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from(FLOATS))
def test_cross_entropy_is_torchs(count: int, classes: int, smoothing: float, dtype: type) -> None:
    labels = np.random.default_rng(count).integers(classes, size=count)
    logits = (3 * normal(count, classes, seed=count)).astype(dtype)
    theirs = tensor(logits).requires_grad_()
    expected = TF.cross_entropy(theirs, tensor(labels), label_smoothing=smoothing)
    expected.backward()
    loss, saved = functional.cross_entropy(logits, labels, smoothing)
    assert loss == pytest.approx(expected.item(), rel=1e-12 if dtype == np.float64 else 1e-5, abs=1e-6)
    assert theirs.grad is not None
    compare("dlogits", functional.cross_entropy_backward(1.0, saved), theirs.grad)
    compare("twice dlogits", functional.cross_entropy_backward(2.0, saved), 2 * theirs.grad)


@examples
@given(st.integers(1, 6), st.integers(1, 7), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from(FLOATS))
def test_weighted_cross_entropy_is_torchs(count: int, classes: int, smoothing: float, dtype: type) -> None:
    rng = np.random.default_rng(count)
    labels, weight = rng.integers(classes, size=count), rng.uniform(0.1, 3, classes).astype(dtype)
    logits = (3 * normal(count, classes, seed=count)).astype(dtype)
    theirs = tensor(logits).requires_grad_()
    expected = TF.cross_entropy(theirs, tensor(labels), tensor(weight), label_smoothing=smoothing)
    expected.backward()
    loss, saved = functional.weighted_cross_entropy(logits, labels, weight, smoothing)
    assert loss == pytest.approx(expected.item(), rel=1e-12 if dtype == np.float64 else 1e-5, abs=1e-6)
    assert theirs.grad is not None
    compare("dlogits", functional.weighted_cross_entropy_backward(1.0, saved), theirs.grad)
    compare("twice dlogits", functional.weighted_cross_entropy_backward(2.0, saved), 2 * theirs.grad)


def test_weighted_cross_entropy_by_hand() -> None:
    # Equal logits give each of two classes probability 1/2: every image has the loss log 2, whatever its weight.
    logits, labels, weight = np.zeros((3, 2)), np.array([0, 0, 1]), np.array([1.0, 6.0])
    loss, saved = functional.weighted_cross_entropy(logits, labels, weight)
    assert loss == pytest.approx(np.log(2))
    expected = np.array([[-0.5, 0.5], [-0.5, 0.5], [3.0, -3.0]]) / 8
    np.testing.assert_allclose(functional.weighted_cross_entropy_backward(1.0, saved), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_cross_entropy_of_equal_weights_is_cross_entropy(smoothing: float) -> None:
    logits, labels = normal(5, 4), np.array([3, 0, 1, 1, 2])
    loss, saved = functional.weighted_cross_entropy(logits, labels, np.full(4, 0.7), smoothing)
    expected, expected_saved = functional.cross_entropy(logits, labels, smoothing)
    assert loss == pytest.approx(expected, rel=1e-14)
    gradient = functional.weighted_cross_entropy_backward(1.0, saved)
    np.testing.assert_allclose(gradient, functional.cross_entropy_backward(1.0, expected_saved), rtol=0, atol=1e-15)


def test_softmax_is_torchs_over_the_last_axis() -> None:
    logits = 100 * normal(3, 4, 5)
    compare("softmax", functional.softmax(logits), torch.softmax(tensor(logits), dim=-1))
    compare("log softmax", functional.log_softmax(logits), torch.log_softmax(tensor(logits), dim=-1))


# The optimizers; tests/nn/test_optimizer.py compares whole trajectories with torch.optim.


def test_sgd_step_by_hand() -> None:
    # w = 2, lr 0.1, momentum 0.5, weight decay 0.25, gradient 1: g = 1.5, v = 1.5, w = 1.85; then as in the docstring.
    w, g = np.array([2.0]), np.array([1.0])
    w, v = functional.sgd_step(w, g, None, 0.1, 0.5, 0.25)  # type: ignore[assignment]
    np.testing.assert_allclose([w[0], v[0]], [1.85, 1.5])
    w, v = functional.sgd_step(w, -g, v, 0.1, 0.5, 0.25)  # type: ignore[assignment]
    np.testing.assert_allclose([w[0], v[0]], [1.82875, 0.2125])
    np.testing.assert_array_equal(g, [1])


def test_adam_step_by_hand() -> None:
    w, g, zero = np.array([2.0, 2.0]), np.array([1e-3, -50]), np.zeros(2)
    moved, m, v = functional.adam_step(w, g, zero, zero, 1, lr=0.1)
    np.testing.assert_allclose(moved, [1.9, 2.1], rtol=1e-5)  # lr · g/|g|
    np.testing.assert_allclose(m, 0.1 * g)
    np.testing.assert_allclose(v, 0.001 * g * g)
    decayed, *_ = functional.adam_step(w, zero, zero, zero, 1, 0.1, weight_decay=0.5, decoupled=True)
    np.testing.assert_allclose(decayed, 1.9)


# Numerical differentiation: no other implementation is asked.


def numerical_gradient(loss: Callable[[Array], float], x: Array, eps: float = 1e-5) -> Array:
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        plus, minus = x.copy(), x.copy()
        plus[index] += eps
        minus[index] -= eps
        gradient[index] = (loss(plus) - loss(minus)) / (2 * eps)
    return gradient


NUMERICAL: dict[str, tuple[list[tuple[int, ...]], dict[str, Any]]] = {
    "conv2d": ([(2, 2, 4, 5), (3, 2, 3, 2), (3,)], {"stride": 2, "padding": 1}),
    "batch_norm": ([(3, 2, 3, 2), (2,), (2,)], {}),
    "relu": ([(2, 3, 2, 2)], {}),
    "max_pool2d": ([(2, 2, 4, 5)], {"kernel_size": 3, "stride": 2, "padding": 1}),
    "avg_pool2d": ([(2, 2, 4, 5)], {"kernel_size": 2, "stride": 1, "padding": 1}),
    "adaptive_avg_pool2d": ([(2, 3, 3, 4)], {}),
    "zero_pad_shortcut": ([(2, 2, 3, 4)], {"out_channels": 5, "stride": 2}),
    "flatten": ([(2, 2, 3, 2)], {}),
    "dropout": ([(3, 4), (3, 4)], {}),
    "linear": ([(3, 4), (2, 4), (2,)], {}),
}


@pytest.mark.parametrize("name", NUMERICAL)
def test_backward_is_the_numerical_gradient(name: str) -> None:
    shapes, options = NUMERICAL[name]
    arrays = [normal(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    forward, backward = getattr(functional, name), getattr(functional, f"{name}_backward")
    y, saved = forward(*arrays, **options)[:2]
    dy = normal(*y.shape, seed=9)
    gradients = backward(dy, saved)
    for position, gradient in enumerate(gradients if isinstance(gradients, tuple) else (gradients,)):

        def loss(array: Array, position: int = position) -> float:
            changed = [*arrays[:position], array, *arrays[position + 1 :]]
            return float(np.vdot(dy, forward(*changed, **options)[0]))

        np.testing.assert_allclose(gradient, numerical_gradient(loss, arrays[position]), rtol=0, atol=1e-8)


def test_cross_entropy_backward_is_the_numerical_gradient() -> None:
    logits, labels = normal(4, 5), np.array([2, 0, 3, 2])
    _, saved = functional.cross_entropy(logits, labels, 0.2)
    expected = numerical_gradient(lambda z: functional.cross_entropy(z, labels, 0.2)[0], logits)
    np.testing.assert_allclose(functional.cross_entropy_backward(1.0, saved), expected, rtol=0, atol=1e-9)


def test_weighted_cross_entropy_backward_is_the_numerical_gradient() -> None:
    logits, labels, weight = normal(4, 5), np.array([2, 0, 3, 2]), np.array([1.5, 0.5, 2.0, 0.3, 0.7])
    _, saved = functional.weighted_cross_entropy(logits, labels, weight, 0.2)
    expected = numerical_gradient(lambda z: functional.weighted_cross_entropy(z, labels, weight, 0.2)[0], logits)
    np.testing.assert_allclose(functional.weighted_cross_entropy_backward(1.0, saved), expected, rtol=0, atol=1e-9)


def test_every_backward_function_is_differentiated() -> None:
    backward = {name.removesuffix("_backward") for name in vars(functional) if name.endswith("_backward")}
    assert backward == {*NUMERICAL, "cross_entropy", "weighted_cross_entropy"}


# The text.


def test_functions_are_short_and_documented() -> None:
    functions = [value for value in vars(functional).values() if inspect.isfunction(value)]
    for function in functions:
        lines = inspect.getsource(function).split('"""')
        assert len(lines) == 3, function.__name__
        assert lines[2].count("\n") - 1 <= 15, function.__name__
    assert inspect.getsource(functional).count("\n") <= 600
