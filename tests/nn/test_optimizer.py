import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from glassnet import nn
from glassnet.errors import ConfigError
from glassnet.nn.kernels import layout
from tests.nn.oracle import compare, tensor

SHAPES = [(3, 2, 2, 2), (3,), (4, 5), ()]

SGD = [
    {"momentum": 0.0},
    {"momentum": 0.9},
    {"momentum": 0.5, "nesterov": True},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    {"weight_decay": 0.1},
]
ADAM: list[dict[str, Any]] = [
    {},
    {"betas": (0.5, 0.9)},
    {"betas": (0.0, 0.0)},
    {"eps": 1e-2},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "betas": (0.8, 0.99), "eps": 1e-4},
]
GRID = [("SGD", options) for options in SGD] + [(name, options) for name in ("Adam", "AdamW") for options in ADAM]


class Pair:
    """The same parameters, gradients and optimizer twice: ours and torch's."""

    def __init__(self, dtype: type, build: Callable[[Any, list[Any]], Any]) -> None:
        rng = self.rng = np.random.default_rng(0)
        data = [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in SHAPES]
        self.ours = [nn.Parameter(layout.channels_last(array.copy())) for array in data]
        self.theirs = [torch.nn.Parameter(tensor(array)) for array in data]
        self.our_optimizer, self.their_optimizer = build(nn, self.ours), build(torch.optim, self.theirs)

    def step(self) -> None:
        for ours, theirs in zip(self.ours, self.theirs, strict=True):
            ours.grad[...] = self.rng.standard_normal(ours.grad.shape)
            theirs.grad = tensor(ours.grad)
        gradients = [ours.grad.copy() for ours in self.ours]
        self.our_optimizer.step()
        self.their_optimizer.step()
        for ours, gradient in zip(self.ours, gradients, strict=True):
            np.testing.assert_array_equal(ours.grad, gradient)  # a step changes the weights, not the gradients

    def compare(self) -> None:
        for number, (ours, theirs) in enumerate(zip(self.ours, self.theirs, strict=True)):
            compare(f"parameter {number}", ours.data, theirs)
            state, expected = self.our_optimizer.state[ours], self.their_optimizer.state[theirs]
            assert set(state) == {name for name, value in expected.items() if value is not None}
            for name, array in state.items():
                if name == "step":
                    assert int(array) == int(expected[name])
                else:
                    compare(f"{name} {number}", array, expected[name])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("lr", [0.1, 0.003])
@pytest.mark.parametrize(("name", "options"), GRID)
def test_steps_are_torchs(name: str, options: dict[str, Any], lr: float, dtype: type) -> None:
    pair = Pair(dtype, lambda optim, params: getattr(optim, name)(params, lr=lr, **options))
    pair.step()
    pair.compare()
    for _ in range(9):
        pair.step()
    pair.compare()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_the_defaults_are_torchs(name: str) -> None:
    pair = Pair(np.float64, lambda optim, params: getattr(optim, name)(params))
    for _ in range(3):
        pair.step()
    pair.compare()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_groups_decay_and_learn_at_their_own_rate(name: str) -> None:
    def build(optim: Any, params: list[Any]) -> Any:
        groups = [{"params": params[::2], "weight_decay": 0.1}, {"params": params[1::2], "lr": 0.05}]
        if name == "SGD":
            groups.append({"params": [], "momentum": 0.9, "nesterov": True})
            groups[0]["momentum"] = 0.9
        return getattr(optim, name)(groups, lr=0.01)

    pair = Pair(np.float64, build)
    for step in range(10):
        for optimizer_groups in (pair.our_optimizer.param_groups, pair.their_optimizer.param_groups):
            for group in optimizer_groups:
                group["lr"] *= 1.5 if step < 5 else 0.5  # as a schedule does
        pair.step()
    pair.compare()


def test_sgd_two_steps_by_hand() -> None:
    # w = 2, lr = 0.1, momentum = 0.5, weight_decay = 0.25.
    # Step 1, gradient 1:  g = 1 + 0.25 · 2 = 1.5        v = g = 1.5                  w = 2 − 0.1 · 1.5 = 1.85
    # Step 2, gradient −1: g = −1 + 0.25 · 1.85 = −0.5375  v = 0.5 · 1.5 − 0.5375 = 0.2125  w = 1.85 − 0.02125 = 1.82875
    w = nn.Parameter(np.array([2.0]))
    sgd = nn.SGD([w], lr=0.1, momentum=0.5, weight_decay=0.25)
    w.grad[...] = 1
    sgd.step()
    assert w.data == pytest.approx(1.85, rel=1e-15)
    w.grad[...] = -1
    sgd.step()
    assert w.data == pytest.approx(1.82875, rel=1e-15)
    assert sgd.state[w]["momentum_buffer"] == pytest.approx(0.2125, rel=1e-15)


def test_sgd_nesterov_step_by_hand() -> None:
    # w = 2, gradient 1: v = 1, and the step looks ahead: g + 0.5 · v = 1.5, so w = 2 − 0.1 · 1.5.
    w = nn.Parameter(np.array([2.0]))
    w.grad[...] = 1
    nn.SGD([w], lr=0.1, momentum=0.5, nesterov=True).step()
    assert w.data == pytest.approx(1.85, rel=1e-15)


def test_the_first_adam_step_is_the_learning_rate() -> None:
    # m = 0.1 g, v = 0.001 g²; corrected m/0.1 = g and √(v/0.001) = |g|: w moves by lr · g/|g|, whatever the size of g.
    w = nn.Parameter(np.array([2.0, 2.0]))
    w.grad[...] = 1e-3, -50
    nn.Adam([w], lr=0.1).step()
    np.testing.assert_allclose(w.data, [1.9, 2.1], rtol=1e-5)


def test_adamw_decay_is_decoupled() -> None:
    # Gradient 0: AdamW only shrinks, w = (1 − 0.1 · 0.5) · 2 = 1.9; Adam takes the decay for a gradient: 2 − 0.1 · 1.
    w, coupled = nn.Parameter(np.array([2.0])), nn.Parameter(np.array([2.0]))
    nn.AdamW([w], lr=0.1, weight_decay=0.5).step()
    nn.Adam([coupled], lr=0.1, weight_decay=0.5).step()
    assert w.data == pytest.approx(1.9, rel=1e-15)
    assert coupled.data == pytest.approx(1.9, rel=1e-7)
    assert not np.any(nn.AdamW([w]).state[w])


def test_the_memory_order_of_weights_and_state_stays() -> None:
    w = nn.Parameter(layout.zeros((2, 3, 4, 5), np.float32))
    for optimizer in (nn.SGD([w], momentum=0.9), nn.Adam([w])):
        optimizer.step()
        assert layout.is_channels_last(w.data)
        assert all(layout.is_channels_last(array) for array in optimizer.state[w].values() if array.ndim == 4)
        assert {array.dtype for array in optimizer.state[w].values()} == {np.dtype(np.float32)}


def test_sgd_momentum_buffer_is_a_copy() -> None:
    w = nn.Parameter(np.zeros(3))
    w.grad[...] = 1
    sgd = nn.SGD([w], lr=0.1, momentum=0.9)
    sgd.step()
    assert not np.shares_memory(sgd.state[w]["momentum_buffer"], w.grad)


def test_optimizer_takes_a_generator_and_steps_in_place() -> None:
    layer = nn.Linear(2, 3)
    data = layer.weight.data
    optimizer = nn.SGD(layer.parameters(), lr=1)
    layer.weight.grad[...] = 1
    before = data.copy()
    optimizer.step()
    assert layer.weight.data is data
    np.testing.assert_array_equal(data, before - 1)
    assert list(optimizer.state) == list(layer.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: nn.SGD(p, lr=-1), "lr of SGD must be at least 0. Got -1."),
        (lambda p: nn.Adam(p, lr=float("nan")), "lr of Adam must be at least 0. Got nan."),
        (lambda p: nn.AdamW(p, weight_decay=-0.1), "weight_decay of AdamW must be at least 0. Got -0.1."),
        (lambda p: nn.Adam(p, eps=-1e-8), "eps of Adam must be at least 0. Got -1e-08."),
        (lambda p: nn.Adam(p, betas=(0.9, 1.0)), "betas of Adam must be in [0, 1). Got (0.9, 1.0)."),
        (lambda p: nn.AdamW(p, betas=(-0.1, 0.9)), "betas of AdamW must be in [0, 1). Got (-0.1, 0.9)."),
        (
            lambda p: nn.SGD(p, momentum=-0.9),
            "momentum of SGD must be at least 0, and above 0 with nesterov. Got -0.9.",
        ),
        (
            lambda p: nn.SGD(p, nesterov=True),
            "momentum of SGD must be at least 0, and above 0 with nesterov. Got 0.0.",
        ),
        (
            lambda p: nn.SGD([{"params": p, "decay": 1}]),
            "settings of SGD must be lr, momentum, nesterov, weight_decay. Got ['decay'].",
        ),
        (lambda p: nn.SGD([{"params": p, "lr": -1}]), "lr of SGD must be at least 0. Got -1."),
        (
            lambda p: nn.SGD([{"params": p, "nesterov": True}]),
            "momentum of SGD must be at least 0, and above 0 with nesterov. Got 0.0.",
        ),
        (lambda p: nn.Adam([{"params": p, "betas": (0.9, 1)}]), "betas of Adam must be in [0, 1). Got (0.9, 1)."),
        (lambda p: nn.SGD(iter([])), "params of SGD must be at least 1, each once. Got 0 (0 repeated)."),
        (lambda p: nn.SGD(p + p), "params of SGD must be at least 1, each once. Got 2 (1 repeated)."),
        (
            lambda p: nn.Adam([{"params": p}, {"params": p}]),
            "params of Adam must be at least 1, each once. Got 2 (1 repeated).",
        ),
        (lambda p: nn.SGD([("weight", p[0])]), "params of SGD must be Parameters. Got tuple."),
    ],
)
def test_optimizer_refuses_wrong_settings(build: Callable[[list[nn.Parameter]], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        build([nn.Parameter(np.zeros(2))])


def test_optimizer_without_an_update_raises() -> None:
    w = nn.Parameter(np.zeros(2))
    with pytest.raises(NotImplementedError, match=r"^Optimizer has no update\.$"):
        nn.Optimizer([w], lr=0.1).step()
