"""The ``config.json`` beside a weights file: of a run, of Hugging Face's Transformers, or of timm."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassnet.architecture import ResNetSpec
from glassnet.errors import ConfigError, DataError

_MAX_BYTES = 10_000_000
# Networks of timm with the keys and shapes of its resnet18 and resnet50, whose files it names after them.
_ANTIALIASED = re.compile(r"resnet(aa|blur)\d+")
# Variants with the keys and shapes of a ResNet, by the fields of Transformers' ResNetConfig that make them.
_VARIANTS = {
    "downsample_in_first_stage": (False, "the first stage halves the images"),
    "downsample_in_bottleneck": (False, "the stride is on the first 1×1 convolution of a bottleneck (v1)"),
    "hidden_act": ("relu", "the activation is another one"),
}


def read_config_beside(path: Path) -> dict[str, Any]:
    """Return the object in the ``config.json`` beside a file; an empty one if there is none that can be read."""
    config = path.with_name("config.json")
    try:
        if not config.is_file() or config.stat().st_size > _MAX_BYTES:
            return {}
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def spec_of_run(config: Mapping[str, Any]) -> ResNetSpec | None:
    """Return the spec in the configuration of a run, or None for other configurations."""
    try:
        return ResNetSpec.from_dict(config["spec"]) if "format" in config and "spec" in config else None
    except ConfigError:
        return None


def names_network(config: Mapping[str, Any], spec: ResNetSpec) -> bool:
    """Whether the configuration is that of the network in Transformers or timm, so that its layers are known."""
    return _is_of_transformers(config, spec) or str(config.get("architecture")).startswith("resnet")


def check_variant(path: Path, config: Mapping[str, Any], spec: ResNetSpec) -> None:
    """Check that neither the name of the file nor the configuration beside it names a network that computes otherwise.

    :raises DataError: if one does; the error names what is different.
    """
    received = ""
    for name in (path.name, str(config.get("architecture"))):
        if match := _ANTIALIASED.match(name):
            received = f"{match[0]}, which pools before it halves the images (anti-aliasing)"
    if _is_of_transformers(config, spec):
        for name, (value, effect) in _VARIANTS.items():
            if config.get(name, value) != value:
                received = f"{name} {str(config[name])[:40]} in {path.with_name('config.json')}: {effect}"
    if received:
        raise DataError(f"{path} must hold a network that a ResNetSpec describes. Got {received}.")


def input_size(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (height, width) of the images in timm's configuration."""
    size = _of_timm(config).get("input_size")
    if not (isinstance(size, list) and len(size) == 3 and all(type(side) is int and side > 0 for side in size)):
        return None
    return size[1], size[2]


def normalization(config: Mapping[str, Any]) -> tuple[list[float], list[float]] | None:
    """Return mean and std of the channels in timm's configuration."""
    mean, std = _of_timm(config).get("mean"), _of_timm(config).get("std")
    if not (isinstance(mean, list) and isinstance(std, list) and all(type(value) is float for value in [*mean, *std])):
        return None
    return mean, std


def _is_of_transformers(config: Mapping[str, Any], spec: ResNetSpec) -> bool:
    return config.get("model_type") == "resnet" and config.get("depths") == list(spec.blocks)


def _of_timm(config: Mapping[str, Any]) -> Mapping[str, Any]:
    of_timm = config.get("pretrained_cfg")
    return of_timm if isinstance(of_timm, dict) else {}
