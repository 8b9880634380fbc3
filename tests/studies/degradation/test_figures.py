from dataclasses import replace

import numpy as np
import pytest

from glassnet.studies import degradation
from glassnet.studies.degradation import DegradationStudy
from tests.studies.degradation.made_up import DEGRADED, HIGH, LOW, made_up


def test_depth_error_figure_draws_every_run_and_the_means() -> None:
    figure = degradation.depth_error_figure(made_up(DEGRADED), "batch")
    plain, plain_mean, residual, _ = figure.data
    assert list(plain.y) == [*LOW, *HIGH]
    assert list(plain_mean.y) == [pytest.approx(np.mean(LOW)), pytest.approx(np.mean(HIGH))]
    assert list(residual.x) == [8, 8, 8, 56, 56, 56]
    training, test = (button.args[0]["y"] for button in figure.layout.updatemenus[0].buttons)
    assert [list(y) for y in training] == [list(trace.y) for trace in figure.data]
    assert test == training  # in the made-up study


def test_training_curve_figure_draws_mean_and_range() -> None:
    figure = degradation.training_curve_figure(made_up(DEGRADED), "batch", "error")
    names = ["plain 56", "plain 8", "residual 56", "residual 8"]
    assert [trace.name for trace in figure.data[::2]] == names
    mean, area = figure.data[:2]
    assert list(mean.y) == pytest.approx([0.9, np.mean(HIGH)])
    assert list(area.y) == [0.9, max(HIGH), min(HIGH), 0.9]  # along the highest values and back


def test_training_curve_figure_of_the_loss_has_a_logarithmic_axis() -> None:
    figure = degradation.training_curve_figure(made_up(DEGRADED), "batch", "loss")
    assert figure.layout.yaxis.type == "log"


def test_training_curve_figure_draws_a_single_epoch_as_markers() -> None:
    study = made_up({network: errors[:1] for network, errors in DEGRADED.items()})
    curves = tuple(replace(curve, error=curve.error[:1]) for curve in study.curves)
    figure = degradation.training_curve_figure(replace(study, curves=curves), "batch", "error")
    assert {trace.mode for trace in figure.data} == {"markers"}


def test_training_curve_figure_draws_all_depths() -> None:
    depths = range(8, 100, 6)
    study = made_up({(residual, depth): [depth / 100] for residual in (False, True) for depth in depths})
    figure = degradation.training_curve_figure(study, "batch", "error")
    assert {trace.name for trace in figure.data} == {
        f"{network} {depth}" for network in ("plain", "residual") for depth in depths
    }
    styles = [(trace.line.color, trace.line.dash, trace.line.width) for trace in figure.data]
    assert len(set(styles)) == len(styles)


def test_figures_omit_diverged_runs(diverged: DegradationStudy) -> None:
    *_, residual, residual_mean = degradation.depth_error_figure(diverged, "batch").data
    assert (list(residual.x), list(residual_mean.x)) == ([8, 8, 8, 56, 56], [8])
    curves = {trace.name: trace for trace in degradation.training_curve_figure(diverged, "batch", "error").data}
    assert list(curves["residual 56"].x) == []
