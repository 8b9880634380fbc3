import pytest

from glassnet.errors import (
    ConfigError,
    DataError,
    GlassnetError,
    RunError,
    ShapeError,
    choice_error,
    class_error,
    did_you_mean,
    examples,
)


@pytest.mark.parametrize("kind", [ShapeError, DataError, ConfigError, RunError])
def test_every_error_is_a_glassnet_error(kind: type[GlassnetError]) -> None:
    assert issubclass(kind, GlassnetError)
    assert str(kind("what and where")) == "what and where"


@pytest.mark.parametrize("kind", [ShapeError, DataError, ConfigError])
def test_errors_of_values_are_value_errors(kind: type[GlassnetError]) -> None:
    assert issubclass(kind, ValueError)


def test_shape_error_starts_with_the_layers_full_name() -> None:
    error = ShapeError("no")
    assert error.with_prefix("conv1").with_prefix("0").with_prefix("layer1") is error
    assert str(error) == "layer1.0.conv1: no"


def test_did_you_mean_ends_the_sentence() -> None:
    assert did_you_mean("cov1", ["conv1", "bn1"]) == "; did you mean 'conv1'?"
    assert did_you_mean("zzz", ["conv1", "bn1"]) == "."
    assert did_you_mean("a", []) == "."


def test_choice_error_has_the_choices_the_value_and_the_closest_choice() -> None:
    error = choice_error("model", ("tiny", "tiny-bn"), "tniy")
    assert isinstance(error, ConfigError)
    assert str(error) == "model must be one of tiny, tiny-bn. Got 'tniy'; did you mean 'tiny'?"
    assert str(choice_error("channels", (1, 3), 2)) == "channels must be one of 1, 3. Got 2."
    assert isinstance(choice_error("source", ["digits"], "x", DataError), DataError)


def test_choice_error_cuts_a_long_list_but_searches_all_of_it() -> None:
    text = str(choice_error("layer", [f"conv{number}" for number in range(100)], "cnv99"))
    assert "conv39, ... Got 'cnv99'; did you mean 'conv99'?" in text


def test_class_error_cuts_long_lists() -> None:
    assert str(class_error(["a", "b"], ["a"])) == "classes of the data must be ['a', 'b'], as in the model. Got ['a']."
    assert str(class_error(["a"], [str(number) for number in range(100)])).endswith("'39'] ....")


def test_examples_returns_the_end_of_a_count() -> None:
    assert f"2 missing{examples(['a', 'b'])}" == "2 missing: a, b"
    assert f"4 missing{examples(list('abcd'))}" == "4 missing, such as a, b, c"
    assert examples(["a" * 81, "b\nc"]) == f": '{'a' * 80}'..., 'b\\nc'..."
