"""Tests of the exercises whose answer is a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn
from glassnet.course import check
from glassnet.errors import ConfigError

TINY = gn.spec("tiny")


def block(shortcut: bool = True, norm: bool = False, channels: int = 8) -> nn.Residual:
    layers: dict[str, nn.Module] = {}
    for number in (1, 2):
        layers[f"conv{number}"] = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        if norm:
            layers[f"bn{number}"] = nn.BatchNorm2d(channels)
        if number == 1:
            layers["relu1"] = nn.ReLU()
    return nn.Residual(nn.Sequential(layers), nn.Identity() if shortcut else None, nn.ReLU())


def network(*middle: nn.Module, stem: tuple[nn.Module, ...] = (), head: tuple[nn.Module, ...] = ()) -> nn.Sequential:
    first = stem or (nn.Conv2d(1, 8, 3, padding=1),)
    last = head or (nn.Flatten(), nn.Linear(128, 10))
    return nn.Sequential(*first, nn.ReLU(), *middle, *last)


class LeakyBlock(nn.Residual):
    def backward(self, dy: Any) -> Any:
        return super().backward(dy) + dy


class BrokenBlock(nn.Residual):
    def backward(self, dy: Any) -> Any:
        raise KeyError("dx")


def wrong_block(kind: Any) -> nn.Residual:
    body = nn.Sequential({"a": nn.Conv2d(8, 8, 3, padding=1), "b": nn.ReLU(), "c": nn.Conv2d(8, 8, 3, padding=1)})
    result: nn.Residual = kind(body, nn.Identity(), nn.ReLU())
    return result


shared = block()
strided = nn.Conv2d(8, 8, 3, stride=2, padding=1)

RIGHT: list[tuple[str, Any]] = [
    ("second_block", gn.spec("tiny", blocks=2)),
    ("second_block", lambda: gn.spec("tiny", blocks=2)),
    ("second_block", lambda: gn.build(gn.spec("tiny", blocks=2))),
    ("second_block", network(block(), block(), nn.MaxPool2d(2))),
    ("strided_convolution", gn.spec("tiny", pool="stride")),
    ("strided_convolution", lambda: network(block(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU())),
    ("strided_convolution", lambda: network(block(), nn.Conv2d(8, 8, 2, stride=2))),
    ("dropout_in_head", gn.spec("tiny", dropout=0.5)),
    ("dropout_in_head", lambda: network(block(), nn.MaxPool2d(2), nn.Dropout(0.2))),
    ("batch_norm_in_network", gn.spec("tiny", norm="batch")),
    (
        "batch_norm_in_network",
        lambda: network(
            block(norm=True),
            nn.MaxPool2d(2),
            stem=(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)),
        ),
    ),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_check_accepts_a_network_with_the_change(name: str, answer: Any) -> None:
    feedback = check(name, answer)
    assert feedback.passed, feedback.hint


def raises() -> Any:
    return gn.spec("tiny", blocks="two")


WRONG: list[tuple[str, Any, str]] = [
    ("second_block", TINY, "The network must have two residual blocks. Got 1."),
    ("second_block", gn.spec("tiny", blocks=3), "The network must have two residual blocks. Got 3."),
    ("second_block", gn.spec("tiny", blocks=2, skip=False), "A block has no shortcut: its output is F(x)"),
    ("second_block", gn.spec("tiny", blocks=(1, 1)), "The second block must be like the first"),
    ("second_block", gn.spec("tiny", blocks=2, width=16), "The second block must be like the first"),
    ("second_block", network(shared, shared, nn.MaxPool2d(2)), "A layer runs twice in one pass."),
    ("second_block", network(block(), nn.MaxPool2d(2), block()), "The second block must be like the first, and come"),
    ("second_block", network(block(), wrong_block(LeakyBlock), nn.MaxPool2d(2)), "the gradient of "),
    ("second_block", network(block(), wrong_block(BrokenBlock), nn.MaxPool2d(2)), "KeyError: 'dx'. Fault: 3 (Broken"),
    ("second_block", network(block(), nn.Conv2d(8, 8, 3, padding=1), nn.MaxPool2d(2)), "two residual blocks. Got 1."),
    (
        "second_block",
        network(block(), block(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 1)),
        "The change is there, but the network has 72 parameters too many.",
    ),
    ("second_block", network(block(), block()), "does not run on images (2, 1, 8, 8). ShapeError"),
    ("second_block", network(block(), block(), head=(nn.Flatten(),)), "must return logits of shape (2, 10) for images"),
    ("second_block", 2, "The answer must be a spec, or a function that returns a network. Got int."),
    ("second_block", lambda: None, "The answer must be a spec, or a function that returns a network. Got NoneType."),
    ("second_block", lambda spec: spec, "Your function must take (). Got (spec)."),
    ("second_block", raises, 'raised in raises, line'),
    ("strided_convolution", TINY, "There is still a MaxPool2d."),
    ("strided_convolution", gn.spec("tiny", pool="avg"), "There is still a AvgPool2d."),
    ("strided_convolution", gn.spec("tiny", pool="none"), "No convolution has a stride: nothing halves the image."),
    (
        "strided_convolution",
        network(block(), stem=(nn.Conv2d(1, 8, 3, stride=2, padding=1),)),
        "The convolution with a stride must be where the pool was: after the residual block.",
    ),
    ("strided_convolution", network(block(), strided, nn.MaxPool2d(1)), "There is still a MaxPool2d."),
    ("strided_convolution", network(block(), nn.Conv2d(8, 8, 1, stride=2)), "never reads three of four pixels."),
    (
        "strided_convolution",
        network(block(), nn.Conv2d(8, 32, 3, stride=4, padding=1)),
        "must halve the image and keep its 8 channels. Got (2, 8, 8, 8) -> (2, 32, 2, 2).",
    ),
    ("strided_convolution", gn.spec("tiny", blocks=(1, 1), pool="none"), "must be where the pool was"),
    ("dropout_in_head", TINY, "The network must have one dropout layer. Got none."),
    (
        "dropout_in_head",
        network(block(), nn.MaxPool2d(2), head=(nn.Flatten(), nn.Linear(128, 10), nn.Dropout(0.3))),
        "The dropout comes after the last layer: it drops logits",
    ),
    ("dropout_in_head", network(nn.Dropout(0.3), block(), nn.MaxPool2d(2)), "The dropout is too early."),
    ("dropout_in_head", network(block(), nn.MaxPool2d(2), nn.Dropout(0.0)), "With p = 0.0, the layer drops nothing."),
    ("dropout_in_head", network(block(), nn.MaxPool2d(2), nn.Dropout(), nn.Dropout()), "one dropout layer. Got 2."),
    ("dropout_in_head", gn.spec("tiny", dropout=0.3, blocks=2), "the network has 1,168 parameters too many."),
    ("batch_norm_in_network", TINY, "There is no BatchNorm2d."),
    ("batch_norm_in_network", gn.spec("tiny-bn"), "the network has "),
    (
        "batch_norm_in_network",
        network(block(), nn.MaxPool2d(2), stem=(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))),
        "BatchNorm2d follows 1 of 3 convolutions.",
    ),
    (
        "batch_norm_in_network",
        network(block(norm=True), nn.MaxPool2d(2), stem=(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8))),
        "A convolution has a bias.",
    ),
    ("batch_norm_in_network", network(nn.BatchNorm2d(8), block(norm=True), nn.MaxPool2d(2)), "comes after a ReLU."),
    ("batch_norm_in_network", network(nn.BatchNorm2d(1), block()), "BatchNorm2d must have shape (N, 1, H, W)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_check_hints_at_what_is_missing(name: str, answer: Any, hint: str) -> None:
    feedback = check(name, answer)
    assert not feedback.passed
    assert hint in feedback.hint


def test_check_leaves_the_network_as_it_is() -> None:
    answer = network(block(), block(), nn.MaxPool2d(2)).eval()
    before = answer.state_dict()
    assert check("second_block", answer)
    assert not answer.training
    for key, value in answer.state_dict().items():
        assert value.dtype == np.float32
        assert np.array_equal(value, before[key])


@pytest.mark.parametrize("build", [lambda: gn.spec("tiny", blocks="two"), lambda: nn.MaxPool2d(0)])
def test_errors_of_the_library_reach_the_hint(build: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError) as error:
        build()
    assert str(error.value).rstrip(".") in check("second_block", build).hint
