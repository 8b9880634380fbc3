import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import glassnet as gn
from glassnet.data import Normalization
from glassnet.errors import ConfigError, GlassnetError
from glassnet.pages.page import render
from glassnet.studies import lr_range
from glassnet.studies.lr_range import LearningRateStudy, curve_points, smooth

RECIPE = gn.Recipe(lr=0.05, batch_size=32)


@pytest.fixture(scope="module")
def study(digits: gn.Dataset) -> LearningRateStudy:
    return lr_range.run_study("tiny-bn", digits, RECIPE, steps=60, seed=1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_run_study_leaves_network_optimizer_and_generators_as_they_are(
    engine: str, optimizer: str, digits: gn.Dataset
) -> None:
    """Weights, buffers, optimizer and every generator, bit for bit; and training goes on as if nothing had been."""
    recipe = RECIPE.replace(optimizer=optimizer, lr=1e-3)
    images = digits.normalization.apply(digits.train.images[:32], "float32")
    labels = digits.train.labels[:32]
    continued = []
    for looked in (False, True):
        network = gn.build(gn.spec("tiny-bn", dropout=0.3), engine, seed=5)
        trainer = network.trainer(recipe)
        for _ in range(3):
            trainer.step(images, labels)
        if looked:
            np.random.seed(7)  # noqa: NPY002 - the generator that is looked at
            torch.manual_seed(7)
            everything = state(network, trainer)
            measured = lr_range.run_study(network, digits, recipe, trainer=trainer, steps=20, max_lr=100.0)
            assert measured.losses[-1] > measured.losses[0]  # a rate of 100 would leave its mark
            after = state(network, trainer)
            assert list(after) == list(everything)
            for key, value in everything.items():
                np.testing.assert_array_equal(after[key], value, err_msg=key)
        trainer.step(images, labels)
        continued.append(state(network, trainer))
    for key in [key for key in continued[0] if not key.startswith("global")]:
        np.testing.assert_array_equal(continued[0][key], continued[1][key], err_msg=key)


def state(network: Any, trainer: Any) -> dict[str, Any]:
    """All that a test could move, as bytes and numbers."""
    states = {f"network {key}": array.view(np.uint8) for key, array in network.state_dict().items() if array.ndim}
    states |= {f"optimizer {key}": array for key, array in trainer.state().items()}
    for place, dropout in enumerate(network._dropouts()):
        states[f"dropout {place}"] = repr(dropout.generator.bit_generator.state)
    states["training"] = network.module.training
    states["global numpy"] = repr(np.random.get_state())  # noqa: NPY002
    states["global torch"] = torch.get_rng_state().numpy()
    return states


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_run_study_starts_from_network_and_optimizer_state(engine: str, digits: gn.Dataset) -> None:
    network = gn.build(gn.spec("tiny"), engine, seed=2, dtype="float64")
    trainer = network.trainer(RECIPE)
    images = digits.normalization.apply(digits.train.images[:64], "float64")
    for _ in range(5):
        trainer.step(images, digits.train.labels[:64])
    one = lr_range.run_study(network, digits, RECIPE, trainer=trainer, steps=10, seed=3)
    fresh = lr_range.run_study(network, digits, RECIPE, steps=10, seed=3)
    assert one.losses[0] == fresh.losses[0]  # the same weights and the same batch
    assert one.losses != fresh.losses  # but another momentum


def test_run_study_agrees_on_both_engines(digits: gn.Dataset) -> None:
    networks = (gn.build(gn.spec("tiny-bn"), engine, seed=1, dtype="float64") for engine in ("numpy", "torch"))
    ours, theirs = (lr_range.run_study(network, digits, RECIPE, steps=30, max_lr=1.0) for network in networks)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-6)
    assert (ours.suggestion, ours.engine, theirs.engine) == (theirs.suggestion, "numpy", "torch")


def test_rates_grow_by_one_factor_until_the_loss_diverges(study: LearningRateStudy) -> None:
    factors = np.divide(study.rates[1:], study.rates[:-1])
    np.testing.assert_allclose(factors, (10 / 1e-5) ** (1 / 59))
    assert study.rates[0] == 1e-5
    assert study.diverged
    assert len(study.rates) < 60
    assert study.suggestion is not None
    assert 1e-3 <= study.suggestion <= 0.1
    assert study.steepest < study.minimum
    assert study.near_minimum <= study.minimum
    assert study.summary[0].startswith(
        f"The test suggests a learning rate of {study.suggestion:g} for sgd with batches of 32"
    )
    assert study.summary[-1].startswith(f"The loss diverged at a learning rate of {study.rates[-1]:.2g}, after ")


def test_run_study_ends_at_a_loss_that_is_not_finite(digits: gn.Dataset) -> None:
    study = lr_range.run_study("tiny-bn", digits, RECIPE, min_lr=1e-3, max_lr=1e30, steps=40)
    assert study.diverged
    assert all(map(math.isfinite, study.losses[:-1]))
    assert all(map(math.isfinite, study.smoothed))
    json.dumps(study.to_dict(), allow_nan=False)
    render(lr_range.build_page(study))


@pytest.mark.parametrize("start", [2.0, 1.05])
def test_curve_points_of_a_known_curve(start: float) -> None:
    """From ``start`` to 2 at 1e-3, down to 1 in a straight line to 1e-1, then up."""
    rates = np.geomspace(1e-5, 1, 101)
    curve = np.interp(np.log10(rates), [-5, -3, -1, 0], [start, 2.0, 1.0, 9.0])
    steepest, near_minimum, minimum = curve_points(rates, curve)
    assert 1e-3 <= steepest <= 1e-1
    assert near_minimum == pytest.approx(10**-1.2)  # nine tenths of two powers of ten
    assert minimum == pytest.approx(1e-1)
    assert lr_range.round_rate(near_minimum, minimum) == 0.05


@pytest.mark.parametrize("curve", [[2.0] * 20, list(np.linspace(2, 5, 20)), list(np.linspace(2, 1.99, 20))])
def test_a_loss_that_hardly_falls_suggests_nothing(curve: list[float], study: LearningRateStudy) -> None:
    assert curve_points(np.geomspace(1e-5, 1, 20), np.array(curve)) == (None, None, None)
    lost = replace(study, steepest=None, near_minimum=None, minimum=None)
    assert lost.suggestion is None
    assert lost.summary[0].startswith("The loss fell too little between learning rates of")
    render(lr_range.build_page(lost))


@pytest.mark.parametrize(("rate", "rounded"), [(0.0123, 0.01), (0.016, 0.02), (0.04, 0.05), (0.0009, 1e-3), (8, 10)])
def test_round_rate_rounds_to_1_2_or_5(rate: float, rounded: float) -> None:
    assert lr_range.round_rate(rate, limit=100) == rounded


@pytest.mark.parametrize(
    ("near_minimum", "minimum", "suggestion"),
    [(0.033, 0.038, 0.02), (0.033, 0.05, 0.05), (0.009, 0.0095, 0.005), (1e-5, 1e-5, 1e-5)],
)
def test_suggestion_is_not_above_the_minimum(
    near_minimum: float, minimum: float, suggestion: float, study: LearningRateStudy
) -> None:
    assert replace(study, near_minimum=near_minimum, minimum=minimum).suggestion == suggestion


def test_smooth_moves_the_minimum_little_for_one_outlier() -> None:
    """Down to 0.3 at a rate of 0.1, where one batch jumps: an arithmetic mean would be lowest at half the rate."""
    rates = np.geomspace(1e-5, 10, 100)
    losses = np.interp(np.log10(rates), [-5, -3, -1, 1], [2.4, 2.4, 0.3, 9.0])
    calm = rates[np.argmin(smooth(rates, losses))]
    losses[np.argmin(np.abs(rates - 0.1))] = 21.0
    assert calm / rates[np.argmin(smooth(rates, losses))] < 1.6


def test_smooth_takes_a_loss_of_0() -> None:
    smoothed = smooth(np.geomspace(1e-4, 1, 81), [1.0] * 40 + [0.0] + [1.0] * 40)
    assert 0 < smoothed[40] < smoothed[0] == pytest.approx(1)


def test_smooth_keeps_constants_and_does_not_lag() -> None:
    rates = np.geomspace(1e-4, 1, 81)
    np.testing.assert_allclose(smooth(rates, [3.0] * 81), 3)
    step = smooth(rates, [4.0] * 40 + [2.0] + [1.0] * 40)
    assert step[40] == pytest.approx(2.0)  # a running mean would still stand near 4
    with_gap = smooth(rates, [3.0] * 80 + [math.nan])
    np.testing.assert_allclose(with_gap, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_lr": 0.0}, "min_lr must be a finite number above 0. Got 0.0."),
        ({"min_lr": "1"}, "min_lr must be a finite number above 0. Got '1'."),
        ({"min_lr": 1.0, "max_lr": 0.1}, "max_lr must be above min_lr (1). Got 0.1."),
        ({"min_lr": 1.0, "max_lr": 1.0}, "max_lr must be above min_lr (1). Got 1.0."),
        ({"max_lr": math.inf}, "max_lr must be a finite number above 0. Got inf."),
        ({"max_lr": math.nan}, "max_lr must be a finite number above 0. Got nan."),
        ({"max_lr": None}, "max_lr must be a finite number above 0. Got None."),
        ({"steps": 9}, "steps must be an integer of at least 10. Got 9."),
        ({"steps": -1}, "steps must be an integer of at least 10. Got -1."),
        ({"steps": 20.0}, "steps must be an integer of at least 10. Got 20.0."),
        ({"steps": []}, "steps must be an integer of at least 10. Got []."),
        ({"seed": -1}, "seed must be an integer of at least 0 and below 4294967296. Got -1."),
        ({"step": 20}, "Got 'step'; did you mean 'steps'?"),
    ],
)
def test_run_study_refuses_options_out_of_range(digits: gn.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        lr_range.run_study("tiny", digits, **options)


def test_run_study_refuses_another_recipe_or_data(digits: gn.Dataset) -> None:
    with pytest.raises(ConfigError, match="Recipe"):
        lr_range.run_study("tiny", digits, {})  # type: ignore[arg-type]
    with pytest.raises(GlassnetError, match="Got 3"):
        lr_range.run_study("tiny", 3)  # type: ignore[arg-type]


def test_run_study_takes_a_normalization_in_the_scale_of_the_data(digits: gn.Dataset) -> None:
    own = digits.normalization
    one, other = (
        lr_range.run_study("tiny", digits, RECIPE, steps=10, normalization=Normalization(255.0, *taken))
        for taken in ((own.mean, own.std), ((0.3,), (0.5,)))
    )
    assert one.losses == lr_range.run_study("tiny", digits, RECIPE, steps=10).losses
    assert other.losses != one.losses


def test_run_study_refuses_the_trainer_of_another_network(digits: gn.Dataset) -> None:
    trainer = gn.build(gn.spec("tiny-bn")).trainer(RECIPE)
    images = digits.normalization.apply(digits.train.images[:8], "float32")
    trainer.step(images, digits.train.labels[:8])
    with pytest.raises(GlassnetError, match="must belong to a parameter of its shape"):
        lr_range.run_study(gn.build(gn.spec("tiny")), digits, RECIPE, trainer=trainer, steps=10)


def test_build_page_draws_all_points(study: LearningRateStudy) -> None:
    page = lr_range.build_page(study)
    figure = page.sections[0].blocks[1]
    assert figure.layout.xaxis.type == "log"
    assert {trace.name.partition(":")[0] for trace in figure.data} == {
        *("each batch", "smoothed", "steepest", "nine tenths of the fall", "lowest")
    }
    assert dict(page.key_figures)["Suggested rate"] == f"{study.suggestion:g}"
