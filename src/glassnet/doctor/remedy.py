"""Remedies: what to do about a fault, as options to type and as the whole command that trains again with them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from glassnet.architecture import PRESETS, ResNetSpec
from glassnet.architecture import spec as get_spec
from glassnet.compute import Compute
from glassnet.data.array_sources import NAMES
from glassnet.data.dataset import TEST_SIZE
from glassnet.data.images.image_form import MAX_PIXELS
from glassnet.data.load_options import DATA_SEED, MAX_UNREADABLE
from glassnet.recipe import RECIPES, get_recipe
from glassnet.training.config import DataConfig, RunConfig

PYTHON_NOTE = "In Python the options are keywords of gn.train, with _ for -: --batch-size 64 is batch_size=64."
_RESOLVED = {"threads": None, "device": "auto", "channels_last": None}  # a run stores the values in use


@dataclass(frozen=True)
class Remedy:
    """A step against a fault: in words, and the settings of ``gn.train`` that it changes."""

    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the step with its options as they are typed."""
        return ": ".join(filter(None, (self.text, to_options(self.settings))))


def to_options(settings: Mapping[str, Any]) -> str:
    """Return settings as options of ``glassnet train``: ``--lr 0.05 --no-skip``; None leaves the option out."""
    return " ".join(_to_option(name, value) for name, value in settings.items() if value is not None)


def _to_option(name: str, value: Any) -> str:
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return option if value else option.replace("--", "--no-", 1)
    parts = value if isinstance(value, list | tuple) else [value]
    text = ",".join(str(part).removesuffix(".0") for part in parts)
    return f"{option} {shlex.quote(text)}"


def training_command(config: RunConfig, changes: Mapping[str, Any]) -> str:
    """Return the command that repeats a run's training with changed settings, in a new run folder.

    Where the command line cannot load the data or make the model, it is a line of Python.

    :param config: the configuration of a run with a recipe.
    :param changes: fields of ResNetSpec, Recipe and Compute by name, and ``init``.
    """
    data, model = config.data, config.spec.preset
    limits = _data_settings(data, config.init is not None)
    settings = {**_settings(config, changes), **changes}  # the changed ones last, also those that are now the default
    if limits is not None and model in PRESETS:
        return f"glassnet train {shlex.quote(data.source)} {to_options({'model': model, **limits, **settings})}"
    arguments = ", ".join([repr(model) if model in PRESETS else "spec", "data", *_to_keywords(settings)])
    return f"gn.train({arguments})"


def _to_keywords(settings: Mapping[str, Any]) -> Iterable[str]:
    return (f"{name}={value!r}" for name, value in settings.items() if value is not None)


def _settings(config: RunConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings, but the changed ones, in which the training differs from the preset's default one."""
    spec, recipe, preset = config.spec, config.recipe, config.spec.preset
    assert recipe is not None
    if recipe.shards == config.devices:  # the default, which a run stores
        recipe = recipe.replace(shards=None)
    name = min(RECIPES.get(preset, ["default"]), key=lambda name: len(recipe.differences(get_recipe(preset, name))))
    init = config.init["from"] if config.init else None
    settings = {
        **(_differences(spec, _usual_spec(spec)) if preset in PRESETS else {}),
        "recipe": None if name == "default" else name,
        **_differences(recipe, get_recipe(preset, name)),
        **_compute_settings(config),
        "init": init,
        "freeze": None if "init" in changes else config.freeze,
        "evaluate_train": config.evaluate_train or None,
        "ink": None if config.data.ink == (config.data.source == "digits") else config.data.ink,
    }
    return {name: value for name, value in settings.items() if name not in changes}


def _compute_settings(config: RunConfig) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in Compute.types()} | _RESOLVED
    values["precision"] = None if config.precision == "32-true" else config.precision
    return _differences(Compute(**values), Compute())


def _usual_spec(spec: ResNetSpec) -> ResNetSpec:
    """Return the preset as the training makes it for such images."""
    return get_spec(spec.preset, in_channels=spec.in_channels, image_size=spec.image_size, classes=spec.classes)


def _differences(settings: Any, usual: Any) -> dict[str, Any]:
    return {name: value for name, (value, _) in settings.differences(usual).items()}


def _data_settings(data: DataConfig, has_init: bool) -> dict[str, Any] | None:
    """Return the options that load a run's images again, or None if the command line cannot load them.

    :param has_init: whether initial weights decide about the channels.
    """
    if data.source in ("arrays", "imported") or (data.channels is not None and not has_init):
        return None
    if (data.seed, data.test_size) != (DATA_SEED, TEST_SIZE):
        return None
    height, width = data.image_size if isinstance(data.image_size, tuple) else (data.image_size, data.image_size)
    usual_limit = "all" if data.samples is None else data.samples
    return {
        "image_size": (height if height == width else (height, width)) if data.source not in NAMES else None,
        "samples": data.samples,
        "test_samples": None if data.test_samples == usual_limit else data.test_samples,
        "fit": None if data.fit == "crop" else data.fit,
        "value_range": data.value_range,
        "max_unreadable": None if data.max_unreadable == MAX_UNREADABLE else data.max_unreadable,
        "max_pixels": None if data.max_pixels == MAX_PIXELS else data.max_pixels,
    }
