import re
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from glassnet import nn
from glassnet.errors import ConfigError, ShapeError
from tests.nn.oracle import Array, TorchZeroPad, parity


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


class TorchResidual(torch.nn.Module):
    """The oracle's block, in autograd's words."""

    def __init__(self, body: Any, shortcut: Any, activation: Any) -> None:
        super().__init__()
        self.body = [name for name, _ in body.named_children()]
        for name, layer in body.named_children():
            self.add_module(name, layer)
        if shortcut is not None:
            has_parameters = any(True for _ in shortcut.parameters())
            self.add_module("downsample" if has_parameters else "shortcut", shortcut)
        self.carry, self.activation = (lambda x: shortcut(x)) if shortcut else None, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for name in self.body:
            y = self.get_submodule(name)(y)
        y = y if self.carry is None else y + self.carry(x)
        return y if self.activation is None else self.activation(y)


def blocks(layers: Any, residual: Any, zero_pad: Any, kind: str) -> Any:
    """The same block from either namespace."""
    stride, out = (1, 2) if kind in ("identity", "plain", "no activation") else (2, 5)
    body = OrderedDict(
        conv1=layers.Conv2d(2, 3, 3, stride, 1, bias=False), bn1=layers.BatchNorm2d(3), relu1=layers.ReLU()
    )
    body |= OrderedDict(conv2=layers.Conv2d(3, out, 3, 1, 1))
    shortcut = {
        "identity": layers.Identity,
        "plain": lambda: None,
        "no activation": layers.Identity,
        "projection": lambda: layers.Sequential(layers.Conv2d(2, out, 1, stride, bias=False), layers.BatchNorm2d(out)),
        "zero-pad": lambda: zero_pad(2, out, stride),
    }[kind]()
    return residual(layers.Sequential(body), shortcut, None if kind == "no activation" else layers.ReLU())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["identity", "plain", "no activation", "projection", "zero-pad"])
def test_residual_is_what_autograd_makes_of_it(kind: str, training: bool) -> None:
    ours = blocks(nn, nn.Residual, nn.ZeroPadShortcut, kind).train(training)
    theirs = blocks(torch.nn, TorchResidual, TorchZeroPad, kind)
    parity(ours, theirs, normal(3, 2, 6, 5), batches=2)


def test_residual_of_identities_doubles_x_and_dy() -> None:
    block = nn.Residual(nn.Sequential(nn.Identity()), nn.Identity(), None)
    x, dy = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1)
    np.testing.assert_array_equal(block(x), 2 * x)
    np.testing.assert_array_equal(block.backward(dy), 2 * dy)


@pytest.mark.parametrize("shortcut", [nn.Identity(), nn.Sequential(), nn.Sequential(nn.Identity()), None])
def test_residual_leaves_its_arguments_unchanged(shortcut: nn.Module | None) -> None:
    block = nn.Residual(nn.Sequential(nn.Identity()), shortcut, None)
    x, dy = np.random.default_rng(0).standard_normal((2, 2, 3, 4, 4))
    before = x.copy(), dy.copy()
    y = block(x)
    dx = block.backward(dy)
    np.testing.assert_array_equal(y, x if shortcut is None else 2 * x)
    np.testing.assert_array_equal(dx, dy if shortcut is None else 2 * dy)
    np.testing.assert_array_equal((x, dy), before)


def test_residual_takes_an_empty_sequential_as_shortcut() -> None:
    block = nn.Residual(nn.Sequential(nn.Identity()), nn.Sequential(), None)
    x, dy = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1)
    np.testing.assert_array_equal(block(x), 2 * x)
    np.testing.assert_array_equal(block.backward(dy), 2 * dy)
    np.testing.assert_array_equal(x, normal(2, 3, 4, 4))
    np.testing.assert_array_equal(dy, normal(2, 3, 4, 4, seed=1))


def test_residual_children_have_torchs_names() -> None:
    projection = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4))
    body = nn.Sequential(OrderedDict(conv1=nn.Conv2d(2, 4, 1), bn1=nn.BatchNorm2d(4)))
    assert [name for name, _ in nn.Residual(body, projection, nn.ReLU()).named_modules()] == [
        *["", "conv1", "bn1", "downsample", "downsample.0", "downsample.1", "relu"]
    ]
    assert [name for name, _ in nn.Residual(body, nn.Identity(), nn.ReLU()).named_children()] == [
        *["conv1", "bn1", "shortcut", "relu"]
    ]
    assert [name for name, _ in nn.Residual(body, None, None).named_children()] == ["conv1", "bn1"]


def networks(layers: Any) -> Any:
    named = OrderedDict(
        conv1=layers.Conv2d(2, 4, 3, padding=1, bias=False),
        bn1=layers.BatchNorm2d(4),
        relu=layers.ReLU(),
        layer1=layers.Sequential(layers.Conv2d(4, 4, 3, 2), layers.ReLU(), layers.AvgPool2d(2)),
        pool=layers.MaxPool2d(2),
        flatten=layers.Flatten(),
        fc=layers.Linear(4, 5),
    )
    return layers.Sequential(named)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_whole_network_is_torchs_keys_order_and_values(dtype: type) -> None:
    network = networks(nn)
    parity(network, networks(torch.nn), normal(6, 2, 10, 11).astype(dtype), batches=3)
    expected = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"]
    expected += ["bn1.num_batches_tracked", "layer1.0.weight", "layer1.0.bias", "fc.weight", "fc.bias"]
    assert list(network.state_dict()) == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [([[nn.ReLU()]], "Got list as 0."), ([nn.ReLU(), None], "Got NoneType as 1."), ([{"fc": 3}], "Got int as 'fc'.")],
)
def test_sequential_refuses_arguments_that_are_no_layers(given: list[Any], told: str) -> None:
    told = f"arguments of Sequential must be layers, or one dict of layers. {told}"
    with pytest.raises(ConfigError, match=re.escape(told)):
        nn.Sequential(*given)


@pytest.mark.parametrize("name", ["", "_conv", "a.b", "forward", "training", "kernels"])
def test_sequential_refuses_reserved_names(name: str) -> None:
    with pytest.raises(ConfigError, match="name of a layer in Sequential must not be empty, ") as error:
        nn.Sequential({name: nn.ReLU()})
    assert str(error.value).endswith(f"Got {name!r}.")


def test_sequential_numbers_layers_without_names() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert [name for name, _ in network.named_children()] == ["0", "1", "2"]


def test_shape_error_has_the_dotted_path_of_the_layer() -> None:
    inner = nn.Residual(nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 3, 3))), None, nn.ReLU())
    network = nn.Sequential(OrderedDict(stem=nn.Identity(), layer1=nn.Sequential(nn.Identity(), inner)))
    message = "layer1.1.conv1: input of Conv2d must have shape (N, 3, H, W). Got (2, 4, 8, 8)."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        network(np.zeros((2, 4, 8, 8)))
    projected = nn.Residual(nn.Sequential(nn.Identity()), nn.Sequential(nn.Conv2d(3, 3, 1)), None)
    with pytest.raises(ShapeError, match=r"^block\.downsample\.0: input of Conv2d must"):
        nn.Sequential(OrderedDict(block=projected))(np.zeros((2, 4, 8, 8)))


def test_residual_refuses_a_body_and_a_shortcut_of_different_shapes() -> None:
    block = nn.Residual(nn.Sequential(nn.Conv2d(3, 3, 3)), nn.Identity(), nn.ReLU())
    message = "0: body and shortcut of Residual must give the same shape. Got (2, 3, 6, 6) and (2, 3, 8, 8)."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        nn.Sequential(block)(np.zeros((2, 3, 8, 8)))


def test_residual_refuses_a_body_with_a_reserved_name() -> None:
    message = "names in body of Residual must not be ['shortcut', 'relu']. Got ['relu']."
    with pytest.raises(ConfigError, match=re.escape(message)):
        nn.Residual(nn.Sequential(OrderedDict(relu=nn.ReLU())), nn.Identity(), nn.ReLU())
