"""Planted faults of the loss, in torch's functions."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import glassnet as gn
from tests.verify.golden.causes.torch_port import FUNCTIONS, Port, with_dtypes, with_gradient

SPEC = gn.spec("tiny")
K = SPEC.classes
DTYPES = ("float64", "float32")
WEIGHTS = np.linspace(0.3, 2, K) ** 2
PLAIN, SMOOTHED, WEIGHTED = {}, {"smoothing": 0.2}, {"class_weights": WEIGHTS}


def of_targets(change):
    """Return the mean cross-entropy with targets changed from the one-hot ones."""

    def loss(call, z):
        targets = change(functional.one_hot(call.labels, K).to(z.dtype), call.smoothing)
        return -(targets * torch.log_softmax(z, 1)).sum() / len(z)

    return loss


LOSSES = {
    "softmax twice": (lambda call, z: functional.cross_entropy(z.softmax(1), call.labels), PLAIN),
    "summed loss": (lambda call, z: functional.cross_entropy(z, call.labels, reduction="sum"), PLAIN),
    "label smoothing": (lambda call, z: functional.cross_entropy(z, call.labels), SMOOTHED),
    "label smoothing ": (of_targets(lambda t, e: (1 - e) * t + (1 - t) * e / (K - 1)), SMOOTHED),
    "label smoothing  ": (of_targets(lambda t, e: (1 - e) * t), SMOOTHED),
    "label smoothing   ": (of_targets(lambda t, e: 0.9 * t + 0.1 / K), PLAIN),
    "one-hot off by one": (lambda call, z: functional.cross_entropy(z, (call.labels + 1) % K), PLAIN),
    "one-hot off by one ": (lambda call, z: functional.cross_entropy(z, (call.labels - 1) % K), PLAIN),
    "class weights": (lambda call, z: functional.cross_entropy(z, call.labels), WEIGHTED),
    "class weights ": (
        lambda call, z: functional.cross_entropy(z, call.labels, call.class_weights, reduction="sum") / len(z),
        WEIGHTED,
    ),
    "mean over classes": (lambda call, z: functional.cross_entropy(z, call.labels) / K, PLAIN),
    "logarithm base": (lambda call, z: functional.nll_loss(z.softmax(1).log2(), call.labels), PLAIN),
    "logarithm base ": (lambda call, z: functional.nll_loss(z.softmax(1).log10(), call.labels), PLAIN),
    "missing log-softmax": (lambda call, z: functional.nll_loss(z, call.labels), PLAIN),
    "missing logarithm": (lambda call, z: functional.nll_loss(z.softmax(1), call.labels), PLAIN),
}


@pytest.mark.parametrize(("name", "dtype"), with_dtypes(LOSSES))
def test_fault_of_the_loss_is_found_with_its_cause(name, dtype):
    loss, options = LOSSES[name]
    assert Port(SPEC, dtype, **options).diagnose({"loss": loss}) == ("loss", name.rstrip())


@pytest.mark.parametrize(("name", "dtype"), with_dtypes(LOSSES))
def test_fault_of_the_losss_gradient_is_found_with_its_cause(name, dtype):
    loss, options = LOSSES[name]

    def backward(call, dy, z):
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return torch.autograd.grad(loss(call, z), z, dy)

    key = "missing mean" if name == "summed loss" else name.rstrip()
    wrong = with_gradient(FUNCTIONS["CrossEntropyLoss"], backward)
    assert Port(SPEC, dtype, **options).diagnose({"loss": wrong}) == ("loss", key)


def test_gradient_without_the_target_is_found():
    wrong = with_gradient(FUNCTIONS["CrossEntropyLoss"], lambda call, dy, z: dy * z.softmax(1) / len(z))
    assert Port(SPEC, "float32").diagnose({"loss": wrong}) == ("loss", "missing target")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [PLAIN, SMOOTHED, WEIGHTED, {**SMOOTHED, **WEIGHTED}])
def test_right_loss_passes(options, dtype):
    assert Port(SPEC, dtype, **options).diagnose({}) is None
