"""Exercises whose answer is a function: cases, the truth, and the mistakes that people make.

The truth is the function of ``glassnet.nn.functional``. A ``Mistake`` is a wrong version of it. The hint is that of the
mistake which gives the same wrong result in the simplest case that fails, and agrees with the answer most often.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassnet.course.arrays import agrees, describe_difference, precision
from glassnet.course.calling import AnswerError, Results, Structure, call, results_text, run, unpack
from glassnet.course.exercise import Exercise
from glassnet.data import make_rng
from glassnet.formats import pluralize


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

    With ``forward`` it is a backward function: it gets (dy, saved), where ``saved`` is what ``forward`` returns. dy, of
    which ``upstream`` is the name, is random.
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

    def judge(self, answer: Any, seed: int) -> str:
        if not callable(answer):
            return f"The answer must be a function {self.signature}. Got {type(answer).__name__}."
        rng = make_rng(seed, "exercise")
        trials = [self._try(answer, case, self._arguments(case, rng)) for case in self.cases(rng)]
        failed = [trial for trial in trials if trial.failed]
        if not self._repeats(answer, (failed or trials)[0]):
            return "Two calls with the same arguments give different results. Does it use variables from outside?"
        return f"{self._explain(failed[0], trials)}\n{_where(failed, len(trials))} (seed={seed})" if failed else ""

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
        same = all(agrees(again.actual.get(name), value) for name, value in trial.actual.items())
        return same and again.problem == trial.problem

    def _explain(self, first: Trial, trials: list[Trial]) -> str:
        if first.problem:
            return first.problem
        for name in first.wrong:
            if not agrees(first.actual[name], first.expected[name], precision(first.actual[name])):
                scores = [self._score(mistake, name, first, trials) for mistake in self.mistakes]
                if max(scores):
                    return f"{name} looks as if {self.mistakes[scores.index(max(scores))].hint}."
        name = first.wrong[0]
        for other, values in first.expected.items():
            if values is not None and agrees(first.actual[name], values):
                order = results_text(self.returns)
                return f"{name} has the values of {other}: return the results in the order {order}."
        return describe_difference(name, first.actual[name], first.expected[name])

    def _score(self, mistake: Mistake, name: str, first: Trial, trials: list[Trial]) -> int:
        """Return how many results of all trials the mistake gives; 0 if not ``name`` in the first that failed."""

        def fits(trial: Trial) -> dict[str, bool]:
            results = unpack(run(mistake.function, *trial.arguments.values()), self.returns)
            return {name: agrees(value, results[name], precision(value)) for name, value in trial.actual.items()}

        return sum(sum(fits(trial).values()) for trial in trials) if fits(first)[name] else 0


def _where(failed: list[Trial], count: int) -> str:
    """Return a sentence about the simplest case that fails."""
    case = failed[0].case
    return f"Wrong in {len(failed)} of {pluralize(count, 'case')}, the simplest with {case.label}: {case.text}."
