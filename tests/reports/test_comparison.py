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
from glassnet.reports.comparison import run_names
from tests.reports.runs_to_compare import DATA, contestant, data, wrong_on


def test_every_run_is_measured_on_the_test_images(contest):
    first, second = contest(contestant("a", wrong_on(0, 1, 2)), contestant("b", parameters=7)).entries
    assert (first.name, second.name) == ("a", "b")
    assert (first.accuracy, second.accuracy) == (0.9, 1.0)
    assert first.loss == pytest.approx(-0.9 * math.log(0.8) - 0.1 * math.log(0.1))
    assert second.parameters == 7
    assert (first.multiply_adds, first.memory) == (90, 12)
    assert (first.epoch_seconds, first.seconds) == (1.5, 3.0)


def test_every_pair_is_tested(contest):
    pairs = contest(contestant("a"), contestant("b", wrong_on(*range(8))), contestant("c", wrong_on(0, 9))).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(pair.first_only, pair.second_only) for pair in pairs] == [(8, 0), (2, 0), (1, 7)]
    assert pairs[0].p_value == pytest.approx(3 * 2 / 2**8)
    assert pairs[2].p_value == pytest.approx(2 * 2 * 9 / 2**8)


def test_numbers_are_json(contest):
    runs = contestant("runs/a"), contestant("runs/b", wrong_on(3))
    runs[1].network.probabilities[0] = [0.0, 1.0, 0.0]  # a true class of probability 0: an infinite loss
    numbers = contest(*runs).numbers()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == {**numbers, "differences": []}
    assert [run["name"] for run in numbers["runs"]] == ["a", "b"]
    assert numbers["runs"][0]["run"] == str(Path("runs/a"))
    assert numbers["runs"][1]["loss"] is None
    assert numbers["disagreements"] == 2
    assert numbers["pairs"][0]["first_only"] == 2
    assert contest(*runs, dataset=None).numbers()["disagreements"] is None


def test_settings_that_differ_and_only_those(contest):
    other = contestant("b", spec={"pool": "avg"}, recipe={"seed": 5, "lr": 0.1}, seed=5)
    other.config["versions"]["torch"] = "2.0"
    found = contest(contestant("a"), other).differences
    assert [(one.part, one.name, one.values) for one in found] == [
        ("Run", "seed", ("42", "5")),
        ("Model", "pool", ("max", "avg")),
        ("Versions", "torch", ("–", "2.0")),
    ]


def test_imported_weights_have_no_recipe_and_no_data_of_their_own(contest):
    imported = contestant("b", seconds=(), fingerprint=None)
    imported.config["recipe"] = None
    found = {one.name: one.values for one in contest(contestant("a"), imported).differences}
    assert found["epochs"] == ("2", "–")
    assert "fingerprint" not in found
    assert "recipe" not in found


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["one/a", "two/a", "two/b"], ["one/a", "two/a", "two/b"]),
        (["runs/a", "runs/a", "runs/b", "runs/./a"], ["a", "a (2)", "b", "a (3)"]),
    ],
)
def test_names_are_as_short_as_they_can_be(paths, names):
    assert run_names([Path(path) for path in paths]) == names


def test_one_run_is_no_comparison(contest):
    with pytest.raises(ConfigError, match=r"A comparison needs at least two runs\. Got 1\."):
        contest(contestant("a"))


def test_runs_on_different_data_are_refused_by_name(contest):
    other = data(count=60)
    with pytest.raises(
        DataError,
        match=rf"^Runs on different data cannot be compared: runs/a has noise \(6 training and 30 test images, "
        rf"fingerprint {DATA.fingerprint[:8]}\), runs/b has noise \(6 training and 60 test images, "
        rf"fingerprint {other.fingerprint[:8]}\)\.$",
    ):
        contest(contestant("runs/a"), contestant("runs/b", wrong_on(labels=other.test.labels), dataset=other))


def test_imported_weights_must_at_least_have_the_same_classes(contest):
    imported = contestant("b", fingerprint=None)
    imported.classes = ["ant", "bee", "owl"]
    with pytest.raises(DataError, match="a has cat, dog, owl, b has ant, bee, owl"):
        contest(imported, contestant("a"))


def test_a_data_set_that_is_not_the_runs_own_is_refused(contest):
    with pytest.raises(
        DataError, match=r"A comparison needs the data of its runs: a has noise .*Got .* 60 test images"
    ):
        contest(contestant("a"), contestant("b"), dataset=data(count=60))


def test_the_data_comes_from_whichever_run_still_finds_it(contest):
    finds = contestant("b")
    finds.load_dataset = lambda: DATA
    assert contest(contestant("a"), finds, dataset=None).dataset is DATA


def test_real_runs_of_both_engines_and_looking_changes_nothing(trained, tmp_path, snapshot):
    pytest.importorskip("torch")
    gn.train("tiny", data="digits", engine="torch", epochs=2, seed=3, run=tmp_path / "torch", progress=Progress())
    before = snapshot(tmp_path), snapshot(trained.path)
    comparison = compare([trained, gn.load(tmp_path / "torch")])
    assert (snapshot(tmp_path), snapshot(trained.path)) == before
    numpy, torch = comparison.entries
    assert numpy.accuracy == trained.history[-1]["test_accuracy"]
    assert numpy.loss == pytest.approx(trained.history[-1]["test_loss"], rel=1e-4)
    np.testing.assert_allclose(numpy.outcome.probabilities, torch.outcome.probabilities, atol=1e-2)
    assert re.search("The runs differ in engine(, threads)? and channels last alone.", " ".join(comparison.words))
    assert (numpy.parameters, numpy.multiply_adds) == (2538, 79_616)
