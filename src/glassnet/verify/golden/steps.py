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
from glassnet.verify.golden.operations import LOSS
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
    name: str  # as in ``Step.expected``
    key: str
    port: Array
    dtype: str

    @property
    def tensor(self) -> str:
        """The tensor's name in the dump."""
        return tensor_name(self.step, self.name, self.key)

    @property
    def expected(self) -> Array:
        """The tensor that the reference computes."""
        return self.step.expected(self.name, self.key)

    @property
    def sentence(self) -> str:
        """The fault in words, without the numbers."""
        number, optimizer = self.step.number, OPTIMIZERS[self.step.recipe.optimizer]
        if self.stage[1] < 2:
            layer, _, last = self.key.rpartition(".")
            what = {LOSS: LOSS, "gradients": f"gradient of {self.key}"}.get(self.name, f"{last} of {layer}")
            return f"The pass of step {number} returned a wrong {what}"
        return f"{optimizer} returned a wrong " + (
            f"{self.key} in step {number}" if self.name == "state" else f"{self.name} of {self.key} in step {number}"
        )

    @cached_property
    def row(self) -> GoldenRow:
        """The verdict."""
        return self.judge(self.step)

    def judge(self, step: Step) -> GoldenRow:
        """Compare the port with what a step expects."""
        expected = step.expected(self.name, self.key)
        operation, kind = f"step {step.number}", OPTIMIZERS[step.recipe.optimizer]
        row = GoldenRow(operation, kind, "update", self.tensor, np.inf, 0.0, largest(expected))
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
        is_forward = self.name == LOSS or (self.name == "state" and self.key not in self.step.shapes)
        return self.step.number, 0 if is_forward else 1 if self.name == "gradients" else 2

    @property
    def of_pass(self) -> Judgement | None:
        """The same tensor as one of the step's pass, None if it is the update's."""
        operations, key = self.step.training.first.operations, self.key
        judgement = partial(Judgement, self.step.evaluation, tensor=self.tensor, port=self.port, dtype=self.dtype)
        if self.name == LOSS:
            return judgement("forward", expect=lambda e: e.expected(LOSS), sources=operations[-1:])
        owner = self.step.owners[key]
        if self.name == "gradients":
            sources = owner, operations[-1]
            return judgement("backward", expect=lambda e: e.backward(owner.name).parameters[key], sources=sources)
        if self.stage[1] == 0:
            return judgement("forward", expect=lambda e: e.expected_buffers(owner.name)[key], sources=(owner,))
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
            tensor = tensor_name(step, name, key)
            if (array := port.get(tensor)) is not None:
                yield StepJudgement(step, name, key, array, dtype_of(tensor))


def tensor_name(step: Step, name: str, key: str) -> str:
    """Return the name of a tensor in the dump."""
    return "/".join(part for part in ("steps", str(step.number), name, key) if part)


def _tensors(step: Step) -> Iterator[tuple[str, str]]:
    """Yield what a step computes, in order: loss, buffers, gradients, the optimizer's arrays, parameters, averages."""
    yield LOSS, ""
    yield from (("state", key) for key in step.owners if key not in step.shapes)
    for operation in reversed(step.training.first.operations):
        yield from (("gradients", key) for key in operation.parameters)
    names = step.arrays if step.recipe.optimizer == "sgd" else ("step", *step.arrays)
    yield from ((name, key) for name in (*names, "state") for key in step.shapes)
    if step.recipe.ema:
        yield from (("average", key) for key in step.owners if step.given.state[key].dtype.kind == "f")
