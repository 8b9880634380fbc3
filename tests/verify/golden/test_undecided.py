"""Gradients with several right answers are never wrong, and what goes beyond them is."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import glassnet as gn
from tests.verify.golden.causes.torch_port import FUNCTIONS, Port, with_gradient

APART = gn.spec("tiny")  # its pool reads what a ReLU has made, with many windows of zeros
OVERLAPPING = gn.spec("resnet18", blocks=[1], width=4, image_size=(18, 20), classes=5)
DTYPES = ("float64", "float32")
BIAS = "layer1.0.conv1.bias"
RELU = "layer1.0.relu1"


def windows(call, x):
    """Yield the output's index and the pixels of each window, row by row."""
    N, C, H, W = x.shape
    k, s, p = call.kernel_size, call.stride, call.padding
    for n, c in np.ndindex(N, C):
        for i, j in np.ndindex((H + 2 * p - k) // s + 1, (W + 2 * p - k) // s + 1):
            rows = range(max(i * s - p, 0), min(i * s - p + k, H))
            columns = range(max(j * s - p, 0), min(j * s - p + k, W))
            yield (n, c, i, j), [(n, c, row, column) for row in rows for column in columns]


def tied(choose):
    """Return max pooling whose gradient goes to ``choose(tied pixels)``: pairs of a pixel and its share."""

    def backward(call, dy, x):
        dx = torch.zeros_like(x)
        for index, pixels in windows(call, x):
            largest = max(x[pixel] for pixel in pixels)
            for pixel, share in choose([pixel for pixel in pixels if x[pixel] == largest]):
                dx[pixel] += share * dy[index]
        return dx

    return with_gradient(FUNCTIONS["MaxPool2d"], backward)


RULES = {
    "last": lambda pixels: [(pixels[-1], 1.0)],
    "equal shares": lambda pixels: [(pixel, 1 / len(pixels)) for pixel in pixels],
    "unequal shares": lambda pixels: [(pixels[0], 0.25), (pixels[-1], 0.75)],
}


@pytest.mark.parametrize(
    ("spec", "dtype"), [(APART, "float32"), (OVERLAPPING, "float64")], ids=["apart", "overlapping"]
)
@pytest.mark.parametrize("rule", RULES)
def test_other_tie_rules_are_right(rule, spec, dtype):
    assert Port(spec, dtype).diagnose({"pool": tied(RULES[rule])}) is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "choose",
    [
        lambda pixels: [(pixel, 1.0) for pixel in pixels],
        lambda pixels: [(pixels[0], 2.0), (pixels[-1], -1.0)],
        lambda pixels: [(pixels[0], float(len(pixels) == 1))],
    ],
    ids=["all ties", "outside of dy", "none"],
)
def test_gradients_at_ties_that_are_no_shares_of_dy_are_wrong(choose, dtype):
    assert Port(APART, dtype).diagnose({"pool": tied(choose)})[0] == "pool"


def relu_with_gradient_at_0(value):
    return with_gradient(FUNCTIONS["ReLU"], lambda call, dy, x: dy * (x > 0) + value * dy * (x == 0))


def zeros_before(name):
    """Return changes of the state that make half of the channels before a ReLU exactly 0."""

    def half(array):
        array = array.copy()
        array[::2] = 0
        return array

    return dict.fromkeys((f"{name}.weight", f"{name}.bias"), half)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_subgradients_at_0_are_right(value, dtype):
    port = Port(APART, dtype, changes=zeros_before("layer1.0.conv1"))
    assert port.diagnose({RELU: relu_with_gradient_at_0(value)}) is None


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_other_gradients_at_0_are_wrong(value):
    port = Port(APART, changes=zeros_before("layer1.0.conv1"))
    assert port.diagnose({RELU: relu_with_gradient_at_0(value)})[0] == RELU


def test_fault_beside_inputs_of_0_is_found():
    port = Port(APART, changes=zeros_before("layer1.0.conv1"))
    wrong = with_gradient(FUNCTIONS["ReLU"], lambda call, dy, x: dy * 1)
    assert port.diagnose({RELU: wrong}) == (RELU, "missing ReLU mask")


NO_GRADIENTS = ("gradients/layer1", "gradients/relu", "gradients/conv1", "gradients/pool", "gradients/flatten")


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_follow_from_an_undecided_choice_are_not_judged(dtype):
    """The dump lacks the gradients at the ReLU, so only those of parameters show what it does at 0."""
    port = Port(APART, dtype, changes=zeros_before("layer1.0.conv1"), dropped=NO_GRADIENTS)
    judgements = port.judge({RELU: relu_with_gradient_at_0(1.0)})
    assert all(judgement.row.passed for judgement in judgements)
    reasons = {j.tensor: j.row.not_judged for j in judgements if j.row.not_judged}
    assert reasons[f"train/gradients/{BIAS}"] == (
        f"it follows from what {RELU} chooses at a kink or a tie; "
        "the dump must have activation_gradients/layer1.0.conv1"
    )
    assert "train/gradients/fc.weight" not in reasons


def test_larger_fault_is_found_beyond_an_undecided_choice():
    port = Port(APART, "float32", changes=zeros_before("layer1.0.conv1"), dropped=NO_GRADIENTS)
    wrong = with_gradient(FUNCTIONS["ReLU"], lambda call, dy, x: 30 * dy)
    assert port.diagnose({RELU: wrong})[0] != "fc"


def flipped_relu(limit):
    """Return a ReLU whose inputs near 0 came out on the other side: so does another order of summation."""

    def forward(call, x):
        return functional.relu(torch.where(x.abs() < limit, -x, x))

    return with_gradient(forward, lambda call, dy, x: dy * (torch.where(x.abs() < limit, -x, x) > 0))


LIMIT = 1e-6


def near_kink(port):
    """Shift a bias so that one input of the ReLU in the middle is 1e-7."""
    x = port.run({}).outputs["layer1.0.conv1"]
    channel = 3
    nearest = x[:, channel].flat[np.abs(x[:, channel]).argmin()]
    shifted = port.given.state[BIAS].copy()
    shifted[channel] -= nearest - 1e-7

    return {BIAS: lambda bias: shifted}


def test_choice_near_a_kink_is_taken_over_from_the_ports_output():
    changes = near_kink(Port(APART, "float64"))
    port = Port(APART, "float32", changes=changes, dropped=("outputs/layer1.0.conv1",))
    assert port.diagnose({RELU: flipped_relu(LIMIT)}) is None


def test_choice_near_a_kink_is_not_judged_where_the_dump_lacks_both_tensors():
    changes = near_kink(Port(APART, "float64"))
    dropped = ("outputs/layer1.0.conv1", f"outputs/{RELU}", *NO_GRADIENTS)
    judgements = Port(APART, "float32", changes=changes, dropped=dropped).judge({RELU: flipped_relu(LIMIT)})
    assert all(judgement.row.passed for judgement in judgements)
    reasons = {j.tensor: j.row.not_judged for j in judgements if j.row.not_judged}
    assert "activations/layer1.0.conv1, activation_gradients/layer1.0.conv1" in reasons[f"train/gradients/{BIAS}"]
    assert "train/gradients/fc.weight" not in reasons
