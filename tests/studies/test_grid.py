import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import glassnet as gn
from glassnet.errors import ConfigError
from glassnet.studies.grid import Combination, combinations, parse, told, trial


def test_values_have_their_fields_types() -> None:
    texts = ["blocks=1,1+2", "pool=max,stride", "dropout=0,.3", "skip=true,False", "epochs=3", "clip_grad_norm=none,5"]
    axes = parse(texts)
    assert axes == {
        "blocks": [1, (1, 2)],
        "pool": ["max", "stride"],
        "dropout": [0.0, 0.3],
        "skip": [True, False],
        "epochs": [3],
        "clip_grad_norm": [None, 5.0],
    }
    assert [type(value) for value in axes["dropout"] + axes["epochs"]] == [float, float, int]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["blcks=1,2"], "Got 'blcks'; did you mean 'blocks'?"),
        (["epochs=ten"], "The field epochs takes a whole number. Got 'ten'."),
        (["epochs=1,,2"], "The field epochs takes a whole number. Got ''."),
        (["lr=fast"], "The field lr takes a number. Got 'fast'."),
        (["blocks=1+x"], "The field blocks takes a whole number, or one for each stage as in 1+2+3. Got '1+x'."),
        (["skip=1"], "The field skip takes true or false. Got '1'."),
        (["clip_grad_norm=off"], "The field clip_grad_norm takes a number or none. Got 'off'."),
        (["blocks"], "A field and its values are written FIELD=VALUE,VALUE. Got 'blocks'."),
        (["blocks="], "A field and its values are written FIELD=VALUE,VALUE. Got 'blocks='."),
        (["lr=.1", "lr=.2"], "The field lr is given twice; its values stand together: lr=VALUE,VALUE."),
        (["seed=1,2"], "The field seed is not set in a sweep. Seeds are asked for by their number."),
        (["classes=3"], "The field classes is not set in a sweep. It goes by the data."),
        (["preset=tiny"], "The field preset is not set in a sweep. The model is an argument of its own."),
    ],
)
def test_refused_texts(texts: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=rf"(^|\. ){re.escape(told)}$"):
        parse(texts)


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_a_number_is_told_so_that_it_reads_back(value: float) -> None:
    assert parse([f"lr={told(value)}"]) == {"lr": [value]}


def test_the_grid_is_full() -> None:
    found = combinations({"blocks": [1, 2], "norm": ["none", "batch"]})
    assert [str(one) for one in found] == [
        "blocks=1, norm=none",
        "blocks=1, norm=batch",
        "blocks=2, norm=none",
        "blocks=2, norm=batch",
    ]
    assert [str(one) for one in combinations({})] == ["the defaults"]


@pytest.mark.parametrize("values", [[], [0.3, 0.3], [1, 1.0]])
def test_values_differ(values: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"The field dropout needs one value or several that differ. Got \["):
        combinations({"dropout": values})


def test_a_trial_is_named_by_what_differs_from_the_preset(digits: gn.Dataset) -> None:
    combination = Combination((("norm", "batch"), ("blocks", 1), ("lr", 0.1)))
    made = trial(combination, digits, "tiny", "default", 7, {"epochs": 3})
    assert made.name == "tiny,norm=batch,epochs=3,seed=7"  # one block and that rate are tiny's own
    assert (made.spec.norm, made.recipe.lr, made.recipe.epochs, made.recipe.seed) == ("batch", 0.1, 3, 7)


def test_a_recipes_fields_are_in_the_name(digits: gn.Dataset) -> None:
    name = trial(Combination(()), digits, "tiny", "tutorial", 0, {}).name
    assert name == (
        "tiny,lr=0.05,nesterov=false,weight_decay=0.0001,schedule=constant,batch_size=64,label_smoothing=0,seed=0"
    )


def test_a_spec_that_is_no_preset(digits: gn.Dataset) -> None:
    spec = gn.ResNetSpec(in_channels=1, image_size=8, blocks=(1, 2), width=4)
    assert trial(Combination(()), digits, spec, "default", 0, {}).name == "custom,width=4,blocks=1+2,seed=0"


@pytest.mark.parametrize(
    ("values", "told"),
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
def test_what_cannot_be_is_named(values: tuple[tuple[str, object], ...], told: str, digits: gn.Dataset) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}"):
        trial(Combination(values), digits, "tiny", "default", 0, {})
