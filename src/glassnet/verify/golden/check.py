"""The checker: what is wrong with a port, where first, and why."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from numpy.typing import NDArray

from glassnet.verify.golden.evaluation import PassEvaluation, PassInputs, PortTensors
from glassnet.verify.golden.judging import PassTensors
from glassnet.verify.golden.operations import IMAGES, LOSS, Operation

Array = NDArray[Any]


def evaluate_pass(listed: tuple[Operation, ...], given: PassInputs, port: PassTensors) -> PassEvaluation:
    """Return the evaluation of a pass on those of the port's tensors that have their operation's size."""
    shapes = {operation.name: (len(given.images), *operation.output_shape) for operation in listed}
    shapes |= {name: array.shape for name, array in {IMAGES: given.images, **given.added}.items()} | {LOSS: ()}
    shapes |= {key: shape for operation in listed for key, shape in operation.buffers.items()}

    def fitting(tensors: Mapping[str, Array]) -> dict[str, Array]:
        return {key: array.reshape(shapes[key]) for key, array in tensors.items() if array.size == prod(shapes[key])}

    return PassEvaluation(listed, given, PortTensors(*map(fitting, (port.outputs, port.gradients, port.buffers))))
