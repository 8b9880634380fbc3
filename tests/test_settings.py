"""Tests of glassnet.settings: what a field accepts, what errors say, and the way to JSON and back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.architecture import PRESETS, ResNetSpec
from glassnet.errors import ConfigError
from glassnet.recipe import Recipe
from glassnet.settings import REQUIRED, Settings, allowed_text, choices_of, setting


@dataclass(frozen=True)
class Inner(Settings):
    title: ClassVar[str] = "inner"
    rate: float = setting(0.5, "A rate.", above=0, below=1)


@dataclass(frozen=True)
class Outer(Settings):
    title: ClassVar[str] = "outer"
    name: str = setting(REQUIRED, "A name.")
    kind: Literal["a", "b"] | None = setting(None, "A kind.")
    sizes: tuple[int, ...] = setting((1,), "Sizes.", minimum=1)
    pair: tuple[float, float] | None = setting(None, "A pair.")
    inner: Inner | None = setting(None, "An inner record.")
    cut: float = setting(1, "A cut.", minimum=0, maximum=1)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"name": 5}, "name must be text. Got 5."),
        ({"name": "x", "kind": "c"}, "kind must be one of 'a', 'b' or None. Got 'c'."),
        ({"name": "x", "sizes": [1, True]}, "sizes must be a list of integers of at least 1. Got [1, True]."),
        ({"name": "x", "pair": [1.0]}, "pair must be a list of 2 finite numbers or None. Got [1.0]."),
        ({"name": "x", "inner": {"rate": 1.0}}, "inner.rate must be a finite number above 0 and below 1. Got 1.0."),
        ({"name": "x", "cut": 1.5}, "cut must be a finite number of at least 0 and at most 1. Got 1.5."),
        ({"name": "x", "inner": 3}, "inner must be an object with the fields of inner. Got 3."),
        ({"name": "x", "inner": {"rat": 1}}, "inner field must be one of rate. Got 'rat'; did you mean 'rate'?"),
        (
            {"nam": "x"},
            "outer field must be one of name, kind, sizes, pair, inner, cut. Got 'nam'; did you mean 'name'?",
        ),
        ({}, "name must be text. Got nothing."),
        (None, "outer must be an object with the fields of outer. Got None."),
    ],
)
def test_from_dict_names_field_and_value(values: Any, error: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(error)}$"):
        Outer.from_dict(values)


def test_from_dict_puts_the_file_before_the_field() -> None:
    with pytest.raises(ConfigError, match=r"^c\.json: inner\.rate must be a finite number .* Got 2\.$"):
        Outer.from_dict({"name": "x", "inner": {"rate": 2}}, "c.json: ")


def test_settings_hold_python_numbers_and_tuples() -> None:
    made = Outer("x", sizes=[np.int64(2), 3], pair=np.array([1.0, 2.0], np.float32))  # type: ignore[arg-type]
    assert (made.sizes, made.pair) == ((2, 3), (1.0, 2.0))
    assert {type(number) for number in (*made.sizes, *(made.pair or ()))} == {int, float}
    assert hash(made) == hash(Outer("x", sizes=(2, 3), pair=(1.0, 2.0)))


def test_differences_names_own_and_other_value() -> None:
    assert Recipe(lr=0.1).differences(Recipe()) == {"lr": (0.1, 0.05)}
    assert Recipe().differences(Recipe()) == {}


@pytest.mark.parametrize("spec", PRESETS.values(), ids=PRESETS)
def test_presets_survive_json(spec: ResNetSpec) -> None:
    assert ResNetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4))
def test_any_json_value_is_accepted_or_refused(value: Any) -> None:
    for cls in (ResNetSpec, Recipe):
        for name in cls.types():
            try:
                made = cls.from_dict({name: value})
            except ConfigError:
                continue
            assert cls.from_dict(made.to_dict()) == made


@pytest.mark.parametrize("cls", [ResNetSpec, Recipe])
def test_every_field_has_help_and_says_what_is_allowed(cls: type[Settings]) -> None:
    for name in cls.types():
        field = cls.__dataclass_fields__[name]  # type: ignore[attr-defined]
        assert re.fullmatch(r"[A-Z].*\.", field.metadata["help"]), name
        assert allowed_text(cls, name)


def test_choices_of_a_literal() -> None:
    assert choices_of(Recipe.types()["optimizer"]) == ("sgd", "adam", "adamw")
    assert choices_of(Recipe.types()["lr"]) == ()
