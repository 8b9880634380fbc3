"""The layers of the page's engine against the functions of glassnet.nn.functional, and their cases apart."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.nn import functional

from ..javascript import JavaScriptError

examples = settings(max_examples=30, deadline=None, derandomize=True)

LAYER = """
    const {input_shape} = node, children = [node];
    const network = new Network({kind: "Sequential", name: "", parameters: {}, buffers: {}, input_shape, children});
    Object.entries(tensors).forEach(([key, {data}]) => network.tensors[key].data.set(data));
    const passes = batches.map(({x, dy}) => {
      const y = network.forward(x.data, x.shape[0], options).slice();
      return [y, network.backward(dy.data).slice(), mapValues(network.gradients, (gradient) => gradient.slice())];
    });
    return {passes, tensors: mapValues(network.tensors, ({data}) => data)};
"""


def layer_node(kind, input_shape, output_shape, parameters, buffers, **attributes):
    """Return the node of one layer, named "layer", as ``glassnet.graph`` has it."""
    return {
        "kind": kind,
        "name": "layer",
        "attributes": attributes,
        "input_shape": input_shape,
        "output_shape": output_shape,
        "parameters": {f"layer.{name}": np.shape(array) for name, array in parameters.items()},
        "buffers": {f"layer.{name}": np.shape(array) for name, array in buffers.items()},
    }


def compute(javascript, kind, batches, parameters=None, buffers=None, options=None, **attributes):
    """Compute one layer, forward and backward, on each (x, dy) of ``batches``, all of one shape.

    Return (y, dx, gradients by name) of each, and the buffers afterwards.
    """
    parameters, buffers, (x, dy) = parameters or {}, buffers or {}, batches[0]
    answer = javascript(
        LAYER,
        node=layer_node(kind, x.shape[1:], dy.shape[1:], parameters, buffers, **attributes),
        tensors={f"layer.{name}": np.asarray(array) for name, array in {**parameters, **buffers}.items()},
        options=options or {"training": True},
        batches=[{"x": x, "dy": dy} for x, dy in batches],
    )
    passes = [
        (y.reshape(dy.shape), dx.reshape(x.shape), {name: gradients[f"layer.{name}"] for name in parameters})
        for y, dx, gradients in answer["passes"]
    ]
    return passes, {name: answer["tensors"][f"layer.{name}"] for name in buffers}


def assert_close(actual, expected):
    np.testing.assert_allclose(np.ravel(actual), np.ravel(expected), rtol=1e-12, atol=1e-12)


@examples
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    channels=st.integers(1, 5),
    outputs=st.integers(1, 5),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    has_bias=st.booleans(),
)
def test_conv2d_is_that_of_functional(javascript, kernel, stride, padding, channels, outputs, size, has_bias):
    padding, rng = min(padding, kernel - 1), np.random.default_rng(kernel)
    x, w = rng.normal(size=(2, channels, *size)), rng.normal(size=(outputs, channels, kernel, kernel))
    b = rng.normal(size=outputs) if has_bias else None
    y, saved = functional.conv2d(x, w, b, stride, padding)
    dy = rng.normal(size=y.shape)
    dx, dw, db = functional.conv2d_backward(dy, saved)
    tensors = {"weight": w, "bias": b} if has_bias else {"weight": w}
    attributes = {"kernel_size": kernel, "stride": stride, "padding": padding}
    [(page_y, page_dx, gradients)], _ = compute(javascript, "Conv2d", [(x, dy)], tensors, **attributes)
    assert_close(page_y, y)
    assert_close(page_dx, dx)
    assert_close(gradients["weight"], dw)
    if has_bias:
        assert_close(gradients["bias"], db)


@examples
@given(
    kind=st.sampled_from(["max", "avg"]),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    size=st.tuples(st.integers(4, 8), st.integers(4, 8)),
)
def test_pooling_is_that_of_functional(javascript, kind, kernel, stride, padding, size):
    """The numbers are -1, 0 and 1, so that most windows have several maxima."""
    padding, rng = min(padding, kernel // 2), np.random.default_rng(prod(size))
    x = rng.integers(-1, 2, size=(2, 3, *size)).astype(float)
    y, saved = getattr(functional, f"{kind}_pool2d")(x, kernel, stride, padding)
    dy = rng.normal(size=y.shape)
    dx = getattr(functional, f"{kind}_pool2d_backward")(dy, saved)
    attributes = {"kernel_size": kernel, "stride": stride, "padding": padding}
    [(page_y, page_dx, _)], _ = compute(javascript, f"{kind.title()}Pool2d", [(x, dy)], **attributes)
    assert_close(page_y, y)
    assert_close(page_dx, dx)


def test_max_pool2d_takes_nan_as_the_largest(javascript):
    x = np.array([[[[1.0, np.nan, 5, 6], [np.nan, 3, 7, 6]]]])
    dy = np.array([[[[10.0, 20]]]])
    [(y, dx, _)], _ = compute(javascript, "MaxPool2d", [(x, dy)], kernel_size=2, stride=2, padding=0)
    np.testing.assert_array_equal(y, [[[[np.nan, 7]]]])
    np.testing.assert_array_equal(dx, [[[[0, 10, 0, 0], [0, 0, 20, 0]]]])  # the first NaN


def test_relu_lets_nan_pass_and_has_gradient_0_at_0(javascript):
    x = np.array([[np.nan, -1, -0.0, 0, 2, np.inf, -np.inf]])
    [(y, dx, _)], _ = compute(javascript, "ReLU", [(x, np.arange(1.0, 8)[None])])
    np.testing.assert_array_equal(y, [[np.nan, 0, 0, 0, 2, np.inf, 0]])
    np.testing.assert_array_equal(dx, [[1, 0, 0, 0, 5, 6, 0]])


def batch_norm_case(count=1):
    """Return parameters, buffers and batches of a BatchNorm of three channels."""
    rng = np.random.default_rng(0)
    parameters = {"weight": rng.normal(size=3), "bias": rng.normal(size=3)}
    running = {"running_mean": rng.normal(size=3), "running_var": rng.uniform(0.5, 2, 3)}
    batches = [(rng.normal(5, 3, size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))) for _ in range(count)]
    return parameters, {**running, "num_batches_tracked": np.array(4.0)}, batches


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_batch_norm2d_in_training_is_that_of_functional(javascript, momentum):
    parameters, buffers, batches = batch_norm_case(count=3)
    passes, after = compute(javascript, "BatchNorm2d", batches, parameters, buffers, eps=1e-3, momentum=momentum)
    mean, var = buffers["running_mean"], buffers["running_var"]
    for number, ((x, dy), (y, dx, gradients)) in enumerate(zip(batches, passes, strict=True), start=5):
        expected, saved, stats = functional.batch_norm(x, *parameters.values(), 1e-3)
        assert_close(y, expected)
        for actual, array in zip((dx, *gradients.values()), functional.batch_norm_backward(dy, saved), strict=True):
            assert_close(actual, array)
        mean, var = functional.update_running_stats(mean, var, stats, x.size // 3, momentum or 1 / number)
    assert_close(after["running_mean"], mean)
    assert_close(after["running_var"], var)
    assert after["num_batches_tracked"] == 7


def test_batch_norm2d_in_evaluation_is_that_of_functional(javascript):
    parameters, buffers, [(x, dy)] = batch_norm_case()
    options, mean, var = {"training": False}, buffers["running_mean"], buffers["running_var"]
    [(y, dx, gradients)], after = compute(
        javascript, "BatchNorm2d", [(x, dy)], parameters, buffers, options, eps=1e-3, momentum=0.1
    )
    assert_close(y, functional.batch_norm_eval(x, *parameters.values(), mean, var, 1e-3))
    scale = functional.as_nchw(1 / np.sqrt(var + 1e-3))
    assert_close(dx, dy * functional.as_nchw(parameters["weight"]) * scale)
    assert_close(gradients["weight"], (dy * (x - functional.as_nchw(mean)) * scale).sum(axis=(0, 2, 3)))
    assert_close(gradients["bias"], dy.sum(axis=(0, 2, 3)))
    assert {key: values.tolist() for key, values in after.items()} == {
        key: np.ravel(array).tolist() for key, array in buffers.items()
    }


def test_batch_norm2d_leaves_its_statistics_if_asked(javascript):
    parameters, buffers, batches = batch_norm_case()
    layer, settings = ("BatchNorm2d", batches, parameters, buffers), {"eps": 1e-3, "momentum": 0.1}
    [(y, dx, _)], after = compute(javascript, *layer, {"training": True, "updateStatistics": False}, **settings)
    [(expected, expected_dx, _)], _ = compute(javascript, *layer, {"training": True}, **settings)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dx, expected_dx)
    for key, array in buffers.items():
        np.testing.assert_array_equal(after[key], np.ravel(array))


def test_batch_norm2d_refuses_one_value_per_channel(javascript):
    parameters, buffers, _ = batch_norm_case()
    x = np.ones((1, 3, 1, 1))
    message = r"^input of layer must have at least 2 values per channel\. Got 1\. Use more images\.$"
    with pytest.raises(JavaScriptError, match=message):
        compute(javascript, "BatchNorm2d", [(x, x)], parameters, buffers, eps=1e-5, momentum=0.1)


@pytest.mark.parametrize(("channels", "outputs", "stride"), [(2, 4, 2), (1, 4, 1), (3, 8, 3), (2, 2, 2)])
def test_zero_pad_shortcut_is_that_of_functional(javascript, channels, outputs, stride):
    rng = np.random.default_rng(channels)
    x = rng.normal(size=(3, channels, 7, 5))
    y, saved = functional.zero_pad_shortcut(x, outputs, stride)
    dy = rng.normal(size=y.shape)
    [(page_y, page_dx, _)], _ = compute(javascript, "ZeroPadShortcut", [(x, dy)], stride=stride)
    np.testing.assert_array_equal(page_y, y)
    np.testing.assert_array_equal(page_dx, functional.zero_pad_shortcut_backward(dy, saved))


def test_adaptive_avg_pool2d_is_that_of_functional(javascript):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 7, 4)), rng.normal(size=(2, 3, 1, 1))
    [(y, dx, _)], _ = compute(javascript, "AdaptiveAvgPool2d", [(x, dy)], output_size=1)
    expected, saved = functional.adaptive_avg_pool2d(x)
    assert_close(y, expected)
    assert_close(dx, functional.adaptive_avg_pool2d_backward(dy, saved))


def test_linear_is_that_of_functional(javascript):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(4, 6)), rng.normal(size=(4, 3))
    w, b = rng.normal(size=(3, 6)), rng.normal(size=3)
    [(y, dx, gradients)], _ = compute(javascript, "Linear", [(x, dy)], {"weight": w, "bias": b})
    expected, saved = functional.linear(x, w, b)
    assert_close(y, expected)
    for actual, array in zip(
        (dx, gradients["weight"], gradients["bias"]), functional.linear_backward(dy, saved), strict=True
    ):
        assert_close(actual, array)


def test_dropout_drops_a_fraction_of_p_and_scales_the_others(javascript):
    x, dy = np.full((100, 200), 3.0), np.full((100, 200), 7.0)
    [(y, dx, _), (other, _, _)], _ = compute(javascript, "Dropout", [(x, dy)] * 2, p=0.3)
    kept = y != 0
    assert abs(kept.mean() - 0.7) < 5 * np.sqrt(0.3 * 0.7 / kept.size)
    assert_close(y, np.where(kept, 3 / 0.7, 0))
    assert_close(dx, np.where(kept, 7 / 0.7, 0))
    assert 0.4 < (kept == (other != 0)).mean() < 0.7  # 0.58 if the masks are independent
    [(y, dx, _)], _ = compute(javascript, "Dropout", [(x, dy)], options={"training": False}, p=0.3)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dx, dy)


def test_dropout_repeats_its_masks_from_a_seed(javascript):
    first, again, other = javascript(
        """
        const {input_shape} = node, children = [node];
        const network = new Network({kind: "Sequential", name: "", parameters: {}, buffers: {}, input_shape, children});
        return [1, 1, 2].map((seed) => {
          network.seedDropout(seed);
          return network.forward(new Float64Array(100).fill(1), 1, {training: true}).slice();
        });
        """,
        node=layer_node("Dropout", [100], [100], {}, {}, p=0.5),
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
