"""Planted faults of ReLU and dropout, in torch's functions."""

import pytest
import torch
from torch.nn import functional

import glassnet as gn
from tests.verify.golden.causes.torch_port import FUNCTIONS, Port, with_dtypes, with_gradient

SPEC = gn.spec("resnet20", blocks=1, width=4, image_size=8, dropout=0.3)
RELU, DROPOUT = "layer1.0.relu1", "dropout"

FORWARD = {
    "missing ReLU": lambda call, x: x * 1,
    "leaky ReLU": lambda call, x: functional.leaky_relu(x, 0.01),
    "leaky ReLU ": lambda call, x: functional.leaky_relu(x, 0.37),
}


@pytest.mark.parametrize(("key", "dtype"), with_dtypes(FORWARD))
def test_fault_of_a_relu_is_found_with_its_cause(key, dtype):
    assert Port(SPEC, dtype).diagnose({RELU: FORWARD[key]}) == (RELU, key.rstrip())


def test_relu_that_ends_at_6_is_found():
    port = Port(SPEC, changes={"bn1.weight": lambda gamma: gamma * 8})
    assert port.diagnose({"relu": lambda call, x: functional.relu6(x)}) == ("relu", "ReLU6")


def test_one_wrong_slope_is_not_taken_for_another_function():
    assert Port(SPEC).diagnose({RELU: lambda call, x: functional.gelu(x)}) == (RELU, "unknown")


@pytest.mark.parametrize("name", ["bn1", "layer1.0.sum", "layer1.0.bn1"])
def test_tensor_that_a_relu_in_place_has_overwritten_is_found(name):
    port = Port(SPEC, "float32")
    assert port.diagnose({name: overwritten}) == (name, "in-place ReLU")
    assert port.diagnose({"layer1.0.bn2": overwritten})[1] != "in-place ReLU"  # the sum reads it, no ReLU


def overwritten(call, *inputs):
    return functional.relu(FUNCTIONS[call.operation.kind](call, *inputs))


BACKWARD = {
    "missing ReLU mask": lambda call, dy, x: dy * 1,
    "ReLU mask of output gradient": lambda call, dy, x: dy * (dy > 0),
    "ReLU mask of output gradient ": lambda call, dy, x: dy * (dy > 0) * (x > 0),
}


@pytest.mark.parametrize(("name", "dtype"), with_dtypes([RELU, "layer2.0.relu"]))
@pytest.mark.parametrize("key", BACKWARD)
def test_fault_of_a_relus_gradient_is_found_with_its_cause(key, name, dtype):
    wrong = with_gradient(FUNCTIONS["ReLU"], BACKWARD[key])
    assert Port(SPEC, dtype).diagnose({name: wrong}) == (name, key.rstrip())


IN_TRAINING = {
    "evaluation mode": lambda call, x: x * 1,
    "dropout not scaled": lambda call, x: x * (call.mask > 0),
    "dropout scaled by p": lambda call, x: x * (call.mask > 0) / 0.3,
    "dropout mask": lambda call, x: x * call.mask.flip(0),
}


@pytest.mark.parametrize(("key", "dtype"), with_dtypes(IN_TRAINING))
def test_fault_of_dropout_is_found_with_its_cause(key, dtype):
    assert Port(SPEC, dtype).diagnose({DROPOUT: IN_TRAINING[key]}) == (DROPOUT, key)


IN_EVALUATION = {
    "training mode": lambda call, x: x * (torch.arange(x.numel()).reshape(x.shape) % 3 > 0) / 0.7,
    "dropout not scaled": lambda call, x: x * 0.7,
}


@pytest.mark.parametrize(("key", "dtype"), with_dtypes(IN_EVALUATION))
def test_fault_of_dropout_in_evaluation_mode_is_found_with_its_cause(key, dtype):
    port = Port(SPEC, dtype, training=False)
    assert port.diagnose({DROPOUT: IN_EVALUATION[key]}) == (DROPOUT, key)


GRADIENTS = {
    "missing dropout mask": lambda call, dy, x: dy * 1,
    "dropout not scaled": lambda call, dy, x: dy * (call.mask > 0),
    "dropout scaled by p": lambda call, dy, x: dy * (call.mask > 0) / 0.3,
}


@pytest.mark.parametrize(("key", "dtype"), with_dtypes(GRADIENTS))
def test_fault_of_dropouts_gradient_is_found_with_its_cause(key, dtype):
    wrong = with_gradient(FUNCTIONS["Dropout"], GRADIENTS[key])
    assert Port(SPEC, dtype).diagnose({DROPOUT: wrong}) == (DROPOUT, key)
