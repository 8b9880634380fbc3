import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.doctor.context import PARTS, Evidence, least_loss, run_image_size
from glassnet.errors import DataError, RunError
from glassnet.nn import CrossEntropyLoss
from glassnet.progress import Progress
from glassnet.weights import save_tensors


def test_of_a_run(seen: Evidence) -> None:
    assert seen.missing == {}
    assert seen.lacks(tuple(PARTS)) == ""
    assert 0 < seen.loss < 0.5


def test_of_images_alone() -> None:
    evidence = Evidence(dataset=gn.load_data("digits", samples=100))
    assert evidence.lacks(("data",)) == ""
    assert evidence.lacks(("recipe", "data")) == "there is no run, only images"


def test_a_run_of_ones_own_arrays(retold: Any) -> None:
    assert "was trained on arrays" in retold(data__source="arrays").lacks(("data",))


def test_a_run_without_an_epoch(retold: Any, tmp_path: Path) -> None:
    evidence = retold([])
    (tmp_path / "retold" / "last.safetensors").unlink()
    evidence = Evidence(tmp_path / "retold")
    assert evidence.lacks(("history",)) == "no epoch of the run was finished"
    assert evidence.lacks(("weights",)).endswith("has no last.safetensors")
    assert evidence.loss == math.inf


def test_imported_weights(sound: Path, tmp_path: Path) -> None:
    given = {"classes": list("0123456789"), "mean": [0], "std": [1], "scale": 16, "run": tmp_path / "imported"}
    gn.import_weights(sound / "last.safetensors", "tiny", **given)
    evidence = Evidence(tmp_path / "imported")
    assert "trained elsewhere" in evidence.lacks(("recipe",))
    assert "imported without data" in evidence.lacks(("data",))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda run: (run / "config.json").write_text("{"), "is not JSON"),
        (lambda run: (run / "config.json").unlink(), "it has no config.json"),
        (lambda run: (run / "metrics.jsonl").write_text("nonsense\n"), "line 1, is not JSON"),
        (lambda run: (run / "last.safetensors").write_bytes(b"no"), "last.safetensors"),
        (lambda run: (run / "state" / "failure.json").write_text("{}"), "is not the record of a failure"),
    ],
)
def test_a_damaged_run(sound: Path, tmp_path: Path, damage: Any, told: str) -> None:
    shutil.copytree(sound, tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises((RunError, DataError), match=told):
        Evidence(tmp_path / "run")


def test_settings_that_describe_no_run(retold: Any) -> None:
    with pytest.raises(RunError, match="does not describe a model"):
        retold(spec={"no": "spec"})
    with pytest.raises(RunError, match=r"config\.json: freeze must be null or body\. Got 'head'\."):
        retold(freeze="head")


def test_the_image_size_of_no_model(sound: Path, tmp_path: Path) -> None:
    assert run_image_size(sound) == 8
    shutil.copytree(sound, tmp_path / "run")
    config = json.loads((sound / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps({**config, "spec": "tiny"}))
    with pytest.raises(RunError, match="does not describe a model"):
        run_image_size(tmp_path / "run")


def test_settings_that_do_not_say_how_to_load_the_data(retold: Any) -> None:
    assert "config.json does not say how to load the data: " in retold(data__speed=1).lacks(("data",))


def test_data_that_does_not_fit(sound: Path) -> None:
    digits = gn.load_data("digits", samples=100)
    other = gn.Dataset(digits.train.images, digits.train.labels, list("abcdefghij"))
    with pytest.raises(DataError, match="The classes of .* must be equal"):
        Evidence(sound, other)
    large = gn.Dataset(np.tile(digits.train.images, (1, 2, 2, 1)), digits.train.labels, digits.classes)
    with pytest.raises(DataError, match=r"takes images of \(8, 8\), the data has \(16, 16\)"):
        Evidence(sound, large)


def test_the_first_weights_are_those_that_the_run_began_with(sound: Path, tmp_path: Path) -> None:
    given = {"samples": 200, "epochs": 1, "run": tmp_path / "run", "lr": 1e-30, "seed": 7}
    gn.train("tiny", "digits", init=sound / "last.safetensors", progress=Progress(), **given)
    shutil.copy(sound / "last.safetensors", tmp_path / "begun.safetensors")
    begun, ended = Evidence(tmp_path / "run").initial.state_dict(), gn.load(tmp_path / "run").network.state_dict()
    for key, array in begun.items():
        np.testing.assert_allclose(array, ended[key], atol=1e-6, err_msg=key)


def test_first_weights_that_have_changed_since(sound: Path, tmp_path: Path) -> None:
    shutil.copy(sound / "last.safetensors", tmp_path / "begun.safetensors")
    given = {"samples": 200, "epochs": 1, "run": tmp_path / "run"}
    gn.train("tiny", "digits", init=tmp_path / "begun.safetensors", progress=Progress(), **given)
    save_tensors(tmp_path / "begun.safetensors", gn.build("tiny", seed=9).state_dict())
    with pytest.raises(RunError, match="are no longer those that the training began with"):
        _ = Evidence(tmp_path / "run").initial


def test_the_batch_is_normalized_as_the_training_did_it(retold: Any) -> None:
    evidence = retold(data__mean=[0.5], data__std=[2.0])
    images, labels = evidence.batch(10)
    assert images.shape == (10, 1, 8, 8)
    assert len(labels) == 10
    assert images.min() == -0.25
    again, _ = evidence.batch(10)
    np.testing.assert_array_equal(images, again)


def test_the_least_loss_of_smoothed_labels() -> None:
    """What the best of all logits reach."""
    target = np.full(10, 0.01)
    target[3] = 0.91
    best = CrossEntropyLoss(0.1)(np.log(target)[None], np.array([3]))
    assert least_loss(0.1, 10) == pytest.approx(best)
    assert least_loss(0.0, 10) == 0


def test_the_share_of_chance(retold: Any) -> None:
    evidence = retold([{"loss": math.log(10)}])
    assert evidence.loss == pytest.approx(1)
    assert evidence.share_of_chance(least_loss(0.1, 10)) == pytest.approx(0)
    assert json.loads((evidence.path / "config.json").read_text())["recipe"]["label_smoothing"] == 0.1
