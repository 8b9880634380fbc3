"""The bug hunt: ten networks with a planted fault, to be found from the table of the gradient check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import ResNetSpec, assemble, spec
from glassnet.course.exercise import Exercise
from glassnet.errors import choice_error
from glassnet.initialization import build_uninitialized, initial_state_dict
from glassnet.nn import functional
from glassnet.nn.kernels import Kernels
from glassnet.verify import GradientReport, check_network

Array = NDArray[Any]
Saved = tuple[Any, ...]

FAULTS = {
    "factor": "a constant factor is wrong",
    "sign": "the sign is wrong",
    "mask": "a mask is missing, so that gradient reaches values that had no effect",
    "term": "a term of a sum is missing",
    "sum": "a sum over the images is missing",
    "flipped": "an array is flipped",
    "place": "gradient goes to the wrong channels or pixels",
}


@dataclass(frozen=True, repr=False)
class BugHunt(Exercise):
    """A network with a fault in the backward pass of one kind of layer. The answer is (layer, fault).

    ``report()`` checks its gradients, and ``network()`` returns it, for checks with other images: all layers of
    the same class have the fault.
    """

    spec: ResNetSpec
    _answer: tuple[str, str]
    _functions: dict[str, Callable[..., Any]] = field(default_factory=dict)  # replace those of nn.functional
    _layers: dict[str, Any] = field(default_factory=dict)  # replace those of glassnet.nn

    @property
    def signature(self) -> str:
        return '("layer", "fault")'

    def network(self) -> nn.Module:
        """Return a new network with the fault, in float64."""
        namespace = {name: getattr(nn, name) for name in nn.__all__} | self._layers
        functions = {name: value for name, value in vars(functional).items() if callable(value)} | self._functions
        network: nn.Module = assemble(self.spec, SimpleNamespace(**namespace)).to(np.float64)
        network.load_state_dict(initial_state_dict(self.spec, seed=0))
        return network.use_kernels(cast(Kernels, SimpleNamespace(**functions)))

    def batch(self, count: int = 4) -> tuple[Array, Array]:
        """Return ``count`` random images (N, C, H, W) and their labels (N,), always the same ones."""
        rng = np.random.default_rng(0)
        images = rng.standard_normal((count, self.spec.in_channels, *self.spec.size))
        return images, rng.integers(self.spec.classes, size=count)

    def report(self, count: int = 4) -> GradientReport:
        """Check the gradients of the network on ``count`` images; ``.table()`` has a row for each tensor."""
        return check_network(self.network(), *self.batch(count), name=self.name)

    def judge(self, answer: Any, seed: int) -> str:
        if not (isinstance(answer, tuple | list) and len(answer) == 2 and all(isinstance(a, str) for a in answer)):
            return f"The answer must be a pair of two strings, {self.signature}. Got {answer!r}."
        layer, fault = answer
        classes = {name: type(m).__name__ for name, m in build_uninitialized(self.spec).named_modules() if name}
        layer = classes.get(layer, layer)
        present = sorted(set(classes.values()) - {"Sequential"})
        if layer not in present:
            return str(choice_error("layer", present, layer))
        if fault not in FAULTS:
            return str(choice_error("fault", FAULTS, fault))
        if layer != self._answer[0]:
            return f"It is not {layer}.\n{_READ_THE_ROWS}"
        if fault != self._answer[1]:
            return f"It is {layer}, but not that {FAULTS[fault]}.\n{_READ_THE_NUMBERS}"
        return ""


_READ_THE_ROWS = "A wrong dx spoils the rows before its layer, a wrong gradient of a parameter its own row."
_READ_THE_NUMBERS = "Is the ratio the same in all wrong rows? Does it change with the number of images?"

# The faults. Each is a backward function of nn.functional with one thing wrong.


def _relu_backward(dy: Array, saved: Saved) -> Array:
    return dy.copy()


def _linear_backward(dy: Array, saved: Saved) -> Any:
    dx, dw, db = functional.linear_backward(dy, saved)
    return dx, -dw, db


def _conv2d_backward_bias(dy: Array, saved: Saved) -> Any:
    dx, dw, db = functional.conv2d_backward(dy, saved)
    return dx, dw, None if db is None else db / len(dy)


def _conv2d_backward_input(dy: Array, saved: Saved) -> Any:
    patches, shape, w, *others = saved
    return functional.conv2d_backward(dy, (patches, shape, w[:, :, ::-1, ::-1], *others))


def _max_pool2d_backward(dy: Array, saved: Saved) -> Array:
    _, shape, (kh, kw), *window = saved
    windows = np.broadcast_to(dy[:, :, np.newaxis, np.newaxis], (*dy.shape[:2], kh, kw, *dy.shape[2:]))
    return functional.add_windows(windows, shape, *window)


def _batch_norm_backward_mean(dy: Array, saved: Saved) -> Any:
    dx, dgamma, dbeta = functional.batch_norm_backward(dy, saved)
    _, gamma, inverse_std = saved
    return dx + functional.as_nchw(gamma * inverse_std * dbeta * dy.shape[1] / dy.size), dgamma, dbeta


def _batch_norm_backward_sum(dy: Array, saved: Saved) -> Any:
    x_hat = saved[0]
    dx, _, _ = functional.batch_norm_backward(dy, saved)
    return dx, (dy * x_hat)[-1].sum(axis=(1, 2)), dy[-1].sum(axis=(1, 2))


def _adaptive_avg_pool2d_backward(dy: Array, saved: Saved) -> Array:
    (shape,) = saved
    return np.broadcast_to(dy, shape).copy()


def _zero_pad_shortcut_backward(dy: Array, saved: Saved) -> Array:
    shape, _, stride = saved
    return functional.zero_pad_shortcut_backward(dy, (shape, 0, stride))


class _Residual(nn.Residual):
    def backward(self, dy: Array) -> Array:
        children = dict(self.named_children())
        g = children["relu"].backward(dy)
        children["shortcut"].backward(g)
        for name in reversed(self._body):
            g = children[name].backward(g)
        return g


_Residual.__name__ = "Residual"  # the network must print as one without a fault

_TINY = spec("tiny", width=4, classes=5)
_TINY_BN = spec("tiny-bn", width=4, classes=5)
_STAGES = ResNetSpec("two-stages", 1, 8, 5, 4, (1, 1))

# Chapter, spec, layer, fault, and the function or the layer that has it.
_FAULTY: tuple[tuple[int, ResNetSpec, str, str, dict[str, Any]], ...] = (
    (3, _TINY, "Linear", "sign", {"linear_backward": _linear_backward}),
    (3, _TINY, "Conv2d", "factor", {"conv2d_backward": _conv2d_backward_bias}),
    (3, _TINY.replace(pool="none"), "ReLU", "mask", {"relu_backward": _relu_backward}),
    (3, _TINY, "MaxPool2d", "mask", {"max_pool2d_backward": _max_pool2d_backward}),
    (3, _TINY, "Conv2d", "flipped", {"conv2d_backward": _conv2d_backward_input}),
    (5, _TINY, "Residual", "term", {"Residual": _Residual}),
    (6, _TINY_BN, "BatchNorm2d", "sum", {"batch_norm_backward": _batch_norm_backward_sum}),
    (6, _TINY_BN, "BatchNorm2d", "term", {"batch_norm_backward": _batch_norm_backward_mean}),
    (9, _STAGES, "AdaptiveAvgPool2d", "factor", {"adaptive_avg_pool2d_backward": _adaptive_avg_pool2d_backward}),
    (9, _STAGES, "ZeroPadShortcut", "place", {"zero_pad_shortcut_backward": _zero_pad_shortcut_backward}),
)

_STUB = """\
bug = gn.course.exercises()["{name}"]
print(bug.network())
for row in bug.report().rows:  # on 4 images; bug.report(1) takes one
    ratio = row.analytical / row.numerical
    print(f"{{row.tensor:22}}{{row.numerical:10.5f}}{{row.analytical:10.5f}}{{ratio:9.3f}}")

# layer: a class, such as "Flatten", or a name in the network, such as "fc"
# fault: {faults}
gn.course.check("{name}", ("layer", "fault"))
"""


def _hunts() -> tuple[BugHunt, ...]:
    hunts = []
    for number, (chapter, model, layer, fault, wrong) in enumerate(_FAULTY, start=1):
        name = f"bug_hunt_{number}"
        kind = "_layers" if layer == "Residual" else "_functions"
        task = f"Find the fault in the backward pass of a network ({number} of {len(_FAULTY)})."
        stub = _STUB.format(name=name, faults=", ".join(FAULTS))
        hunts.append(BugHunt(name, chapter, task, stub, model, (layer, fault), **{kind: wrong}))
    return tuple(hunts)


EXERCISES = _hunts()
