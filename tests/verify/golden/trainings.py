"""Trainings on the PyTorch engine's network with torch.optim, as dumps: what a right port writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray

import glassnet as gn
from glassnet.engines.class_weights import class_weights
from glassnet.training.schedule import learning_rates
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.evaluation import PassEvaluation, PassInputs, PortTensors
from glassnet.verify.golden.operations import operations
from glassnet.verify.golden.steps import StepJudgement, judge_steps
from glassnet.verify.golden.updates import Training

Array = NDArray[Any]
Tensors = dict[str, torch.Tensor]
SMALL = gn.spec("tiny-bn", width=4, image_size=6, classes=3)


def training(recipe: gn.Recipe, steps: int = 3, spec: gn.ResNetSpec = SMALL, seed: int = 0) -> Training:
    """A training from random weights, without a tensor of its first pass."""
    case = GoldenCase(spec, batch_size=4, recipe=recipe, seed=seed)
    images, labels = case.batch()
    weights = class_weights(recipe, labels, spec.classes)
    given = PassInputs(images, labels, case.state(), True, {}, recipe.label_smoothing, weights)
    first = PassEvaluation(operations(spec), given, PortTensors())
    return Training(recipe, tuple(learning_rates(recipe, steps).tolist()), first)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch from waiting for threads that such small arrays do not need."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Port:
    """A training loop of its own. A test overrides ``backward``, or gives another update, to plant a bug."""

    def __init__(self, plan: Training, spec: gn.ResNetSpec = SMALL, dtype: str = "float64") -> None:
        self.plan, self.recipe, self.dtype = plan, plan.recipe, dtype
        network = gn.build(spec, engine="torch", dtype=dtype)
        network.load_state_dict(plan.first.given.state)
        self.module = network.module.train()
        given = plan.first.given
        self.images = torch.from_numpy(given.images).to(getattr(torch, dtype))
        self.labels = torch.from_numpy(given.labels)
        weights = None if given.class_weights is None else torch.from_numpy(given.class_weights).to(self.images.dtype)
        self.loss = torch.nn.CrossEntropyLoss(weights, label_smoothing=self.recipe.label_smoothing)
        self.dump: dict[str, Array] = {}

    def backward(self) -> None:
        """Compute the gradients."""
        self.module.zero_grad()
        self.loss(self.module(self.images), self.labels).backward()

    def parameters(self) -> Tensors:
        return dict(self.module.named_parameters())

    def write(self, step: int, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        self.dump |= {f"steps/{step}/{name}/{key}": tensor.detach().numpy().copy() for key, tensor in tensors.items()}

    def train(
        self, update: Callable[[int, Tensors], Mapping[str, Tensors]], *, gradients: bool = True
    ) -> dict[str, Array]:
        """Return the dump of all steps; ``update`` takes one and returns the optimizer's arrays by name."""
        for step in range(1, len(self.plan.rates) + 1):
            with one_thread():
                self.backward()
            if gradients:
                self.write(step, "gradients", {key: p.grad for key, p in self.parameters().items()})
            with torch.no_grad(), one_thread():
                for name, tensors in update(step, self.parameters()).items():
                    self.write(step, name, tensors)
            self.write(step, "state", self.module.state_dict())
        return self.dump


def torch_optimizer(port: Port) -> Callable[[int, Tensors], Mapping[str, Tensors]]:
    """Return an update by torch.optim."""
    recipe = port.recipe
    groups = [
        {
            "params": [parameter],
            "weight_decay": recipe.weight_decay if recipe.weight_decay_scope == "all" or parameter.ndim > 1 else 0.0,
            "factor": 1.0 if key.startswith("fc") else recipe.body_lr,
        }
        for key, parameter in port.parameters().items()
    ]
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)
    else:
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](groups, lr=recipe.lr)

    def update(step: int, parameters: Tensors) -> Mapping[str, Tensors]:
        if recipe.clip_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters.values(), recipe.clip_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = port.plan.rates[step - 1] * group["factor"]
        optimizer.step()
        arrays: dict[str, Tensors] = {}
        for key, parameter in parameters.items():
            for name, array in optimizer.state[parameter].items():
                if array is not None:
                    arrays.setdefault(name, {})[key] = array
        return arrays

    return update


def judged(plan: Training, dump: Mapping[str, Array], dtype: str = "float64") -> list[StepJudgement]:
    return list(judge_steps(plan, dump, lambda name: dtype))
