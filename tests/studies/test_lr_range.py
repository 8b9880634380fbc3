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
from glassnet.studies.lr_range import LearningRateStudy, landmarks, smooth

RECIPE = gn.Recipe(lr=0.05, batch_size=32)


@pytest.fixture(scope="module")
def study(digits: gn.Dataset) -> LearningRateStudy:
    return lr_range.run_study("tiny-bn", digits, RECIPE, steps=60, seed=1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_nothing_is_touched(engine: str, optimizer: str, digits: gn.Dataset) -> None:
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
            measured = lr_range.run_study(network, digits, recipe, trainer=trainer, steps=20, highest=100.0)
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
def test_the_copy_starts_where_the_network_and_its_optimizer_are(engine: str, digits: gn.Dataset) -> None:
    network = gn.build(gn.spec("tiny"), engine, seed=2, dtype="float64")
    trainer = network.trainer(RECIPE)
    images = digits.normalization.apply(digits.train.images[:64], "float64")
    for _ in range(5):
        trainer.step(images, digits.train.labels[:64])
    one = lr_range.run_study(network, digits, RECIPE, trainer=trainer, steps=10, seed=3)
    fresh = lr_range.run_study(network, digits, RECIPE, steps=10, seed=3)
    assert one.losses[0] == fresh.losses[0]  # the same weights and the same batch
    assert one.losses != fresh.losses  # but another momentum


def test_both_engines_find_the_same(digits: gn.Dataset) -> None:
    networks = (gn.build(gn.spec("tiny-bn"), engine, seed=1, dtype="float64") for engine in ("numpy", "torch"))
    ours, theirs = (lr_range.run_study(network, digits, RECIPE, steps=30, highest=1.0) for network in networks)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-6)
    assert (ours.suggested, ours.engine, theirs.engine) == (theirs.suggested, "numpy", "torch")


def test_rates_grow_by_one_factor_and_the_test_ends_at_divergence(study: LearningRateStudy) -> None:
    factors = np.divide(study.rates[1:], study.rates[:-1])
    np.testing.assert_allclose(factors, (10 / 1e-5) ** (1 / 59))
    assert study.rates[0] == 1e-5
    assert study.diverged
    assert len(study.rates) < 60
    assert study.suggested is not None
    assert 1e-3 <= study.suggested <= 0.1
    assert study.steepest < study.lowest
    assert study.fallen <= study.lowest
    assert study.summary[0].startswith(f"Try a learning rate of {study.suggested:g} with sgd and batches of 32")
    assert study.summary[-1].startswith(f"At {study.rates[-1]:.2g} the loss diverged and the test stopped, after ")


def test_losses_that_are_not_finite_end_the_test(digits: gn.Dataset) -> None:
    study = lr_range.run_study("tiny-bn", digits, RECIPE, lowest=1e-3, highest=1e30, steps=40)
    assert study.diverged
    assert all(map(math.isfinite, study.losses[:-1]))
    assert all(map(math.isfinite, study.smoothed))
    json.dumps(study.to_dict(), allow_nan=False)
    render(lr_range.build_page(study))


def test_a_curve_with_known_landmarks() -> None:
    """Flat at 2 up to 1e-3, down to 1 in a straight line to 1e-1, then up."""
    rates = np.geomspace(1e-5, 1, 101)
    curve = np.interp(np.log10(rates), [-5, -3, -1, 0], [2.0, 2.0, 1.0, 9.0])
    steepest, fallen, lowest = landmarks(rates, curve)
    assert 1e-3 <= steepest <= 1e-1
    assert fallen == pytest.approx(10**-1.2)  # nine tenths of two powers of ten
    assert lowest == pytest.approx(1e-1)
    assert lr_range._rounded(fallen, lowest) == 0.05


@pytest.mark.parametrize("curve", [[2.0] * 20, list(np.linspace(2, 5, 20)), list(np.linspace(2, 1.99, 20))])
def test_a_loss_that_hardly_falls_suggests_nothing(curve: list[float], study: LearningRateStudy) -> None:
    assert landmarks(np.geomspace(1e-5, 1, 20), np.array(curve)) == (None, None, None)
    lost = replace(study, steepest=None, fallen=None, lowest=None)
    assert lost.suggested is None
    assert lost.summary[0].startswith("The loss hardly fell at any rate")
    render(lr_range.build_page(lost))


@pytest.mark.parametrize(("rate", "rounded"), [(0.0123, 0.01), (0.016, 0.02), (0.04, 0.05), (0.0009, 1e-3), (8, 10)])
def test_suggestions_are_round(rate: float, rounded: float) -> None:
    assert lr_range._rounded(rate, most=100) == rounded


@pytest.mark.parametrize(
    ("fallen", "lowest", "suggested"),
    [(0.033, 0.038, 0.02), (0.033, 0.05, 0.05), (0.009, 0.0095, 0.005), (1e-5, 1e-5, 1e-5)],
)
def test_the_suggestion_is_not_above_the_lowest_loss(
    fallen: float, lowest: float, suggested: float, study: LearningRateStudy
) -> None:
    assert replace(study, fallen=fallen, lowest=lowest).suggested == suggested


def test_one_batch_that_jumps_moves_the_bottom_little() -> None:
    """Down to 0.3 at a rate of 0.1, where one batch jumps: an arithmetic mean would be lowest at half the rate."""
    rates = np.geomspace(1e-5, 10, 100)
    losses = np.interp(np.log10(rates), [-5, -3, -1, 1], [2.4, 2.4, 0.3, 9.0])
    calm = rates[np.argmin(smooth(rates, losses))]
    losses[np.argmin(np.abs(rates - 0.1))] = 21.0
    assert calm / rates[np.argmin(smooth(rates, losses))] < 1.6


def test_a_loss_of_zero_has_a_place_in_the_curve() -> None:
    smoothed = smooth(np.geomspace(1e-4, 1, 81), [1.0] * 40 + [0.0] + [1.0] * 40)
    assert 0 < smoothed[40] < smoothed[0] == pytest.approx(1)


def test_smoothing_keeps_what_is_even_and_does_not_lag() -> None:
    rates = np.geomspace(1e-4, 1, 81)
    np.testing.assert_allclose(smooth(rates, [3.0] * 81), 3)
    step = smooth(rates, [4.0] * 40 + [2.0] + [1.0] * 40)
    assert step[40] == pytest.approx(2.0)  # a running mean would still stand near 4
    with_gap = smooth(rates, [3.0] * 80 + [math.nan])
    np.testing.assert_allclose(with_gap, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0.0}, "The rates must be 0 < lowest < highest. Got 0 and 10."),
        ({"lowest": 1.0, "highest": 0.1}, "Got 1 and 0.1."),
        ({"highest": math.inf}, "Got 1e-05 and inf."),
        ({"steps": 5}, "The steps of this test must be at least 10. Got 5."),
    ],
)
def test_what_is_not_allowed(digits: gn.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        lr_range.run_study("tiny", digits, **options)


def test_a_runs_normalization_is_taken_in_the_datas_scale(digits: gn.Dataset) -> None:
    own = digits.normalization
    one, other = (
        lr_range.run_study("tiny", digits, RECIPE, steps=10, normalization=Normalization(255.0, *taken))
        for taken in ((own.mean, own.std), ((0.3,), (0.5,)))
    )
    assert one.losses == lr_range.run_study("tiny", digits, RECIPE, steps=10).losses
    assert other.losses != one.losses


def test_a_trainer_of_another_network_is_refused(digits: gn.Dataset) -> None:
    trainer = gn.build(gn.spec("tiny-bn")).trainer(RECIPE)
    images = digits.normalization.apply(digits.train.images[:8], "float32")
    trainer.step(images, digits.train.labels[:8])
    with pytest.raises(GlassnetError, match="fits no parameter"):
        lr_range.run_study(gn.build(gn.spec("tiny")), digits, RECIPE, trainer=trainer, steps=10)


def test_the_page(study: LearningRateStudy) -> None:
    page = lr_range.build_page(study)
    figure = page.sections[0].blocks[1]
    assert figure.layout.xaxis.type == "log"
    assert {trace.name.partition(":")[0] for trace in figure.data} == {
        *("each batch", "smoothed", "steepest", "nine tenths fallen", "lowest")
    }
    assert dict(page.facts)["Suggested rate"] == f"{study.suggested:g}"
