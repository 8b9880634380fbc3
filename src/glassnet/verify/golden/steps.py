"""The steps of a port's training, each judged on the port's own numbers before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.judging import GoldenRow, Judgement
from glassnet.verify.golden.rounding import differences, largest, pattern_of
from glassnet.verify.golden.updates import Step, Training

Array = NDArray[Any]
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
MAX_CHOICES = 32  # open choices whose effect is computed; with more a tensor is not judged
INTERPLAY = 2.0  # choices together may change a gradient by more than the sum of each


@dataclass(frozen=True)
class StepJudgement:
    """A tensor after a step, and the step that says what it should be."""

    step: Step
    name: str  # ``gradients``, ``state`` or the name of an array of the optimizer
    key: str
    port: Array
    dtype: str

    @cached_property
    def row(self) -> GoldenRow:
        """The verdict."""
        return self.judge(self.step)

    def judge(self, step: Step) -> GoldenRow:
        """Compare the port with what a step expects."""
        expected = step.expected(self.name, self.key)
        operation, kind = f"step {step.number}", OPTIMIZERS[step.recipe.optimizer]
        tensor = f"steps/{step.number}/{self.name}/{self.key}"
        row = GoldenRow(operation, kind, "update", tensor, np.inf, 0.0, largest(expected))
        if self.port.size != expected.size:
            return replace(row, sentence=f"its shape must be {expected.shape}, and is {self.port.shape}")
        tolerance = step.tolerance(self.name, self.key, self.dtype)
        difference = differences(self.port.reshape(expected.shape), expected)
        row = replace(row, error=largest(difference), tolerance=tolerance, pattern=pattern_of(difference, tolerance))
        return row if row.passed else replace(row, not_judged=self._open_choices(step, expected, difference, tolerance))

    def distance(self, step: Step) -> float:
        """Return how far the port is from what a step expects, without a tolerance."""
        expected = step.expected(self.name, self.key)
        return largest(differences(self.port.reshape(expected.shape), expected))

    @property
    def stage(self) -> tuple[int, int]:
        """The step, and its part: 0 forward, 1 backward, 2 the update."""
        is_update = self.name != "gradients" and (self.name != "state" or self.key in self.step.shapes)
        return self.step.number, 2 if is_update else int(self.name == "gradients")

    @property
    def of_pass(self) -> Judgement | None:
        """The same tensor as one of the step's pass, None if it is the update's."""
        step, owner, key = self.step, self.step.owners[self.key], self.key
        judgement = partial(Judgement, step.evaluation, tensor=self.row.tensor, port=self.port, dtype=self.dtype)
        if self.stage[1] == 0:
            return judgement("forward", expect=lambda e: e.expected_buffers(owner.name)[key], sources=(owner,))
        if self.stage[1] == 1:
            sources = owner, step.training.first.operations[-1]
            return judgement("backward", expect=lambda e: e.backward(owner.name).parameters[key], sources=sources)
        return None

    def _open_choices(self, step: Step, expected: Array, difference: Array, tolerance: float) -> str:
        """Return why a difference may be right all the same; nothing if it is wrong."""
        variants = list(islice(step.variants(self.name, self.dtype), MAX_CHOICES + 1))
        if not variants:
            return ""
        if len(variants) <= MAX_CHOICES:
            effects = (np.abs(variant.expected(self.name, self.key) - expected) for variant in variants)
            if (difference > tolerance + INTERPLAY * sum(effects)).any():
                return ""
        count = str(len(variants)) if len(variants) <= MAX_CHOICES else f"more than {MAX_CHOICES}"
        return f"ReLU inputs or close maxima are nearer to a kink than rounding ({count})"


def judge_steps(
    training: Training, port: Mapping[str, Array], dtype_of: Callable[[str], str]
) -> Iterator[StepJudgement]:
    """Yield the judgements of all steps in the order in which a training computes.

    :param port: the port's tensors under their names in the dump, such as ``steps/1/state/conv1.weight``.
    :param dtype_of: returns the dtype, one of ``rounding.EPS``, in which the port computed a tensor, by its full name.
    """
    step = None
    for number in range(1, len(training.rates) + 1):
        step = Step(training, port, number, before=step)
        for name, key in _tensors(step):
            tensor = f"steps/{number}/{name}/{key}"
            if (array := port.get(tensor)) is not None:
                yield StepJudgement(step, name, key, array, dtype_of(tensor))


def _tensors(step: Step) -> Iterator[tuple[str, str]]:
    """Yield what a step computes, in order: buffers, gradients, the optimizer's arrays, parameters."""
    yield from (("state", key) for key in step.owners if key not in step.shapes)
    for operation in reversed(step.training.first.operations):
        yield from (("gradients", key) for key in operation.parameters)
    names = step.arrays if step.recipe.optimizer == "sgd" else ("step", *step.arrays)
    yield from ((name, key) for name in (*names, "state") for key in step.shapes)
