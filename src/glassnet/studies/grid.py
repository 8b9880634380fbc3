"""The grid of a sweep: fields of the spec and the recipe, their values, and every combination as a trial."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from glassnet.architecture import PRESETS, ResNetSpec
from glassnet.data import Dataset
from glassnet.errors import ConfigError, choice_error
from glassnet.recipe import Recipe, get_recipe
from glassnet.studies.trials import Trial
from glassnet.training.run import spec_for_data, split_fields

Axes = Mapping[str, Sequence[Any]]

_DEFAULTS: dict[str, Any] = {
    field.name: field.default for kind in (ResNetSpec, Recipe) for field in dataclasses.fields(kind)
}
_ELSEWHERE = {
    "seed": "Seeds are asked for by their number",
    "validation": "All settings are compared on the same share of images, which is an option of its own",
    "preset": "The model is an argument of its own",
    **dict.fromkeys(("in_channels", "image_size", "classes"), "It goes by the data"),
}
_TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a whole number, or one for each stage as in 1+2+3",
    type(None): "a number or none",
}


@dataclass(frozen=True)
class Combination:
    """One value for every field, as (field, value) pairs."""

    values: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return ", ".join(f"{name}={told(value)}" for name, value in self.values) or "the defaults"


def parse(texts: Sequence[str]) -> dict[str, list[Any]]:
    """``["blocks=1,2", "norm=none,batch"]`` as {"blocks": [1, 2], "norm": ["none", "batch"]}, by each field's type.

    :raises ConfigError: a text that is no FIELD=VALUE,VALUE, a field that is unknown or given twice, or a value of a
        wrong type.
    """
    axes: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name and equals and values):
            raise ConfigError(f"A field and its values are written FIELD=VALUE,VALUE. Got {text!r}.")
        if name in axes:
            raise ConfigError(f"The field {name} is given twice; its values stand together: {name}=VALUE,VALUE.")
        check_field(name)
        axes[name] = [_value(name, value) for value in values.split(",")]
    return axes


def check_field(name: str) -> None:
    """:raises ConfigError: a field that is unknown, or that no grid may set."""
    if name in _ELSEWHERE:
        raise ConfigError(f"The field {name} is not set in a sweep. {_ELSEWHERE[name]}.")
    if name not in _DEFAULTS:
        raise choice_error("A field of a model or a recipe", _DEFAULTS, name)


def _value(name: str, text: str) -> Any:
    kind = type(_DEFAULTS[name])
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is tuple:
            numbers = tuple(int(number) for number in text.split("+"))
            return numbers if len(numbers) > 1 else numbers[0]
        if kind is type(None):
            return None if text == "none" else float(text)
        return kind(text)
    except (ValueError, KeyError):
        raise ConfigError(f"The field {name} takes {_TYPES[kind]}. Got {text!r}.") from None


def told(value: Any) -> str:
    """A value as ``parse`` reads it."""
    if isinstance(value, tuple | list):
        return "+".join(map(str, value)) if len(set(value)) > 1 else str(value[0])
    if value is None or isinstance(value, bool):
        return str(value).lower()
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def combinations(axes: Axes) -> list[Combination]:
    """The full grid, the last field changing fastest.

    :raises ConfigError: a field that is unknown, that cannot be swept, or has no value or one twice.
    """
    for name, values in axes.items():
        check_field(name)
        if not values or len(set(map(told, values))) < len(values):
            raise ConfigError(f"The field {name} needs one value or several that differ. Got {list(values)}.")
    return [Combination(tuple(zip(axes, values, strict=True))) for values in product(*axes.values())]


def trial(
    combination: Combination,
    data: Dataset,
    model: str | ResNetSpec | None,
    recipe: str,
    seed: int,
    fixed: Mapping[str, Any],
) -> Trial:
    """A combination with a seed as a training; ``fixed`` are fields that all combinations share.

    It is named by all that differs from the preset and its default recipe, so that every grid in one folder finds the
    runs of the others.

    :raises ConfigError: a combination that cannot be, named.
    """
    of_spec, of_recipe = split_fields({**fixed, **dict(combination.values)})
    try:
        spec = spec_for_data(model, data, **of_spec)
        made = get_recipe(spec.preset, recipe, **of_recipe, seed=seed)
    except ConfigError as error:
        raise ConfigError(f"{combination} cannot be trained. {error}") from error
    base = PRESETS.get(spec.preset, ResNetSpec())
    changed = {**_changed(spec, base), **_changed(made, get_recipe(spec.preset))}
    parts = [spec.preset, *(f"{name}={told(value)}" for name, value in changed.items()), f"seed={seed}"]
    return Trial(",".join(parts), spec, made)


def _changed(one: ResNetSpec | Recipe, base: ResNetSpec | Recipe) -> dict[str, Any]:
    own = ("preset", "in_channels", "image_size", "classes", "seed")  # said by the model's name and by the data
    values = {field.name: getattr(one, field.name) for field in dataclasses.fields(one) if field.name not in own}
    return {name: value for name, value in values.items() if value != getattr(base, name)}
