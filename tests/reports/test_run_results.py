from pathlib import Path

import pytest

from glassnet.reports.run_results import short_run_names
from tests.reports.runs_to_compare import fake_run, wrong_on


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["one/a", "two/a", "two/b"], ["one/a", "two/a", "two/b"]),
        (["runs/a", "runs/a", "runs/b", "runs/./a"], ["a", "a (2)", "b", "a (3)"]),
    ],
)
def test_short_run_names_are_as_short_as_possible(paths, names):
    assert short_run_names([Path(path) for path in paths]) == names


def test_pair_tests_count_images_and_correct_p_values(compare_fakes):
    pairs = compare_fakes(fake_run("a"), fake_run("b", wrong_on(*range(8))), fake_run("c", wrong_on(0, 9))).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(pair.only_first_correct, pair.only_second_correct) for pair in pairs] == [(8, 0), (2, 0), (1, 7)]
    assert pairs[0].p_value == pytest.approx(3 * 2 / 2**8)
    assert pairs[2].p_value == pytest.approx(2 * 2 * 9 / 2**8)


def test_setting_differences(compare_fakes):
    other = fake_run("b", spec={"pool": "avg"}, recipe={"seed": 5, "lr": 0.1}, seed=5)
    other.config["versions"]["torch"] = "2.0"
    found = compare_fakes(fake_run("a"), other).differences
    assert [(one.part, one.name, one.values) for one in found] == [
        ("Run", "seed", ("42", "5")),
        ("Model", "pool", ("max", "avg")),
        ("Versions", "torch", ("–", "2.0")),
    ]


def test_setting_differences_of_imported_weights(compare_fakes):
    imported = fake_run("b", seconds=(), fingerprint=None)
    imported.config["recipe"] = None
    found = {one.name: one.values for one in compare_fakes(fake_run("a"), imported).differences}
    assert found["epochs"] == ("2", "–")
    assert "fingerprint" not in found
    assert "recipe" not in found
