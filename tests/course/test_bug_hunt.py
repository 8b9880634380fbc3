"""Tests of the bug hunt: each table shows its fault, and no other answer passes."""

import re

import numpy as np
import pytest

from glassnet import nn
from glassnet.architecture import assemble
from glassnet.course import FAULTS, check, exercises
from glassnet.course.bug_hunt import BugHunt
from glassnet.verify import GradientReport, check_network

HUNTS = {name: exercise for name, exercise in exercises().items() if isinstance(exercise, BugHunt)}

# Layer, fault, first and last wrong row of the table, number of wrong rows, and the ratio in them if it is constant.
ANSWERS = {
    "bug_hunt_1": ("Linear", "sign", "fc.weight", "fc.weight", 1, -1),
    "bug_hunt_2": ("Conv2d", "factor", "conv1.bias", "layer1.0.conv2.bias", 3, 0.25),
    "bug_hunt_3": ("ReLU", "mask", "input", "layer1.0.conv2.bias", 7, None),
    "bug_hunt_4": ("MaxPool2d", "mask", "input", "layer1.0.conv2.bias", 7, None),
    "bug_hunt_5": ("Conv2d", "flipped", "input", "layer1.0.conv1.bias", 5, None),
    "bug_hunt_6": ("Residual", "term", "input", "conv1.bias", 3, None),
    "bug_hunt_7": ("BatchNorm2d", "sum", "bn1.weight", "layer1.0.bn2.bias", 6, None),
    "bug_hunt_8": ("BatchNorm2d", "term", "input", "layer1.0.conv2.weight", 8, None),
    "bug_hunt_9": ("AdaptiveAvgPool2d", "factor", "input", "layer2.0.bn2.bias", 16, 16),
    "bug_hunt_10": ("ZeroPadShortcut", "place", "input", "layer1.0.bn2.bias", 10, None),
}


@pytest.fixture(scope="module")
def reports() -> dict[str, GradientReport]:
    return {name: hunt.report() for name, hunt in HUNTS.items()}


@pytest.mark.parametrize("name", HUNTS)
def test_table_shows_where_the_fault_is(name: str, reports: dict[str, GradientReport]) -> None:
    _, _, first, last, count, ratio = ANSWERS[name]
    wrong = [row for row in reports[name].rows if not row.passed]
    assert (wrong[0].tensor, wrong[-1].tensor, len(wrong)) == (first, last, count)
    ratios = [row.analytical / row.numerical for row in wrong]
    if ratio is None:
        assert max(ratios) - min(ratios) > 0.1
    else:
        assert ratios == pytest.approx([ratio] * count, rel=1e-5)


@pytest.mark.parametrize("name", HUNTS)
def test_no_fault_is_near_the_tolerance(name: str, reports: dict[str, GradientReport]) -> None:
    assert all(row.passed or row.error > 1e-4 for row in reports[name].rows)


@pytest.mark.parametrize("name", HUNTS)
def test_network_without_the_fault_passes(name: str) -> None:
    hunt = HUNTS[name]
    network = assemble(hunt.spec, nn).to(np.float64)
    network.load_state_dict(hunt.network().state_dict())
    assert check_network(network, *hunt.batch()).passed


@pytest.mark.parametrize("name", HUNTS)
def test_network_prints_as_one_without_the_fault(name: str) -> None:
    hunt = HUNTS[name]
    assert repr(hunt.network()) == repr(assemble(hunt.spec, nn))


def test_hunts_print_alike() -> None:
    texts = {re.sub(r"hunt_\d+|\d+ of 10|chapter \d", "", repr(hunt)) for hunt in HUNTS.values()}
    assert len(texts) == 1


@pytest.mark.parametrize("name", HUNTS)
def test_check_accepts_the_layer_with_its_fault_alone(name: str) -> None:
    layer, fault, *_ = ANSWERS[name]
    classes = {type(module).__name__ for module in HUNTS[name].network().modules()}
    passed = {(a, b) for a in classes for b in FAULTS if check(name, (a, b))}
    assert passed == {(layer, fault)}


def test_check_accepts_the_name_of_a_layer() -> None:
    assert check("bug_hunt_1", ("fc", "sign"))
    assert check("bug_hunt_2", ["layer1.0.conv1", "factor"])
    assert not check("bug_hunt_1", ("pool", "sign"))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (("ReLU", "sign"), "It is not ReLU.\nA wrong dx spoils the rows before its layer,"),
        (("Linear", "mask"), "It is Linear, but not that a mask is missing"),
        (("Liner", "sign"), "layer must be one of Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU, Residual. Got"),
        (("BatchNorm2d", "sign"), "layer must be one of Conv2d,"),
        (("Linear", "sing"), "fault must be one of factor, sign, mask, term, sum, flipped, place. Got 'sing'"),
        ("Linear", "The answer must be a pair of two strings, (\"layer\", \"fault\"). Got 'Linear'."),
        (("Linear", 3), "The answer must be a pair of two strings"),
        (None, "Got None."),
    ],
)  # fmt: skip
def test_check_hints_at_the_way_to_the_fault(answer: object, hint: str) -> None:
    feedback = check("bug_hunt_1", answer)
    assert not feedback.passed
    assert hint in feedback.hint


def test_sum_over_images_cannot_be_wrong_with_one_image() -> None:
    assert HUNTS["bug_hunt_7"].report(1).passed
    assert not HUNTS["bug_hunt_7"].report(2).passed


def test_public_attributes_have_no_answer() -> None:
    public = {name for name in dir(HUNTS["bug_hunt_1"]) if not name.startswith("_")}
    shown = {"chapter", "name", "signature", "spec", "stub", "task", "title"}
    assert public == shown | {"batch", "judge", "network", "report"}
