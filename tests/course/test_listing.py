"""Tests of the list of exercises and of the feedback."""

import ast
import inspect
import re

import pytest

import glassnet as gn
from glassnet import course
from glassnet.course.bug_hunt import BugHunt
from glassnet.course.functions import FunctionExercise
from glassnet.course.networks import NetworkExercise
from glassnet.errors import ConfigError

EXERCISES = course.exercises()
FUNCTIONS = {name: exercise for name, exercise in EXERCISES.items() if isinstance(exercise, FunctionExercise)}


def test_exercises_lists_every_kind() -> None:
    kinds = {kind: sum(isinstance(e, kind) for e in EXERCISES.values()) for kind in (FunctionExercise, BugHunt)}
    assert kinds == {FunctionExercise: 15, BugHunt: 10}
    assert sum(isinstance(e, NetworkExercise) for e in EXERCISES.values()) == 4


def test_exercises_print_name_task_signature_and_chapter() -> None:
    text = repr(EXERCISES)
    assert max(map(len, text.splitlines())) <= 84
    words = " ".join(text.split())
    for number, exercise in enumerate(EXERCISES.values(), start=1):
        assert f"{number} {exercise.title} {exercise.task}" in words
        assert exercise.name in exercise.title
        assert exercise.signature in exercise.title
    assert [int(n) for n in re.findall(r"^Chapter (\d+)$", text, re.MULTILINE)] == [2, 3, 4, 5, 6, 9]


def test_exercise_prints_its_task_and_stub() -> None:
    exercise = EXERCISES["conv2d_backward"]
    assert exercise.task in repr(exercise)
    assert exercise.stub in repr(exercise)


@pytest.mark.parametrize("name", EXERCISES)
def test_stub_is_python_of_a_notebooks_width(name: str) -> None:
    ast.parse(EXERCISES[name].stub)
    assert max(map(len, EXERCISES[name].stub.splitlines())) <= 84


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stub_has_the_parameters_of_the_reference(name: str) -> None:
    exercise = FUNCTIONS[name]
    scope: dict[str, object] = {}
    exec(exercise.stub, scope)
    stub = list(inspect.signature(scope[name]).parameters)  # type: ignore[arg-type]
    reference = list(inspect.signature(exercise.reference).parameters)
    assert stub == reference[: len(stub)]
    assert exercise.signature.startswith(f"{name}(")


def test_check_of_an_unknown_exercise_names_the_closest() -> None:
    with pytest.raises(ConfigError, match=r"^exercise must be one of .* Got 'conv2d_bakward'; did you mean 'conv2d_ba"):
        gn.course.check("conv2d_bakward", None)


def test_check_of_an_invalid_seed_is_an_error() -> None:
    with pytest.raises(ConfigError, match="^seed must be an integer"):
        gn.course.check("softmax", None, seed=-1)


def test_feedback_is_true_if_the_answer_passed() -> None:
    right = gn.course.check("relu_backward", lambda dy, saved: dy * saved[0])
    wrong = gn.course.check("relu_backward", lambda dy, saved: dy)
    assert right
    assert (right.passed, right.hint, repr(right)) == (True, "", "relu_backward: passed")
    assert not wrong
    assert repr(wrong) == f"relu_backward: not yet. {wrong.hint}"
    assert len(repr(wrong).splitlines()) == 2


def test_hint_names_the_seed_that_repeats_it() -> None:
    def wrong(dy, saved):  # type: ignore[no-untyped-def]
        return dy

    hint = gn.course.check("relu_backward", wrong).hint
    seed = int(re.findall(r"\(seed=(\d+)\)$", hint)[0])
    assert gn.course.check("relu_backward", wrong, seed=seed).hint == hint


def test_check_draws_new_cases_in_each_call() -> None:
    hints = {gn.course.check("relu_backward", lambda dy, saved: dy).hint for _ in range(2)}
    assert len(hints) == 2
