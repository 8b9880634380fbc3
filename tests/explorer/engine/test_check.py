"""The page's gradient check: it passes right gradients, finds every planted bug, and explains kinks."""

import numpy as np
import pytest

import glassnet as gn

from ..sessions import open_session, train_run

# The parameters whose gradients a bug must leave right: those that backward reaches before it.
RIGHT = {
    "lost skip gradient": ["fc.weight", "fc.bias", "layer1.0.conv2.weight", "layer1.0.conv1.weight"],
    "flipped kernel": ["fc.weight", "fc.bias", "layer1.0.bn2.weight", "layer1.0.conv2.weight"],
    "missing mean term": ["fc.weight", "fc.bias", "layer1.0.bn2.weight", "layer1.0.bn2.bias"],
    "missing mean of the loss": [],
    "forgotten mask": ["fc.weight", "fc.bias"],
}


@pytest.fixture(scope="module")
def opened(javascript, tmp_path_factory):
    data = gn.load_data("digits", samples=120, test_samples=40)
    model = train_run(tmp_path_factory.mktemp("runs") / "run", "tiny-bn", data, epochs=1, lr=0.02)
    open_session(javascript, model, data)
    return javascript


def test_central_difference_of_two_widths_is_exact_for_a_cubic(javascript):
    """One width alone would be wrong by its square."""
    difference = javascript(
        """const data = Float64Array.of(0.1);
        return centralDifference({activationPattern: () => []}, data, 0, () => data[0] ** 3);"""
    )
    assert difference == pytest.approx(3 * 0.1**2, rel=1e-10)


def test_check_passes_right_gradients(opened):
    rows = opened("session.choose({}); return session.check({count: 2});")
    assert {row["key"] for row in rows} == set(opened("return Object.keys(session.entries.main.network.parameters);"))
    assert max(row["error"] for row in rows if not row["kink"]) < 1e-6
    assert sum(row["kink"] for row in rows) < len(rows) / 4
    assert all(row["passed"] for row in rows if not row["kink"])


@pytest.mark.parametrize("bug", RIGHT)
def test_check_finds_each_bug_and_where_it_begins(opened, bug):
    rows = opened("return session.check({count: 1, bug});", bug=bug)
    wrong = {row["key"] for row in rows if row["passed"] is False}
    assert "conv1.weight" in wrong
    assert wrong.isdisjoint(RIGHT[bug])


def test_bugs_are_those_that_the_tests_know(opened):
    assert opened("return Object.keys(BUGS);") == list(RIGHT)


@pytest.mark.parametrize("bug", RIGHT)
def test_loss_falls_although_backward_has_a_bug(opened, bug):
    history = opened("return (await session.train({from: 'initial', epochs: 3, bug})).history;", bug=bug)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_check_marks_a_kink_instead_of_an_error(javascript):
    """Images of zeros and biases of 0 put every ReLU at its kink: a slope on one side, none on the other."""
    spec = gn.spec("tiny")
    rows = javascript(
        """
        const network = new Network(graph);
        network.load(initialState(graph, normals.data));
        return [...checkGradients(network, new Float64Array(128), [0, 1], {count: 1})];
        """,
        graph=gn.graph(spec),
        normals=np.random.default_rng(0).standard_normal(3000),
    )
    by_key = {row["key"]: row for row in rows}
    assert by_key["conv1.bias"] | {"index": 0} == {
        **{"key": "conv1.bias", "index": 0, "backward": 0, "difference": None, "error": None, "kink": True},
        "passed": None,
    }
    assert by_key["fc.bias"]["passed"]
