"""The model and the recipe of a check, from fields of either."""

from __future__ import annotations

from typing import Any

from glassnet.architecture import ResNetSpec, spec
from glassnet.errors import choice_error
from glassnet.recipe import Recipe


def model_and_recipe(model: str | ResNetSpec, recipe: Recipe, fields: dict[str, Any]) -> tuple[ResNetSpec, Recipe]:
    """Return a model and a recipe, changed by fields of either.

    :param model: a preset or a spec.
    :raises ConfigError: if the preset or a field is unknown, or a value is out of its range.
    """
    known = {*ResNetSpec.types(), *Recipe.types()}
    for name in fields:
        if name not in known:
            raise choice_error("field of the model or the recipe", known, name)
    chosen = spec(model) if isinstance(model, str) else model
    of_model = {name: value for name, value in fields.items() if name in ResNetSpec.types()}
    return chosen.replace(**of_model), recipe.replace(**{k: v for k, v in fields.items() if k not in of_model})


def usual_batch_size(recipe: Recipe) -> int:
    """Return 2, or 5 images where parts of a batch, or the weights of classes, must not all be equal."""
    return 5 if recipe.shards is not None or recipe.class_weights != "none" else 2
