"""Causes of faults in an optimizer's steps, planted in optimizers written out here."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np
import pytest
import torch

import glassnet as gn
from glassnet.verify.golden.causes import KEYS
from glassnet.verify.golden.causes.optimizer import find_update_cause
from glassnet.verify.golden.causes.update_rules import RULES
from glassnet.verify.golden.evaluation import PassEvaluation
from glassnet.verify.golden.updates import Step
from tests.verify.golden.trainings import SMALL, Port, Tensors, judged, training


@dataclass
class Optimizer:
    """SGD, Adam and AdamW with switches for what others get wrong."""

    port: Port
    lr_of: Callable = lambda rates, step: rates[step - 1]
    decays: Callable = lambda key, parameter: parameter.ndim > 1
    clip: Callable = lambda gradients, limit: None
    decay_before_clip: bool = False
    decay_factor: float = 1.0
    decoupled: bool | None = None
    body_lr: bool = True
    dampening: float = 0.0
    dampens_first: bool = False
    rate_in_velocity: bool = False
    momentum: float = 1.0  # a factor
    nesterov: Callable | None = None
    corrects: tuple[bool, bool] = (True, True)
    denominator: Callable = lambda v, correction: (v / correction).sqrt() + 1e-8
    keeps_gradients: bool = False
    state: dict = field(default_factory=dict)

    def __call__(self, step: int, parameters: Tensors) -> dict[str, Tensors]:
        recipe = self.port.recipe
        lr = self.lr_of(self.port.plan.rates, step)
        gradients = {key: p.grad.clone() for key, p in parameters.items()}
        if self.keeps_gradients:
            for key, earlier in self.state.setdefault("sum", {}).items():
                gradients[key] += earlier
            self.state["sum"] = {key: g.clone() for key, g in gradients.items()}
        decay = {key: recipe.weight_decay * self.decay_factor * self.decays(key, p) for key, p in parameters.items()}
        if self.decay_before_clip:
            for key, p in parameters.items():
                gradients[key] += decay[key] * p
            decay = dict.fromkeys(decay, 0.0)
        if recipe.clip_grad_norm is not None:
            self.clip(gradients, recipe.clip_grad_norm)
        arrays: dict[str, Tensors] = {}
        for key, p in parameters.items():
            rate = lr * (recipe.body_lr if self.body_lr and not key.startswith("fc") else 1.0)
            update = self.sgd if recipe.optimizer == "sgd" else self.adam
            for name, array in update(key, p, gradients[key], rate, decay[key], step).items():
                arrays.setdefault(name, {})[key] = array
        return arrays

    def decayed(self, p, g, rate, decay):
        decoupled = self.port.recipe.optimizer == "adamw" if self.decoupled is None else self.decoupled
        if decoupled:
            p.mul_(1 - rate * decay)
            return g
        return g + decay * p

    def sgd(self, key, p, g, rate, decay, step):
        momentum, nesterov = self.port.recipe.momentum * self.momentum, self.port.recipe.nesterov
        g = self.decayed(p, g, rate, decay)
        new = g * rate if self.rate_in_velocity else g
        damped = (1 - self.dampening) * new
        first = damped if self.dampens_first else new.clone()
        v = momentum * self.state[key] + damped if key in self.state else first
        self.state[key] = v
        direction = self.nesterov(new, v, momentum) if self.nesterov else new + momentum * v if nesterov else v
        p -= direction if self.rate_in_velocity else rate * direction
        return {"momentum_buffer": v} if self.port.recipe.momentum else {}

    def adam(self, key, p, g, rate, decay, step):
        m, v = self.state.get(key, (torch.zeros_like(p), torch.zeros_like(p)))
        g = self.decayed(p, g, rate, decay)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        self.state[key] = m, v
        first, second = (
            (1 - beta**step) if is_on else 1.0 for beta, is_on in zip((0.9, 0.999), self.corrects, strict=True)
        )
        p -= rate * (m / first) / self.denominator(v, second)
        return {"exp_avg": m, "exp_avg_sq": v, "step": torch.tensor(float(step))}


def by_norm(gradients, limit):
    norm = sqrt(sum(float((g.double() ** 2).sum()) for g in gradients.values()))
    for g in gradients.values():
        g *= min(1.0, limit / (norm + 1e-6))


def by_parameter(gradients, limit):
    for g in gradients.values():
        g *= min(1.0, limit / (float(g.norm()) + 1e-6))


def by_value(gradients, limit):
    for g in gradients.values():
        g.clamp_(-limit, limit)


def by_norm_alone(gradients, limit):
    norm = sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    for g in gradients.values():
        g *= min(1.0, limit / norm)


SGD = gn.Recipe(lr=0.05, momentum=0.9, weight_decay=1e-2, schedule="cosine", epochs=1)
NESTEROV = SGD.replace(nesterov=True)
ALL = SGD.replace(weight_decay_scope="all")
ADAM = gn.Recipe(optimizer="adam", lr=1e-3, weight_decay=1e-2)
ADAMW = ADAM.replace(optimizer="adamw")
CLIP = SGD.replace(clip_grad_norm=0.2)
WARM = SGD.replace(warmup=4.0, epochs=10)


def is_batch_norm(key):
    return "bn" in key


# What is planted, by recipe: the key of the cause, and switches of the optimizer.
PLANTED = {
    "decay on all": ("decay on BatchNorm", SGD, {"decays": lambda key, p: True}),
    "decay on BatchNorm": ("decay on BatchNorm", SGD, {"decays": lambda key, p: p.ndim > 1 or is_batch_norm(key)}),
    "decay on gamma": (
        "decay on BatchNorm",
        ADAMW,
        {"decays": lambda key, p: p.ndim > 1 or (is_batch_norm(key) and key.endswith("weight"))},
    ),
    "decay on biases": ("decay on biases", ADAM, {"decays": lambda key, p: p.ndim > 1 or key.endswith("bias")}),
    "decay on fc.bias": ("decay on biases", SGD, {"decays": lambda key, p: p.ndim > 1 or key == "fc.bias"}),
    "decay on matrices": ("decay on nothing but weights", ALL, {}),
    "no decay on biases": (
        "decay on nothing but weights",
        ALL,
        {"decays": lambda key, p: not key.endswith("bias")},
    ),
    "no decay": ("no decay", NESTEROV, {"decays": lambda key, p: False}),
    "no decay, AdamW": ("no decay", ADAMW, {"decays": lambda key, p: False}),
    "AdamW as Adam": ("coupled decay", ADAMW, {"decoupled": False}),
    "Adam as AdamW": ("decoupled decay", ADAM, {"decoupled": True}),
    "SGDW": ("decoupled decay", SGD, {"decoupled": True}),
    "decay in the loss": ("decay before clipping", CLIP, {"decay_before_clip": True, "clip": by_norm}),
    "twice the decay": ("decay value", SGD, {"decay_factor": 2.0}),
    "plain for Nesterov": ("Nesterov form", NESTEROV, {"nesterov": lambda g, v, momentum: v}),
    "Nesterov for plain": ("Nesterov form", SGD, {"nesterov": lambda g, v, momentum: g + momentum * v}),
    "Nesterov of v and g": ("Nesterov form", NESTEROV, {"nesterov": lambda g, v, momentum: v + momentum * g}),
    "Nesterov without g": ("Nesterov form", NESTEROV, {"nesterov": lambda g, v, momentum: momentum * v}),
    "dampening": ("dampening", SGD, {"dampening": 0.9}),
    "dampening, Nesterov": ("dampening", NESTEROV, {"dampening": 0.9}),
    "dampened start": ("dampening", SGD, {"dampening": 0.9, "dampens_first": True}),
    "Caffe": ("learning rate in momentum", SGD, {"rate_in_velocity": True}),
    "Caffe, Nesterov": ("learning rate in momentum", NESTEROV, {"rate_in_velocity": True}),
    "no momentum": ("no momentum", SGD, {"momentum": 0.0}),
    "momentum 0.99": ("SGD momentum", SGD, {"momentum": 1.1}),
    "momentum 0.5, Nesterov": ("SGD momentum", NESTEROV, {"momentum": 0.5 / 0.9}),
    "no correction": ("no bias correction", ADAM, {"corrects": (False, False)}),
    "no first correction": ("no bias correction", ADAMW, {"corrects": (False, True)}),
    "no second correction": ("no bias correction", ADAM, {"corrects": (True, False)}),
    "eps inside": ("eps inside", ADAM, {"denominator": lambda v, second: (v / second + 1e-8).sqrt()}),
    "TensorFlow's eps": (
        "eps before bias correction",
        ADAM,
        {"denominator": lambda v, second: (v.sqrt() + 1e-8) / sqrt(second)},
    ),
    "Keras' eps": ("Adam's eps", ADAM, {"denominator": lambda v, second: (v / second).sqrt() + 1e-7}),
    "late": ("late schedule", SGD, {"lr_of": lambda rates, step: rates[max(step - 2, 0)]}),
    "late after the peak": (
        "late schedule",
        WARM,
        {"lr_of": lambda rates, step: rates[step - 2] if step > 1 else 0.05},
    ),
    "early": ("early schedule", SGD, {"lr_of": lambda rates, step: rates[min(step, len(rates) - 1)]}),
    "constant": ("constant rate", SGD, {"lr_of": lambda rates, step: rates[0]}),
    "peak": ("constant rate", WARM, {"lr_of": lambda rates, step: 0.05}),
    "one rate": ("no body_lr", SGD.replace(body_lr=0.1), {"body_lr": False}),
    "no clipping": ("no clipping", CLIP, {}),
    "clipping by parameter": ("clipping by parameter", CLIP, {"clip": by_parameter}),
    "clipping by value": ("clipping by value", CLIP.replace(clip_grad_norm=0.01), {"clip": by_value}),
    "clipping without eps": ("clipping without eps", CLIP, {"clip": by_norm_alone}),
    "accumulated": ("accumulated gradients", SGD, {"keeps_gradients": True}),
}


def planted(name: str, dtype: str = "float64", *, gradients: bool = True, without: tuple[str, ...] = ()):
    key, recipe, switches = PLANTED[name]
    plan = training(recipe, steps=3 if key.endswith(("schedule", "rate")) else 2)
    port = Port(plan, dtype=dtype)
    dump = port.train(Optimizer(port, **switches), gradients=gradients)
    dump = {tensor: array for tensor, array in dump.items() if tensor.split("/")[2] not in without}
    return key, judged(plan, dump, dtype)


def cause_of(judgements):
    fault = next(judgement for judgement in judgements if not judgement.row.passed)
    return find_update_cause(fault, judgements).key


@pytest.mark.parametrize("recipe", [SGD, NESTEROV, ALL, ADAM, ADAMW, CLIP, WARM], ids=str)
def test_the_optimizer_of_these_tests_is_right_without_a_bug(recipe):
    plan = training(recipe)
    port = Port(plan)
    decays = {"decays": lambda key, p: True} if recipe.weight_decay_scope == "all" else {}
    dump = port.train(Optimizer(port, clip=by_norm, **decays))
    assert all(judgement.row.passed for judgement in judged(plan, dump))


@pytest.mark.parametrize("name", PLANTED)
def test_find_update_cause_names_what_is_planted(name):
    key, judgements = planted(name)
    assert cause_of(judgements) == key


@pytest.mark.parametrize(
    "name", ["decay on BatchNorm", "plain for Nesterov", "Caffe", "no correction", "late", "no clipping"]
)
def test_find_update_cause_names_what_is_planted_in_float32(name):
    key, judgements = planted(name, "float32")
    assert cause_of(judgements) == key


@pytest.mark.parametrize("name", ["decay on all", "dampening", "Adam as AdamW", "clipping by parameter", "accumulated"])
def test_find_update_cause_names_what_is_planted_in_a_port_without_gradients_and_buffers(name):
    arrays = ("momentum_buffer", "exp_avg", "exp_avg_sq")
    key, judgements = planted(name, gradients=False, without=arrays)
    assert {judgement.name for judgement in judgements} <= {"state", "step"}
    assert cause_of(judgements) == key


def bugs_in_the_pass():
    def keep_gradients(port: Port) -> None:
        port.loss(port.module(port.images), port.labels).backward()

    def sum_losses(port: Port) -> None:
        port.module.zero_grad()
        (port.loss(port.module(port.images), port.labels) * len(port.images)).backward()

    def evaluate_from_step_2(port: Port) -> None:
        port.module.train("steps/1/state/fc.bias" not in port.dump)
        Port.backward(port)

    def keep_biased_variance(port: Port) -> None:
        norms = [layer for layer in port.module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        before = [layer.running_var.clone() for layer in norms]
        Port.backward(port)
        for layer, old in zip(norms, before, strict=True):
            count = 4 * 36
            layer.running_var.copy_(0.9 * old + (layer.running_var - 0.9 * old) * (count - 1) / count)

    def restore(*names: str) -> Callable[[Port], None]:
        def keep(port: Port) -> None:
            before = {key: buffer.clone() for key, buffer in port.module.named_buffers() if key.endswith(names)}
            Port.backward(port)
            for key, buffer in port.module.named_buffers():
                if key in before:
                    buffer.copy_(before[key])

        return keep

    return {
        "running statistics not updated": restore("running_mean", "running_var", "num_batches_tracked"),
        "running statistics not updated ": restore("num_batches_tracked"),
        "accumulated gradients": keep_gradients,
        "summed loss": sum_losses,
        "evaluation mode": evaluate_from_step_2,
        "biased variance": keep_biased_variance,
    }


@pytest.mark.parametrize("key", bugs_in_the_pass())
def test_find_update_cause_names_a_bug_in_the_pass_of_a_step(key):
    class WrongPort(Port):
        backward = bugs_in_the_pass()[key]

    plan = training(SGD)
    port = WrongPort(plan)
    dump = port.train(Optimizer(port))
    assert cause_of(judged(plan, dump)) == key.strip()


@pytest.mark.parametrize("gives_gradients", [True, False])
def test_find_update_cause_knows_the_masks_of_step_1(gives_gradients):
    spec = SMALL.replace(dropout=0.5)
    plan = training(SGD, spec=spec)
    rng = np.random.default_rng(0)
    shape = (4, plan.first.operations[-2].attributes["in_features"])
    masks = {step: {"dropout": rng.integers(0, 2, shape) * 2.0} for step in (1, 2, 3)}
    given = replace(plan.first.given, masks=masks[1])
    first = PassEvaluation(plan.first.operations, given, plan.first.port)
    plan = replace(plan, first=first, masks=masks)
    step, dump = None, {}
    for number in (1, 2, 3):  # the reference itself with other masks, step by step
        wrong = replace(plan, masks=dict.fromkeys(masks, masks[1]))
        step = Step(wrong, dict(dump), number)
        dump |= {f"steps/{number}/state/{key}": step.expected("state", key) for key in step.owners}
        dump |= {f"steps/{number}/momentum_buffer/{key}": step.expected("momentum_buffer", key) for key in step.shapes}
        if gives_gradients:
            dump |= {f"steps/{number}/gradients/{key}": step.expected("gradients", key) for key in step.shapes}
    assert cause_of(judged(plan, dump)) == "dropout mask"


def test_find_update_cause_names_an_average_without_slow_start():
    plan = training(SGD.replace(ema=0.9))
    port = Port(plan)
    dump = port.train(Optimizer(port))
    average = plan.first.given.state["fc.bias"]
    for step in (1, 2, 3):
        average = 0.9 * average + 0.1 * dump[f"steps/{step}/state/fc.bias"]
        dump[f"steps/{step}/average/fc.bias"] = average
    assert cause_of(judged(plan, dump)) == "average decay"


def test_find_update_cause_is_unknown_where_no_rule_fits():
    plan = training(SGD)
    port = Port(plan)
    dump = port.train(Optimizer(port, lr_of=lambda rates, step: 1.7 * rates[step - 1]))
    assert cause_of(judged(plan, dump)) == "unknown"


def test_find_update_cause_is_unknown_where_a_rule_explains_one_of_two_bugs():
    plan = training(SGD)
    port = Port(plan)
    dump = port.train(Optimizer(port, decays=lambda key, p: False))
    dump["steps/1/state/bn1.bias"] = dump["steps/1/state/bn1.bias"] + 0.1
    assert cause_of(judged(plan, dump)) == "unknown"


def test_every_cause_has_a_sentence():
    assert {key for key, _ in RULES} <= set(KEYS)
