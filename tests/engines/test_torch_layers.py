"""The PyTorch engine's own layers against the NumPy engine's of the same name."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from glassnet import nn
from glassnet.engines import torch_layers
from tests.engines.oracle import Array, tensor


def both(name: str, *arguments: Any, **options: Any) -> tuple[Any, Any]:
    """The layer in both engines, in float64, with equal weights."""
    ours, theirs = (getattr(namespace, name)(*arguments, **options) for namespace in (nn, torch_layers))
    return ours, theirs


def random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape)


def assert_same(ours: nn.Module, theirs: torch.nn.Module, x: Array) -> None:
    """Equal outputs and gradients, in both modes, by the same keys."""
    ours.to(np.float64)
    theirs.double()
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    for array in state.values():
        if array.dtype.kind == "f":
            array[...] = np.random.default_rng(1).uniform(0.5, 1.5, array.shape)
    ours.load_state_dict(state)
    theirs.load_state_dict({key: tensor(array) for key, array in state.items()})
    np.testing.assert_allclose(ours.eval()(x), theirs.eval()(tensor(x)).detach().numpy(), rtol=0, atol=1e-12)
    y, given = ours.train()(x), tensor(x).requires_grad_()
    their_y = theirs.train()(given)
    np.testing.assert_allclose(y, their_y.detach().numpy(), rtol=0, atol=1e-12)
    dy = random(*y.shape)
    their_y.backward(tensor(dy))
    np.testing.assert_allclose(ours.backward(dy), given.grad.numpy(), rtol=0, atol=1e-12)
    for key, parameter in theirs.named_parameters():
        np.testing.assert_allclose(dict(ours.named_parameters())[key].grad, parameter.grad.numpy(), rtol=0, atol=1e-11)


def test_every_name_that_assemble_uses_is_there() -> None:
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    layers &= {name for name in dir(torch.nn) if isinstance(getattr(torch.nn, name), type)} | {"Residual"}
    assert set(torch_layers.__all__) >= layers - {"CrossEntropyLoss", "Module", "Parameter"}
    assert "ZeroPadShortcut" in torch_layers.__all__


def body(namespace: Any) -> Any:
    layers = {
        "conv1": namespace.Conv2d(3, 3, 3, padding=1, bias=False),
        "bn1": namespace.BatchNorm2d(3),
        "relu1": namespace.ReLU(),
        "conv2": namespace.Conv2d(3, 3, 3, padding=1),
    }
    return namespace.Sequential(OrderedDict(layers))


SHORTCUTS: dict[str, Any] = {
    "identity": lambda namespace: namespace.Identity(),
    "projection": lambda namespace: namespace.Sequential(namespace.Conv2d(3, 3, 1, bias=False)),
    "plain": lambda namespace: None,
}


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("activated", [True, False])
def test_residual(shortcut: str, activated: bool) -> None:
    ours, theirs = (
        namespace.Residual(body(namespace), SHORTCUTS[shortcut](namespace), namespace.ReLU() if activated else None)
        for namespace in (nn, torch_layers)
    )
    assert [name for name, _ in ours.named_children()] == [name for name, _ in theirs.named_children()]
    assert_same(ours, theirs, random(2, 3, 5, 4))


@pytest.mark.parametrize("arguments", [(3, 6, 2), (2, 5, 2), (4, 4, 1), (3, 7, 3)])
def test_zero_pad_shortcut(arguments: tuple[int, int, int]) -> None:
    assert_same(*both("ZeroPadShortcut", *arguments), random(2, arguments[0], 5, 6))


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 4, 5)])
def test_dropout(p: float, shape: tuple[int, ...]) -> None:
    ours, theirs = both("Dropout", p)
    ours.generator, theirs.generator = np.random.default_rng(3), np.random.default_rng(3)
    assert_same(ours, theirs, random(*shape))
    assert ours.generator.bit_generator.state == theirs.generator.bit_generator.state


@pytest.mark.parametrize("channels", [2, 4, 5, 12, 16])
@pytest.mark.parametrize("stride", [(2, 2), (1, 3), (1, 1)])
def test_a_strided_kernel_of_one_pixel(channels: int, stride: tuple[int, int]) -> None:
    assert_same(*both("Conv2d", channels, 2 * channels, 1, stride), random(2, channels, 7, 6))


def test_a_strided_kernel_of_one_pixel_over_few_channels_in_float32() -> None:
    """torch.nn.Conv2d ends the process here, or gives wrong gradients, on some processors (oneDNN #6035)."""
    x = tensor(random(4, 4, 16, 16)).float().to(memory_format=torch.channels_last)
    theirs = torch_layers.Conv2d(4, 8, 1, stride=2, bias=False).to(memory_format=torch.channels_last)
    torch.nn.init.normal_(theirs.weight)
    for _ in range(20):
        theirs.zero_grad()
        theirs(x).square().sum().backward()
    ours = nn.Conv2d(4, 8, 1, stride=2, bias=False)
    ours.load_state_dict({"weight": theirs.weight.detach().numpy()})
    y = ours(x.numpy())
    ours.backward(2 * y)
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-4)
