import re
from ast import literal_eval
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from glassnet import nn
from glassnet.errors import ConfigError, GlassnetError
from glassnet.verify import GradientComparison, check_layer, finite_differences, gradients

Array = NDArray[Any]


def test_error_is_relative_above_a_floor_and_infinite_for_nan() -> None:
    assert GradientComparison("input", "", 1.0, 1.0 - 4e-6).error == pytest.approx(2e-6, rel=1e-5)
    assert GradientComparison("input", "", 1e-9, 0.0).error == pytest.approx(1e-5)
    assert GradientComparison("input", "", float("nan"), 1.0).error == float("inf")
    assert GradientComparison("input", "", float("inf"), float("inf")).error == float("inf")
    assert not GradientComparison("input", "", 1.0, float("nan")).passed
    assert GradientComparison("input", "", 1.0, 1.0 - 1.9e-6).passed
    assert not GradientComparison("input", "", 1.0, 1.0 - 2.1e-6).passed


class Wave(nn.Module):
    """y = sin(x / 3e-4), which bends within the widest step."""

    def forward(self, x: Array) -> Array:
        self.save_for_backward((x,), x.shape)
        y: Array = np.sin(x / 3e-4)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.pop_saved(dy)
        dx: Array = dy * np.cos(x / 3e-4) / 3e-4
        return dx


def test_numerical_derivative_takes_a_smaller_step_where_the_output_bends(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-1e-4, 1e-4, 6)[None]
    check_layer(Wave(), x).raise_if_failed()
    monkeypatch.setattr(finite_differences, "CURVATURE_LIMIT", np.inf)
    assert not check_layer(Wave(), x).passed


def test_compare_draws_entries_on_a_kink_again() -> None:
    x = np.random.default_rng(0).standard_normal((4, 20))
    x[:, ::2] = 0
    report = check_layer(nn.ReLU(), x, entries=20)
    assert report.passed
    assert 5 < report.redraws < 40
    entries = [literal_eval(row.position) for row in report.rows]
    assert len(entries) == 20
    assert all(x[entry] != 0 for entry in entries)


def test_compare_raises_for_too_many_kinks() -> None:
    message = (
        "The gradient check of ReLU must compare 32 points of input that are no kinks. Got 0 in 200 draws. "
        "Use another input or seed, or an eps below 0.0001."
    )
    with pytest.raises(GlassnetError, match=f"^{re.escape(message)}$"):
        check_layer(nn.ReLU(), np.zeros((10, 20)))
    with pytest.raises(GlassnetError, match=r"must compare 20 points of input that are no kinks\. Got 9 in 20 draws"):
        check_layer(nn.ReLU(), np.arange(-10.0, 10).clip(0)[None] + np.zeros((1, 20)), entries=20)


def test_numerical_derivative_is_wrong_on_a_kink() -> None:
    """What the redraws are for: at 0 the difference is dy/2, and backward says 0."""
    relu = nn.ReLU()

    class Blind(nn.ReLU):
        def activation_pattern(self) -> list[Array]:
            return []

    assert not check_layer(Blind(), np.zeros((2, 2))).passed
    with pytest.raises(GlassnetError, match="points of input that are no kinks"):
        check_layer(relu, np.zeros((2, 2)))


def test_numerical_derivative_takes_a_smaller_step_beside_a_kink() -> None:
    report = check_layer(nn.ReLU(), np.full((2, 3), 1.5e-4))  # between eps and 2·eps
    assert report.passed
    assert report.redraws == 0


class Steep(nn.Module):
    """y = x where |x| < 1.5e-4 and 3·x outside: both sides decide alike, but not at both widths."""

    def forward(self, x: Array) -> Array:
        self.near = np.abs(x) < 1.5e-4
        y: Array = np.where(self.near, x, 3 * x)
        return y

    def backward(self, dy: Array) -> Array:
        dx: Array = np.where(self.near, dy, 3 * dy)
        return dx

    def activation_pattern(self) -> list[Array]:
        return [self.near]


def test_numerical_derivative_needs_one_pattern_at_all_four_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "STEP_FACTORS", (1.0, 1.0))
    with pytest.raises(GlassnetError, match="points of input that are no kinks"):
        check_layer(Steep(), np.zeros((2, 3)))


@pytest.mark.parametrize("eps", [0.0, -1e-5, float("nan")])
def test_gradient_checker_raises_for_an_eps_that_is_no_step(eps: float) -> None:
    with pytest.raises(ConfigError, match=f"eps must be above 0. Got {eps!r}"):
        check_layer(nn.ReLU(), (2, 3), eps=eps)


def test_gradient_checker_raises_for_a_gradient_of_another_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.ReLU, "backward", lambda layer, dy: dy.sum(axis=0))
    message = "The gradient of input in ReLU must have shape (2, 3). Got (3,)."
    with pytest.raises(GlassnetError, match=re.escape(message)):
        check_layer(nn.ReLU(), (2, 3))
