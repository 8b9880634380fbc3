"""Recipes: the settings of a training, and the table of the named recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from glassnet.errors import ConfigError, choice_error
from glassnet.settings import Settings, invalid, setting


@dataclass(frozen=True)
class Recipe(Settings):
    """Settings of a training: everything but the network, the data and the machine.

    :raises ConfigError: if a field is out of its range.
    """

    title: ClassVar[str] = "recipe"
    default_source: ClassVar[str | None] = "the preset's"

    optimizer: Literal["sgd", "adam", "adamw"] = setting("sgd", "Optimizer, as torch.optim computes it.")
    lr: float = setting(0.05, "Peak learning rate of the schedule.", above=0)
    momentum: float = setting(0.9, "Momentum of SGD.", minimum=0, below=1)
    nesterov: bool = setting(False, "Use Nesterov's momentum in SGD.")
    weight_decay: float = setting(0.0, "Weight decay.", minimum=0)
    weight_decay_scope: Literal["weights", "all"] = setting(
        "weights", "Parameters that decay: kernels and matrices only, or all."
    )
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = setting("constant", "Schedule of the learning rate.")
    warmup: float = setting(
        0.0, "Epochs in which the learning rate rises linearly from 0 to its peak, before the schedule.", minimum=0
    )
    body_lr: float = setting(
        1.0,
        "Learning rate of all layers but the head (fc), as a fraction of the head's.",
        above=0,
        form="a finite number above 0; freeze keeps the layers before the head as they are",
    )
    batch_size: int = setting(64, "Number of images per step.", minimum=1)
    epochs: int = setting(10, "Number of passes over the training images.", minimum=1)
    ema: float = setting(
        0.0,
        "Decay of the moving average of the weights, which is evaluated and saved in their place. 0: no average.",
        minimum=0,
        below=1,
    )
    label_smoothing: float = setting(
        0.0, "Probability moved from the true class to all classes equally.", minimum=0, below=1
    )
    class_weights: Literal["none", "balanced"] = setting(
        "none", "Weights of the classes in the training loss: none, or the same total for each class."
    )
    validation_fraction: float = setting(
        0.0, "Fraction of the training images that is held out to choose the best epoch.", minimum=0, below=1
    )
    patience: int | None = setting(
        None,
        "Epochs without a better validation epoch, after which the training stops early. Default: it does not.",
        minimum=1,
    )
    clip_grad_norm: float | None = setting(
        None, "Scale the whole gradient down to at most this L2 norm. Default: no clipping.", above=0
    )
    augment: Literal["none", "flip", "crop", "flip-crop", "resized-crop", "flip-resized-crop"] = setting(
        "none", "Random flips and crops of the training images: crops of 4 pixels' padding, or resized ones."
    )
    rotate: float = setting(0.0, "Largest random rotation of the training images, in degrees.", minimum=0, below=360)
    translate: float = setting(
        0.0, "Largest random shift of the training images, as a fraction of height and width.", minimum=0, below=1
    )
    jitter: float = setting(
        0.0,
        "Largest random change of brightness, contrast and saturation, as a fraction of each.",
        minimum=0,
        maximum=1,
        form="a finite number from 0 to 1; a factor, from 1 - jitter to 1 + jitter, is not below 0",
    )
    shards: int | None = setting(
        None,
        "Number of parts of each batch, for the same training on any number of processes that divides it. One process "
        "computes them in turn (gradient accumulation). Default: the number of processes.",
        minimum=1,
    )
    seed: int = setting(42, "Seed of initial weights, batches, augmentation and dropout.", minimum=0, below=2**32)

    def check(self) -> None:
        """Check that nesterov has a momentum, and that a warm-up ends and is the only one.

        :raises ConfigError: if not.
        """
        if self.nesterov and self.momentum == 0:
            raise invalid("momentum", "above 0 with nesterov", self.momentum)
        if self.warmup and self.schedule == "one-cycle":
            error = invalid("warmup", "0 with schedule one-cycle, which has a warm-up of its own", self.warmup)
            raise ConfigError(f"{error} Choose schedule cosine, step or constant.")
        if self.warmup >= self.epochs:
            raise invalid("warmup", f"below epochs ({self.epochs})", self.warmup)

    @property
    def loss_note(self) -> str:
        """The words for how the training loss differs from the others: ``smoothed``, ``weighted``, both or none."""
        return " and ".join(["smoothed"] * bool(self.label_smoothing) + ["weighted"] * (self.class_weights != "none"))

    def decays(self, ndim: int) -> bool:
        """Whether a parameter of ``ndim`` axes decays. Biases and BatchNorm's parameters are 1-d."""
        return self.weight_decay_scope == "all" or ndim > 1


_ONE_CYCLE: dict[str, Any] = {"schedule": "one-cycle", "nesterov": True}
_CIFAR = _ONE_CYCLE | {"lr": 0.1, "weight_decay": 1e-4, "batch_size": 128, "augment": "flip-crop"}
# For a hundred images, of which the default's batches make 10 steps in all (benchmarks/README.md).
_FINETUNE = {"lr": 0.05, "batch_size": 16, "epochs": 30}
# Chosen for resnet20 on the 50,000 training images of CIFAR-10 (benchmarks/README.md).
_TUNED = _CIFAR | {"batch_size": 64, "weight_decay": 5e-4, "schedule": "cosine", "warmup": 1.0}
_QUICK = _TUNED | {"epochs": 8, "augment": "flip", "translate": 0.0625, "label_smoothing": 0.1}
_BEST = _TUNED | {"epochs": 26}
# He et al.'s lr of 0.1 for 256 images, in proportion: 32 images of 224×224 fit into a few GiB with every preset.
_IMAGENET = _ONE_CYCLE | {"lr": 0.0125, "weight_decay": 1e-4, "batch_size": 32, "augment": "flip-resized-crop"}

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
    "resnet20": {"default": _CIFAR, "quick": _QUICK, "best": _BEST, "finetune": _CIFAR | _FINETUNE},
    **{
        name: {"default": _CIFAR, "finetune": _CIFAR | _FINETUNE}
        for name in ("resnet32", "resnet44", "resnet56", "resnet110")
    },
    **{name: {"default": _IMAGENET} for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")},
}


def get_recipe(preset: str, name: str = "default", **changes: Any) -> Recipe:
    """Return the named recipe of a preset, changed by field. Other networks start from Recipe's defaults.

    :raises ConfigError: if the name or a field is unknown, or a value is out of its range.
    """
    named = RECIPES.get(preset, {"default": {}})
    if not isinstance(name, str) or name not in named:
        raise choice_error(f"recipe of {preset}", named, name)
    return Recipe().replace(**named[name]).replace(**changes)
