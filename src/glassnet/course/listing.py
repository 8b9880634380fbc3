"""The list of all exercises, and the check of an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassnet.course import bug_hunt, convolution, loss, networks, normalization, optimizer, patches, pooling, residual
from glassnet.course.exercise import Exercise, Feedback
from glassnet.data.batches import validate_seed
from glassnet.errors import choice_error

_MODULES = (convolution, patches, pooling, loss, optimizer, residual, normalization, networks, bug_hunt)


class ExerciseList(dict[str, Exercise]):
    """The exercises by name, in the order of the course. It displays as a table, in a terminal and in a notebook."""

    def __missing__(self, name: object) -> Exercise:
        raise choice_error("exercise", self, name)

    @property
    def rows(self) -> list[tuple[int, str, str, int]]:
        """Number, name with signature, task and chapter of each exercise."""
        return [
            (
                number,
                e.signature if e.signature.startswith(f"{e.name}(") else f"{e.name}: {e.signature}",
                e.task,
                e.chapter,
            )
            for number, e in enumerate(self.values(), start=1)
        ]

    def __repr__(self) -> str:
        return "\n".join(
            f"{number:2}  {exercise}\n    {task} Chapter {chapter}." for number, exercise, task, chapter in self.rows
        )

    def _repr_html_(self) -> str:
        from glassnet.pages.page import Table, render_block  # imports Plotly

        return render_block(Table("Exercises", ["", "Exercise", "Task", "Chapter"], self.rows))


def exercises() -> ExerciseList:
    """Return all exercises by name, in the order of the course.

    :returns: a dict that displays as a table; an unknown name raises a ConfigError with the closest one.
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
