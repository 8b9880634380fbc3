import json
import re
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet.errors import ConfigError, RunError
from glassnet.progress import Progress
from glassnet.training import RunFolder
from glassnet.training.early_stopping import describe_end, describe_stop, has_stopped
from tests.training.runs import EVERYTHING, assert_same_run, train

# Without learning no epoch is better than the first one.
STOPPING: dict[str, Any] = {"lr": 1e-30, "schedule": "constant", "validation_fraction": 0.2, "epochs": 9, "patience": 2}


class Lines(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("patience", "since_best", "stopped"), [(None, 9, False), (2, 1, False), (2, 2, True), (2, 3, True)]
)
def test_has_stopped_after_as_many_epochs_as_patience(patience: int | None, since_best: int, stopped: bool) -> None:
    records = [{"epoch": 1, "epochs_since_best": since_best}]
    assert has_stopped(patience, records) is stopped
    assert not has_stopped(patience, [])


def test_describe_stop_tells_early_stops_from_interruptions() -> None:
    records = [{"epochs_since_best": count} for count in (0, 1, 0, 1, 2)]
    told = "stopped early, after 5 of 9 epochs: validation was best after epoch 3, and patience is 2"
    assert describe_stop({"epochs": 9, "patience": 2}, records) == told
    for patience in (3, None):
        told = "is not finished: 5 of 9 epochs are recorded"
        assert describe_stop({"epochs": 9, "patience": patience}, records) == told


def test_training_stops_when_validation_does_not_improve(digits: gn.Dataset, tmp_path: Path) -> None:
    progress = Lines()
    run = train(digits, tmp_path / "run", **STOPPING, progress=progress)
    assert [record["epochs_since_best"] for record in run.history] == [0, 1, 2]
    told = "[NumPy] stopped early, after 3 of 9 epochs: validation was best after epoch 1, and patience is 2"
    assert progress.lines[-2] == told
    assert json.loads((run.path / "config.json").read_text())["recipe"]["epochs"] == 9


def test_training_goes_on_while_validation_improves(digits: gn.Dataset, tmp_path: Path) -> None:
    """The same epochs as without patience, up to the first one that is too late after the best."""
    changes = {"validation_fraction": 0.2, "lr": 0.05, "epochs": 8, "model": "tiny-bn", "seed": 1}
    whole = train(digits, tmp_path / "whole", **changes).history
    ranks = [(-record["validation_accuracy"], record["validation_loss"]) for record in whole]
    best = [ranks.index(min(ranks[: epoch + 1])) for epoch in range(8)]
    expected = next(epoch for epoch in range(8) if epoch - best[epoch] == 2) + 1
    assert 3 < expected < 8
    run = train(digits, tmp_path / "run", **changes, patience=2)
    assert len(run.history) == expected
    for record, other in zip(run.history, whole, strict=False):
        assert (record["validation_loss"], record["loss"]) == (other["validation_loss"], other["loss"])
    assert gn.load(run.path).evaluate(digits)["loss"] == whole[best[expected - 1]]["test_loss"]


def test_a_stopped_run_is_finished(digits: gn.Dataset, tmp_path: Path, snapshot: Any) -> None:
    run = train(digits, tmp_path / "run", **STOPPING)
    assert RunFolder(run.path).is_finished
    before = snapshot(tmp_path)
    again = train(digits, tmp_path / "run", **STOPPING, resume=True)
    assert again.history == run.history
    assert snapshot(tmp_path) == before
    with pytest.raises(RunError, match=re.escape("Got a finished run. Choose another folder, or --overwrite.")):
        train(digits, tmp_path / "run", **STOPPING)


def test_an_interrupted_run_stops_where_it_would_have(digits: gn.Dataset, tmp_path: Path) -> None:
    train(digits, tmp_path / "whole", **STOPPING)
    for stop in (1, 2, None):
        train(digits, tmp_path / "parts", **STOPPING, stop_after_epoch=stop, resume=stop != 1)
        assert RunFolder(tmp_path / "parts").is_finished is (stop is None)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_another_engine_resumes_a_run_with_averages_and_patience(digits: gn.Dataset, tmp_path: Path) -> None:
    changes = {**EVERYTHING, "patience": 3, "dtype": "float64"}
    train(digits, tmp_path / "whole", **changes)
    train(digits, tmp_path / "parts", **changes, stop_after_epoch=1)
    train(digits, tmp_path / "parts", **changes, engine="torch", resume=True)
    ours, theirs = (RunFolder(tmp_path / name).read_checkpoint() for name in ("whole", "parts"))
    for key, array in {**ours.network, **ours.optimizer}.items():
        assert {**theirs.network, **theirs.optimizer}[key] == pytest.approx(array, rel=1e-8, abs=1e-10), key
    assert [r["epochs_since_best"] for r in ours.records] == [r["epochs_since_best"] for r in theirs.records]


def test_patience_needs_validation_images(digits: gn.Dataset, tmp_path: Path) -> None:
    told = "patience must come with validation images. Got patience 3 and none. Set validation_fraction (--valid"
    with pytest.raises(ConfigError, match=re.escape(told)):
        train(digits, tmp_path / "run", patience=3)
    assert not (tmp_path / "run").exists()


def test_patience_must_be_that_of_the_run_to_resume_it(digits: gn.Dataset, tmp_path: Path) -> None:
    train(digits, tmp_path / "run", **STOPPING)
    with pytest.raises(RunError, match=re.escape("recipe.patience must be 2 to resume")):
        train(digits, tmp_path / "run", **{**STOPPING, "patience": 4}, resume=True)


def test_describe_end_says_why_nothing_is_left_to_train() -> None:
    recipe = gn.Recipe(epochs=12, patience=3, validation_fraction=0.1)
    records = [{"epochs_since_best": number} for number in (0, 0, 1, 2, 3)]
    run = Path("runs/a")
    assert describe_end(run, recipe.replace(epochs=5), records) == "runs/a has 5 of 5 epochs"
    assert describe_end(run, recipe.replace(epochs=1), records[:1]) == "runs/a has 1 of 1 epoch"
    assert describe_end(run, recipe, records).startswith(
        "runs/a stopped early, after 5 of 12 epochs: validation was be"
    )
    told = "runs/a has 4 of 12 epochs, and stop_after_epoch is not above that"
    assert describe_end(run, recipe, records[:4]) == told
