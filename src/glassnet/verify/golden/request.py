"""The case that a golden reference is asked for: its network, sizes and recipe."""

from __future__ import annotations

from math import prod
from typing import Any

from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as get_spec
from glassnet.errors import ConfigError, choice_error
from glassnet.recipe import Recipe
from glassnet.verify.golden.cases import MIN_VALUES_PER_CHANNEL, GoldenCase, check_values_per_channel
from glassnet.verify.golden.operations import operations

# Every setting shows in float32: the decay adds a tenth of each weight to its gradient, the momentum and the halved
# learning rate come in with the second step, and steps move weights by thousands of times their rounding.
RECIPE = Recipe(lr=0.01, momentum=0.9, weight_decay=0.1, schedule="cosine")
ADAM_LR = 1e-3  # Adam moves every weight by about its learning rate, however small the gradient
# Fields about data, and about when a training ends: they change nothing in steps on one given batch.
WITHOUT_EFFECT = ("validation_fraction", "patience", "augment", "rotate", "translate", "jitter")


def requested_case(
    spec: str | ResNetSpec,
    steps: int,
    dtype: str,
    batch_size: int | None,
    seed: int,
    recipe: Recipe | None,
    fields: dict[str, Any],
) -> GoldenCase:
    """Return the case that ``golden.write`` is asked for, in its first draw.

    :raises ConfigError: as ``golden.write``.
    """
    if dtype not in ("float64", "float32"):
        raise choice_error("dtype", ("float64", "float32"), dtype)
    for name in fields:
        if name not in ResNetSpec.types() and name not in Recipe.types():
            raise choice_error("A field of a golden reference", [*ResNetSpec.types(), *Recipe.types()], name)
    own = get_spec(spec) if not isinstance(spec, ResNetSpec) else spec
    own = own.replace(**{name: value for name, value in fields.items() if name in ResNetSpec.types()})
    if "image_size" not in fields:
        own = with_golden_size(own)
    count = golden_batch_size(own) if batch_size is None else batch_size
    changes = {name: value for name, value in fields.items() if name in Recipe.types()}
    chosen = _recipe(recipe, changes, batch_size=count, seed=seed)
    check_values_per_channel(own, count)
    return GoldenCase(own, dtype, count, steps, chosen, seed)


def _recipe(recipe: Recipe | None, changes: dict[str, Any], **given: Any) -> Recipe:
    """Return the recipe of the steps, with all that one given batch decides as it is there."""
    if recipe is None:
        recipe = RECIPE.replace(lr=ADAM_LR) if changes.get("optimizer") in ("adam", "adamw") else RECIPE
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"recipe must be a Recipe, as in glassnet.Recipe(lr=0.1). Got {recipe!r}.")
    recipe = recipe.replace(**changes)
    if (recipe.shards or 1) > 1:
        raise ConfigError(f"shards must be 1 in a golden reference, or None. Got {recipe.shards}.")
    return recipe.replace(**{name: Recipe.defaults()[name] for name in WITHOUT_EFFECT}, shards=1, **given)


def with_golden_size(spec: ResNetSpec) -> ResNetSpec:
    """Return the spec with small images of even height and odd width, if the network takes any size.

    The height stays even and the width odd at each halving, so windows of stride 2 end at the border and before it;
    the last feature maps are 4×3, 4×2 behind a 2×2 pool, or 2×2 behind a 7×7 stem.
    """
    if spec.head == "flatten":
        return spec
    halvings = len(spec.blocks) - 1 + (spec.stem == "7x7") + (spec.pool != "none")
    last = 2 if spec.stem == "7x7" else 4
    height, width = last * 2**halvings, last // 2 * 2**halvings + 1
    own_height, own_width = spec.size
    size = min(height, max(own_height // 2 * 2, 1)), min(width, (own_width - 1) // 2 * 2 + 1)
    return spec.replace(image_size=size)


def golden_batch_size(spec: ResNetSpec) -> int:
    """Return the smallest number of images that differs from channels, height and width, and is enough for BatchNorm.

    It is at least 3.
    """
    pixels = min(prod(o.output_shape[1:]) for o in operations(spec) if o.kind == "Conv2d")
    smallest = max(3, -(-MIN_VALUES_PER_CHANNEL // pixels))
    return next(count for count in range(smallest, smallest + 4) if count not in (spec.in_channels, *spec.size))
