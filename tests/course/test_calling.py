"""Tests of the call of a learner's function: exceptions, results and changed arguments become hints."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from glassnet.course.calling import AnswerError, call, check_signature, results_text, run, unpack


def arguments() -> dict[str, Any]:
    return {"dy": np.ones((2, 3)), "saved": (np.arange(3.0), (1, 2), None)}


def helper(dy: Any) -> Any:
    return dy[7]


def raises(dy: Any, saved: Any) -> Any:
    x = dy + 1
    return helper(x)


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (raises, "IndexError: index 7 is out of bounds .*, raised in helper, line .*: return dy\\[7\\]\\.$"),
        (lambda dy, saved: np.linalg.inv(dy), "LinAlgError: .* square, raised in <lambda>, line .*\\.$"),
        (lambda dy: dy, r"^Your function must take \(dy, saved\). Got \(dy\)\.$"),
        (lambda dy, saved: (dy,), r"^Your function must return 2 results: dx, dw. Got 1 results\.$"),
        (lambda dy, saved: None, r"Got None: is a return statement missing\?"),
        (lambda dy, saved: dy, r"Got one ndarray of shape \(2, 3\)\."),
        (
            lambda dy, saved: (dy.fill(0), dy),
            "^Your function changes dy, which belongs to its caller. Work on a copy.$",
        ),
        (lambda dy, saved: (saved[0].sort(), saved[0].fill(2)), "^Your function changes saved,"),
    ],
)
def test_call_explains_what_cannot_be_compared(function: Callable[..., Any], hint: str) -> None:
    with pytest.raises(AnswerError, match=hint):
        call(function, arguments(), ("dx", "dw"))


def test_call_returns_the_results_by_name_and_leaves_the_arguments() -> None:
    values = arguments()
    results = call(lambda dy, saved: (2 * dy, "anything", [saved[0], 4]), values, ("dx", "_saved", ("mean", "var")))
    assert list(results) == ["dx", "mean", "var"]
    assert np.array_equal(results["dx"], 2 * values["dy"])
    assert results["var"] == 4


def test_call_works_without_warnings() -> None:
    def overflows(dy: Any, saved: Any) -> Any:
        warnings.warn("mine", stacklevel=1)
        return np.exp(1000 * dy)

    assert np.isinf(call(overflows, arguments(), "dx")["dx"]).all()


def test_call_names_the_type_of_an_exception_without_text() -> None:
    def fails(dy: Any, saved: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(AnswerError, match="^ZeroDivisionError, raised in fails, line .*: raise ZeroDivisionError.$"):
        call(fails, arguments(), "dx")


def test_check_signature_accepts_functions_without_one() -> None:
    check_signature(np.maximum, ["a", "b"])


def test_results_text_is_what_a_return_statement_has() -> None:
    assert results_text(("y", "_saved", ("mean", "var"))) == "y, saved, (mean, var)"
    assert results_text("dx") == "dx"


def test_unpack_of_a_single_result_keeps_it() -> None:
    assert unpack((1, 2), "dx") == {"dx": (1, 2)}


def test_run_says_that_a_stub_is_not_filled() -> None:
    def stub(dy):
        ...
        return dx  # noqa: F821

    with pytest.raises(AnswerError, match=r"return dx.*\. Compute dx before, in place of the `\.\.\.`\.$"):
        run(stub, 1)


def test_run_names_a_misspelled_name() -> None:
    def misspelled(dy):
        nq.zeros(3)  # noqa: F821

    with pytest.raises(AnswerError, match="^NameError: name 'nq' is not defined, raised in misspelled, .*nq.zeros"):
        run(misspelled, 1)
