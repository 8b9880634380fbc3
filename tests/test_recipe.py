import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

from glassnet.architecture import PRESETS
from glassnet.errors import ConfigError
from glassnet.recipe import RECIPES, Recipe, get_recipe
from glassnet.settings import choices_of


def test_the_tutorial_recipe_never_changes() -> None:
    tutorial = get_recipe("tiny", "tutorial")
    assert dataclasses.asdict(tutorial) == {
        "optimizer": "sgd",
        "lr": 0.05,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 1e-4,
        "weight_decay_scope": "weights",
        "schedule": "constant",
        "warmup": 0.0,
        "body_lr": 1.0,
        "batch_size": 64,
        "epochs": 10,
        "ema": 0.0,
        "label_smoothing": 0.0,
        "class_weights": "none",
        "validation_fraction": 0.0,
        "patience": None,
        "clip_grad_norm": None,
        "augment": "none",
        "rotate": 0.0,
        "translate": 0.0,
        "jitter": 0.0,
        "shards": None,
        "seed": 42,
    }
    assert get_recipe("tiny", "tutorial-full") == tutorial.replace(epochs=40)


def test_the_tutorial_recipe_of_tiny_bn() -> None:
    tutorial = get_recipe("tiny-bn", "tutorial")
    own = {
        "optimizer": "adam",
        "lr": 1e-3,
        "weight_decay": 1e-4,
        "weight_decay_scope": "all",
        "batch_size": 64,
        "epochs": 10,
    }
    assert tutorial == Recipe(**own, schedule="constant", nesterov=False, label_smoothing=0.0, augment="none")
    assert get_recipe("tiny-bn", "tutorial-full") == tutorial.replace(epochs=30)


def test_the_recipe_for_fine_tuning_has_many_small_batches() -> None:
    default = get_recipe("resnet20")
    assert get_recipe("resnet20", "finetune") == default.replace(lr=0.05, batch_size=16, epochs=30)


def test_the_recipes_of_8_and_26_epochs_differ_from_the_default_as_measured() -> None:
    tuned = get_recipe("resnet20").replace(batch_size=64, weight_decay=5e-4, schedule="cosine", warmup=1)
    quick = tuned.replace(epochs=8, augment="flip", translate=0.0625, label_smoothing=0.1)
    assert get_recipe("resnet20", "quick") == quick
    assert get_recipe("resnet20", "best") == tuned.replace(epochs=26)


def test_every_preset_has_recipes_that_can_be_made() -> None:
    assert list(RECIPES) == list(PRESETS)
    for preset, named in RECIPES.items():
        assert "default" in named
        for name in named:
            assert isinstance(get_recipe(preset, name), Recipe)


def test_a_recipe_is_changed_by_field() -> None:
    assert get_recipe("tiny", "tutorial", lr=0.1).lr == 0.1
    assert get_recipe("tiny", "tutorial", lr=0.1) == get_recipe("tiny", "tutorial").replace(lr=0.1)


def test_a_network_that_is_no_preset_starts_from_the_fields_own_defaults() -> None:
    assert get_recipe("custom") == Recipe()


def test_an_unknown_recipe() -> None:
    told = "recipe of tiny must be one of default, tutorial, tutorial-full"
    with pytest.raises(ConfigError, match=re.escape(told)):
        get_recipe("tiny", "tutorail")
    with pytest.raises(ConfigError, match=re.escape("recipe of custom must be one of default")):
        get_recipe("custom", "tutorial")


def test_an_unknown_field() -> None:
    with pytest.raises(ConfigError, match="recipe field must be one of optimizer, lr, momentum.* Got 'learning_rate'"):
        get_recipe("tiny", learning_rate=0.1)
    with pytest.raises(ConfigError, match="recipe field must be one of .* Got 'batchsize'; did you mean 'batch_size'"):
        Recipe().replace(batchsize=3)


NAN, INF = float("nan"), float("inf")
BAD_VALUES = [
    ("optimizer", "rmsprop", "one of 'sgd', 'adam', 'adamw'"),
    ("optimizer", None, "one of 'sgd', 'adam', 'adamw'"),
    ("weight_decay_scope", "biases", "one of 'weights', 'all'"),
    ("schedule", "linear", "one of 'constant', 'step', 'cosine', 'one-cycle'"),
    ("augment", True, "one of 'none', 'flip', 'crop', 'flip-crop', 'resized-crop', 'flip-resized-crop'"),
    *[("rotate", value, "a finite number of at least 0 and below 360") for value in (-1, 360, NAN)],
    *[("translate", value, "a finite number of at least 0 and below 1") for value in (-0.1, 1, NAN)],
    *[
        ("jitter", value, "a finite number from 0 to 1; a factor, from 1 - jitter to 1 + jitter, is not below 0")
        for value in (-0.1, 1.01, INF)
    ],
    *[("lr", value, "a finite number above 0") for value in (0, -0.1, NAN, INF, "0.1", True, None)],
    *[
        (field, value, "a finite number of at least 0")
        for field in ("weight_decay", "warmup")
        for value in (-1e-4, NAN, INF, "0", True, None)
    ],
    *[
        (field, value, "an integer of at least 1")
        for field in ("batch_size", "epochs")
        for value in (0, True, 1.0, "8")
    ],
    *[("seed", value, "an integer of at least 0 and below 4294967296") for value in (-1, True, 1.5, "42", None, 2**32)],
    *[
        (field, value, "a finite number of at least 0 and below 1")
        for field in ("momentum", "ema", "label_smoothing", "validation_fraction")
        for value in (-0.1, 1, NAN, True, "0.1", None)
    ],
    *[("nesterov", value, "True or False") for value in (1, "yes", None)],
    *[
        ("body_lr", value, "a finite number above 0; freeze keeps the layers before the head as they are")
        for value in (0, -1, NAN, INF, True, "1", None)
    ],
    *[("class_weights", value, "one of 'none', 'balanced'") for value in (True, "equal")],
    *[("patience", value, "an integer of at least 1 or None") for value in (0, -1, 1.5, True, "1")],
    *[("clip_grad_norm", value, "a finite number above 0 or None") for value in (0, -1, NAN, INF, True, "1")],
]


@pytest.mark.parametrize(("field", "value", "allowed"), BAD_VALUES)
def test_a_bad_value_is_named_with_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    told = f"{field} must be {allowed}. Got {value!r}."
    with pytest.raises(ConfigError, match=re.escape(told)):
        Recipe(**{field: value})


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ConfigError, match=re.escape("must be above 0 with nesterov. Got 0.")):
        Recipe(nesterov=True, momentum=0)


def test_recipe_raises_for_a_warmup_that_does_not_end() -> None:
    with pytest.raises(ConfigError, match=re.escape("warmup must be below epochs (10). Got 10.")):
        Recipe(warmup=10)
    assert Recipe(warmup=9.5).warmup == 9.5


def test_recipe_raises_for_two_warmups() -> None:
    told = "warmup must be 0 with schedule one-cycle, which has a warm-up of its own. Got 1."
    with pytest.raises(ConfigError, match=re.escape(told)):
        Recipe(warmup=1, schedule="one-cycle")


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 1, "momentum": 0, "weight_decay": 0, "seed": 0, "epochs": 1, "batch_size": 1},
        {"ema": 0, "warmup": 0, "body_lr": 7, "patience": 1},
        {"ema": 0.9999, "warmup": 0.25, "body_lr": 1e-9, "patience": None, "schedule": "cosine"},
        {"clip_grad_norm": 5, "validation_fraction": 0.5, "label_smoothing": 0.999, "nesterov": True},
        *({field: choice} for field, kind in Recipe.types().items() for choice in choices_of(kind)),
    ],
)
def test_values_at_their_limits_are_allowed_and_survive_json(changes: dict[str, Any]) -> None:
    made = Recipe(**changes)
    assert Recipe(**json.loads(json.dumps(dataclasses.asdict(made)))) == made


def test_numpy_numbers_become_plain_ones() -> None:
    made = Recipe(lr=np.float64(0.1), momentum=np.float64(0.5), clip_grad_norm=np.float64(2))
    assert {type(value) for value in (made.lr, made.momentum, made.clip_grad_norm)} == {float}


def test_what_decays() -> None:
    weights, everything = Recipe(), Recipe(weight_decay_scope="all")
    assert [weights.decays(ndim) for ndim in (1, 2, 4)] == [False, True, True]
    assert [everything.decays(ndim) for ndim in (1, 2, 4)] == [True, True, True]
