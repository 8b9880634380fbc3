"""Optimizers that compute what torch.optim computes, update for update.

A group is a dict with its ``params`` and whatever it sets differently, as in torch::

    SGD([{"params": weights, "weight_decay": 1e-4}, {"params": biases}], lr=0.05, momentum=0.9)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ConfigError
from glassnet.nn.functional import adam_step, sgd_step
from glassnet.nn.module import Parameter

Array = NDArray[Any]
ParamGroup = dict[str, Any]


class Optimizer:
    """Parameter groups and, for each parameter, the arrays that an update carries to the next one.

    ``state[parameter]`` is a dict with torch's names (``momentum_buffer``, ``exp_avg``, ...), empty before
    the first step. A group's ``lr`` may be set between steps.

    :raises ConfigError: if a setting is unknown or out of its range, if there are no parameters, or if a parameter is
        listed twice: it would be updated twice.
    """

    def __init__(self, params: Iterable[Parameter] | Iterable[ParamGroup], **defaults: Any) -> None:
        entries: list[Any] = list(params)
        self.param_groups: list[ParamGroup] = []
        for group in entries if entries and isinstance(entries[0], dict) else [{"params": entries}]:
            unknown = set(group) - set(defaults) - {"params"}
            if unknown:
                allowed = ", ".join(sorted(defaults))
                raise ConfigError(f"settings of {type(self).__name__} must be {allowed}. Got {sorted(unknown)}.")
            self.param_groups.append({**defaults, **group, "params": list(group["params"])})
            self._check_group(self.param_groups[-1])
        listed = [parameter for group in self.param_groups for parameter in group["params"]]
        for parameter in listed:
            if not isinstance(parameter, Parameter):
                got = type(parameter).__name__
                raise ConfigError(f"params of {type(self).__name__} must be Parameters. Got {got}.")
        self.state: dict[Parameter, dict[str, Array]] = {parameter: {} for parameter in listed}
        if not 0 < len(self.state) == len(listed):
            got = f"{len(listed)} ({len(listed) - len(self.state)} repeated)"
            raise ConfigError(f"params of {type(self).__name__} must be at least 1, each once. Got {got}.")

    def _check_group(self, group: ParamGroup) -> None:
        """Check the settings of a group, for the ranges that torch allows."""
        for name in ("lr", "weight_decay", "eps"):
            if not group.get(name, 0) >= 0:
                raise ConfigError(f"{name} of {type(self).__name__} must be at least 0. Got {group[name]!r}.")

    def step(self) -> None:
        """Update every parameter's ``data`` from its ``grad``."""
        for group in self.param_groups:
            for parameter in group["params"]:
                self.update(parameter, self.state[parameter], group)

    def update(self, parameter: Parameter, state: dict[str, Array], group: ParamGroup) -> None:
        """Update one parameter's ``data`` and ``state`` from its ``grad``; an optimizer overrides it."""
        raise NotImplementedError(f"{type(self).__name__} has no update.")


class SGD(Optimizer):
    """Stochastic gradient descent with momentum μ (torch.optim.SGD; Nesterov: Sutskever et al. 2013)::

    g = ∇w + weight_decay·w
    v = g at the first step, then μ·v + g
    w = w − lr·v              w = w − lr·(g + μ·v) with nesterov
    """

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[ParamGroup],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    def _check_group(self, group: ParamGroup) -> None:
        super()._check_group(group)
        momentum = group["momentum"]
        if not momentum >= 0 or (group["nesterov"] and momentum == 0):
            raise ConfigError(f"momentum of SGD must be at least 0, and above 0 with nesterov. Got {momentum!r}.")

    def update(self, parameter: Parameter, state: dict[str, Array], group: ParamGroup) -> None:
        settings = group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]
        w, v = sgd_step(parameter.data, parameter.grad, state.get("momentum_buffer"), *settings)
        parameter.data[...] = w
        if v is not None:
            state["momentum_buffer"] = np.asarray(v)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1), with torch.optim.Adam's order of operations::

    g = ∇w + weight_decay·w
    m = β₁·m + (1 − β₁)·g          v = β₂·v + (1 − β₂)·g²
    w = w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
    """

    decoupled_weight_decay = False

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[ParamGroup],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _check_group(self, group: ParamGroup) -> None:
        super()._check_group(group)
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise ConfigError(f"betas of {type(self).__name__} must be in [0, 1). Got {group['betas']!r}.")

    def update(self, parameter: Parameter, state: dict[str, Array], group: ParamGroup) -> None:
        w, settings = parameter.data, {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
        if not state:
            state.update(step=np.zeros((), w.dtype), exp_avg=np.zeros_like(w), exp_avg_sq=np.zeros_like(w))
        state["step"] += 1
        moments = state["exp_avg"], state["exp_avg_sq"]
        w, m, v = adam_step(
            w, parameter.grad, *moments, int(state["step"]), **settings, decoupled=self.decoupled_weight_decay
        )
        parameter.data[...] = w
        state["exp_avg"], state["exp_avg_sq"] = np.asarray(m), np.asarray(v)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW.

    The decay stays out of g; before the update w = (1 − lr·weight_decay)·w.
    """

    decoupled_weight_decay = True

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[ParamGroup],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
