"""The operation whose gradient is wrong, found by central differences of each layer alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.errors import GlassnetError
from glassnet.verify.faults import Fault
from glassnet.verify.finite_differences import EPS, GradientChecker, GradientComparison

Array = NDArray[Any]
DIRECTIONS = 2  # of each tensor of a layer


@dataclass
class _Record:
    x: Array | None = None
    dy: Array | None = None


def find_gradient_fault(network: nn.Module, x: Array, upstream: Callable[[Array], Array]) -> Fault | None:
    """Return the layer that hands back a wrong gradient, the nearest to the loss; None if every layer is right alone.

    Each layer is checked on the x that it read in the network and the dy that it received there. A block or a sequence
    is checked as a whole, too: it is at fault where all layers in it are right.

    :param network: in training mode, in float64.
    :param x: the input of the network.
    :param upstream: the gradient of the loss wrt the network's output, from that output.
    """
    modules = dict(network.named_modules())
    records = {name: _Record() for name in modules}
    with suppress(Exception):  # a layer that raises is found below
        _run(network, x, upstream, records)
    for name, module in reversed(modules.items()):  # children before the layer that they are in
        record = records[name]
        if record.x is None:
            continue
        if record.dy is None:
            if _is_skipped(name, modules, records):
                return _fault(*_parent(name, modules), f"backward of {name} is never called")
            continue
        if found := _judge(name, module, record.x, record.dy):
            return found
    return None


def _run(network: nn.Module, x: Array, upstream: Callable[[Array], Array], records: dict[str, _Record]) -> None:
    def keep_forward(name: str, x: Array, y: Array) -> None:
        records[name].x = np.array(x)

    for name, module in network.named_modules():
        _keep_dy(module, records[name])
    try:
        with nn.module_hooks(network, list(records), forward=keep_forward):
            network.backward(upstream(network(x)))
    finally:
        for module in network.modules():
            del vars(module)["backward"]


def _keep_dy(module: nn.Module, record: _Record) -> None:
    """Let a layer keep the dy that it receives, before its backward pass, which may raise an error."""
    plain = module.backward

    def backward(dy: Array) -> Array:
        record.dy = np.array(dy)
        return plain(dy)

    vars(module)["backward"] = backward


def _is_skipped(name: str, modules: dict[str, nn.Module], records: dict[str, _Record]) -> bool:
    """Whether the layer around this one ran backward."""
    return bool(name) and records[_parent(name, modules)[0]].dy is not None


def _parent(name: str, modules: dict[str, nn.Module]) -> tuple[str, nn.Module]:
    above = name.rpartition(".")[0]
    return above, modules[above]


def _fault(name: str, module: nn.Module, detail: str) -> Fault:
    return Fault(name or "the network", type(module).__name__, "backward", detail)


def _judge(name: str, module: nn.Module, x: Array, dy: Array) -> Fault | None:
    try:
        rng = np.random.default_rng(0)
        checker = GradientChecker(name, module, x, EPS, rng=rng)  # which moves x away from ReLU's zeros, ties of a pool
        checker.set_loss(lambda y: dy, lambda after, before: float(np.vdot(dy, after - before)))
        for key in checker.tensors:
            for row in checker.compare(key, _directions(checker.gradients[key], rng), DIRECTIONS):
                if not row.passed:
                    return _fault(name, module, _describe(row))
    except GlassnetError as error:
        if "no kinks" in str(error):  # nothing can be said of this layer
            return None
        return _fault(name, module, f"backward fails: {error}")
    except Exception as error:
        return _fault(name, module, f"backward raises {type(error).__name__}: {error}")
    return None


def _describe(row: GradientComparison) -> str:
    if row.tensor == "input":
        return "backward returns a wrong dx"
    return f"backward leaves {'no' if np.isnan(row.analytical) else 'a wrong'} gradient of {row.tensor}"


def _directions(gradient: Array, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    number = 0
    while True:
        direction = rng.standard_normal(gradient.shape)
        yield f"direction {number}", direction / np.linalg.norm(direction)
        number += 1
