import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.doctor.context import PARTS, CheckContext
from glassnet.doctor.loss_range import loss_range
from glassnet.engines.class_weights import balanced_weights
from glassnet.errors import DataError, RunError
from glassnet.progress import Progress
from glassnet.training.loop import split_validation
from glassnet.weights import save_tensors


def test_context_of_a_run_has_every_part(healthy_context: CheckContext) -> None:
    assert healthy_context.missing == {}
    assert healthy_context.has(*PARTS)
    assert healthy_context.missing_reason(tuple(PARTS)) == ""
    assert 0 < healthy_context.loss_ratio < 0.5


def test_context_of_images_has_no_run() -> None:
    context = CheckContext(data=gn.load_data("digits", samples=100))
    assert context.has("data")
    assert context.missing_reason(("recipe", "data")) == "there is no run, only images"


def test_context_has_no_data_if_the_run_was_trained_on_arrays(make_context: Any) -> None:
    assert "was trained on arrays" in make_context(data__source="arrays").missing_reason(("data",))


def test_context_has_no_history_without_a_finished_epoch(make_context: Any, tmp_path: Path) -> None:
    context = make_context([])
    (tmp_path / "altered" / "last.safetensors").unlink()
    context = CheckContext(tmp_path / "altered")
    assert context.missing_reason(("history",)) == "the run has no finished epoch"
    assert context.missing_reason(("weights",)).endswith("has no last.safetensors")
    assert context.loss_ratio == math.inf


def test_context_of_imported_weights_has_neither_recipe_nor_data(healthy_run: Path, tmp_path: Path) -> None:
    given = {"classes": list("0123456789"), "mean": [0], "std": [1], "scale": 16, "run": tmp_path / "imported"}
    gn.import_weights(healthy_run / "last.safetensors", "tiny", **given)
    context = CheckContext(tmp_path / "imported")
    assert "trained elsewhere" in context.missing_reason(("recipe",))
    assert "trained elsewhere" in context.missing_reason(("history",))
    assert "imported without data" in context.missing_reason(("data",))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "config.json").write_text("{"), "must be JSON"),
        (lambda run: (run / "config.json").unlink(), "Got a path without config.json"),
        (lambda run: (run / "metrics.jsonl").write_text("nonsense\n"), "line 1, must be JSON"),
        (lambda run: (run / "last.safetensors").write_bytes(b"no"), "last.safetensors"),
        (lambda run: (run / "state" / "failure.json").write_text("{}"), "must be the record of a failure"),
    ],
)
def test_context_raises_for_a_damaged_run(healthy_run: Path, tmp_path: Path, damage: Any, message: str) -> None:
    shutil.copytree(healthy_run, tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises((RunError, DataError), match=message):
        CheckContext(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": {"no": "spec"}}, r"config\.json: spec field must be one of .*\. Got 'no'"),
        ({"freeze": "head"}, r"config\.json: freeze must be .*\. Got 'head'\."),
        ({"data__speed": 1}, r"config\.json: data field must be one of .*\. Got 'speed'"),
    ],
)
def test_context_raises_for_a_config_that_describes_no_run(
    make_context: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        make_context(**changes)


def test_context_raises_for_data_that_does_not_fit(healthy_run: Path) -> None:
    digits = gn.load_data("digits", samples=100)
    other = gn.Dataset(digits.train.images, digits.train.labels, list("abcdefghij"))
    with pytest.raises(DataError, match=r"The data's classes must be \['0', .*\], as in .*healthy\. Got \['a', 'b', "):
        CheckContext(healthy_run, other)
    large = gn.Dataset(np.tile(digits.train.images, (1, 2, 2, 1)), digits.train.labels, digits.classes)
    with pytest.raises(DataError, match=r"image size must be \(8, 8\), as in .*healthy\. Got \(16, 16\)\."):
        CheckContext(healthy_run, large)
    colored = gn.Dataset(np.tile(digits.train.images, (1, 1, 1, 3)), digits.train.labels, digits.classes)
    with pytest.raises(DataError, match=r"channels must be 1, as in .*healthy\. Got 3\."):
        CheckContext(healthy_run, colored)


def test_context_loads_images_in_the_size_and_channels_of_the_run(healthy_run: Path, tmp_path: Path) -> None:
    from PIL import Image

    for name in "0123456789":
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB", (20, 20), (10 * number, int(name), 0)).save(tmp_path / name / f"{number}.png")
    assert CheckContext(healthy_run, tmp_path).dataset.train.images.shape[1:] == (8, 8, 1)
    padded = CheckContext(data=tmp_path, image_size=(8, 16), fit="pad", max_pixels=400).dataset
    assert not padded.train.images[..., 0, :].any()  # black bars
    with pytest.raises(DataError, match=r"max_pixels \(--max-pixels\) allows, 399;"):
        CheckContext(data=tmp_path, image_size=8, max_pixels=399)
    with pytest.raises(DataError, match=r"image size must be \(8, 8\)"):
        CheckContext(healthy_run, tmp_path, image_size=10)


def test_initial_network_has_the_weights_that_the_run_started_from(healthy_run: Path, tmp_path: Path) -> None:
    given = {"samples": 200, "epochs": 1, "run": tmp_path / "run", "lr": 1e-30, "seed": 7}
    gn.train("tiny", "digits", init=healthy_run / "last.safetensors", progress=Progress(), report=False, **given)
    first = CheckContext(tmp_path / "run").initial_network.state_dict()
    last = gn.load(tmp_path / "run").network.state_dict()
    for key, array in first.items():
        np.testing.assert_allclose(array, last[key], atol=1e-6, err_msg=key)


def test_initial_network_raises_if_the_weights_have_changed(healthy_run: Path, tmp_path: Path) -> None:
    shutil.copy(healthy_run / "last.safetensors", tmp_path / "initial.safetensors")
    given = {"samples": 200, "epochs": 1, "run": tmp_path / "run"}
    gn.train("tiny", "digits", init=tmp_path / "initial.safetensors", progress=Progress(), report=False, **given)
    save_tensors(tmp_path / "initial.safetensors", gn.build("tiny", seed=9).state_dict())
    with pytest.raises(RunError, match="are no longer those that the training began with"):
        _ = CheckContext(tmp_path / "run").initial_network


def test_batch_is_normalized_as_in_training(make_context: Any) -> None:
    context = make_context(data__mean=[0.5], data__std=[2.0])
    images, labels = context.batch(10)
    assert images.shape == (10, 1, 8, 8)
    assert len(labels) == 10
    assert images.min() == -0.25
    again, _ = context.batch(10)
    np.testing.assert_array_equal(images, again)


def test_batch_of_other_images_is_normalized_in_their_scale(healthy_run: Path) -> None:
    digits = gn.load_data("digits", samples=100)
    brighter = gn.Dataset(digits.train.images * 15, digits.train.labels, digits.classes, scale=240)
    images, _ = CheckContext(healthy_run, brighter).batch(50)
    expected, _ = CheckContext(healthy_run, digits).batch(50)
    np.testing.assert_allclose([images.min(), images.max()], [expected.min(), expected.max()], atol=1e-6)


def test_loss_ratio_is_1_at_chance_and_0_at_the_minimum(make_context: Any) -> None:
    context = make_context([{"loss": math.log(10)}])
    assert context.loss_ratio == pytest.approx(1)
    assert context.loss_ratio_to_chance(-0.91 * math.log(0.91) - 0.09 * math.log(0.01)) == pytest.approx(0)
    assert json.loads((context.path / "config.json").read_text())["recipe"]["label_smoothing"] == 0.1


def test_loss_range_counts_the_training_images_of_each_class(make_context: Any) -> None:
    context = make_context(recipe__class_weights="balanced")
    data, _ = split_validation(context.dataset, context.recipe)
    counts = np.bincount(data.labels)
    assert context.loss_range == loss_range(counts, balanced_weights(counts), 0.1)
    assert context.loss_range != make_context().loss_range


def test_loss_range_is_not_changed_by_class_weights_alone(make_context: Any) -> None:
    context = make_context(recipe__class_weights="balanced", recipe__label_smoothing=0.0)
    assert context.loss_range == pytest.approx((0, math.log(10)))
