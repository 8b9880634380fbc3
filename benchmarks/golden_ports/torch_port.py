"""A residual network written out in PyTorch by the golden format alone, into which faults can be planted.

It reads the operations from a bundle's manifest and computes each with a rule of its own: a function for the forward
pass and one for the backward pass, by the operation's name. A fault replaces a rule, or another of the port's
functions. Nothing here comes from glassnet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What the port reads of a bundle."""

    operations: list[dict[str, Any]]
    mean: list[float]
    std: list[float]
    recipe: dict[str, Any]
    learning_rates: list[float]
    tensors: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Case:
        manifest = json.loads((folder / "manifest.json").read_text())
        inputs = [entry for entry in manifest["tensors"] if entry["name"].startswith("inputs/")]
        tensors = {entry["name"]: np.load(folder / entry["file"]) for entry in inputs}
        normalization = manifest["normalization"]
        mean, std = (normalization[key] for key in ("mean", "std"))
        return cls(manifest["operations"], mean, std, manifest["recipe"], manifest["learning_rates"], tensors)

    @property
    def dtype(self) -> torch.dtype:
        return torch.from_numpy(np.asarray(self.tensors["inputs/images"])).dtype

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with a prefix, by the remaining part."""
        found = {key.removeprefix(prefix): a for key, a in self.tensors.items() if key.startswith(prefix)}
        return {key: torch.from_numpy(np.array(array)) for key, array in found.items()}


@dataclass
class Call:
    """One operation at work, on leaves of its own, so that autograd sees this operation alone."""

    operation: dict[str, Any]
    inputs: list[Tensor]
    state: dict[str, Tensor]  # parameters and buffers, by the last part of their keys
    training: bool
    mask: Tensor | None = None
    labels: Tensor | None = None
    smoothing: float = 0.0
    class_weights: Tensor | None = None
    buffers: dict[str, Tensor] = field(default_factory=dict)  # after this pass
    output: Tensor = field(default_factory=lambda: torch.zeros(()))

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the operation, as kernel_size."""
        return self.operation["attributes"][name]

    @property
    def parameter_names(self) -> list[str]:
        return [key.rpartition(".")[2] for key in self.operation["parameters"]]


Forward = Callable[[Call], Tensor]
Backward = Callable[[Call, Tensor], tuple[list[Tensor], dict[str, Tensor]]]


# The operations, forward.


def convolve(call: Call) -> Tensor:
    return functional.conv2d(call.x, call.state["weight"], call.state.get("bias"), call.stride, call.padding)


def batch_statistics(call: Call) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance by which to normalize; the running ones follow the batch."""
    state, count = call.state, call.x.numel() // call.x.shape[1]
    if not call.training:
        return state["running_mean"], state["running_var"]
    mean, variance = call.x.mean((0, 2, 3)), call.x.var((0, 2, 3), unbiased=False)
    tracked = state["num_batches_tracked"] + 1
    m = 1 / int(tracked) if call.momentum is None else call.momentum
    call.buffers = {
        "running_mean": (1 - m) * state["running_mean"] + m * mean.detach(),
        "running_var": (1 - m) * state["running_var"] + m * variance.detach() * count / (count - 1),
        "num_batches_tracked": tracked,
    }
    return mean, variance


def per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]


def normalize(call: Call) -> Tensor:
    mean, variance = batch_statistics(call)
    x_hat = (call.x - per_channel(mean)) / per_channel((variance + call.eps).sqrt())
    return x_hat * per_channel(call.state["weight"]) + per_channel(call.state["bias"])


def pad_channels(call: Call) -> Tensor:
    more = call.out_channels - call.in_channels
    return functional.pad(call.x[:, :, :: call.stride, :: call.stride], (0, 0, 0, 0, more // 2, more - more // 2))


def targets(call: Call, classes: int) -> Tensor:
    """Return the smoothed one-hot labels (N, K), each row times its class's weight."""
    one_hot = functional.one_hot(call.labels, classes).to(call.x.dtype)
    q = (1 - call.smoothing) * one_hot + call.smoothing / classes
    return q if call.class_weights is None else q * call.class_weights


def total_weight(call: Call) -> Tensor | int:
    return len(call.x) if call.class_weights is None else call.class_weights[call.labels].sum()


def cross_entropy(call: Call) -> Tensor:
    return -(targets(call, call.x.shape[1]) * functional.log_softmax(call.x, 1)).sum() / total_weight(call)


FORWARD: dict[str, Forward] = {
    "Conv2d": convolve,
    "BatchNorm2d": normalize,
    "ReLU": lambda call: functional.relu(call.x),
    "MaxPool2d": lambda call: functional.max_pool2d(call.x, call.kernel_size, call.stride, call.padding),
    "AvgPool2d": lambda call: functional.avg_pool2d(call.x, call.kernel_size, call.stride, call.padding),
    "AdaptiveAvgPool2d": lambda call: call.x.mean((2, 3), keepdim=True),
    "Flatten": lambda call: call.x.reshape(len(call.x), -1),
    "Dropout": lambda call: call.x * call.mask if call.training else call.x.clone(),
    "Linear": lambda call: call.x @ call.state["weight"].T + call.state["bias"],
    "Identity": lambda call: call.x.clone(),
    "ZeroPadShortcut": pad_channels,
    "Sum": lambda call: call.inputs[0] + call.inputs[1],
    "Block": lambda call: call.x.clone(),
    "CrossEntropyLoss": cross_entropy,
}


def differentiate(call: Call, dy: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the gradients of one operation by autograd."""
    names = [name for name in call.parameter_names if call.state[name].requires_grad]
    leaves = [*call.inputs, *(call.state[name] for name in names)]
    gradients = torch.autograd.grad(call.output, leaves, dy, allow_unused=True)
    whole = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)]
    return whole[: len(call.inputs)], dict(zip(names, whole[len(call.inputs) :], strict=True))


# The optimizers, by hand.


@dataclass
class Update:
    """One parameter in one step; ``carried`` is kept from step to step."""

    w: Tensor
    g: Tensor
    carried: dict[str, Tensor]
    lr: float
    t: int
    decay: float
    recipe: dict[str, Any]


def sgd(u: Update) -> Tensor:
    g = u.g + u.decay * u.w
    if not u.recipe["momentum"]:
        return u.w - u.lr * g
    v = u.recipe["momentum"] * u.carried["momentum_buffer"] + g if u.carried else g
    u.carried["momentum_buffer"] = v
    return u.w - u.lr * (g + u.recipe["momentum"] * v if u.recipe["nesterov"] else v)


def adam(u: Update) -> Tensor:
    g = u.g + u.decay * u.w
    m, v = moments(u, g)
    return u.w - u.lr * (m / (1 - 0.9**u.t)) / ((v / (1 - 0.999**u.t)).sqrt() + 1e-8)


def adamw(u: Update) -> Tensor:
    w = u.w * (1 - u.lr * u.decay)
    m, v = moments(u, u.g)
    return w - u.lr * (m / (1 - 0.9**u.t)) / ((v / (1 - 0.999**u.t)).sqrt() + 1e-8)


def moments(u: Update, g: Tensor) -> tuple[Tensor, Tensor]:
    zero = torch.zeros_like(g)
    m = 0.9 * u.carried.get("exp_avg", zero) + 0.1 * g
    v = 0.999 * u.carried.get("exp_avg_sq", zero) + 0.001 * g * g
    u.carried.update(exp_avg=m, exp_avg_sq=v, step=torch.tensor(float(u.t), dtype=g.dtype))
    return m, v


def clip(gradients: dict[str, Tensor], limit: float | None) -> dict[str, Tensor]:
    if limit is None:
        return gradients
    norm = torch.sqrt(sum(((g * g).sum() for g in gradients.values()), torch.zeros(())))
    return {key: g * torch.clamp(limit / (norm + 1e-6), max=1) for key, g in gradients.items()}


# The network.


class Port:
    """The network, its two passes and its training; a fault replaces one of the functions here."""

    def __init__(self, case: Case, dtype: torch.dtype | None = None) -> None:
        self.case, self.dtype = case, dtype or case.dtype
        self.operations = {operation["name"]: operation for operation in case.operations}
        self.forward_rules: dict[str, Forward] = {n: FORWARD[o["kind"]] for n, o in self.operations.items()}
        self.backward_rules: dict[str, Backward] = dict.fromkeys(self.operations, differentiate)
        self.read_images: Callable[[], Tensor] = self.images
        self.labels: Tensor = case.group("inputs/")["labels"]
        self.state = {key: self.cast(tensor) for key, tensor in case.group("inputs/state/").items()}
        class_weights = case.group("inputs/").get("class_weights")
        self.class_weights = None if class_weights is None else self.cast(class_weights)
        self.masks_of: Callable[[int], dict[str, Tensor]] = self.masks
        self.add: Callable[[str, dict[str, Tensor]], Tensor] = lambda name, parts: sum(parts.values(), torch.zeros(()))
        self.is_training = {"eval": False, "train": True}
        self.zero_gradients = True
        self.current: dict[str, Tensor] = self.state  # in the step that is taken
        self.update: Callable[[Update], Tensor] = {"sgd": sgd, "adam": adam, "adamw": adamw}[case.recipe["optimizer"]]
        self.clip = clip
        self.rate: Callable[[int], float] = lambda step: case.learning_rates[step - 1]
        self.decay_of: Callable[[str, Tensor], float] = self.decay
        self.edits: list[Callable[[Arrays], Arrays]] = []  # of the dump

    # Inputs.

    def cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def images(self) -> Tensor:
        """Return the images (N, C, H, W), normalized from the pixels (N, H, W, C)."""
        pixels = self.case.group("inputs/")["pixels"].permute(0, 3, 1, 2).to(torch.float64) / 255
        mean, std = (
            per_channel(torch.tensor(values, dtype=torch.float64)) for values in (self.case.mean, self.case.std)
        )
        return self.cast((pixels - mean) / std)

    def masks(self, step: int) -> dict[str, Tensor]:
        """Return the factors of the dropout layers in a step."""
        prefix = "inputs/dropout/" if step == 1 else f"inputs/dropout/{step}/"
        return {key: self.cast(mask) for key, mask in self.case.group(prefix).items()}

    def decay(self, key: str, parameter: Tensor) -> float:
        recipe = self.case.recipe
        return recipe["weight_decay"] if recipe["weight_decay_scope"] == "all" or parameter.ndim > 1 else 0.0

    # Passes.

    def forward(self, state: Mapping[str, Tensor], training: bool, step: int = 1) -> dict[str, Call]:
        """Return all calls; those until the first that fails, if one does."""
        calls: dict[str, Call] = {}
        outputs, masks, recipe = {"input": self.read_images()}, self.masks_of(step), self.case.recipe
        weights = self.class_weights
        for name, operation in self.operations.items():
            own = {key.rpartition(".")[2]: state[key] for of in ("parameters", "buffers") for key in operation[of]}
            for key in operation["parameters"]:
                own[key.rpartition(".")[2]] = state[key].clone().requires_grad_()
            inputs = [outputs[source].detach().clone().requires_grad_() for source in operation["inputs"]]
            # In evaluation mode the loss is that of the training, too.
            call = Call(
                operation, inputs, own, training, masks.get(name), self.labels, recipe["label_smoothing"], weights
            )
            try:
                call.output = self.forward_rules[name](call)
            except RuntimeError:  # shapes no longer fit
                break
            outputs[name] = call.output.detach()
            calls[name] = call
        return calls

    def backward(self, calls: dict[str, Call]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the gradients of the loss wrt all outputs and all parameters."""
        parts: dict[str, dict[str, Tensor]] = {"loss": {"": torch.ones((), dtype=self.dtype)}}
        gradients, parameters = {}, {}
        for name, call in reversed(calls.items()):
            gradients[name] = self.add(name, parts[name])
            dxs, own = self.backward_rules[name](call, gradients[name].to(call.output.dtype))
            for source, dx in zip(call.operation["inputs"], dxs, strict=True):
                parts.setdefault(source, {})[name] = dx.detach()
            parameters.update({f"{name}.{key}": g.detach() for key, g in own.items()})
        gradients["input"] = self.add("input", parts["input"])
        return gradients, parameters

    def run(self) -> Arrays:
        """Compute everything, and return the dump, by the names of the golden format."""
        dump: Arrays = {"inputs/images": self.read_images()}
        calls = self.forward(self.state, self.is_training["eval"])
        dump |= {f"eval/activations/{name}": call.output for name, call in calls.items() if name != "loss"}
        if len(calls) == len(self.operations):
            self.train(dump)
        else:
            calls = self.forward(self.state, self.is_training["train"])
            dump |= {f"train/activations/{name}": call.output for name, call in calls.items()}
        arrays = {name: np.array(tensor.detach().numpy()) for name, tensor in dump.items()}
        for edit in self.edits:
            arrays = edit(arrays)
        return arrays

    def train(self, dump: Arrays) -> None:
        state, carried = dict(self.state), {key: {} for key in self.state}
        accumulated: dict[str, Tensor] = {}
        for step in range(1, max(len(self.case.learning_rates), 1) + 1):
            calls = self.forward(state, self.is_training["train"], step)
            activation_gradients, gradients = self.backward(calls)
            buffers = {f"{name}.{key}": b for name, call in calls.items() for key, b in call.buffers.items()}
            if step == 1:
                outputs = {name: call.output for name, call in calls.items()}
                dump["train/loss"] = outputs.pop("loss")
                activation_gradients = {
                    key: g for key, g in activation_gradients.items() if key not in ("loss", "input")
                }
                groups = (("activations", outputs), ("buffers", buffers), ("gradients", gradients))
                for group, tensors in (*groups, ("activation_gradients", activation_gradients)):
                    dump.update({f"train/{group}/{key}": tensor for key, tensor in tensors.items()})
            if self.case.learning_rates:
                dump[f"steps/{step}/loss"] = calls["loss"].output
                if not self.zero_gradients:
                    gradients = {key: g + accumulated.get(key, 0) for key, g in gradients.items()}
                accumulated = gradients
                self.take_step(step, state | buffers, gradients, carried, dump, state)

    def take_step(
        self,
        step: int,
        before: dict[str, Tensor],
        gradients: dict[str, Tensor],
        carried: dict[str, dict[str, Tensor]],
        dump: Arrays,
        state: dict[str, Tensor],
    ) -> None:
        """Update the state in place, and dump it."""
        state.update(before)
        dump.update({f"steps/{step}/gradients/{key}": g for key, g in gradients.items()})
        self.current = state
        limited = self.clip(gradients, self.case.recipe["clip_grad_norm"])
        for key, g in limited.items():
            decay, body_lr = self.decay_of(key, g), self.case.recipe["body_lr"]
            lr = self.rate(step) * (1 if key.startswith("fc.") else body_lr)
            state[key] = self.update(Update(state[key], g, carried[key], lr, step, decay, self.case.recipe))
            dump.update({f"steps/{step}/{name}/{key}": array for name, array in carried[key].items()})
        dump.update({f"steps/{step}/state/{key}": tensor for key, tensor in state.items()})
