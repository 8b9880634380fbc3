"""Exercises whose answer is a function: cases, the truth, and the mistakes that people make.

The truth is the function of ``glassnet.nn.functional``. A ``Mistake`` is a wrong version of it. If the answer is
wrong as a mistake is wrong, in the simplest case that fails and in most others, the hint is the mistake's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassnet.course.arrays import agrees, describe_difference, precision
from glassnet.course.calling import AnswerError, Results, Structure, call, results_text
from glassnet.course.exercise import Exercise


@dataclass(frozen=True)
class Mistake:
    """A wrong version of a function, with its arguments and results, and the hint ``looks as if {hint}``."""

    hint: str
    function: Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """Arguments to try: ``label`` says what is new in the case, such as ``stride 2``; simple cases come first."""

    label: str
    inputs: dict[str, Any]  # of the forward function, in its order

    @property
    def text(self) -> str:
        """The inputs, with arrays as their shapes: ``x (2, 3, 5, 4), stride 2``."""
        values = {name: getattr(value, "shape", value) for name, value in self.inputs.items()}
        return ", ".join(f"{name} {value}" for name, value in values.items())


@dataclass(frozen=True)
class Trial:
    """A case with the expected and the actual results, or with the reason why there are none."""

    case: Case
    arguments: dict[str, Any]
    expected: Results
    actual: Results
    problem: str = ""

    @property
    def wrong(self) -> list[str]:
        """The names of the results that are wrong."""
        return [name for name in self.actual if not agrees(self.actual[name], self.expected[name])]

    @property
    def failed(self) -> bool:
        """Whether there is a problem, or a wrong result."""
        return bool(self.problem or self.wrong)


@dataclass(frozen=True, repr=False)
class FunctionExercise(Exercise):
    """An exercise whose answer has the arguments and results of ``reference``.

    With ``forward`` it is a backward function: it gets (dy, saved), where ``saved`` is what ``forward`` returns, and dy
    is random.
    """

    reference: Callable[..., Any]
    returns: Structure
    cases: Callable[[np.random.Generator], Iterable[Case]]
    mistakes: tuple[Mistake, ...]
    forward: Callable[..., Any] | None = None
    upstream: str = "dy"

    @property
    def signature(self) -> str:
        (head,) = re.findall(r"^def (.+):$", self.stub, flags=re.MULTILINE)
        return f"{head} -> {results_text(self.returns)}"

    def judge(self, answer: Any, rng: np.random.Generator) -> str:
        if not callable(answer):
            return f"The answer must be a function {self.signature}. Got {type(answer).__name__}."
        trials = [self._try(answer, case, self._arguments(case, rng)) for case in self.cases(rng)]
        failed = [trial for trial in trials if trial.failed]
        first = failed[0] if failed else trials[0]
        if first.problem:
            return f"{first.problem} {_where(first, trials)}"
        if not self._repeats(answer, first):
            return "Two calls with the same arguments give different results. Does it use variables from outside?"
        return f"{self._explain(failed)} {_where(first, trials)}" if failed else ""

    def _arguments(self, case: Case, rng: np.random.Generator) -> dict[str, Any]:
        if self.forward is None:
            return case.inputs
        y, saved, *_ = self.forward(**case.inputs)
        return {self.upstream: rng.standard_normal(np.shape(y)), "saved": saved}

    def _try(self, answer: Callable[..., Any], case: Case, arguments: dict[str, Any]) -> Trial:
        expected = call(self.reference, arguments, self.returns)
        try:
            return Trial(case, arguments, expected, call(answer, arguments, self.returns))
        except AnswerError as error:
            return Trial(case, arguments, expected, {}, str(error))

    def _repeats(self, answer: Callable[..., Any], trial: Trial) -> bool:
        again = self._try(answer, trial.case, trial.arguments)
        return all(agrees(again.actual.get(name), value) for name, value in trial.actual.items())

    def _explain(self, failed: list[Trial]) -> str:
        first = failed[0]
        for name in first.wrong:
            matches = {mistake.hint: self._matches(mistake, name, failed) for mistake in self.mistakes}
            hint = max(matches, key=lambda hint: sum(matches[hint]) * matches[hint][0], default="")
            if hint and matches[hint][0]:
                return f"{name} looks as if {hint}."
        name = first.wrong[0]
        return describe_difference(name, first.actual[name], first.expected[name])

    def _matches(self, mistake: Mistake, name: str, failed: list[Trial]) -> list[bool]:
        """Return for each failed trial whether the result ``name`` is wrong as the mistake makes it wrong."""
        return [
            name in trial.wrong
            and agrees(
                trial.actual[name],
                call(mistake.function, trial.arguments, self.returns)[name],
                precision(trial.actual[name]),
            )
            for trial in failed
        ]


def _where(first: Trial, trials: list[Trial]) -> str:
    """Return a sentence about the simplest case that fails, and the cases before it, which passed."""
    passed = [trial.case.label for trial in trials[: trials.index(first)]]
    text = f"with {first.case.label}: {first.case.text}."
    return f"Right with {'; '.join(passed)}. First wrong {text}" if passed else f"Wrong {text}"
