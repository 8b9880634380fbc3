"""How a network is trained: the recipe, and the named recipes as a table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from glassnet.errors import ConfigError, choice_error

CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "adam", "adamw"),
    "weight_decay_scope": ("weights", "all"),
    "schedule": ("constant", "step", "cosine", "one-cycle"),
    "augment": ("none", "flip-crop"),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that a training is, but the network, the data and the machine.

    :raises ConfigError: a field out of its range, named with its value and what is allowed.
    """

    optimizer: str = "sgd"  # "sgd", "adam", "adamw", as torch.optim computes them
    lr: float = 0.05  # the learning rate, the largest of its schedule
    momentum: float = 0.9  # of SGD
    nesterov: bool = False  # of SGD
    weight_decay: float = 0.0
    weight_decay_scope: str = "weights"  # what decays: kernels and matrices only, or "all" parameters
    schedule: str = "constant"  # "constant", "step", "cosine", "one-cycle"; see training/schedule.py
    batch_size: int = 64
    epochs: int = 10
    label_smoothing: float = 0.0
    validation: float = 0.0  # share of the training images that chooses the best epoch
    clip_grad_norm: float | None = None  # largest L2 norm of the whole gradient
    augment: str = "none"  # "none", "flip-crop" (He et al. 2015, sec. 4.2)
    seed: int = 42  # of the weights, the batches, the augmentation and the dropout

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            if isinstance(value, np.generic):  # a float64 would turn float32 arithmetic into float64
                object.__setattr__(self, name, value.item())
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise _refused(name, getattr(self, name), f"one of {', '.join(map(repr, allowed))}")
        for name in ("batch_size", "epochs", "seed"):
            value, minimum = getattr(self, name), 0 if name == "seed" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise _refused(name, value, f"an integer of at least {minimum}")
        if not isinstance(self.nesterov, bool):
            raise _refused("nesterov", self.nesterov, "True or False")
        if not _is_number(self.lr) or not 0 < self.lr < float("inf"):
            raise _refused("lr", self.lr, "a finite number above 0")
        if not _is_number(self.weight_decay) or not 0 <= self.weight_decay < float("inf"):
            raise _refused("weight_decay", self.weight_decay, "a finite number of at least 0")
        for name in ("momentum", "label_smoothing", "validation"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < 1:
                raise _refused(name, value, "a number in [0, 1)")
        if self.nesterov and self.momentum == 0:
            raise _refused("momentum", self.momentum, "above 0 with nesterov")
        if self.clip_grad_norm is not None and not (
            _is_number(self.clip_grad_norm) and 0 < self.clip_grad_norm < float("inf")
        ):
            raise _refused("clip_grad_norm", self.clip_grad_norm, "None or a finite number above 0")

    def replace(self, **changes: Any) -> Self:
        """A changed copy.

        :raises ConfigError: an unknown field, with the near ones.
        """
        fields = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in fields:
                raise choice_error("A field of a recipe", fields, name)
        return dataclasses.replace(self, **changes)

    def decays(self, ndim: int) -> bool:
        """Whether a parameter of ``ndim`` axes decays: biases and BatchNorm's scales have one, weights more."""
        return self.weight_decay_scope == "all" or ndim > 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refused(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"The {name} of a recipe must be {allowed}. Got {value!r}.")


_ONE_CYCLE: dict[str, Any] = {"schedule": "one-cycle", "nesterov": True}
_CIFAR = _ONE_CYCLE | {"lr": 0.1, "weight_decay": 1e-4, "batch_size": 128, "augment": "flip-crop"}
# He et al.'s 0.1 at 256 images, in proportion; so many of 224×224 fit into a few GiB in every preset.
_IMAGENET = _ONE_CYCLE | {"lr": 0.0125, "weight_decay": 1e-4, "batch_size": 32, "augment": "flip-crop"}

# What differs from Recipe's own defaults, by preset and name. "tutorial" is the teaching example's and never changes.
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "default": _ONE_CYCLE | {"lr": 0.1, "weight_decay": 1e-3, "batch_size": 32, "label_smoothing": 0.1},
        "tutorial": {"weight_decay": 1e-4},
        "tutorial-full": {"weight_decay": 1e-4, "epochs": 40},
    },
    "tiny-bn": {
        "default": _ONE_CYCLE | {"lr": 0.05, "weight_decay": 1e-3, "batch_size": 32, "label_smoothing": 0.1},
        "tutorial": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "weight_decay_scope": "all"},
        "tutorial-full": {
            "optimizer": "adam",
            "lr": 1e-3,
            "weight_decay": 1e-4,
            "weight_decay_scope": "all",
            "epochs": 30,
        },
    },
    **{name: {"default": _CIFAR} for name in ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")},
    **{name: {"default": _IMAGENET} for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")},
}


def recipe(preset: str, name: str = "default", **changes: Any) -> Recipe:
    """The named recipe of a preset, changed by field. A network that is no preset starts from Recipe's defaults.

    :raises ConfigError: an unknown name or field.
    """
    named = RECIPES.get(preset, {"default": {}})
    if not isinstance(name, str) or name not in named:
        raise ConfigError(f"There is no recipe {name!r} for {preset}. Recipes: {', '.join(named)}.")
    return Recipe().replace(**named[name]).replace(**changes)
