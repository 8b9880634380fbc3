"""The cases of single operations: what they cover, and that the reference computes them as torch does."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF  # noqa: N812

from glassnet.verify import layers
from glassnet.verify.golden.evaluation import PassEvaluation, PassInputs, PortTensors
from glassnet.verify.golden.operation_cases import OperationCase, operation_cases
from glassnet.verify.golden.reference import compute

CASES = operation_cases()


def test_operation_cases_have_every_single_layer_of_the_table() -> None:
    composed = {name for name in layers.CASES if name.startswith(("Residual", "Sequential"))}
    assert layers.CASES.keys() - composed <= CASES.keys()
    assert {case.operation.kind for case in CASES.values()} >= {"Sum", "CrossEntropyLoss", "ZeroPadShortcut", "Dropout"}


def test_operation_cases_of_another_seed_have_other_numbers() -> None:
    other = operation_cases(seed=1)
    assert not np.array_equal(other["Conv2d"].inputs["input"], CASES["Conv2d"].inputs["input"])


def test_operation_cases_do_not_depend_on_each_other() -> None:
    """Removing a case leaves the numbers of the others as they are."""
    assert all(
        np.array_equal(case.output_gradient, operation_cases()[name].output_gradient) for name, case in CASES.items()
    )


def in_torch(case: OperationCase, x: torch.Tensor, weights: dict[str, torch.Tensor]) -> Any:
    """Return the output of torch's own operation."""
    attributes: dict[str, Any] = dict(case.operation.attributes)
    w, b = weights.get("layer.weight"), weights.get("layer.bias")
    match case.operation.kind:
        case "Conv2d":
            rest = {key: attributes[key] for key in ("stride", "padding", "dilation")}
            return TF.conv2d(x, w, b, **rest)  # type: ignore[arg-type]
        case "Linear":
            return TF.linear(x, w, b)  # type: ignore[arg-type]
        case "BatchNorm2d":
            return TF.batch_norm(x, None, None, w, b, training=True, eps=attributes["eps"])
        case "MaxPool2d":
            return TF.max_pool2d(x, **attributes)
        case "AvgPool2d":
            return TF.avg_pool2d(x, **attributes)
        case "AdaptiveAvgPool2d":
            return TF.adaptive_avg_pool2d(x, 1)
        case "CrossEntropyLoss":
            weight = None if case.class_weights is None else torch.tensor(case.class_weights)
            return TF.cross_entropy(x, torch.tensor(case.labels), weight=weight, label_smoothing=case.label_smoothing)
    return TF.relu(x)


KINDS_OF_TORCH = [
    "Conv2d",
    "Linear",
    "BatchNorm2d",
    "MaxPool2d",
    "AvgPool2d",
    "AdaptiveAvgPool2d",
    "CrossEntropyLoss",
    "ReLU",
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.operation.kind in KINDS_OF_TORCH])
def test_operations_are_torchs(name: str) -> None:
    case = CASES[name]
    x = torch.tensor(case.inputs["input"], requires_grad=True)
    weights = {key: torch.tensor(case.state[key], requires_grad=True) for key in case.operation.parameters}
    y = in_torch(case, x, weights)
    y.backward(torch.tensor(case.output_gradient))
    computed = compute(case.site())
    gradients = computed.backward(case.output_gradient)
    np.testing.assert_allclose(computed.output, y.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradients.inputs[0], x.grad.numpy(), rtol=1e-11, atol=1e-12)  # type: ignore[union-attr]
    for key, weight in weights.items():
        np.testing.assert_allclose(gradients.parameters[key], weight.grad.numpy(), rtol=1e-11, atol=1e-12)  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pooled_windows_have_numbers_that_are_not_finite(value: float) -> None:
    output = compute(CASES["MaxPool2d, infinities and NaN"].site()).output
    assert np.isnan(output).sum() == 2
    assert np.isinf(output).sum() == 1


@pytest.mark.parametrize("name", CASES)
def test_evaluation_of_a_single_operation_is_the_reference(name: str) -> None:
    case = CASES[name]
    inputs = dict(case.inputs)
    given = PassInputs(
        inputs.pop("input"),
        case.labels if case.labels is not None else np.zeros(0, np.int64),
        case.state,
        masks={} if case.mask is None else {case.operation.name: case.mask},
        label_smoothing=case.label_smoothing,
        class_weights=case.class_weights,
        added=inputs,
        output_gradients={case.operation.name: case.output_gradient},
    )
    evaluation = PassEvaluation((case.operation,), given, PortTensors())
    computed = compute(case.site())
    np.testing.assert_array_equal(evaluation.expected(case.operation.name), computed.output)
    expected = computed.backward(case.output_gradient)
    for source, gradient in zip(case.operation.inputs, expected.inputs, strict=True):
        np.testing.assert_array_equal(evaluation.expected_gradient(source), gradient)


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("infinities and NaN")])
def test_cases_that_are_not_finite_reach_the_output(name: str) -> None:
    case = CASES[name]
    output = compute(case.site()).output
    assert np.isnan(output).any()
    assert np.isinf(output).any()
    assert case.operation.kind != "ReLU" or (case.inputs["input"] == 0).any()  # and its kink
