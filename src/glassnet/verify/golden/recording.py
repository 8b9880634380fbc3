"""The tensors of a golden case, computed by the reference in one dtype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from numpy.typing import NDArray

from glassnet.compute import Compute
from glassnet.engines.numpy_engine import NumpyNetwork, NumpyTrainer
from glassnet.training.schedule import learning_rates
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.evaluation import PassEvaluation, PassInputs, PortTensors
from glassnet.verify.golden.listing import mask_name
from glassnet.verify.golden.operations import LOSS, operations

Array = NDArray[Any]


def inputs_of(case: GoldenCase) -> dict[str, Array]:
    """Draw the inputs of a case, in its dtype, by their names in a bundle."""
    images, labels = case.batch()
    inputs = {"inputs/pixels": case.pixels(), "inputs/images": images, "inputs/labels": labels}
    if (weights := case.class_weights()) is not None:
        inputs["inputs/class_weights"] = weights.astype(case.dtype)
    for key, array in case.state().items():
        inputs[f"inputs/state/{key}"] = array.astype(case.dtype) if array.dtype.kind == "f" else array
    for operation in operations(case.spec):
        if operation.kind == "Dropout":
            shape = (case.batch_size, *operation.output_shape)
            for step in range(1, max(case.steps, 1) + 1):
                inputs[mask_name(operation.name, step)] = case.mask(step, operation.attributes["p"], shape)
    return inputs


class CaseRun:
    """A case on its way: passes and steps, computed in ``dtype`` one after the other.

    It keeps one pass and the arrays after one step, so tensors must be asked for in the order of ``listed_tensors``.

    :param inputs: those of ``inputs_of``.
    """

    def __init__(self, case: GoldenCase, inputs: Mapping[str, Array], dtype: str) -> None:
        self.case, self.inputs, self.dtype = case, inputs, dtype
        self.operations = operations(case.spec)
        self._pass: tuple[int, PassEvaluation] | None = None
        prefix = "inputs/state/"
        state = {name.removeprefix(prefix): array for name, array in inputs.items() if name.startswith(prefix)}
        self._step, self._arrays = 0, {f"state/{key}": array for key, array in state.items()}
        self._rates = learning_rates(case.recipe, case.steps)
        self._network = NumpyNetwork(case.spec, Compute(dtype=dtype, threads=1))  # type: ignore[arg-type]
        self._network.load_state_dict(state)
        self._trainer = cast(NumpyTrainer, self._network.trainer(case.recipe, labels=inputs["inputs/labels"]))

    def optimizer_settings(self) -> dict[str, Any]:
        """Return the optimizer's own settings, which it has for all parameters: Adam's betas and eps."""
        group = self._trainer.optimizer.param_groups[0]
        return {name: value for name, value in group.items() if name not in ("params", "lr", "weight_decay")}

    def update_settings(self) -> dict[str, dict[str, float]]:
        """Return weight decay and the factor of the learning rate of each parameter, by key."""
        keys = {parameter: key for key, parameter in self._trainer.parameters.items()}
        groups = zip(self._trainer.optimizer.param_groups, self._trainer.lr_factors, strict=True)
        return {
            keys[parameter]: {"weight_decay": group["weight_decay"], "lr_factor": factor}
            for group, factor in groups
            for parameter in group["params"]
        }

    def tensor(self, name: str) -> Array:
        """Return a tensor by its name in a bundle."""
        if name in self.inputs:
            return self.inputs[name]
        of, *rest = name.split("/")
        number = {"eval": 0, "train": 1}[of] if of != "steps" else int(rest.pop(0))
        if of == "steps" and rest[0] not in (LOSS, "gradients"):
            return self._after(number)["/".join(rest)]
        evaluation, kind, key = self.evaluation(number), rest[0], rest[-1]
        owner = key.rpartition(".")[0]
        if kind == "gradients":
            return evaluation.backward(owner).parameters[key]
        if kind == "buffers":
            return evaluation.expected_buffers(owner)[key]
        return evaluation.gradient(key) if kind == "activation_gradients" else evaluation.value(key)

    def evaluation(self, number: int) -> PassEvaluation:
        """Return a pass: 0 in evaluation mode, k = 1, 2, ... that of step k, in training mode."""
        if self._pass is None or self._pass[0] != number:
            inputs = self._pass_inputs(number)
            self._pass = number, PassEvaluation(self.operations, inputs, PortTensors(), self.dtype)
        return self._pass[1]

    def _pass_inputs(self, number: int) -> PassInputs:
        arrays, prefix = self._after(number - 1) if number else self._arrays, "state/"
        state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        images, labels = self.inputs["inputs/images"], self.inputs["inputs/labels"]
        if not number:
            return PassInputs(images, labels, state, training=False)
        dropouts = [operation.name for operation in self.operations if operation.kind == "Dropout"]
        masks = {name: self.inputs[mask_name(name, number)] for name in dropouts}
        weights = self.inputs.get("inputs/class_weights")
        return PassInputs(images, labels, state, True, masks, self.case.recipe.label_smoothing, weights)

    def _after(self, step: int) -> Mapping[str, Array]:
        """Return the arrays after a step, the present or the next one: ``state/KEY``, ``momentum_buffer/KEY``, ..."""
        if step > self._step:
            self._take_step(self._step + 1)
        assert step == self._step, "steps must be asked for one after the other"
        return self._arrays

    def _take_step(self, step: int) -> None:
        """Update the weights as a trainer of the NumPy engine does, from the gradients of the pass."""
        evaluation = self.evaluation(step)
        state = self._network.state_dict()
        for operation in self.operations:
            if operation.buffers:
                state |= evaluation.expected_buffers(operation.name)
        self._network.load_state_dict(state)
        for key, parameter in self._trainer.parameters.items():
            parameter.grad[...] = evaluation.backward(key.rpartition(".")[0]).parameters[key]
        self._trainer.update(float(self._rates[step - 1]))
        self._arrays = {f"state/{key}": array for key, array in self._network.state_dict().items()}
        for path, array in self._trainer.state().items():
            key, _, name = path.rpartition("/")
            self._arrays[f"{name}/{key}"] = array
        self._step = step
