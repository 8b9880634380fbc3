import math
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.doctor.context import CheckContext
from glassnet.doctor.short_runs import ShortRun, run_short_training, seconds_per_image
from glassnet.progress import Progress


def test_loss_is_the_mean_of_the_last_quarter() -> None:
    assert ShortRun((9, 9, 9, 9, 9, 9, 1, 2), 0.5).loss == 1.5
    assert ShortRun((1, 2, math.nan), 0.5).loss == math.inf


@pytest.mark.parametrize("model", ["tiny", "tiny-bn"])
def test_run_short_training_repeats_the_runs_first_epoch(tmp_path: Path, model: str) -> None:
    """With a constant rate, the mean loss of an epoch's steps is the loss that the run recorded."""
    recipe = gn.Recipe(lr=0.05, batch_size=50, augment="flip-crop", seed=5)
    run = gn.train(
        model,
        "digits",
        samples=200,
        recipe=recipe,
        epochs=1,
        run=tmp_path / "run",
        progress=Progress(),
        report=False,
        seed=5,
    )
    short_run = run_short_training(CheckContext(tmp_path / "run"), 4, 60)
    assert np.mean(short_run.losses) == pytest.approx(run.history[0]["loss"], rel=1e-5)


def test_run_short_training_takes_another_rate_or_network(healthy_context: CheckContext) -> None:
    own = run_short_training(healthy_context, 13, 60)
    slow = run_short_training(healthy_context, 13, 60, lr=1e-6)
    wide = run_short_training(healthy_context, 13, 60, spec=healthy_context.spec.replace(width=16))
    assert own.losses[0] == slow.losses[0] != wide.losses[0]
    assert math.isnan(own.test_accuracy)
    assert 0.1 < wide.test_accuracy < 1
    assert own.loss < slow.loss
    assert own.losses == run_short_training(healthy_context, 13, 60).losses  # a short run leaves no trace


def test_run_short_training_stops_early(healthy_context: CheckContext) -> None:
    assert len(run_short_training(healthy_context, 50, 0).losses) == 1
    assert len(run_short_training(healthy_context, 50, 60, lr=1e30).losses) < 50


def test_seconds_per_image_is_smaller_in_large_batches(healthy_context: CheckContext) -> None:
    network = gn.build("tiny")
    assert 0 < seconds_per_image(network, healthy_context, 64) < seconds_per_image(network, healthy_context, 1)
