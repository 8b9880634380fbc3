"""A pass through a network in which every operation is computed on the port's own numbers.

Where the port has a tensor, the operations that read it read the port's; where it has none, the reference computes the
tensor from the nearest ones that it has. So errors do not spread: each tensor is compared with what the operation
before it should have made of the port's own inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Normalization
from glassnet.verify.golden.operations import IMAGES, LOSS, Operation, consumers
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]
Compute = Callable[[Site], Computed]
KINKED = ("ReLU", "MaxPool2d")  # operations whose gradients jump where their inputs cross


@dataclass(frozen=True)
class PassInputs:
    """The start of a pass: the batch, the weights, the masks, and the settings of the loss."""

    images: Array
    labels: Array
    state: Mapping[str, Array]  # parameters and buffers by key
    training: bool = True
    masks: Mapping[str, Array] = field(default_factory=dict)  # of dropout layers, by name
    label_smoothing: float = 0.0
    class_weights: Array | None = None
    added: Mapping[str, Array] = field(default_factory=dict)  # inputs beside the images, of a single operation
    output_gradients: Mapping[str, Array] = field(default_factory=dict)  # of outputs that no loss follows
    normalization: Normalization | None = None  # that made the images of pixels


@dataclass(frozen=True)
class PortTensors:
    """The tensors of a pass that the port has, by the names of operations."""

    outputs: Mapping[str, Array] = field(default_factory=dict)
    gradients: Mapping[str, Array] = field(default_factory=dict)  # of the loss wrt outputs
    buffers: Mapping[str, Array] = field(default_factory=dict)  # BatchNorm's after the pass, by key


class PassEvaluation:
    """The right results of every operation of a pass on the port's own numbers, forward and backward.

    :param operations: in forward order, the loss last.
    :param dtype: the dtype of the computation; float32 beside float64 shows how much rounding there is.
    :param alternatives: functions that compute some operations, by name, in place of the reference.
    :param deciding: the evaluation whose numbers decide at kinks and ties; this one by default.
    """

    def __init__(
        self,
        operations: tuple[Operation, ...],
        given: PassInputs,
        port: PortTensors,
        dtype: str = "float64",
        alternatives: Mapping[str, Compute] | None = None,
        deciding: PassEvaluation | None = None,
    ) -> None:
        self.operations, self.given, self.port, self.dtype = operations, given, port, np.dtype(dtype)
        self.alternatives = alternatives or {}
        self.deciding = deciding or self
        self._inputs = {IMAGES: given.images, **given.added}
        self._by_name = {operation.name: operation for operation in operations}
        self._positions = {operation.name: position for position, operation in enumerate(operations)}
        self._computed: dict[str, Computed] = {}
        self._outputs: dict[str, Array] = {}  # those of operations that another evaluation has computed
        self._backward: dict[str, Gradients] = {}
        self.otherwise: dict[str, PassEvaluation] = {}  # with other choices at kinks, by the dtype that opens them

    def with_alternatives(self, alternatives: Mapping[str, Compute]) -> PassEvaluation:
        """Return the same pass with other functions for some operations; what they do not change is taken over."""
        other = PassEvaluation(self.operations, self.given, self.port, self.dtype.name, alternatives)
        changed = {*self.alternatives, *alternatives}
        for operation in self.operations:
            if not changed.isdisjoint(self._before(operation)):
                changed.add(operation.name)
        other._outputs = {name: made.output for name, made in self._computed.items() if name not in changed}
        for operation in reversed(self.operations):
            if not changed.isdisjoint(self._after(operation)):
                changed.add(operation.name)
        other._backward = {name: gradients for name, gradients in self._backward.items() if name not in changed}
        return other

    @cached_property
    def in_float32(self) -> PassEvaluation:
        """The same pass, computed in float32."""
        return PassEvaluation(self.operations, self.given, self.port, "float32", self.alternatives, self)

    @cached_property
    def readers(self) -> dict[str, list[Operation]]:
        """The operations that read each tensor."""
        return consumers(self.operations)

    # Forward.

    def expected(self, name: str) -> Array:
        """Return what the operation should output for the inputs that the port has."""
        return self._outputs[name] if name in self._outputs else self._forward(name).output

    def expected_buffers(self, name: str) -> Mapping[str, Array]:
        """Return BatchNorm's buffers after the pass, by key."""
        return self._forward(name).buffers

    def value(self, name: str) -> Array:
        """Return a tensor: the port's own, or the reference's where the port has none."""
        if name in self._inputs:
            return self._cast(self._inputs[name])
        if name in self.port.outputs:
            return self._cast(self.port.outputs[name])
        return self.expected(name)

    def site(self, name: str) -> Site:
        """Return the operation with all that it reads."""
        operation, given = self._by_name[name], self.given
        keys = (*operation.parameters, *operation.buffers)
        return Site(
            operation,
            tuple(self.value(source) for source in operation.inputs),
            {key: self._cast(given.state[key]) for key in keys if key in given.state},
            given.training,
            self._cast(given.masks[name]) if name in given.masks else None,
            given.labels,
            given.label_smoothing,
            given.class_weights,
            self._cast(self.port.outputs[name]) if name in self.port.outputs else None,
            {key: self._cast(self.port.buffers[key]) for key in operation.buffers if key in self.port.buffers},
            lambda: self._earlier(name),
            given.normalization,
        )

    def _earlier(self, name: str) -> dict[str, Array]:
        """Return the tensors that the port has computed before the output of an operation, in forward order."""
        before = takewhile(lambda operation: operation.name != name, self.operations)
        names = [operation.name for operation in before if operation.name in self.port.outputs]
        return {source: self.value(source) for source in (IMAGES, *names)}

    def _forward(self, name: str) -> Computed:
        if name not in self._computed:
            known = self._computed.keys() | self._outputs.keys()
            for needed in reversed(
                self._reachable(name, self._before, known)
            ):  # in order, so that each finds its inputs
                self._computed[needed] = self.alternatives.get(needed, compute)(self.site(needed))
        return self._computed[name]

    # Backward.

    def expected_gradient(self, name: str) -> Array:
        """Return the gradient wrt a tensor, from those wrt the outputs of the operations that read it."""
        handed_back = (
            gradient
            for reader in self.readers[name]
            for source, gradient in zip(reader.inputs, self.backward(reader.name).inputs, strict=True)
            if source == name
        )
        return cast(Array, sum(handed_back))

    def gradient(self, name: str) -> Array:
        """Return the gradient wrt a tensor: the port's own, or the reference's where the port has none."""
        if name == LOSS:
            return np.ones((), self.dtype)
        if name in self.given.output_gradients:
            return self._cast(self.given.output_gradients[name])
        if name in self.port.gradients:
            return self._cast(self.port.gradients[name])
        return self.expected_gradient(name)

    def backward(self, name: str) -> Gradients:
        """Return what an operation should hand back for the gradient that the port has at its output."""
        if name not in self._backward:
            for needed in self._reachable(name, self._after, self._backward):
                right = self._chosen(needed).backward(self.gradient(needed))
                self._backward[needed] = Gradients(tuple(map(self._cast, right.inputs)), right.parameters)
        return self._backward[name]

    def _chosen(self, name: str) -> Computed:
        """Return the forward pass that an operation's backward pass follows.

        Which inputs of a ReLU are above 0, and which pixels are the maxima, is decided in float64 for all dtypes, and
        where the port has a ReLU's output but not its input, by that output.
        """
        operation = self._by_name[name]
        if operation.kind not in KINKED:
            return self._forward(name)
        site = self.deciding.site(name)
        if operation.kind == "ReLU" and site.port is not None and operation.inputs[0] not in self.port.outputs:
            site = site.with_inputs(site.port)
        return self.alternatives.get(name, compute)(site)

    # Where numbers come from.

    def forward_sources(self, name: str) -> tuple[str, ...]:
        """Return the operations from the nearest tensors that the port has to an output, the last one first."""
        return self._reachable(name, self._before)

    def backward_sources(self, name: str) -> tuple[str, ...]:
        """Return the operations whose backward passes lie between the nearest gradients of the port and an operation's.

        The first is the operation itself, the last that nearest to the loss.
        """
        return self._reachable(name, self._after)[::-1]

    def _before(self, operation: Operation) -> list[str]:
        """Return the operations whose outputs an operation reads and the port lacks."""
        return [name for name in operation.inputs if name not in self._inputs and name not in self.port.outputs]

    def _after(self, operation: Operation) -> list[str]:
        """Return the operations that hand back the gradient of an operation's output, if the port lacks it."""
        if operation.name in self.port.gradients:
            return []
        return [reader.name for reader in self.readers.get(operation.name, [])]

    def _reachable(
        self, name: str, neighbours: Callable[[Operation], list[str]], known: Container[str] = ()
    ) -> tuple[str, ...]:
        """Return the operations that are reached from one, from the last to the first in forward order.

        :param known: operations that are not entered.
        """
        found, waiting = {name}, [name]
        while waiting:
            for neighbour in neighbours(self._by_name[waiting.pop()]):
                if neighbour not in found and neighbour not in known:
                    found.add(neighbour)
                    waiting.append(neighbour)
        return tuple(sorted(found, key=self._positions.__getitem__, reverse=True))

    def _cast(self, array: Array) -> Array:
        return array.astype(self.dtype, copy=False) if array.dtype.kind == "f" else array
