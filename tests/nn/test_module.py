"""What holds for every layer and option: the cases are those of the gradient check, glassnet.verify.layers."""

import re
from collections import OrderedDict
from copy import deepcopy
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from glassnet import nn
from glassnet.errors import GlassnetError, ShapeError
from glassnet.nn.kernels import Kernels, layout, parallel
from glassnet.verify import layers
from tests.nn.oracle import FLOATS, Array, compare

every_layer = pytest.mark.parametrize("name", layers.CASES)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def case(name: str, dtype: type = np.float64) -> tuple[nn.Module, Array]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(layers.CASES[name][1]).astype(dtype)
    return layers.build(name).to(dtype), layout.channels_last(x)


def upstream(y: Array, seed: int = 2) -> Array:
    dy = np.asarray(np.random.default_rng(seed).standard_normal(y.shape)).astype(y.dtype)
    return layout.channels_last(dy)


def network() -> nn.Sequential:
    """Two stages whose convolutions want the same scratch."""
    block = nn.Residual(
        nn.Sequential(
            OrderedDict(conv1=nn.Conv2d(4, 4, 3, padding=1), relu1=nn.ReLU(), conv2=nn.Conv2d(4, 4, 3, 1, 1))
        ),
        nn.Identity(),
        nn.ReLU(),
    )
    named = OrderedDict(conv1=nn.Conv2d(2, 4, 3, padding=1), bn1=nn.BatchNorm2d(4), relu=nn.ReLU(), layer1=block)
    named |= OrderedDict(pool=nn.MaxPool2d(3, 2, 1), flatten=nn.Flatten(), fc=nn.Linear(36, 5))
    return nn.Sequential(named).to(np.float64)


def images(seed: int = 0, count: int = 3) -> Array:
    return layout.channels_last(np.random.default_rng(seed).standard_normal((count, 2, 6, 6)))


# Ownership.


@every_layer
def test_what_a_layer_is_given_stays_as_it_is(name: str) -> None:
    layer, x = case(name)
    before = x.copy()
    y = layer(x)
    dy = upstream(y)
    dy_before, parameters_before = dy.copy(), [parameter.data.copy() for parameter in layer.parameters()]
    layer.backward(dy)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(dy, dy_before)
    for parameter, data in zip(layer.parameters(), parameters_before, strict=True):
        np.testing.assert_array_equal(parameter.data, data)


@every_layer
@pytest.mark.parametrize("training", [True, False])
def test_what_a_layer_returns_is_fresh(name: str, training: bool) -> None:
    layer, x = case(name)
    layer.train(training)
    y = layer(x)
    arrays = [x, y]
    if training:
        dy = upstream(y)
        arrays += [dy, layer.backward(dy)]
    arrays += [array for parameter in layer.parameters() for array in (parameter.data, parameter.grad)]
    arrays += [module.running_mean for module in layer.modules() if hasattr(module, "running_mean")]
    assert not any(np.shares_memory(a, b) for a, b in combinations(arrays, 2))


@every_layer
@pytest.mark.parametrize("training", [True, False])
def test_a_second_call_leaves_the_first_result_unchanged(name: str, training: bool) -> None:
    layer, x = case(name)
    layer.train(training)
    y = layer(x)
    first = y.copy()
    results = [(y, first)]
    if training:
        dx = layer.backward(upstream(y))
        results.append((dx, dx.copy()))
    y2 = layer(2 * x + 1)
    if training:
        layer.backward(upstream(y2, seed=3))
    for result, then in results:
        np.testing.assert_array_equal(result, then)


@every_layer
def test_writing_into_an_output_does_not_reach_the_backward_pass(name: str) -> None:
    layer, x = case(name)
    twin = deepcopy(layer)
    y, expected = layer(x), twin(x)
    y[...] = 99
    np.testing.assert_array_equal(layer.backward(upstream(y)), twin.backward(upstream(expected)))


@every_layer
def test_gradients_are_overwritten_not_added_up(name: str) -> None:
    layer, x = case(name)
    for parameter in layer.parameters():
        parameter.grad[...] = np.nan
    for module in layer.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    gradients = []
    for _ in range(2):
        layer.backward(upstream(layer(x)))
        gradients.append([parameter.grad.copy() for parameter in layer.parameters()])
    for first, second in zip(*gradients, strict=True):
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, second)


@every_layer
def test_the_gradients_of_the_parameters_alone_are_the_same(name: str) -> None:
    layer, x = case(name)
    twin = deepcopy(layer)
    y, expected = layer(x), twin(x)
    twin.backward(upstream(expected))
    layer.backward_params(upstream(y))
    for ours, theirs in zip(layer.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)  # sums in another order
    assert all(module._saved is None for module in layer.modules())
    with pytest.raises(GlassnetError, match="backward needs a forward pass"):
        layer.backward_params(upstream(y))


# Modes.


@every_layer
def test_evaluation_mode_keeps_nothing(name: str) -> None:
    layer, x = case(name)
    layer(x)
    layer.eval()
    assert all(module._saved is None for module in layer.modules())  # what training had kept is let go
    y = layer(x)
    assert all(module._saved is None for module in layer.modules())
    with pytest.raises(GlassnetError, match="backward needs a forward pass in training mode just before it"):
        layer.backward(upstream(y))


@every_layer
def test_backward_needs_a_forward_pass_of_its_own(name: str) -> None:
    layer, x = case(name)
    dy = upstream(deepcopy(layer)(x))
    message = re.compile(r"^\w+\.backward needs a forward pass in training mode just before it\.$")
    with pytest.raises(GlassnetError, match=message):
        layer.backward(dy)
    layer(x)
    layer.backward(dy)
    assert all(module._saved is None for module in layer.modules())
    with pytest.raises(GlassnetError, match=message):
        layer.backward(dy)


@pytest.mark.parametrize("name", [name for name in layers.CASES if not name.startswith("CrossEntropyLoss")])
def test_backward_takes_a_gradient_of_the_outputs_shape_alone(name: str) -> None:
    layer, x = case(name)
    dy = upstream(layer(x))
    text = rf"^dy of \w+\.backward must have the output's shape {re.escape(str(dy.shape))}\. Got "
    more, turned = np.concatenate([dy, dy[:1]]), dy.swapaxes(1, -1 if dy.ndim == 4 else 0)
    for wrong in (dy[:1], more, turned, dy.reshape(-1), dy[..., :1]):
        for backward in (layer.backward, layer.backward_params):
            if wrong.shape != dy.shape:
                with pytest.raises(ShapeError, match=text):
                    backward(wrong)
                layer(x)


def test_train_and_eval_reach_every_layer_and_return_the_network() -> None:
    net = network()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())


# Memory order and dtype.


@every_layer
@every_dtype
def test_arrays_are_channels_last_and_of_one_dtype(name: str, dtype: type) -> None:
    layer, x = case(name, dtype)
    y = layer(x)
    arrays = [y, layer.backward(upstream(y))]
    arrays += [parameter.grad for parameter in layer.parameters()]
    arrays += [layer.eval()(x)]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}
    assert all(layout.is_channels_last(array) for array in arrays if array.ndim == 4)
    floats = [value.dtype for value in layer.state_dict().values() if value.dtype.kind == "f"]
    assert set(floats) <= {np.dtype(dtype)}


@every_layer
@pytest.mark.parametrize("training", [True, False])
def test_the_memory_order_of_inputs_does_not_change_the_numbers(name: str, training: bool) -> None:
    layer, x = case(name)
    layer.train(training)
    twin = deepcopy(layer)
    contiguous = np.ascontiguousarray(x)
    y, expected = layer(contiguous), twin(x)
    compare("output", y, expected)
    if training:
        dy = upstream(y)
        compare("gradient of the input", layer.backward(np.ascontiguousarray(dy)), twin.backward(dy))
        for ours, theirs in zip(layer.parameters(), twin.parameters(), strict=True):
            compare("gradient of a parameter", ours.grad, theirs.grad)


@pytest.mark.parametrize("shape", [(2, 1, 3, 3), (2, 3, 1, 1), (1, 1, 1, 1)])
def test_shapes_that_lie_in_both_orders(shape: tuple[int, ...]) -> None:
    C = shape[1]
    several = [nn.Conv2d(C, 2, 3, padding=1), nn.Conv2d(C, 1, 1, stride=2), nn.ReLU(), nn.MaxPool2d(1)]
    several += [nn.AvgPool2d(1), nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.Identity(), nn.ZeroPadShortcut(C, C, 2)]
    several += [nn.BatchNorm2d(C).eval(), nn.Dropout(0.5)]
    for layer in several:
        for x in (np.ones(shape, np.float32), layout.channels_last(np.ones(shape, np.float32))):
            before = x.copy()
            y = layer(x)
            assert layout.is_channels_last(y) or y.ndim == 2
            assert not np.shares_memory(y, x)
            if layer.training:
                dx = layer.backward(upstream(y))
                assert dx.shape == shape
                assert layout.is_channels_last(dx)
            np.testing.assert_array_equal(x, before)


# Kernels.


@pytest.mark.parametrize("threads", [1, 3])
def test_shared_kernels_change_no_number(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 2000)  # many blocks
    own, shared = network(), network()
    shared.load_state_dict(own.state_dict())
    shared.use_kernels(Kernels(threads))
    for seed, count in enumerate((3, 5, 2)):
        x = images(seed, count)
        y, expected = shared(x), own(x)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(shared.backward(upstream(y)), own.backward(upstream(expected)))
        for ours, theirs in zip(shared.parameters(), own.parameters(), strict=True):
            np.testing.assert_array_equal(ours.grad, theirs.grad)


# State dicts.


def test_a_state_dict_is_an_independent_copy_and_goes_to_and_fro() -> None:
    net, other = network(), network()
    net(images())
    state = net.state_dict()
    for value in state.values():
        assert value.flags.c_contiguous
        assert not any(np.shares_memory(value, array) for _, array in net.named_arrays())
    other.load_state_dict(state)
    assert list(other.state_dict()) == list(state)
    for key, value in other.state_dict().items():
        np.testing.assert_array_equal(value, state[key])
    np.testing.assert_array_equal(net.eval()(images(1)), other.eval()(images(1)))
    for value in state.values():
        value[...] = 0
    assert net.state_dict()["conv1.weight"].any()


def test_loading_casts_to_the_networks_dtype_and_keeps_the_arrays() -> None:
    net = network().to(np.float32)
    weight = next(net.parameters()).data
    state = {key: value.astype(np.float64) + 1 for key, value in network().state_dict().items()}
    net.load_state_dict(state)
    assert next(net.parameters()).data is weight
    assert layout.is_channels_last(weight)
    np.testing.assert_array_equal(weight, state["conv1.weight"].astype(np.float32))
    assert net.state_dict()["bn1.num_batches_tracked"].dtype == np.int64


def test_a_file_without_num_batches_tracked_is_accepted() -> None:
    net = network()
    net(images())
    state = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    net.load_state_dict(state)
    assert net.state_dict()["bn1.num_batches_tracked"] == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fc.bias": None}, "1 missing: fc.bias"),
        ({"fc.bias": None, "bn1.running_var": None}, "2 missing: bn1.running_var, fc.bias"),
        ({"module.fc.bias": np.zeros(5)}, "1 unexpected: module.fc.bias"),
        ({"fc.bias": np.zeros(4)}, "1 wrongly shaped: fc.bias (4,) instead of (5,)"),
        (
            {"fc.bias": None, "linear.bias": np.zeros(5), "bn1.bias": np.zeros((4, 1))},
            "1 missing: fc.bias; 1 unexpected: linear.bias; 1 wrongly shaped: bn1.bias (4, 1) instead of (4,)",
        ),
    ],
)
def test_load_state_dict_that_does_not_fit_changes_nothing(change: dict[str, Array | None], told: str) -> None:
    net = network()
    before = net.state_dict()
    state = {key: value + 1 for key, value in before.items()} | change
    message = f"state must fit this network. Got {told}."
    with pytest.raises(GlassnetError, match=f"^{re.escape(message)}$"):
        net.load_state_dict({key: value for key, value in state.items() if value is not None})
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("fc.bias", np.array(["x"] * 5), "fc.bias of the state must hold real numbers. Got an array of <U1."),
        ("fc.bias", np.full(5, None), "fc.bias of the state must hold real numbers. Got an array of object."),
        ("fc.bias", np.full(5, 1j), "fc.bias of the state must hold real numbers. Got an array of complex128."),
        ("fc.bias", [[1], [2, 3]], "fc.bias of the state must be an array. Got "),
        ("fc.bias", torch.ones(5, dtype=torch.bfloat16), "fc.bias of the state must be an array. Got "),
        ("fc.bias", torch.ones(5, device="meta"), "fc.bias of the state must be an array. Got "),
        ("bn1.num_batches_tracked", np.nan, "must hold whole numbers that fit int64. Got nan."),
        ("bn1.num_batches_tracked", 1.5, "must hold whole numbers that fit int64. Got 1.5."),
        ("bn1.num_batches_tracked", np.uint64(2**64 - 1), "fit int64. Got 18446744073709551615."),
    ],
)
def test_values_that_are_no_real_numbers_change_nothing(key: str, value: Any, told: str) -> None:
    net = network()
    before = net.state_dict()
    with pytest.raises(GlassnetError, match=re.escape(told)) as caught:
        net.load_state_dict({key: array + 1 for key, array in before.items()} | {key: value})
    assert "\n" not in str(caught.value)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_what_becomes_real_numbers_is_loaded() -> None:
    net = network().to(np.float32)
    given = {"fc.bias": [1, True, np.nan, np.inf, -1e300], "bn1.bias": torch.nn.Parameter(torch.ones(4))}
    net.load_state_dict({**net.state_dict(), **given, "bn1.num_batches_tracked": 3.0})
    state = net.state_dict()
    np.testing.assert_array_equal(state["fc.bias"], np.array([1, 1, np.nan, np.inf, -np.inf], np.float32))
    np.testing.assert_array_equal(state["bn1.bias"], np.ones(4))
    assert state["bn1.num_batches_tracked"] == 3


def test_to_casts_parameters_gradients_and_buffers() -> None:
    net = network()
    assert net.to(np.float32) is net
    arrays = [array for _, array in net.named_arrays()] + [parameter.grad for parameter in net.parameters()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32), np.dtype(np.int64)}
    conv = net.conv1  # type: ignore[attr-defined]
    assert layout.is_channels_last(conv.weight.data)
    assert layout.is_channels_last(conv.weight.grad)


def test_module_without_passes_raises() -> None:
    for call in (nn.Module(), nn.Module().backward):
        with pytest.raises(NotImplementedError, match=r"^Module has no (forward|backward) pass\.$"):
            call(np.zeros(1))


LAYERS = [
    ("Conv2d", (1, 8, 3), {}),
    ("Conv2d", (1, 8, (3, 2)), {"stride": 2, "padding": (1, 0), "dilation": 2, "bias": False}),
    ("Conv2d", (2, 8, 3), {"padding": "same"}),
    ("Conv2d", (2, 8, 3), {"padding": "valid"}),
    ("BatchNorm2d", (8,), {}),
    ("BatchNorm2d", (8, 1e-3, None, False, False), {}),
    ("ReLU", (), {}),
    ("MaxPool2d", (2,), {}),
    ("MaxPool2d", ((2, 3),), {"stride": (1, 2), "padding": 1, "dilation": 2}),
    ("AvgPool2d", (3, 2, 1), {}),
    ("AdaptiveAvgPool2d", (1,), {}),
    ("AdaptiveAvgPool2d", ((1, 1),), {}),
    ("Flatten", (), {}),
    ("Linear", (5, 3), {}),
    ("Linear", (5, 3), {"bias": False}),
    ("Dropout", (0.2,), {}),
    ("Identity", (), {}),
    ("Sequential", (), {}),
    ("CrossEntropyLoss", (), {}),
]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("name", "arguments", "options"), LAYERS)
def test_repr_is_torchs(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    expected = repr(getattr(torch.nn, name)(*arguments, **options))
    if name == "BatchNorm2d":
        expected = re.sub(", bias=(True|False)", "", expected)  # an argument of later versions of torch
    assert repr(getattr(nn, name)(*arguments, **options)) == expected


def test_repr_of_a_network_is_a_tree() -> None:
    layers = (
        OrderedDict(conv1=package.Conv2d(1, 2, 3), inner=package.Sequential(package.ReLU(), package.Flatten()))
        for package in (nn, torch.nn)
    )
    ours, theirs = (package.Sequential(named) for package, named in zip((nn, torch.nn), layers, strict=True))
    assert repr(ours) == repr(theirs)
    block = nn.Residual(nn.Sequential(OrderedDict(relu1=nn.ReLU())), nn.ZeroPadShortcut(2, 4, 2), nn.ReLU())
    assert repr(block) == (
        "Residual(\n  (relu1): ReLU()\n  (shortcut): ZeroPadShortcut(2, 4, stride=2)\n  (relu): ReLU()\n)"
    )


def test_parameter_repr_has_shape_and_dtype() -> None:
    assert repr(nn.Parameter(np.zeros((2, 3)))) == "Parameter(shape=(2, 3), dtype=float64)"


def test_activation_pattern_of_a_network() -> None:
    net = network()
    assert list(net.activation_pattern()) == []
    net(images())
    decided = {name: module.activation_pattern() for name, module in net.named_modules()}
    made = {name: [array.dtype.kind for array in arrays] for name, arrays in decided.items() if arrays}
    assert made == {"relu": ["b"], "layer1.relu1": ["b"], "layer1.relu": ["b"], "pool": ["i"]}
    assert decided["relu"][0].shape == (3, 4, 6, 6)


# Looking.


def test_module_hooks_get_outputs_and_gradients_in_order() -> None:
    net, twin = network(), network()
    twin.load_state_dict(net.state_dict())
    names = ["fc", "layer1.conv1", "conv1", "layer1", "relu", ""]
    outputs: list[tuple[str, Array]] = []
    gradients: list[tuple[str, Array]] = []
    with nn.module_hooks(
        net,
        names,
        forward=lambda name, x, y: outputs.append((name, y.copy())),
        backward=lambda name, dy, dx: gradients.append((name, dy.copy())),
    ):
        y = net(images())
        dx = net.backward(upstream(y))
    assert [name for name, _ in outputs] == ["conv1", "relu", "layer1.conv1", "layer1", "fc", ""]
    assert [name for name, _ in gradients] == ["fc", "layer1.conv1", "layer1", "relu", "conv1", ""]

    # The same walk by hand, through layers that nobody looks at.
    hidden = dict(twin.named_modules())
    a = hidden["bn1"](hidden["conv1"](images()))
    b = hidden["layer1"](hidden["relu"](a))
    z = hidden["fc"](hidden["flatten"](hidden["pool"](b)))
    np.testing.assert_array_equal(dict(outputs)["layer1"], b)
    np.testing.assert_array_equal(dict(outputs)["fc"], z)
    db = hidden["pool"].backward(hidden["flatten"].backward(hidden["fc"].backward(upstream(z))))
    np.testing.assert_array_equal(dict(gradients)["layer1"], db)
    da = hidden["relu"].backward(hidden["layer1"].backward(db))
    np.testing.assert_array_equal(dx, hidden["conv1"].backward(hidden["bn1"].backward(da)))


def test_module_hooks_get_inputs_and_outputs() -> None:
    net, seen = network(), {}

    def look(name: str, entering: Array, leaving: Array) -> None:
        seen[name] = entering.copy(), leaving.copy()

    with nn.module_hooks(net, ["bn1", "relu"], forward=look):
        y = net(images())
    np.testing.assert_array_equal(seen["relu"][0], seen["bn1"][1])
    np.testing.assert_array_equal(seen["relu"][1], np.maximum(seen["relu"][0], 0))
    x = seen["relu"][0]
    with nn.module_hooks(net, ["bn1", "relu"], backward=look):
        net.backward(upstream(y))
    np.testing.assert_array_equal(seen["relu"][1], seen["bn1"][0])
    np.testing.assert_array_equal(seen["relu"][1], seen["relu"][0] * (x > 0))


def test_module_hooks_get_the_gradient_of_the_first_layer_in_backward_params() -> None:
    net = network()
    seen: list[str] = []
    with nn.module_hooks(net, ["conv1", "bn1"], backward=lambda name, dy, dx: seen.append(name)):
        net.backward_params(upstream(net(images())))
    assert seen == ["bn1", "conv1"]


def test_module_hooks_nest_and_are_removed() -> None:
    net = network()
    before = [dict(vars(module)) for module in net.modules()]
    seen: list[str] = []

    def outer(name: str, *arrays: Array) -> None:
        seen.append(f"outer {name}")

    def inner(name: str, *arrays: Array) -> None:
        seen.append(f"inner {name}")

    with nn.module_hooks(net, ["relu", "fc"], forward=outer):
        with nn.module_hooks(net, ["relu"], forward=inner):
            net.eval()(images())
        assert seen == ["outer relu", "inner relu", "outer fc"]
        net(images())
        assert seen[3:] == ["outer relu", "outer fc"]
    net.train()(images())
    assert len(seen) == 5
    for module, attributes in zip(net.modules(), before, strict=True):
        assert list(vars(module)) == list(attributes)
        assert not {"forward", "backward", "backward_params"} & set(vars(module))


def test_module_hooks_are_removed_after_an_error() -> None:
    net = network()

    def stop(name: str, *arrays: Array) -> None:
        raise RuntimeError(name)

    with pytest.raises(RuntimeError, match="relu"), nn.module_hooks(net, ["relu"], forward=stop):
        net(images())
    net(images())
    assert all("forward" not in vars(module) and "backward" not in vars(module) for module in net.modules())
