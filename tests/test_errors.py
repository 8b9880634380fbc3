import pytest

from glassnet.errors import ConfigError, DataError, GlassnetError, RunError, ShapeError, near


@pytest.mark.parametrize("kind", [ShapeError, DataError, ConfigError, RunError])
def test_every_stated_failure_is_caught_as_one(kind: type[GlassnetError]) -> None:
    assert issubclass(kind, GlassnetError)
    assert str(kind("what and where")) == "what and where"


@pytest.mark.parametrize("kind", [ShapeError, DataError, ConfigError])
def test_a_bad_value_is_a_value_error_too(kind: type[GlassnetError]) -> None:
    assert issubclass(kind, ValueError)


def test_a_shape_error_starts_with_the_layers_full_name() -> None:
    error = ShapeError("no")
    assert error.within("conv1").within("0").within("layer1") is error
    assert str(error) == "layer1.0.conv1: no"


def test_near_names() -> None:
    assert near("cov1", ["conv1", "bn1"]) == " Near: 'conv1'."
    assert near("zzz", ["conv1", "bn1"]) == ""
    assert near("a", []) == ""
