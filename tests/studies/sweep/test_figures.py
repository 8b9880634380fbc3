import numpy as np
import pytest

from glassnet.pages.theme import caption
from glassnet.studies import sweep
from glassnet.studies.sweep import figures
from tests.studies.sweep.made_up import diverged_study, grid_study


def test_effect_figure_draws_seeds_and_their_mean() -> None:
    figure = sweep.effect_figure(grid_study())
    seed, mean = figure.data[0], figure.data[3]
    assert list(seed.y) == pytest.approx([0.85, 0.86])  # the first seed, with one block and with two
    assert list(mean.y) == pytest.approx([np.mean([0.8, 0.82, 0.81, 0.9, 0.92, 0.912]), 0.8595], abs=1e-9)
    assert list(figure.layout.xaxis.ticktext) == ["1", "2", "none", "batch"]
    assert [trace.name for trace in figure.data if trace.showlegend] == ["one seed", "mean of all seeds"]


def test_sweep_figure_draws_a_dot_for_each_run() -> None:
    dots, means = sweep.sweep_figure(grid_study()).data
    assert len(dots.x) == 12
    assert means.text[0] == "blocks=1, norm=batch"
    assert len(sweep.sweep_figure(diverged_study()).data[0].x) == 6


def test_sweep_figure_says_how_many_settings_it_omits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MAX_SETTINGS", 3)
    figure = sweep.sweep_figure(grid_study())
    assert len(figure.data[1].x) == 3
    assert caption(figure).endswith("Only the best 3 of 4 settings are drawn.")
