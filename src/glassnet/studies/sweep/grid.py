"""The grid of a sweep: fields of the model and the recipe, their values, and every combination of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import NoneType
from typing import Any, get_args

from glassnet.architecture import PRESETS, ResNetSpec
from glassnet.data import Dataset
from glassnet.errors import ConfigError, choice_error
from glassnet.recipe import Recipe, get_recipe
from glassnet.settings import Settings, allowed_text, invalid
from glassnet.studies.trials import Trial
from glassnet.training.run import spec_for_data, split_fields

ParamGrid = Mapping[str, Sequence[Any]]

_SETTINGS: dict[str, type[Settings]] = {name: kind for kind in (ResNetSpec, Recipe) for name in kind.types()}
_NOT_SWEEPABLE = {
    "seed": "Every setting is trained with the same seeds; choose their number.",
    "validation_fraction": "Every setting is compared on the same images; choose their fraction for the whole sweep.",
    "preset": "Choose the model for the whole sweep.",
    **dict.fromkeys(("in_channels", "image_size", "classes"), "The data determines it."),
}


@dataclass(frozen=True)
class GridPoint:
    """One value for every field of the grid, as (field, value) pairs."""

    values: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return ", ".join(f"{name}={format_setting(value)}" for name, value in self.values) or "the defaults"


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Return ``["blocks=1,2", "norm=none,batch"]`` as {"blocks": [1, 2], "norm": ["none", "batch"]}.

    :raises ConfigError: if a text is not FIELD=VALUE,VALUE, a field is unknown or given twice, or a value has a wrong
        type.
    """
    param_grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name and equals and values):
            raise ConfigError(f"A field of the grid must be written FIELD=VALUE,VALUE. Got {text!r}.")
        if name in param_grid:
            raise ConfigError(f"{name} must be given once, with all its values: {name}=VALUE,VALUE. Got it twice.")
        check_field(name)
        param_grid[name] = [_parse_value(name, value) for value in values.split(",")]
    return param_grid


def check_field(name: str) -> None:
    """Check that a grid may contain a field.

    :raises ConfigError: if the field is unknown, or is the same for all settings of a sweep.
    """
    if name in _NOT_SWEEPABLE:
        raise ConfigError(f"A field of the grid must be one that may vary. Got {name!r}. {_NOT_SWEEPABLE[name]}")
    if name not in _SETTINGS:
        sweepable = [field for field in _SETTINGS if field not in _NOT_SWEEPABLE]
        raise choice_error("A field of the grid", sweepable, name)


def _parse_value(name: str, text: str) -> Any:
    settings, forms = _SETTINGS[name], {bool: "true or false", tuple: "an integer, or one for each stage as in 1+2+3"}
    kind, default = settings.types()[name], settings.defaults()[name]
    try:
        if text == "none" and NoneType in get_args(kind):
            return None
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            numbers = tuple(int(number) for number in text.split("+"))
            return numbers if len(numbers) > 1 else numbers[0]
        return (int if int in get_args(kind) else float)(text) if default is None else type(default)(text)
    except (ValueError, KeyError):
        raise invalid(name, forms.get(type(default)) or allowed_text(settings, name), text) from None


def format_setting(value: Any) -> str:
    """Return a value as ``parse_grid`` reads it."""
    if isinstance(value, tuple | list):
        return "+".join(map(str, value)) if len(set(value)) > 1 else str(value[0])
    if value is None or isinstance(value, bool):
        return str(value).lower()
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def grid_points(param_grid: ParamGrid) -> list[GridPoint]:
    """Return the full grid; the last field changes fastest.

    :raises ConfigError: if a field is unknown or may not vary, or has no value or one twice.
    """
    for name, values in param_grid.items():
        check_field(name)
        if not values or len(set(map(format_setting, values))) < len(values):
            raise ConfigError(f"{name} must have one or several different values. Got {list(values)}.")
    return [GridPoint(tuple(zip(param_grid, values, strict=True))) for values in product(*param_grid.values())]


def make_trial(
    point: GridPoint,
    data: Dataset,
    model: str | ResNetSpec | None,
    recipe: str,
    seed: int,
    fixed: Mapping[str, Any],
) -> Trial:
    """Return the trial of a grid point and a seed; ``fixed`` are the fields that all points share.

    Its name holds everything that differs from the preset and its default recipe, so that every grid in one folder
    finds the runs of the others.

    :raises ConfigError: if the combination is impossible; the error names it.
    """
    spec_fields, recipe_fields = split_fields({**fixed, **dict(point.values)}, ResNetSpec, Recipe)
    try:
        spec = spec_for_data(model, data, **spec_fields)
        trial_recipe = get_recipe(spec.preset, recipe, **recipe_fields, seed=seed)
    except ConfigError as error:
        raise ConfigError(f"{point} cannot be trained. {error}") from error
    changed = {
        **spec.differences(PRESETS.get(spec.preset, ResNetSpec())),
        **trial_recipe.differences(get_recipe(spec.preset)),
    }
    known = ("preset", "in_channels", "image_size", "classes", "seed")  # from the model's name and the data
    parts = [f"{name}={format_setting(value)}" for name, (value, _) in changed.items() if name not in known]
    return Trial(",".join([spec.preset, *parts, f"seed={seed}"]), spec, trial_recipe)
