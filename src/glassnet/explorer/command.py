"""The command that trains a run again, made from its configuration."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from glassnet.architecture import PRESETS, default_preset
from glassnet.compute import Compute
from glassnet.data.dataset import TEST_SIZE
from glassnet.data.images.image_form import MAX_PIXELS
from glassnet.data.load_options import DATA_SEED, MAX_UNREADABLE
from glassnet.data.sources import is_converted
from glassnet.recipe import RECIPES, get_recipe
from glassnet.training.config import DataConfig, RunConfig

_OF_THE_DATA = ("preset", "in_channels", "image_size", "classes")  # a training takes these from the data
_PLACES = ("threads", "device", "devices", "all_reduce", "compile", "channels_last")  # they change no number's meaning


def training_command(config: RunConfig, run: str, **compute: Any) -> str | None:
    """Return the ``glassnet train`` command that makes the run again; None if no command can.

    :param run: the run folder of the command.
    :param compute: fields of Compute that differ from the run's, such as ``dtype``.
    """
    data, recipe, spec = config.data, config.recipe, config.spec
    if recipe is None or data.source in ("arrays", "imported"):
        return None
    if data.seed not in (None, DATA_SEED) or data.test_size not in (None, TEST_SIZE):
        return None  # gn.load_data has these, the command has not
    preset = spec.preset if spec.preset in PRESETS else default_preset(spec.size)
    settings: dict[str, Any] = {"epochs": recipe.epochs, "seed": recipe.seed}
    changes = spec.differences(PRESETS[preset])
    settings |= {field: own for field, (own, _) in changes.items() if field not in _OF_THE_DATA}
    names = RECIPES.get(preset, {"default": {}})
    recipe = recipe.replace(shards=None) if recipe.shards == 1 else recipe
    name = min(names, key=lambda name: len(recipe.differences(get_recipe(preset, name))))
    settings |= {field: own for field, (own, _) in recipe.differences(get_recipe(preset, name)).items()}
    own = Compute(**{field: getattr(config, field) for field in Compute.types() if field not in _PLACES})
    settings |= {field: value for field, (value, _) in own.replace(**compute).differences(Compute()).items()}
    settings |= _data_options(data)
    if config.init is not None:
        settings |= {"init": config.init["from"], "freeze": config.freeze}
        settings = {name: value for name, value in settings.items() if name != "freeze" or value}
    if None in settings.values():
        return None  # an option that is not given has its default, which is another one
    words = ["glassnet", "train", data.source, "--model", preset, *(["--recipe", name] if name != "default" else [])]
    for option, value in (settings | {"run": run}).items():
        words += _to_words(option, value)
    return shlex.join(words)


def _data_options(data: DataConfig) -> dict[str, Any]:
    """Return the settings of the data that differ from the defaults of ``load_data``."""
    options: dict[str, Any] = {}
    if is_converted(data.source):
        options["image_size"] = data.image_size
        defaults = {"fit": "crop", "max_unreadable": MAX_UNREADABLE, "max_pixels": MAX_PIXELS, "value_range": None}
        options |= {name: getattr(data, name) for name in defaults if getattr(data, name) not in (None, defaults[name])}
    if data.samples is not None:
        options["samples"] = data.samples
    if data.test_samples != ("all" if data.samples is None else data.samples):
        options["test_samples"] = data.test_samples
    if data.ink != (data.source == "digits"):
        options["ink"] = data.ink
    return options


def _to_words(option: str, value: Any) -> list[str]:
    name = option.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]


def twin_folder(run: Path) -> str:
    """Return the folder of the run that computes in float64."""
    return f"{run}-float64"
