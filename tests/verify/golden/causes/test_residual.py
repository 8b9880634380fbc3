"""Planted faults of residual blocks, in torch's functions."""

import pytest
import torch
from torch.nn import functional

import glassnet as gn
from tests.verify.golden.causes.torch_port import FUNCTIONS, Port, with_dtypes, with_gradient

SPECS = {
    "basic": gn.spec("resnet20", blocks=1, width=4, image_size=8),
    "projection": gn.spec("resnet20", blocks=1, width=4, image_size=8, shortcut="projection"),
    "pre-activation": gn.spec("resnet20", blocks=1, width=4, image_size=8, preactivation=True, shortcut="projection"),
    "bottleneck": gn.spec("resnet50", blocks=1, width=4, image_size=32, classes=5),
}


def total(change):
    return lambda call, shortcut, body: change(shortcut, body)


relu = functional.relu
SUMS = {
    "missing shortcut": total(lambda shortcut, body: body * 1),
    "missing body": total(lambda shortcut, body: shortcut * 1),
    "ReLU before addition": total(lambda shortcut, body: shortcut + relu(body)),
    "scaled sum": total(lambda shortcut, body: (shortcut + body) / 2),
}


@pytest.mark.parametrize(("network", "dtype"), with_dtypes(SPECS))
@pytest.mark.parametrize("key", SUMS)
def test_fault_of_a_sum_is_found_with_its_cause(key, network, dtype):
    spec = SPECS[network]
    name = "layer2.0" if spec.preactivation else "layer2.0.sum"
    assert Port(spec, dtype).diagnose({name: SUMS[key]}) == (name, key)


@pytest.mark.parametrize("network", ["basic", "projection"])
def test_early_relu_is_found_where_the_dump_has_no_sums(network):
    port = Port(SPECS[network], dropped=("outputs/layer2.0.sum", "outputs/layer2.0.shortcut", "outputs/layer2.0.relu"))
    replaced = {"layer2.0.sum": SUMS["ReLU before addition"], "layer2.0.relu": lambda call, x: x * 1}
    assert port.diagnose(replaced) == ("layer2.0.sum", "ReLU before addition")


@pytest.mark.parametrize(("network", "dtype"), with_dtypes(SPECS))
def test_missing_relu_after_a_sum_is_found(network, dtype):
    spec = SPECS[network]
    name = "layer2.0.relu2" if spec.preactivation else "layer2.0.relu"
    assert Port(spec, dtype).diagnose({name: lambda call, x: x * 1}) == (name, "missing ReLU")


LOST = {
    ("basic", "layer1.0.shortcut", "Identity"): "missing shortcut gradient",
    ("basic", "layer2.0.shortcut", "ZeroPadShortcut"): "missing shortcut gradient",
    ("projection", "layer2.0.downsample.0", "Conv2d"): "missing shortcut gradient",
    ("pre-activation", "layer2.0.downsample.0", "Conv2d"): "missing shortcut gradient",
    ("basic", "layer1.0.conv1", "Conv2d"): "missing body gradient",
    ("projection", "layer2.0.conv1", "Conv2d"): "missing body gradient",
    ("pre-activation", "layer2.0.bn1", "BatchNorm2d"): "missing body gradient",
    ("bottleneck", "layer1.0.conv1", "Conv2d"): "missing body gradient",
}


@pytest.mark.parametrize(("network", "name", "kind", "dtype"), with_dtypes(LOST))
def test_lost_gradient_of_a_path_is_found_where_the_path_begins(network, name, kind, dtype):

    def forget(call, x):
        y = x.detach().requires_grad_() if not call.operation.parameters else x.detach()
        return FUNCTIONS[kind](call, y)

    assert Port(SPECS[network], dtype).diagnose({name: forget}) == (name, LOST[network, name, kind])


@pytest.mark.parametrize(("lost", "key"), [(0, "missing shortcut gradient"), (1, "missing body gradient")])
@pytest.mark.parametrize(("network", "dtype"), with_dtypes(["projection", "bottleneck"]))
def test_gradient_that_a_sum_loses_is_found_there(network, lost, key, dtype):
    def backward(call, dy, *inputs):
        return tuple(dy * 0 if index == lost else dy for index in range(2))

    port = Port(SPECS[network], dtype)
    assert port.diagnose({"layer2.0.sum": with_gradient(FUNCTIONS["Sum"], backward)}) == ("layer2.0.sum", key)


def test_scaled_gradient_of_a_sum_is_found():
    halved = with_gradient(FUNCTIONS["Sum"], lambda call, dy, *inputs: (dy / 2, dy / 2))
    assert Port(SPECS["projection"]).diagnose({"layer2.0.sum": halved}) == ("layer2.0.sum", "scaled sum")


# Option A.


def padded(before, pixels=None):
    def function(call, x):
        fewer = x[:, :, :: call.stride, :: call.stride] if pixels is None else pixels(x)
        new = call.out_channels - x.shape[1]
        first = new // 2 if before is None else before * new
        return functional.pad(fewer, (0, 0, 0, 0, first, new - first))

    return function


OPTION_A = {
    "zero-pad side": padded(0),
    "zero-pad side ": padded(1),
    "subsampling phase": padded(None, lambda x: x[:, :, 1::2, 1::2]),
    "average instead of subsampling": padded(None, lambda x: functional.avg_pool2d(x, 2)),
    "maximum instead of subsampling": padded(None, lambda x: functional.max_pool2d(x, 2)),
}


@pytest.mark.parametrize(("key", "dtype"), with_dtypes(OPTION_A))
def test_fault_of_option_a_is_found_with_its_cause(key, dtype):
    port = Port(SPECS["basic"], dtype)
    assert port.diagnose({"layer2.0.shortcut": OPTION_A[key]}) == ("layer2.0.shortcut", key.rstrip())


@pytest.mark.parametrize("key", OPTION_A)
def test_fault_of_option_as_gradient_is_found_with_its_cause(key):
    def backward(call, dy, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(OPTION_A[key](call, x), x, dy)

    port = Port(SPECS["basic"])
    wrong = with_gradient(FUNCTIONS["ZeroPadShortcut"], backward)
    assert port.diagnose({"layer2.0.shortcut": wrong}) == ("layer2.0.shortcut", key.rstrip())


# Other tensors.


@pytest.mark.parametrize(
    ("network", "name", "source", "dtype"),
    with_dtypes(
        [
            ("pre-activation", "layer1.0.shortcut", "layer1.0.relu1"),
            ("pre-activation", "layer2.0.downsample.0", "layer2.0.relu1"),
            ("basic", "layer1.0.shortcut", "bn1"),
            ("basic", "layer1.0.conv2", "layer1.0.bn1"),
            ("projection", "layer2.0.downsample.1", "layer2.0.bn2"),
        ]
    ),
)
def test_operation_on_another_tensor_is_found(network, name, source, dtype):
    seen = {}

    def remember(kind):
        def function(call, x):
            seen[call.operation.name] = FUNCTIONS[kind](call, x)
            return seen[call.operation.name]

        return function

    port = Port(SPECS[network], dtype)
    kinds = {op.name: op.kind for op in port.operations}
    replaced = {
        source: remember(kinds[source]),
        name: lambda call, x: FUNCTIONS[kinds[name]](call, seen[source]),
    }
    assert port.diagnose(replaced) == (name, "wrong tensor")


def test_projection_without_its_batch_norm_is_found():
    port = Port(SPECS["projection"])
    assert port.diagnose({"layer2.0.downsample.1": lambda call, x: x * 1}) == (
        "layer2.0.downsample.1",
        "missing BatchNorm",
    )
