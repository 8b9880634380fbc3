import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import glassnet as gn
from glassnet.errors import ConfigError
from glassnet.studies.sweep.grid import GridPoint, format_setting, grid_points, make_trial, parse_grid


def test_parse_grid_converts_values_to_the_fields_types() -> None:
    texts = [
        "blocks=1,1+2",
        "pool=max,stride",
        "dropout=0,.3",
        "skip=true,False",
        "epochs=3",
        "clip_grad_norm=none,5",
        "patience=none,5",
    ]
    param_grid = parse_grid(texts)
    assert param_grid == {
        "blocks": [1, (1, 2)],
        "pool": ["max", "stride"],
        "dropout": [0.0, 0.3],
        "skip": [True, False],
        "epochs": [3],
        "clip_grad_norm": [None, 5.0],
        "patience": [None, 5],
    }
    assert [type(value) for value in param_grid["dropout"] + param_grid["epochs"]] == [float, float, int]


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        (["blcks=1,2"], "Got 'blcks'; did you mean 'blocks'?"),
        (["epochs=ten"], "epochs must be an integer of at least 1. Got 'ten'."),
        (["epochs=1,,2"], "epochs must be an integer of at least 1. Got ''."),
        (["lr=fast"], "lr must be a finite number above 0. Got 'fast'."),
        (["blocks=1+x"], "blocks must be an integer, or one for each stage as in 1+2+3. Got '1+x'."),
        (["skip=1"], "skip must be true or false. Got '1'."),
        (["clip_grad_norm=off"], "clip_grad_norm must be a finite number above 0 or None. Got 'off'."),
        (["blocks"], "A field of the grid must be written FIELD=VALUE,VALUE. Got 'blocks'."),
        (["blocks="], "A field of the grid must be written FIELD=VALUE,VALUE. Got 'blocks='."),
        (["lr=.1", "lr=.2"], "lr must be given once, with all its values: lr=VALUE,VALUE. Got it twice."),
        (
            ["seed=1,2"],
            "A field of the grid must be one that may vary. Got 'seed'. Every setting is trained with the same "
            "seeds; choose their number.",
        ),
        (["classes=3"], "A field of the grid must be one that may vary. Got 'classes'. The data determines it."),
        (
            ["preset=tiny"],
            "A field of the grid must be one that may vary. Got 'preset'. Choose the model for the whole sweep.",
        ),
    ],
)
def test_parse_grid_rejects_invalid_texts(texts: list[str], error: str) -> None:
    with pytest.raises(ConfigError, match=rf"(^|\. ){re.escape(error)}$"):
        parse_grid(texts)


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_format_setting_is_read_back_by_parse_grid(value: float) -> None:
    assert parse_grid([f"lr={format_setting(value)}"]) == {"lr": [value]}


def test_grid_points_are_the_full_grid() -> None:
    points = grid_points({"blocks": [1, 2], "norm": ["none", "batch"]})
    assert [str(point) for point in points] == [
        "blocks=1, norm=none",
        "blocks=1, norm=batch",
        "blocks=2, norm=none",
        "blocks=2, norm=batch",
    ]
    assert [str(point) for point in grid_points({})] == ["the defaults"]


@pytest.mark.parametrize("values", [[], [0.3, 0.3], [1, 1.0]])
def test_grid_points_rejects_equal_and_missing_values(values: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"dropout must have one or several different values. Got \["):
        grid_points({"dropout": values})


def test_make_trial_names_what_differs_from_the_preset(digits: gn.Dataset) -> None:
    point = GridPoint((("norm", "batch"), ("blocks", 1), ("lr", 0.1)))
    made = make_trial(point, digits, "tiny", "default", 7, {"epochs": 3})
    assert made.name == "tiny,norm=batch,epochs=3,seed=7"  # one block and that rate are tiny's own
    assert (made.spec.norm, made.recipe.lr, made.recipe.epochs, made.recipe.seed) == ("batch", 0.1, 3, 7)


def test_make_trial_names_the_fields_of_a_recipe(digits: gn.Dataset) -> None:
    name = make_trial(GridPoint(()), digits, "tiny", "tutorial", 0, {}).name
    assert name == (
        "tiny,lr=0.05,nesterov=false,weight_decay=0.0001,schedule=constant,batch_size=64,label_smoothing=0,seed=0"
    )


def test_make_trial_of_a_spec_that_is_no_preset(digits: gn.Dataset) -> None:
    spec = gn.ResNetSpec(in_channels=1, image_size=8, blocks=(1, 2), width=4)
    assert make_trial(GridPoint(()), digits, spec, "default", 0, {}).name == "custom,width=4,blocks=1+2,seed=0"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (
            (("norm", "none"), ("zero_init", True)),
            "norm=none, zero_init=true cannot be trained. zero_init must be False without norm='batch'",
        ),
        (
            (("nesterov", True), ("momentum", 0.0)),
            "nesterov=true, momentum=0 cannot be trained. momentum must be above 0 with nesterov.",
        ),
        ((("norm", "layer"),), "norm=layer cannot be trained. norm must be one of 'batch', 'none'."),
        ((("width", "8"),), "width=8 cannot be trained. width must be an integer of at least 1."),
    ],
)
def test_make_trial_rejects_impossible_combinations(
    values: tuple[tuple[str, object], ...], error: str, digits: gn.Dataset
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(error)}"):
        make_trial(GridPoint(values), digits, "tiny", "default", 0, {})
