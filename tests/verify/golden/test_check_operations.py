"""Single operations of a port, judged at once: a port in PyTorch, and faults planted in it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF  # noqa: N812

from glassnet.verify.golden import Bundle, check, write_layers
from glassnet.verify.golden.operation_bundles import collection_names

Tensors = dict[str, torch.Tensor]
Function = Callable[[Tensors, dict[str, Any]], torch.Tensor]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layers(tmp_path_factory.mktemp("golden") / "layers")


def zero_pad(t: Tensors, a: dict[str, Any]) -> torch.Tensor:
    new = a["out_channels"] - a["in_channels"]
    return TF.pad(t["input"][:, :, :: a["stride"], :: a["stride"]], (0, 0, 0, 0, new // 2, new - new // 2))


def conv(t: Tensors, a: dict[str, Any]) -> torch.Tensor:
    w, b = t["layer.weight"], t.get("layer.bias")
    return TF.conv2d(t["input"], w, b, a["stride"], a["padding"], a["dilation"])


def batch_norm(t: Tensors, a: dict[str, Any]) -> torch.Tensor:
    return TF.batch_norm(t["input"], None, None, t.get("layer.weight"), t.get("layer.bias"), True, eps=a["eps"])


def loss(t: Tensors, a: dict[str, Any]) -> torch.Tensor:
    return TF.cross_entropy(t["input"], t["labels"], t.get("class_weights"), label_smoothing=a["label_smoothing"])


PORT: dict[str, Function] = {
    "Conv2d": conv,
    "BatchNorm2d": batch_norm,
    "ReLU": lambda t, a: TF.relu(t["input"]),
    "MaxPool2d": lambda t, a: TF.max_pool2d(t["input"], **a),
    "AvgPool2d": lambda t, a: TF.avg_pool2d(t["input"], **a),
    "AdaptiveAvgPool2d": lambda t, a: t["input"].mean((2, 3), keepdim=True),
    "Flatten": lambda t, a: t["input"].flatten(1),
    "Linear": lambda t, a: TF.linear(t["input"], t["layer.weight"], t.get("layer.bias")),
    "Dropout": lambda t, a: t["input"] * t["mask"],
    "Identity": lambda t, a: t["input"] * 1,
    "ZeroPadShortcut": zero_pad,
    "Sum": lambda t, a: t["input"] + t["added"],
    "CrossEntropyLoss": loss,
}


def computed(bundle: Bundle, function: Function, dtype: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Compute an operation and its gradients with torch."""
    (operation,) = bundle.operations
    tensors = {name.removeprefix("inputs/"): bundle.tensor(name) for name in bundle.names if name.startswith("inputs/")}
    port = {key.removeprefix("state/"): torch.tensor(array) for key, array in tensors.items()}
    port = {key: array.to(dtype) if array.is_floating_point() else array for key, array in port.items()}
    port["mask"] = port.get(f"dropout/{operation.name}", torch.ones(1))
    leaves = [key for key in (*operation.inputs, *operation.parameters) if key in port]
    for key in leaves:
        port[key].requires_grad_()
    output = function(port, dict(operation.attributes))
    torch.autograd.backward([output], [port["output_gradient"]])
    yield ("train/loss" if operation.name == "loss" else "train/activations/layer"), output.detach().numpy()
    for key in leaves:
        group = "activation_gradients" if key in operation.inputs else "gradients"
        yield f"train/{group}/{key}", port[key].grad.numpy()  # type: ignore[union-attr]


def dump(reference: Path, path: Path, names: list[str], faults: dict[str, Function], dtype: Any) -> Path:
    """Let the port compute some operations."""
    arrays: dict[str, Any] = {}
    for name in names:
        bundle = Bundle.read(reference / name)
        function = faults.get(name, PORT[bundle.operations[0].kind])
        arrays |= {f"{name}/{key}": array for key, array in computed(bundle, function, dtype)}
    np.savez(path, **arrays)
    return path


pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_operations_of_a_healthy_port_pass(reference: Path, tmp_path: Path, dtype: Any) -> None:
    names = collection_names(reference) or []
    report = check(reference, dump(reference, tmp_path / "port.npz", names, {}, dtype))
    assert report.passed, report.sentences
    assert {row.tensor.partition("/")[0] for row in report.rows} == set(names)


FAULTS: dict[str, tuple[Function, str]] = {
    "conv2d-stride-2": (lambda t, a: conv(t | {"layer.weight": t["layer.weight"].flip(2, 3)}, a), "flipped kernel"),
    "batchnorm2d": (lambda t, a: batch_norm(t, a | {"eps": 1e-3}), "eps value"),
    "avgpool2d-padding-not-counted": (
        lambda t, a: TF.avg_pool2d(t["input"], **(a | {"count_include_pad": True})),
        "padding counted",
    ),
    "avgpool2d-overlapping": (
        lambda t, a: TF.avg_pool2d(t["input"], **(a | {"count_include_pad": False})),
        "padding not counted",
    ),
    "crossentropyloss-label-smoothing": (lambda t, a: loss(t, a | {"label_smoothing": 0.0}), "label smoothing"),
    "dropout": (lambda t, a: t["input"] * (t["mask"] > 0), "dropout not scaled"),
    "maxpool2d-infinities-and-nan": (
        lambda t, a: TF.max_pool2d(t["input"].nan_to_num(-1e9, torch.inf, -torch.inf), **a),
        "unknown",
    ),
    "sum": (lambda t, a: t["added"] * 1 + 0 * t["input"], "missing shortcut"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_in_its_operation_alone(reference: Path, tmp_path: Path, name: str) -> None:
    function, cause = FAULTS[name]
    names = ["relu", name, "linear"]
    report = check(reference, dump(reference, tmp_path / "port.npz", names, {name: function}, torch.float64))
    assert {row.tensor.partition("/")[0] for row in report.failing} == {name}
    assert report.first is not None
    assert report.first.tensor.startswith(f"{name}/")
    assert report.cause == cause
