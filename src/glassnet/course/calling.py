"""The call of a function that a learner wrote: on copies, with its errors and its results as hints."""

from __future__ import annotations

import inspect
import linecache
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

Results = dict[str, Any]
Structure = str | tuple[Any, ...]  # names of the results, nested as they are; a name with _ is not judged


class AnswerError(Exception):
    """A hint about an answer that cannot be compared: an exception, a wrong number of results, a changed argument."""


def call(function: Callable[..., Any], arguments: dict[str, Any], returns: Structure) -> Results:
    """Return the named results of a function on copies of the arguments.

    :raises AnswerError: if the function raises, changes an argument, or returns another number of results.
    """
    check_signature(function, arguments)
    copies = deepcopy(arguments)
    returned = run(function, *copies.values())
    for name, value in arguments.items():
        if not _unchanged(value, copies[name]):
            raise AnswerError(f"Your function changes {name}, which belongs to its caller. Work on a copy.")
    return unpack(returned, returns)


def run(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function without NumPy's warnings.

    :raises AnswerError: if it raises an exception; the hint has its line in the function.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)
    except Exception as error:
        text = f"{type(error).__name__}: {error}".rstrip(": ").rstrip(".")
        place = _line_of(function, error)
        remedy = ""
        if isinstance(error, NameError) and ": return " in place:
            remedy = f" Compute {error.name} before, in place of the `...`."
        raise AnswerError(f"{text}, raised {place}.{remedy}") from error


def results_text(returns: Structure) -> str:
    """Return the names of the results as in a return statement: ``y, saved, (mean, var)``."""
    if isinstance(returns, str):
        return returns.removeprefix("_")
    return ", ".join(f"({results_text(part)})" if isinstance(part, tuple) else results_text(part) for part in returns)


def check_signature(function: Callable[..., Any], arguments: Sequence[str] | dict[str, Any]) -> None:
    """Check that a function takes these arguments by position.

    :raises AnswerError: if it does not.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have none
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise AnswerError(f"Your function must take ({', '.join(arguments)}). Got {signature}.") from None


def unpack(returned: Any, returns: Structure) -> Results:
    """Return the results by name, but those that are not judged.

    :raises AnswerError: if their number is wrong.
    """
    if isinstance(returns, str):
        return {} if returns.startswith("_") else {returns: returned}
    if not isinstance(returned, tuple | list) or len(returned) != len(returns):
        got = f"{len(returned)} results." if isinstance(returned, tuple | list) else _one_result(returned)
        raise AnswerError(f"Your function must return {len(returns)} results: {results_text(returns)}. Got {got}")
    parts = (unpack(part, structure) for part, structure in zip(returned, returns, strict=True))
    return {name: value for part in parts for name, value in part.items()}


def _one_result(returned: Any) -> str:
    if returned is None:
        return "None: is a return statement missing?"
    return f"one {type(returned).__name__}" + (f" of shape {returned.shape}." if hasattr(returned, "shape") else ".")


def _unchanged(before: Any, after: Any) -> bool:
    if isinstance(before, tuple | list):
        return len(before) == len(after) and all(map(_unchanged, before, after))
    if isinstance(before, np.ndarray):
        return before.shape == after.shape and np.array_equal(before, after, equal_nan=before.dtype.kind == "f")
    return before is after or bool(before == after)


def _line_of(function: Callable[..., Any], error: Exception) -> str:
    """Return the line of the learner's source, the last one in the file of the function, where the error came from."""
    filename = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", None)
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == filename:
            line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            place = f"in {code.co_name}, line {trace.tb_lineno}" + (f": {line}" if line else "")
        trace = trace.tb_next
    return place or "by your function"
