from typing import Any

import pytest
import torch

import glassnet as gn
from glassnet.engines.torch_inputs import to_array
from glassnet.engines.torch_optimizer import TorchOptimizer


def make_parameters() -> dict[str, torch.nn.Parameter]:
    rng = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (4,)}
    return {key: torch.nn.Parameter(torch.randn(shape, generator=rng)) for key, shape in shapes.items()}


def set_gradients(parameters: dict[str, torch.nn.Parameter], seed: int, scale: float = 1.0) -> None:
    rng = torch.Generator().manual_seed(seed)
    for parameter in parameters.values():
        parameter.grad = torch.randn(parameter.shape, generator=rng) * scale


def torch_optimizer(recipe: gn.Recipe, parameters: dict[str, torch.nn.Parameter]) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": [parameters["weight"]], "weight_decay": recipe.weight_decay},
        {"params": [parameters["bias"]], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.nesterov)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](groups, recipe.lr)


@pytest.mark.parametrize(
    "fields",
    [
        {"momentum": 0.0, "nesterov": False},
        {"momentum": 0.9, "nesterov": False},
        {"momentum": 0.9, "nesterov": True},
        {"optimizer": "adam"},
        {"optimizer": "adamw"},
    ],
)
def test_torch_optimizer_is_torch_optim(fields: dict[str, Any]) -> None:
    recipe = gn.Recipe(lr=0.1, weight_decay=0.01, **fields)
    ours, theirs = make_parameters(), make_parameters()
    optimizer, expected = TorchOptimizer(recipe, ours), torch_optimizer(recipe, theirs)
    for seed in range(3):
        set_gradients(ours, seed)
        set_gradients(theirs, seed)
        optimizer.step()
        expected.step()
    for key in ours:
        assert torch.equal(ours[key], theirs[key])
        names = {name for name, tensor in expected.state[theirs[key]].items() if tensor is not None}
        assert optimizer.tensors[ours[key]].keys() == names
        for name in names:
            assert torch.equal(optimizer.tensors[ours[key]][name], expected.state[theirs[key]][name])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_torch_optimizer_resumes_from_its_state(optimizer: str) -> None:
    recipe = gn.Recipe(optimizer=optimizer, lr=0.1)
    parameters = make_parameters()
    first = TorchOptimizer(recipe, parameters)
    set_gradients(parameters, 1)
    first.step()
    copies = {key: torch.nn.Parameter(parameter.detach().clone()) for key, parameter in parameters.items()}
    second = TorchOptimizer(recipe, copies)
    second.load_state(first.state())
    for trained, own in ((first, parameters), (second, copies)):
        set_gradients(own, 2)
        trained.step()
    for key, parameter in parameters.items():
        assert (to_array(parameter) == to_array(copies[key])).all()


def test_torch_optimizer_works_with_a_gradient_scaler() -> None:
    scaler: Any = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled, plain = make_parameters(), make_parameters()
    optimizer, expected = (TorchOptimizer(gn.Recipe(lr=0.1), parameters) for parameters in (scaled, plain))
    set_gradients(scaled, 1, scale=1024.0)
    set_gradients(plain, 1)
    scaler.scale(torch.ones(()))  # a training scales its loss, which also makes the scale
    scaler.step(optimizer)
    scaler.update()
    expected.step()
    for key in scaled:
        torch.testing.assert_close(scaled[key], plain[key])
    set_gradients(scaled, 2, scale=float("inf"))
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    assert all(parameter.isfinite().all() for parameter in scaled.values())
