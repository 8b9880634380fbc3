"""Tests of exercises whose answer is a function: the choice of the hint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from glassnet.course import check, exercises
from glassnet.course.functions import Case, FunctionExercise, Mistake


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("one row", {"x": rng.standard_normal((1, 3)), "k": 1})
    yield Case("two rows", {"x": rng.standard_normal((2, 3)), "k": 1})
    yield Case("k 2", {"x": rng.standard_normal((2, 4)), "k": 2})


SCALE = FunctionExercise(
    name="scale",
    chapter=1,
    task="Scale x.",
    stub='def scale(x, k=1):\n    """Return y and z."""\n    ...\n',
    reference=lambda x, k: (k * x, k * x.sum(axis=0)),
    returns=("y", "z"),
    cases=cases,
    mistakes=(
        Mistake("k were ignored", lambda x, k: (x, x.sum(axis=0))),
        Mistake("rows were averaged", lambda x, k: (k * x, k * x.mean(axis=0))),
        Mistake("x were halved", lambda x, k: (x / 2, k * x.sum(axis=0))),
        Mistake("x were halved for several rows", lambda x, k: (k * x / len(x), k * x.sum(axis=0))),
        Mistake("x were divided by the rows, without k", lambda x, k: (x / len(x), k * x.sum(axis=0))),
    ),
)


def judge(answer: Any) -> str:
    return SCALE.judge(answer, seed=0)


def right(x: Any, k: Any) -> Any:
    return k * x, k * x.sum(axis=0)


def ignores_k(x: Any, k: Any) -> Any:
    return x, right(x, k)[1]


def test_judge_accepts_the_right_answer() -> None:
    assert judge(right) == ""


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (ignores_k, "y looks as if k were ignored.\nWrong in 1 of 3 cases, the simplest with k 2: x (2, 4), k 2."),
        (lambda x, k: (k * x, k * x.mean(axis=0)), "z looks as if rows were averaged.\nWrong in 2 of 3 cases"),
        (lambda x, k: (x, x.mean(axis=0)), "z looks as if rows were averaged.\nWrong in 2 of 3"),
        (lambda x, k: (k * x / len(x), right(x, k)[1]), "y looks as if x were halved for several rows."),
        (lambda x, k: (x + 2, k * x.sum(axis=0) / len(x) / 2), "y is wrong in 3 of 3 values, first at index (0, 0);"),
        (lambda x, k: (k * x + len(x) ** 2 - 1, k * x.mean(axis=0)), "z looks as if rows were averaged."),
        (lambda x, k: (k * x + 1, right(x, k)[1]), "y is wrong in 3 of 3 values, first at index (0, 0);"),
        (lambda x, k: (k * x, k * x.T), "z must have shape (3,). Got (3, 1), with the right values."),
        (lambda x, k: right(x, k)[::-1], "y has the values of z: return the results in the order y, z."),
        (lambda x, k: 1 / 0, "ZeroDivisionError: division by zero, raised in <lambda>, line"),
        (lambda x, k: right(x, k) if k == 1 else None, "Got None: is a return statement missing?\nWrong in 1 of 3"),
        (lambda x: x, "Your function must take (x, k). Got (x).\nWrong in 3 of 3 cases"),
        (3, "The answer must be a function scale(x, k=1) -> y, z. Got int."),
        (None, "Got NoneType."),
    ],
)
def test_judge_hints_at_the_mistake_in_the_simplest_case(answer: Callable[..., Any], hint: str) -> None:
    assert hint in judge(answer)


def test_judge_finds_a_result_that_depends_on_earlier_calls() -> None:
    total: dict[tuple[int, ...], Any] = {}

    def accumulates(x: Any, k: Any) -> Any:
        total[x.shape] = total.get(x.shape, 0) + k * x.sum(axis=0)
        return k * x, total[x.shape]

    assert judge(accumulates).startswith("Two calls with the same arguments give different results.")


@pytest.mark.parametrize("rows", [1, 2])
def test_judge_finds_random_results(rows: int) -> None:
    rng = np.random.default_rng(0)
    hint = judge(lambda x, k: (rng.standard_normal(x.shape) if len(x) == rows else k * x, k * x.sum(axis=0)))
    assert hint.startswith("Two calls with the same arguments give different results.")


FUNCTIONS = {name: e for name, e in exercises().items() if isinstance(e, FunctionExercise)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_mistake_is_rejected_with_its_own_hint(name: str) -> None:
    for mistake in FUNCTIONS[name].mistakes:
        assert f"looks as if {mistake.hint}." in check(name, mistake.function, seed=1).hint


@pytest.mark.parametrize("name", FUNCTIONS)
def test_hints_have_no_value_of_the_truth(name: str) -> None:
    exercise = FUNCTIONS[name]

    truths: list[Any] = []

    def noise(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(noise, value))
        truths.append(value)
        return value if value is None else value + np.random.default_rng(0).standard_normal(np.shape(value))

    hint = check(name, lambda *arguments: noise(exercise.reference(*arguments)), seed=3).hint
    assert len(hint) < 400
    truth = np.concatenate([np.ravel(v).astype(float) for v in truths if isinstance(v, np.ndarray | float)])
    for number in re.findall(r"-?\d+\.\d{3,}", hint.partition("Wrong in")[0]):
        assert np.abs(truth - float(number)).min() > 1e-3, number
