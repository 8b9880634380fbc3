"""The case that a golden reference is asked for."""

import re
from typing import Any

import pytest

import glassnet as gn
from glassnet.architecture import PRESETS
from glassnet.errors import ConfigError
from glassnet.verify.golden.operations import operations
from glassnet.verify.golden.request import RECIPE, golden_batch_size, requested_case, with_golden_size


def request(spec: Any = "tiny-bn", recipe: Any = None, **changes: Any) -> Any:
    arguments = {"steps": 2, "dtype": "float64", "batch_size": None, "seed": 0}
    given = {name: changes.pop(name, value) for name, value in arguments.items()}
    return requested_case(spec, recipe=recipe, fields=changes, **given)


@pytest.mark.parametrize("preset", PRESETS)
def test_images_differ_in_number_channels_height_and_width(preset: str) -> None:
    made = request(preset)
    height, width = made.spec.size
    lengths = [made.batch_size, made.spec.in_channels, *([height] if made.spec.head == "flatten" else [height, width])]
    assert len(set(lengths)) == len(lengths)
    assert max(height, width) <= 64


@pytest.mark.parametrize("preset", ["resnet20", "resnet18"])
@pytest.mark.parametrize("pool", ["none", "max", "stride"])
def test_every_stride_meets_an_even_height_and_an_odd_width(preset: str, pool: str) -> None:
    """So a window that begins at the wrong pixel shows."""
    spec = request(preset, pool=pool).spec
    sizes = {"input": spec.size} | {o.name: o.output_shape[1:] for o in operations(spec)}
    read = [sizes[o.inputs[0]] for o in operations(spec) if o.attributes.get("stride", 1) == 2]
    assert read
    for height, width in read:
        assert (height % 2, width % 2) == (0, 1)


def test_with_golden_size_keeps_images_that_a_flatten_head_reads_and_small_ones_small() -> None:
    assert with_golden_size(gn.spec("tiny")).size == (8, 8)
    assert with_golden_size(gn.spec("resnet20", image_size=(10, 8))).size == (10, 7)
    assert request("resnet20", image_size=40).spec.size == (40, 40)


def test_golden_batch_size_is_enough_for_batch_norm() -> None:
    spec = gn.spec("resnet18", image_size=20)  # 1×1 in the last stage
    assert golden_batch_size(spec) == 8
    assert golden_batch_size(spec.replace(in_channels=8)) == 9


def test_fields_reach_the_spec_and_the_recipe() -> None:
    made = request(width=4, nesterov=True, batch_size=5, seed=7, steps=3, dtype="float32")
    assert made.spec == gn.spec("tiny-bn", width=4)
    assert made.recipe == RECIPE.replace(nesterov=True, batch_size=5, seed=7, shards=1)
    assert (made.batch_size, made.steps, made.dtype, made.seed) == (5, 3, "float32", 7)


def test_a_given_recipe_replaces_the_default_and_loses_what_one_batch_does_not_show() -> None:
    given = gn.Recipe(lr=0.5, augment="flip", patience=3, validation_fraction=0.1)
    recipe = request(recipe=given, momentum=0.5).recipe
    assert (recipe.lr, recipe.momentum, recipe.weight_decay) == (0.5, 0.5, 0.0)
    assert (recipe.augment, recipe.patience, recipe.validation_fraction) == ("none", None, 0.0)


def test_adams_learning_rate_is_smaller() -> None:
    assert request(optimizer="adamw").recipe.lr == 1e-3
    assert request(optimizer="adam", lr=0.2).recipe.lr == 0.2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spec": "tniy"}, "Got 'tniy'; did you mean 'tiny'?"),
        ({"spec": None}, "model must be one of tiny, tiny-bn"),
        ({"dtype": "float16"}, "dtype must be one of float64, float32. Got 'float16'"),
        ({"wdith": 4}, "Got 'wdith'; did you mean 'width'?"),
        ({"lr": -1}, "lr must be a finite number above 0. Got -1."),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1. Got 0."),
        ({"batch_size": "3"}, "batch_size must be an integer of at least 1. Got '3'."),
        ({"steps": -1}, "steps must be an integer of at least 0. Got -1."),
        ({"seed": -1}, "seed must be an integer of at least 0 and below 4294967296. Got -1."),
        ({"shards": 2}, "shards must be 1 in a golden reference, or None. Got 2."),
        ({"recipe": "sgd"}, "recipe must be a Recipe, as in glassnet.Recipe(lr=0.1). Got 'sgd'."),
        ({"spec": "resnet20", "batch_size": 1, "image_size": 8}, "must get at least 8 values per channel, or it"),
    ],
)
def test_requested_case_raises_for_wrong_arguments(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        request(**changes)
