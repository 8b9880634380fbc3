import math
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.doctor.context import Evidence
from glassnet.doctor.short_runs import Trial, seconds_per_image, try_training
from glassnet.progress import Progress


def test_a_trials_loss_is_that_of_its_last_quarter() -> None:
    assert Trial((9, 9, 9, 9, 9, 9, 1, 2), 0.5).loss == 1.5
    assert Trial((1, 2, math.nan), 0.5).loss == math.inf


@pytest.mark.parametrize("model", ["tiny", "tiny-bn"])
def test_it_is_the_runs_own_beginning(tmp_path: Path, model: str) -> None:
    """With a constant rate, the mean loss of an epoch's trial steps is the loss that the run recorded."""
    recipe = gn.Recipe(lr=0.05, batch_size=50, augment="flip-crop", seed=5)
    run = gn.train(
        model, "digits", samples=200, recipe=recipe, epochs=1, run=tmp_path / "run", progress=Progress(), seed=5
    )
    trial = try_training(Evidence(tmp_path / "run"), 4, 60)
    assert np.mean(trial.losses) == pytest.approx(run.history[0]["loss"], rel=1e-5)


def test_another_rate_and_another_network(seen: Evidence) -> None:
    own = try_training(seen, 13, 60)
    slow = try_training(seen, 13, 60, lr=1e-6)
    wide = try_training(seen, 13, 60, spec=seen.spec.replace(width=16))
    assert own.losses[0] == slow.losses[0] != wide.losses[0]
    assert own.loss < slow.loss
    assert own.losses == try_training(seen, 13, 60).losses  # nothing of a trial stays


def test_it_stops_in_time_and_where_nothing_is_finite(seen: Evidence) -> None:
    assert len(try_training(seen, 50, 0).losses) == 1
    assert len(try_training(seen, 50, 60, lr=1e30).losses) < 50


def test_seconds_per_image(seen: Evidence) -> None:
    network = gn.build("tiny")
    assert 0 < seconds_per_image(network, seen, 64) < seconds_per_image(network, seen, 1)
