import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import ConfigError, DataError
from glassnet.progress import Progress
from glassnet.reports import compare
from tests.reports.runs_to_compare import DATA, data, fake_run, wrong_on


def test_compare_measures_every_run_on_the_test_images(compare_fakes):
    first, second = compare_fakes(fake_run("a", wrong_on(0, 1, 2)), fake_run("b", parameters=7)).results
    assert (first.name, second.name) == ("a", "b")
    assert (first.accuracy, second.accuracy) == (0.9, 1.0)
    assert first.loss == pytest.approx(-0.9 * math.log(0.8) - 0.1 * math.log(0.1))
    assert second.parameters == 7
    assert (first.multiply_adds, first.memory) == (90, 12)
    assert (first.epoch_seconds, first.seconds) == (1.5, 3.0)


def test_comparison_prints_as_one_line(compare_fakes):
    comparison = compare_fakes(fake_run("a"), fake_run("b", wrong_on(3)))
    assert repr(comparison) == "Comparison(a 100.0%, b 96.7%)"
    assert repr(compare_fakes(fake_run("a", seconds=()), fake_run("b"), dataset=None)) == "Comparison(a, b 100.0%)"


def test_to_dict_is_json(compare_fakes):
    runs = fake_run("runs/a"), fake_run("runs/b", wrong_on(3))
    runs[1].network.probabilities[0] = [0.0, 1.0, 0.0]  # a true class of probability 0: an infinite loss
    numbers = compare_fakes(*runs).to_dict()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == {**numbers, "differences": []}
    assert [run["name"] for run in numbers["runs"]] == ["a", "b"]
    assert numbers["runs"][0]["run"] == str(Path("runs/a"))
    assert numbers["runs"][1]["loss"] is None
    assert numbers["disagreements"] == 2
    assert numbers["pairs"][0]["only_first_correct"] == 2
    assert compare_fakes(*runs, dataset=None).to_dict()["disagreements"] is None


def test_compare_raises_config_error_for_one_run(compare_fakes):
    with pytest.raises(ConfigError, match=r"^A comparison must have at least two runs\. Got 1\.$"):
        compare_fakes(fake_run("a"))


def test_compare_raises_data_error_for_different_data(compare_fakes):
    other = data(count=60)
    with pytest.raises(
        DataError,
        match=r"^The runs of a comparison must have the same data\. Got noise \(6 training and 30 test images, "
        rf"fingerprint {DATA.fingerprint[:8]}\) in runs/a and noise \(6 training and 60 test images, "
        rf"fingerprint {other.fingerprint[:8]}\) in runs/b\.$",
    ):
        compare_fakes(fake_run("runs/a"), fake_run("runs/b", wrong_on(labels=other.test.labels), dataset=other))


def test_compare_raises_data_error_for_imported_weights_of_other_classes(compare_fakes):
    imported = fake_run("b", fingerprint=None)
    imported.classes = ["ant", "bee", "owl"]
    with pytest.raises(DataError, match="must have the same classes. Got cat, dog, owl in a and ant, bee, owl in b"):
        compare_fakes(imported, fake_run("a"))


def test_compare_raises_data_error_for_another_data_set(compare_fakes):
    with pytest.raises(DataError, match=r"The data of a comparison must be that of a, noise .*Got .* 60 test images"):
        compare_fakes(fake_run("a"), fake_run("b"), dataset=data(count=60))


def test_compare_loads_the_data_from_any_run_that_still_finds_it(compare_fakes):
    finds = fake_run("b")
    finds.load_dataset = lambda: DATA
    assert compare_fakes(fake_run("a"), finds, dataset=None).dataset is DATA


def test_compare_measures_runs_of_both_engines_and_changes_nothing(trained, tmp_path, snapshot):
    pytest.importorskip("torch")
    gn.train(
        "tiny",
        data="digits",
        engine="torch",
        epochs=2,
        seed=3,
        run=tmp_path / "torch",
        progress=Progress(),
        report=False,
    )
    before = snapshot(tmp_path), snapshot(trained.path)
    comparison = compare([trained, gn.load(tmp_path / "torch")])
    assert (snapshot(tmp_path), snapshot(trained.path)) == before
    numpy, torch = comparison.results
    assert numpy.accuracy == trained.history[-1]["test_accuracy"]
    assert numpy.loss == pytest.approx(trained.history[-1]["test_loss"], rel=1e-4)
    np.testing.assert_allclose(numpy.outcome.confidence, torch.outcome.confidence, atol=1e-2)
    assert re.search("The runs differ only in engine(, threads)? and channels last.", " ".join(comparison.summary))
    assert (numpy.parameters, numpy.multiply_adds) == (2538, 79_616)
