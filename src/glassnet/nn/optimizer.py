"""Optimizers that compute what torch.optim computes, update for update.

A group is a dict with its ``params`` and whatever it sets differently, as in torch::

    SGD([{"params": weights, "weight_decay": 1e-4}, {"params": biases}], lr=0.05, momentum=0.9)
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ConfigError
from glassnet.nn.module import Parameter

Array = NDArray[Any]
Group = dict[str, Any]


class Optimizer:
    """Parameter groups and, for each parameter, the arrays that an update carries to the next one.

    ``state[parameter]`` is a dict with torch's names (``momentum_buffer``, ``exp_avg``, ...), empty before
    the first step. A group's ``lr`` may be set between steps.

    :raises ConfigError: where a setting is unknown or out of its range, or there are no parameters, or one is there
        twice: it would be moved twice.
    """

    def __init__(self, params: Iterable[Parameter] | Iterable[Group], **defaults: Any) -> None:
        entries: list[Any] = list(params)
        self.groups: list[Group] = []
        for group in entries if entries and isinstance(entries[0], dict) else [{"params": entries}]:
            unknown = set(group) - set(defaults) - {"params"}
            if unknown:
                raise ConfigError(f"{type(self).__name__} has no {sorted(unknown)}. Allowed: {sorted(defaults)}.")
            self.groups.append({**defaults, **group, "params": list(group["params"])})
            self.check(self.groups[-1])
        listed = [parameter for group in self.groups for parameter in group["params"]]
        for parameter in listed:
            if not isinstance(parameter, Parameter):
                raise ConfigError(f"{type(self).__name__} takes parameters. Got {type(parameter).__name__}.")
        self.state: dict[Parameter, dict[str, Array]] = {parameter: {} for parameter in listed}
        if not 0 < len(self.state) == len(listed):
            raise ConfigError(
                f"{type(self).__name__} needs parameters, each once. Got {len(listed)}, of them {len(self.state)} "
                "different ones."
            )

    def check(self, group: Group) -> None:
        """:raises ConfigError: where a setting of the group is out of its range."""
        for name in ("lr", "weight_decay", "eps"):
            if not group.get(name, 0) >= 0:
                raise ConfigError(f"The {name} of {type(self).__name__} must be at least 0. Got {group[name]!r}.")

    def step(self) -> None:
        """Update every parameter's ``data`` from its ``grad``."""
        for group in self.groups:
            for parameter in group["params"]:
                self.update(parameter, self.state[parameter], group)

    def update(self, parameter: Parameter, state: dict[str, Array], group: Group) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no update.")


class SGD(Optimizer):
    """Stochastic gradient descent with momentum μ (torch.optim.SGD; Nesterov: Sutskever et al. 2013)::

    g = ∇w + weight_decay·w
    v = g at the first step, then μ·v + g
    w = w − lr·v              w = w − lr·(g + μ·v) with nesterov
    """

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[Group],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    def check(self, group: Group) -> None:
        super().check(group)
        momentum = group["momentum"]
        if not momentum >= 0 or (group["nesterov"] and momentum == 0):
            raise ConfigError(f"The momentum of SGD must be at least 0, and above 0 with nesterov. Got {momentum!r}.")

    def update(self, parameter: Parameter, state: dict[str, Array], group: Group) -> None:
        w, g, momentum = parameter.data, parameter.grad, group["momentum"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * w
        if momentum:
            if "momentum_buffer" in state:
                v = state["momentum_buffer"]
                v *= momentum
                v += g
            else:
                v = state["momentum_buffer"] = np.array(g)
            g = g + momentum * v if group["nesterov"] else v
        w -= group["lr"] * g


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1), with torch.optim.Adam's order of operations::

    g = ∇w + weight_decay·w
    m = β₁·m + (1 − β₁)·g          v = β₂·v + (1 − β₂)·g²
    w = w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
    """

    decoupled_weight_decay = False

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def check(self, group: Group) -> None:
        super().check(group)
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise ConfigError(f"The betas of {type(self).__name__} must be in [0, 1). Got {group['betas']!r}.")

    def update(self, parameter: Parameter, state: dict[str, Array], group: Group) -> None:
        w, g, lr = parameter.data, parameter.grad, group["lr"]
        beta1, beta2 = group["betas"]
        if group["weight_decay"] and self.decoupled_weight_decay:
            w *= 1 - lr * group["weight_decay"]
        elif group["weight_decay"]:
            g = g + group["weight_decay"] * w
        if not state:
            state.update(step=np.zeros((), w.dtype), exp_avg=np.zeros_like(w), exp_avg_sq=np.zeros_like(w))
        m, v = state["exp_avg"], state["exp_avg_sq"]
        state["step"] += 1
        t = int(state["step"])
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * g * g
        denominator = np.sqrt(v) / sqrt(1 - beta2**t) + group["eps"]
        w -= lr / (1 - beta1**t) * m / denominator


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW.

    The decay stays out of g; before the update w = (1 − lr·weight_decay)·w.
    """

    decoupled_weight_decay = True

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
