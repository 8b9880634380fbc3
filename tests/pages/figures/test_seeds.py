import math

import pytest

from glassnet.pages.figures import seed_range_figure


def history(*accuracies):
    return [{"epoch": epoch, "test_accuracy": value} for epoch, value in enumerate(accuracies, start=1)]


TWO = [history(0.5, 0.9), history(0.7, 0.96)]


def test_seed_range_figure_draws_mean_and_range():
    figure = seed_range_figure({"slow": TWO, "seed 42": [history(0.6, 0.92)]})
    band, mean, single = figure.data
    assert list(band.x) == [1, 2, 2, 1]
    assert list(band.y) == [0.5, 0.9, 0.96, 0.7]
    assert list(mean.y) == pytest.approx([0.6, 0.93])
    assert mean.name == "slow"
    assert list(single.y) == [0.6, 0.92]
    assert band.fillcolor == mean.line.color != single.line.color
    assert "slow 0.930 (0.900 to 0.960, 2 seeds); seed 42 0.920." in figure.layout.meta["alt"]


def test_seed_range_figure_begins_with_a_view_of_the_end():
    figure = seed_range_figure({"slow": TWO})
    close, whole = figure.layout.updatemenus[0].buttons
    assert list(figure.layout.yaxis.range) == pytest.approx([0.8, 1])
    assert close.args[0]["yaxis.range"] == pytest.approx([0.8, 1])
    assert whole.args[0]["yaxis.range"] == [0, 1]


def test_seed_range_figure_leaves_a_gap_for_values_that_are_not_finite():
    figure = seed_range_figure({"a": [history(0.5, math.nan, 0.8), history(0.7, None, 0.6)]})
    band, mean = figure.data
    assert list(band.x) == [1, 3, 3, 1]
    assert mean.y[1] is None
    assert mean.y[2] == pytest.approx(0.7)


def test_seed_range_figure_of_nothing():
    assert seed_range_figure({"a": [[], []]}).layout.meta["alt"].endswith("last epoch: no values.")
