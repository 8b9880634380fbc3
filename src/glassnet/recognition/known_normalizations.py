"""Mean and std that other projects normalize images with, to suggest where they are not given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glassnet.architecture import ResNetSpec
from glassnet.recognition.config_beside import normalization, read_config_beside

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_CIFAR100 = ((0.507, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761))

# The fields of specs, the projects that have such networks, and their mean and std in units of 255.
_KNOWN: tuple[tuple[dict[str, Any], str, tuple[Sequence[float], Sequence[float]]], ...] = (
    ({"stem": "7x7"}, "torchvision, Transformers and most networks of timm", _IMAGENET),
    ({"stem": "3x3", "shortcut": "zero-pad"}, "pytorch_resnet_cifar10", _IMAGENET),
    ({"stem": "3x3", "shortcut": "projection", "classes": 100}, "pytorch-cifar-models on CIFAR-100", _CIFAR100),
    ({"stem": "3x3", "shortcut": "projection"}, "pytorch-cifar and pytorch-cifar-models on CIFAR-10", _CIFAR10),
)


def suggest_normalization(path: Path, spec: ResNetSpec) -> str:
    """Return a sentence with the mean and std that the weights in a file may expect, or an empty text if unknown."""
    if of_timm := normalization(read_config_beside(path)):
        return f" {path.with_name('config.json')} has {_options(*of_timm)}."
    if spec.in_channels == 3 and spec.norm == "batch":
        for fields, projects, known in _KNOWN:
            if all(getattr(spec, name) == value for name, value in fields.items()):
                return f" Networks of {projects} have {_options(*known)}."
    return ""


def _options(mean: Sequence[float], std: Sequence[float]) -> str:
    return f"mean {','.join(map(str, mean))} and std {','.join(map(str, std))}"
