"""A port to be judged: a network in torch's functions, operation by operation, in which a test replaces some."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

import glassnet as gn
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.causes.search import find_cause
from glassnet.verify.golden.check import evaluate_pass
from glassnet.verify.golden.evaluation import PassInputs
from glassnet.verify.golden.judging import Judgement, PassTensors, judge_pass
from glassnet.verify.golden.operations import IMAGES, LOSS, Operation, operations


@dataclass
class Call:
    """All that a function of the port reads beside its inputs."""

    operation: Operation
    p: dict[str, torch.Tensor]  # parameters and buffers by the last part of their keys; buffers are written into
    training: bool
    labels: torch.Tensor
    mask: torch.Tensor | None
    smoothing: float
    class_weights: torch.Tensor | None

    def __getattr__(self, name):
        return self.operation.attributes[name]


Function = Callable[..., torch.Tensor]


def with_dtypes(cases):
    """Return the cases with float64 and float32 in turn: each alone, where it is no tuple, and its dtype."""
    pairs = zip(cases, itertools.cycle(("float64", "float32")))
    return [(*(case if isinstance(case, tuple) else (case,)), dtype) for case, dtype in pairs]


def batch_norm(call, x):
    p = call.p
    if call.training:
        p["num_batches_tracked"] += 1
    return functional.batch_norm(
        x, p["running_mean"], p["running_var"], p["weight"], p["bias"], call.training, call.momentum, call.eps
    )


def zero_pad(call, x):
    new = call.out_channels - x.shape[1]
    return functional.pad(x[:, :, :: call.stride, :: call.stride], (0, 0, 0, 0, new // 2, new - new // 2))


FUNCTIONS: dict[str, Function] = {
    "Conv2d": lambda call, x: functional.conv2d(x, call.p["weight"], call.p.get("bias"), call.stride, call.padding),
    "BatchNorm2d": batch_norm,
    "ReLU": lambda call, x: functional.relu(x),
    "MaxPool2d": lambda call, x: functional.max_pool2d(x, call.kernel_size, call.stride, call.padding),
    "AvgPool2d": lambda call, x: functional.avg_pool2d(x, call.kernel_size, call.stride, call.padding),
    "AdaptiveAvgPool2d": lambda call, x: functional.adaptive_avg_pool2d(x, 1),
    "Flatten": lambda call, x: x.flatten(1),
    "Linear": lambda call, x: functional.linear(x, call.p["weight"], call.p["bias"]),
    "Identity": lambda call, x: x * 1,
    "Block": lambda call, x: x * 1,
    "ZeroPadShortcut": zero_pad,
    "Sum": lambda call, shortcut, body: shortcut + body,
    "Dropout": lambda call, x: x * call.mask if call.training else x * 1,
    "CrossEntropyLoss": lambda call, z: functional.cross_entropy(
        z, call.labels, call.class_weights, label_smoothing=call.smoothing
    ),
}


def with_gradient(forward: Function, backward: Function) -> Function:
    """Return a function of a call and tensors with another gradient: ``backward(call, dy, *inputs)``."""

    def function(call, *inputs):
        class Changed(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *inputs):
                ctx.save_for_backward(*inputs)
                return forward(call, *inputs)

            @staticmethod
            def backward(ctx, dy):
                given = backward(call, dy, *ctx.saved_tensors)
                return given if isinstance(given, tuple) else (given,)

        return Changed.apply(*inputs)

    return function


@dataclass
class Port:
    """A network of torch functions on the golden case of a spec."""

    spec: gn.ResNetSpec
    dtype: str = "float64"
    training: bool = True
    smoothing: float = 0.0
    class_weights: np.ndarray | None = None
    batch_size: int = 4
    seed: int = 0
    dropped: tuple[str, ...] = ()  # what the dump lacks: beginnings of "outputs/NAME", "gradients/NAME"
    changes: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)  # of the case's state

    def __post_init__(self):
        self.operations = operations(self.spec)
        case = GoldenCase(self.spec, batch_size=self.batch_size, seed=self.seed)
        images, labels = case.batch()
        rng = np.random.default_rng(1)
        state = {
            key: np.float32(array).astype(np.float64) if array.dtype.kind == "f" else array
            for key, array in case.state().items()
        }
        state |= {key: change(state[key]) for key, change in self.changes.items()}
        masks = {
            op.name: (rng.random((len(images), *op.output_shape)) >= op.attributes["p"]) / (1 - op.attributes["p"])
            for op in self.operations
            if op.kind == "Dropout"
        }
        images = np.float32(images).astype(np.float64)
        self.given = PassInputs(images, labels, state, self.training, masks, self.smoothing, self.class_weights)

    def run(self, replaced: Mapping[str, Function]) -> PassTensors:
        """Compute the network with some functions replaced, by the names of operations or, before them, of kinds."""
        given, real = self.given, getattr(torch, self.dtype)

        def tensor(array):
            array = torch.tensor(array)
            return array.to(real) if array.is_floating_point() else array

        state = {key: tensor(array) for key, array in given.state.items()}
        values = {IMAGES: tensor(given.images)}
        labels = torch.tensor(given.labels)
        weights = None if given.class_weights is None else tensor(given.class_weights)
        for op in self.operations:
            for key in op.parameters:
                state[key].requires_grad_()
            p = {key.removeprefix(f"{op.name}."): state[key] for key in (*op.parameters, *op.buffers)}
            mask = tensor(given.masks[op.name]) if op.name in given.masks else None
            call = Call(op, p, given.training, labels, mask, given.label_smoothing, weights)
            function = replaced.get(op.name) or replaced.get(op.kind) or FUNCTIONS[op.kind]
            values[op.name] = function(call, *(values[source] for source in op.inputs))
            if given.training:
                values[op.name].retain_grad()
        if given.training:
            values[LOSS].backward()
        return self._dump(values, state)

    def _dump(self, values, state):
        def kept(group, tensors):
            return {
                name: tensor.detach().numpy()
                for name, tensor in tensors.items()
                if tensor is not None and not any(f"{group}/{name}".startswith(start) for start in self.dropped)
            }

        outputs = {name: value for name, value in values.items() if name != IMAGES}
        parameters = [key for op in self.operations for key in op.parameters]
        buffers = [key for op in self.operations for key in op.buffers]
        has_gradients = self.training
        gradients = {name: value.grad for name, value in outputs.items() if name != LOSS} if has_gradients else {}
        of_parameters = {key: state[key].grad for key in parameters} if has_gradients else {}
        return PassTensors(
            "train" if self.training else "eval",
            kept("outputs", outputs),
            kept("gradients", gradients),
            kept("parameters", of_parameters),
            kept("buffers", {key: state[key] for key in buffers}) if self.training else {},
        )

    def judge(self, replaced: Mapping[str, Function]) -> list[Judgement]:
        """Return the checker's judgements on the port."""
        tensors = self.run(replaced)
        evaluation = evaluate_pass(self.operations, self.given, tensors)
        return list(judge_pass(evaluation, tensors, lambda name: self.dtype))

    def diagnose(self, replaced: Mapping[str, Function]) -> tuple[str, str] | None:
        """Return the operation at fault and the cause's key; None if the port passes."""
        judgements = self.judge(replaced)
        for judgement in judgements:
            if not judgement.row.passed:
                cause = find_cause(judgement, judgements)
                return cause.operation.name, cause.key
        return None
