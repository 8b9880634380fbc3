"""One operation of a port, right or wrong, and what the checker says of it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from glassnet.verify.golden.causes.search import find_cause
from glassnet.verify.golden.check import evaluate_pass
from glassnet.verify.golden.evaluation import PassInputs
from glassnet.verify.golden.judging import PassTensors, judge_pass
from glassnet.verify.golden.operations import IMAGES, Operation

Array = NDArray[Any]
HEALTHY = "healthy"


def diagnose(listed: tuple[Operation, ...], given: PassInputs, port: PassTensors, dtype: str) -> str:
    """Return the cause of the first fault with its operation, as in ``flipped kernel at conv``, or "healthy"."""
    judgements = list(judge_pass(evaluate_pass(listed, given, port), port, lambda name: dtype))
    assert judgements
    for fault in judgements:
        if not fault.row.passed:
            cause = find_cause(fault, judgements)
            return f"{cause.key} at {cause.operation.name}"
    return HEALTHY


def diagnose_layer(
    kind: str,
    attributes: Mapping[str, Any],
    x: Array,
    state: Mapping[str, Array],
    dy: Array,
    port: Mapping[str, Array],
    *,
    normalization: Any = None,
) -> str:
    """Return the cause of the fault of a layer named ``layer``, which reads the images, or "healthy".

    :param x: what it reads, (N, ...), ``dy`` the gradient of what it should return, ``state`` its parameters.
    :param port: any of ``y``, ``dx`` and the gradients of the parameters by their names, all of one dtype.
    """
    parameters = {f"layer.{name}": array.shape for name, array in state.items()}
    operation = Operation("layer", kind, (IMAGES,), dy.shape[1:], attributes, parameters)
    given = PassInputs(
        x,
        np.zeros(len(x), np.int64),
        {f"layer.{name}": array for name, array in state.items()},
        output_gradients={"layer": dy},
        normalization=normalization,
    )
    tensors = PassTensors(
        "train",
        {"layer": port["y"]} if "y" in port else {},
        {IMAGES: port["dx"]} if "dx" in port else {},
        {f"layer.{name}": port[name] for name in state if name in port},
        {},
    )
    dtype = next(iter(port.values())).dtype.name
    return diagnose((operation,), given, tensors, dtype)


def port_of(forward: Callable[..., torch.Tensor], x: Array, dy: Array, dtype: str, **state: Array) -> dict[str, Array]:
    """Return ``y``, ``dx`` and the gradients of the parameters, computed by torch in ``dtype``."""
    arrays = (np.ascontiguousarray(array.astype(dtype)) for array in (x, *state.values()))
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = forward(*leaves)
    results = {"y": y.detach().numpy()}
    if y.shape == dy.shape:
        y.backward(torch.tensor(np.ascontiguousarray(dy.astype(dtype))))
        gradients = zip(("dx", *state), (leaf.grad for leaf in leaves), strict=True)
        results |= {name: gradient.numpy() for name, gradient in gradients if gradient is not None}
    return results
