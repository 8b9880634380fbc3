"""Each tensor of a port beside what the operation before it should have made of the port's own inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.evaluation import Compute, PassEvaluation
from glassnet.verify.golden.operations import LOSS, Operation
from glassnet.verify.golden.rounding import Pattern, differences, largest, pattern_of, tolerance_of
from glassnet.verify.golden.undecided import Leeway, leeway, open_choices

Array = NDArray[Any]
Direction = Literal["input", "forward", "backward", "update"]
HOPELESS = 1e4  # times the tolerance of the reference: an alternative that errs by more does not agree
LOOSER = 64.0  # times the reference's tolerance, relative to the largest number: more proves no alternative
TRIVIAL = ("Identity", "Block", "Sum", "Flatten")  # operations that are hardly ever wrong themselves


@dataclass(frozen=True)
class GoldenRow:
    """One tensor of a port, and how far it is from what it should be.

    ``error`` and ``tolerance`` are absolute, the error infinite if a number is not finite or the shape is another;
    ``scale`` is the largest number expected.
    """

    operation: str  # the operation that made the tensor; the nearest of several if the port lacks tensors in between
    kind: str
    direction: Direction
    tensor: str
    error: float
    tolerance: float
    scale: float
    pattern: Pattern | None = None  # how the error looks
    not_judged: str = ""  # why the tensor has no verdict
    sentence: str = ""  # what is wrong, where the numbers do not say it

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance, or the tensor has no verdict."""
        return bool(self.not_judged) or self.error <= self.tolerance


@dataclass(frozen=True)
class Judgement:
    """A tensor of a pass, and the function that says what it should be in an evaluation of that pass."""

    evaluation: PassEvaluation
    direction: Direction
    tensor: str
    port: Array
    dtype: str
    expect: Callable[[PassEvaluation], Array]
    sources: tuple[Operation, ...]  # operations that may be at fault, the nearest first
    leeway: Leeway | None = None  # at ties and at kinks, where several answers are right

    @cached_property
    def row(self) -> GoldenRow:
        """The verdict."""
        row = self.judge(self.evaluation)
        if row.passed or self.direction != "backward" or not np.isfinite(row.error):
            return row
        judged = self.leeway.readers if self.leeway else ()
        before = [operation for operation in self.sources if operation.name not in judged]
        return replace(row, not_judged=open_choices(self.evaluation, before, self.expect, row.error, self.dtype))

    def judge(self, evaluation: PassEvaluation) -> GoldenRow:
        """Compare the port with what an evaluation expects."""
        expected = self.expect(evaluation)
        nearest = self.sources[0]
        row = GoldenRow(nearest.name, nearest.kind, self.direction, self.tensor, np.inf, 0.0, largest(expected))
        if self.port.size != expected.size:
            return replace(row, sentence=f"its shape must be {expected.shape}, and is {self.port.shape}")
        tolerance = tolerance_of(expected, self.expect(evaluation.in_float32), self.dtype)
        difference = self._difference(expected)
        pattern = pattern_of(difference, tolerance)
        return replace(row, error=largest(difference), tolerance=tolerance, pattern=pattern)

    @property
    def expected(self) -> Array:
        """The right tensor."""
        return self.expect(self.evaluation)

    def difference(self) -> Array:
        """Return |port − expected|, 0 where two answers are right; the sizes must be the same."""
        return self._difference(self.expected)

    def _difference(self, expected: Array) -> Array:
        port = self.port.reshape(expected.shape)
        difference = differences(port, expected)
        return difference if self.leeway is None else self.leeway.beyond(port, expected, difference)

    def agrees_with(self, alternatives: Mapping[str, Compute]) -> bool:
        """Whether the port's tensor is right if some operations are computed in another way."""
        evaluation = self.evaluation.with_alternatives(alternatives)
        return self._may_agree(evaluation) and self._is_as_close(self.judge(evaluation))

    def _is_as_close(self, row: GoldenRow) -> bool:
        """Whether an alternative passes, by a tolerance that is not much looser than the reference's.

        Where it rounds numbers that the port lacks, float32 may round them otherwise, and anything would pass.
        """
        limit = LOOSER * self.row.tolerance * row.scale
        return row.passed and (not limit or row.tolerance * self.row.scale <= limit)

    def _may_agree(self, evaluation: PassEvaluation) -> bool:
        """Whether an alternative is so near that its tolerance, which takes a computation in float32, is worth it."""
        expected = self.expect(evaluation)
        if self.port.size != expected.size or not self.row.tolerance:
            return self.port.size == expected.size
        return largest(self._difference(expected)) <= HOPELESS * self.row.tolerance


@dataclass(frozen=True)
class PassTensors:
    """All that a port has of one pass, as it was read: arrays of any float dtype, by name or key."""

    prefix: str  # "eval", "train" or "steps/2"
    outputs: Mapping[str, Array]
    gradients: Mapping[str, Array]
    parameter_gradients: Mapping[str, Array]
    buffers: Mapping[str, Array]


def judge_pass(evaluation: PassEvaluation, port: PassTensors, dtype_of: Callable[[str], str]) -> Iterator[Judgement]:
    """Yield the judgements of a pass in the order in which the network computes.

    :param dtype_of: returns the dtype, one of ``rounding.EPS``, in which the port computed a tensor, by its full name.
    """
    judged = _PassJudging(evaluation, port, dtype_of)
    yield from judged.forward()
    yield from judged.backward()


class _PassJudging:
    def __init__(self, evaluation: PassEvaluation, port: PassTensors, dtype_of: Callable[[str], str]) -> None:
        self.evaluation, self.port, self.dtype_of = evaluation, port, dtype_of
        self.by_name = {operation.name: operation for operation in evaluation.operations}

    def judgement(
        self,
        direction: Direction,
        tensor: str,
        port: Array,
        expect: Callable[[PassEvaluation], Array],
        sources: tuple[str, ...],
        leeway: Leeway | None = None,
    ) -> Judgement:
        candidates = tuple(self.by_name[name] for name in sources)
        full_name = f"{self.port.prefix}/{tensor}"
        return Judgement(
            self.evaluation,
            direction,
            full_name,
            port,
            self.dtype_of(full_name),
            expect,
            tuple(sorted(candidates, key=lambda operation: operation.kind in TRIVIAL)),
            leeway,
        )

    def forward(self) -> Iterator[Judgement]:
        for operation in self.evaluation.operations:
            name = operation.name
            sources = self.evaluation.forward_sources(name)
            if name in self.port.outputs:
                tensor = name if name == LOSS else f"activations/{name}"

                def expect_output(evaluation: PassEvaluation, name: str = name) -> Array:
                    return evaluation.expected(name)

                yield self.judgement("forward", tensor, self.port.outputs[name], expect_output, sources)
            for key in operation.buffers:
                if key in self.port.buffers:

                    def expect(evaluation: PassEvaluation, name: str = name, key: str = key) -> Array:
                        return evaluation.expected_buffers(name)[key]

                    yield self.judgement("forward", f"buffers/{key}", self.port.buffers[key], expect, sources)

    def backward(self) -> Iterator[Judgement]:
        waiting = {name: len(readers) for name, readers in self.evaluation.readers.items()}
        for operation in reversed(self.evaluation.operations):
            yield from self.parameter_gradients(operation)
            for source in operation.inputs:
                waiting[source] -= 1
                if source in self.port.gradients and not waiting[source]:
                    yield self.gradient(source)

    def parameter_gradients(self, operation: Operation) -> Iterator[Judgement]:
        sources = self.evaluation.backward_sources(operation.name)
        for key in operation.parameters:
            if key in self.port.parameter_gradients:

                def expect(evaluation: PassEvaluation, key: str = key) -> Array:
                    return evaluation.backward(operation.name).parameters[key]

                port = self.port.parameter_gradients[key]
                yield self.judgement("backward", f"gradients/{key}", port, expect, sources)

    def gradient(self, name: str) -> Judgement:
        """Return the judgement of the gradient wrt a tensor, which the operations that read it hand back."""
        readers = [reader.name for reader in self.evaluation.readers[name]]
        sources = dict.fromkeys(source for reader in readers for source in self.evaluation.backward_sources(reader))
        port = self.port.gradients[name]
        tensor = f"activation_gradients/{name}"
        return self.judgement(
            "backward",
            tensor,
            port,
            lambda evaluation: evaluation.expected_gradient(name),
            tuple(sources),
            leeway(self.evaluation, name, self.dtype_of(f"{self.port.prefix}/{tensor}")),
        )
