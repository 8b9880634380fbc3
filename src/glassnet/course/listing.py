"""The list of all exercises, and the check of an answer."""

from __future__ import annotations

from itertools import groupby
from textwrap import fill
from typing import Any

import numpy as np

from glassnet.course import bug_hunt, convolution, loss, networks, normalization, optimizer, patches, pooling, residual
from glassnet.course.exercise import Exercise, Feedback
from glassnet.data.batches import validate_seed
from glassnet.errors import choice_error

_MODULES = (convolution, patches, pooling, loss, optimizer, residual, normalization, networks, bug_hunt)


class ExerciseList(dict[str, Exercise]):
    """The exercises by name, in the order of the course. Its text lists number, signature and task by chapter."""

    def __missing__(self, name: object) -> Exercise:
        raise choice_error("exercise", self, name)

    def __repr__(self) -> str:
        lines = []
        for chapter, numbered in groupby(enumerate(self.values(), start=1), key=lambda pair: pair[1].chapter):
            lines.append(f"Chapter {chapter}")
            for number, exercise in numbered:
                lines.append(fill(f"{number:2}  {exercise.title}", 84, subsequent_indent=8 * " "))
                lines.append(4 * " " + exercise.task)
        return "\n".join(lines)


def exercises() -> ExerciseList:
    """Return all exercises by name, in the order of the course.

    :returns: a dict that prints as a list; an unknown name raises a ConfigError with the closest one.
    """
    every = [exercise for module in _MODULES for exercise in module.EXERCISES]
    return ExerciseList({exercise.name: exercise for exercise in sorted(every, key=lambda e: e.chapter)})


def check(name: str, answer: Any, seed: int | None = None) -> Feedback:
    """Try an answer on fresh random cases, and return whether it passed, with a hint if not.

    A wrong answer raises nothing; an exception in it becomes the hint.

    :param name: the name of an exercise.
    :param answer: what the exercise's ``signature`` says, most often a function.
    :param seed: draws the cases; None draws a new one. A hint about random cases ends with their seed.
    :raises ConfigError: if there is no exercise of this name, or the seed is invalid.
    """
    exercise = exercises()[name]
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else validate_seed(seed)
    hint = exercise.judge(answer, seed)
    return Feedback(name, not hint, hint)
