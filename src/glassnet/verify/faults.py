"""The operation that is wrong, where two engines differ.

A wrong number spreads through all that follows. So each layer of each engine is judged by itself: its output on the
input that it read, and what it hands back for the gradient that it received, beside torch's own functions. The first
that is wrong in the order of the computation is the fault, and not the tensor in which it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import make_rng
from glassnet.verify.golden.cases import FLOOR, TOLERANCES, GoldenCase, max_abs
from glassnet.verify.golden.operations import LOSS, Operation, consumers, operations
from glassnet.verify.recorded_pass import LayerRecord, RecordedPass, record_pass

Array = NDArray[Any]


@dataclass(frozen=True)
class Fault:
    """A wrong operation."""

    operation: str  # its name in the network, or what a step does: ``weight decay``
    kind: str  # its class in ``glassnet.nn``, or ""
    direction: str  # "forward", "backward", or "step"
    detail: str  # what it got wrong
    engine: str = ""  # "NumPy", "PyTorch" or "both engines"

    def __str__(self) -> str:
        kind = f" ({self.kind})" if self.kind else ""
        return f"{self.operation}{kind}{f' in {self.engine}' if self.engine else ''}: {self.detail}"


def find_fault(case: GoldenCase, networks: Mapping[str, Any]) -> Fault | None:
    """Return the first wrong operation of a pass in evaluation mode, then of one in training mode.

    :param networks: one of each engine by its name in texts.
    """
    for training in (False, True):
        judged = [
            (name, _PassJudge(case, record_pass(network, case, training=training)))
            for name, network in networks.items()
        ]
        for direction in ("forward", "backward") if training else ("forward",):
            for name, judge in judged:
                fault = next(judge.forward() if direction == "forward" else judge.backward(), None)
                if fault is not None:
                    return replace(fault, engine=name)
    return None


class _PassJudge:
    """Judge of the layers of one recorded pass."""

    def __init__(self, case: GoldenCase, recorded: RecordedPass) -> None:
        self.case, self.recorded, self.training = case, recorded, recorded.training
        self.operations = [operation for operation in operations(case.spec) if operation.name != LOSS]
        self.by_name = {operation.name: operation for operation in self.operations}
        self.readers = consumers(tuple(self.operations))
        self.state = {k: a.astype(case.dtype) if a.dtype.kind == "f" else a for k, a in case.state().items()}
        self.images, self.labels = case.batch()
        gradients = [g for r in recorded.layers.values() if (g := r.dy) is not None and g.size]
        self.floor = FLOOR * max((max_abs(gradient) for gradient in gradients), default=0.0)

    # Forward.

    def forward(self) -> Iterator[Fault]:
        """Yield the faults of the forward pass."""
        for operation in self.operations:
            yield from self._sum(operation) if operation.kind in ("Sum", "Block") else self._layer(operation)
        if self.training and not self.recorded.error and (fault := self._loss()):
            yield fault

    def _sum(self, operation: Operation) -> Iterator[Fault]:
        terms = [self.output(source) for source in operation.inputs]
        output = self.output(operation.name)
        if output is None or any(term is None for term in terms):
            return  # a layer was never called, which is said of it
        if self._differs(output, sum(terms)):  # type: ignore[arg-type]
            yield self._of_block(operation, "forward", "the output is not the sum of shortcut and body")

    def _layer(self, operation: Operation) -> Iterator[Fault]:
        record = self.recorded.layers.get(operation.name)
        if record is None or record.x is None or record.y is None:
            yield self._uncalled(operation, "forward")
            return
        source = self.output(operation.inputs[0])
        if source is not None and self._differs(record.x, source):
            yield self._of_block(operation, "forward", f"{operation.name} does not read {operation.inputs[0]}")
        expected = self._expect(operation, record)
        if self._differs(record.y, expected.output):
            yield self._fault(operation, "forward", "forward returns a wrong output")
        for key in operation.buffers:
            if self._differs(self.recorded.buffers.get(key), expected.buffers[key]):
                yield self._fault(operation, "forward", f"forward leaves a wrong {key.rpartition('.')[2]}")

    def _expect(self, operation: Operation, record: LayerRecord, dy: Array | None = None) -> Any:
        from glassnet.verify.torch_operations import expect

        assert record.x is not None
        mask = None
        if operation.kind == "Dropout":
            p = operation.attributes["p"]
            mask = (make_rng(self.case.seed, "dropout").random(record.x.shape) >= p) / (1 - p)
        return expect(operation, record.x, self.state, training=self.training, mask=mask, dy=dy)

    def _loss(self) -> Fault | None:
        expected, _ = self._expected_loss()
        if self.recorded.loss is None or self._differs(np.array(self.recorded.loss), expected):
            return Fault(LOSS, "CrossEntropyLoss", "forward", "forward returns a wrong loss")
        return None

    def _expected_loss(self) -> tuple[Array, Array]:
        import torch

        from glassnet.verify.definition.training import class_weights

        logits = self.output(self.operations[-1].name)
        assert logits is not None
        z, targets = torch.from_numpy(logits.astype(np.float64)).requires_grad_(), torch.from_numpy(self.labels)
        weights = class_weights(self.case.recipe, targets, self.case.spec.classes)
        smoothing = self.case.recipe.label_smoothing
        loss = torch.nn.functional.cross_entropy(z, targets, weights, label_smoothing=smoothing)
        return loss.detach().numpy(), torch.autograd.grad(loss, z)[0].numpy()

    # Backward.

    def backward(self) -> Iterator[Fault]:
        """Yield the faults of the backward pass, from the loss to the images."""
        for operation in reversed(self.operations):
            dy = self.gradient(operation.name)
            if dy is None:
                yield self._uncalled(operation, "backward")
                continue
            yield from self._received(operation, dy)
            if operation.kind not in ("Sum", "Block"):
                yield from self._handed_back(operation, dy)

    def _received(self, operation: Operation, dy: Array) -> Iterator[Fault]:
        """Yield a fault if a layer does not receive the sum of what its readers hand back."""
        if operation is self.operations[-1]:
            if self._differs(dy, self._expected_loss()[1], self.floor):
                yield Fault(LOSS, "CrossEntropyLoss", "backward", "backward returns a wrong dlogits")
            return
        parts = [self._from(reader) for reader in self.readers[operation.name]]
        if any(part is None for part in parts):
            return
        if self._differs(dy, sum(parts), self.floor):  # type: ignore[arg-type]
            reader = self.readers[operation.name][0]  # what is around the readers adds up what they hand back
            yield self._of_block(reader, "backward", f"{operation.name} does not receive all of its gradient")

    def _from(self, reader: Operation) -> Array | None:
        """Return what an operation hands back: a sum and a block what they receive."""
        if reader.kind in ("Sum", "Block"):
            return self.gradient(reader.name)
        record = self.recorded.layers.get(reader.name)
        return None if record is None else record.dx

    def _handed_back(self, operation: Operation, dy: Array) -> Iterator[Fault]:
        record = self.recorded.layers[operation.name]
        expected = self._expect(operation, record, dy)
        if record.dx is not None and self._differs(record.dx, expected.input_gradient, self.floor):
            yield self._fault(operation, "backward", "backward returns a wrong dx")
        for key, gradient in expected.gradients.items():
            if self._differs(self.recorded.gradients.get(key), gradient, self.floor):
                yield self._fault(
                    operation, "backward", f"backward leaves a wrong gradient of {key.rpartition('.')[2]}"
                )

    # Tensors.

    def output(self, name: str) -> Array | None:
        """Return an operation's output as the operation after it reads it."""
        if name not in self.by_name:
            return self.images
        if self.by_name[name].kind == "Sum" and name.endswith(".sum"):
            return self.recorded.layers[f"{name.removesuffix('sum')}relu"].x
        record = self.recorded.layers.get(name)
        return None if record is None else record.y

    def gradient(self, name: str) -> Array | None:
        """Return the gradient that an operation receives."""
        if self.by_name[name].kind == "Sum" and name.endswith(".sum"):
            return self.recorded.layers[f"{name.removesuffix('sum')}relu"].dx
        record = self.recorded.layers.get(name)
        return None if record is None else record.dy

    def _differs(self, received: Array | None, expected: Array, floor: float = 0.0) -> bool:
        if received is None or received.shape != expected.shape:
            return True
        difference = max_abs(np.asarray(received, np.float64) - expected) if received.size else 0.0
        return not difference <= TOLERANCES[self.case.dtype] * max(max_abs(expected), floor)

    def _uncalled(self, operation: Operation, direction: str) -> Fault:
        """Return the fault of a layer that raised an error, or else of the block that never called it."""
        if self.recorded.error:
            return self._fault(operation, direction, f"{direction} raises {self.recorded.error}")
        return self._of_block(operation, direction, f"{direction} of {operation.name} is never called")

    def _fault(self, operation: Operation, direction: str, detail: str) -> Fault:
        return Fault(operation.name, operation.kind, direction, detail)

    def _of_block(self, operation: Operation, direction: str, detail: str) -> Fault:
        """Return the fault of what connects layers: the block around an operation, or the network."""
        name = operation.name
        while name and not (name in self.by_name and self.by_name[name].kind in ("Block", "Sum")):
            name = name.rpartition(".")[0]
        block = name.removesuffix(".sum")
        return Fault(block or "the network", "Residual" if block else "Sequential", direction, detail)


def fault_of_row(row: Any, rows: Any, case: GoldenCase) -> Fault:
    """Return the fault where every layer computes what it should: in how they are connected, or in the steps.

    :param row: the first difference of a parity check, ``rows`` all.
    """
    engine = row.wrong_in or ""
    prefix, _, key = row.tensor.rpartition("/")
    if prefix == "initial":
        return Fault("initial weights", "", "step", f"{key} is not as the definition draws it", engine)
    if row.tensor == "steps/learning_rates":
        return Fault("schedule", "", "step", "the learning rates are not those of the definition", engine)
    if prefix.startswith("steps"):
        return replace(_fault_of_steps(row.tensor, rows, case), engine=engine)
    kinds = {operation.name: operation.kind for operation in operations(case.spec)}
    name = key if key in kinds else key.rpartition(".")[0]
    return Fault(name, kinds.get(name, ""), "forward", f"{row.tensor} is not that of the definition", engine)


def _fault_of_steps(first: str, rows: Any, case: GoldenCase) -> Fault:
    """Return what a step does wrongly, told from the tensors that differ."""
    recipe = case.recipe
    wrong = {row.tensor for row in rows if not row.passed}
    if first.startswith(("steps/1/loss", "steps/1/gradients")):
        if recipe.shards is not None and recipe.shards > 1:
            name = "parts of the batch" if first == "steps/1/loss" or recipe.clip_grad_norm is None else "clipping"
        else:
            name = LOSS if first == "steps/1/loss" or recipe.clip_grad_norm is None else "clipping"
        return Fault(name, "", "step", f"{first} is wrong")
    state = {name.removeprefix("steps/1/state/") for name in wrong if name.startswith("steps/1/state/")}
    if not state:
        name = "moving average" if first.startswith("steps/average") else recipe.optimizer
        return Fault(name, "", "step", f"{first} is wrong")
    if all(key.rpartition(".")[2].startswith(("running", "num_batches")) for key in state):
        name = "parts of the batch" if recipe.shards else "running statistics"
        return Fault(name, "", "step", f"{first} is wrong")
    trained = {key: array for key, array in case.state().items() if key.endswith(("weight", "bias"))}
    is_decayed = [recipe.decays(trained[key].ndim) for key in state if key in trained]
    if len(set(is_decayed)) == 1 and len(is_decayed) < len(trained) and recipe.weight_decay:
        return Fault("weight decay", "", "step", f"it is wrong in {len(is_decayed)} of {len(trained)} parameters")
    if recipe.body_lr != 1 and not any(key.startswith("fc.") for key in state):
        return Fault("body_lr", "", "step", "the layers before the head learn at a wrong rate")
    return Fault(recipe.optimizer, "", "step", "the update is wrong")
