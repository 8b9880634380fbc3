"""Causes in the arithmetic: numbers of 16 bits, TensorFloat-32, float32 where float64 is asked for.

Where operands alone are rounded, the reference does the same and agrees to the last digits. Rounded results depend on
the order of the sums: then every number fits the smaller type, and is as near as its rounding allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.causes.alternative import (
    Alternative,
    AnyAlternative,
    InapplicableError,
    TensorAlternative,
    only_backward,
)
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute
from glassnet.verify.golden.rounding import EPS

Array = NDArray[Any]

MIN_NUMBERS = 8  # a few numbers fit a smaller type by chance


def _to_float(array: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(dtype).astype(array.dtype)


def _to_bits(array: Array, bits: int, *, truncates: bool = False) -> Array:
    """Round to float32 with fewer bits of mantissa: to the nearest, ties to even, or towards zero."""
    dropped = 23 - bits
    words = np.ascontiguousarray(array, np.float32).view(np.uint32)
    if not truncates:
        words = words + np.uint32((1 << (dropped - 1)) - 1) + ((words >> np.uint32(dropped)) & np.uint32(1))
    rounded = (words >> np.uint32(dropped)) << np.uint32(dropped)
    return np.where(np.isfinite(array), rounded.view(np.float32), array).astype(array.dtype)


Rounding = Callable[[Array], Array]
FLOAT32: Rounding = partial(_to_float, dtype="float32")
FLOAT16: Rounding = partial(_to_float, dtype="float16")
BFLOAT16: Rounding = partial(_to_bits, bits=7)
TF32: tuple[Rounding, ...] = (partial(_to_bits, bits=10), partial(_to_bits, bits=10, truncates=True))


def _rounds_operands(site: Site, rounding: Rounding) -> Computed:
    """Round the inputs, the weight and the gradient of the output; the sums, and the bias, are exact."""
    w = site.parameter("weight")
    assert w is not None
    rounded = compute(site.with_inputs(rounding(site.x)).with_state(weight=rounding(w)))

    def backward(dy: Array) -> Gradients:
        gradients = rounded.backward(rounding(dy))
        biases = {key: _sum(dy, db) for key, db in gradients.parameters.items() if key.endswith(".bias")}
        return replace(gradients, parameters={**gradients.parameters, **biases})

    return replace(rounded, backward=backward)


def _sum(dy: Array, db: Array) -> Array:
    """Return the gradient of a bias (O,): the sum of dy (N, O, ...) over all other axes."""
    total: Array = dy.reshape(len(dy), len(db), -1).sum(axis=(0, 2))
    return total


def _rounds_parameters(site: Site, rounding: Rounding) -> Computed:
    state = {key: rounding(array) if array.dtype.kind == "f" else array for key, array in site.state.items()}
    return compute(replace(site, state=state))


def _is_rounded(judgement: Judgement, operation: Operation, rounding: Rounding, dtype: str) -> bool:
    """Whether all numbers fit a smaller type, which those expected do not, and are as near as its rounding allows."""
    port, expected = judgement.port.astype(np.float64), judgement.expect(judgement.evaluation)
    if EPS[judgement.dtype] >= EPS[dtype] or np.count_nonzero(port) < MIN_NUMBERS:
        raise InapplicableError
    if not _fits(port, rounding) or _fits(expected, rounding):
        return False
    return replace(judgement, dtype=dtype).row.passed


def _fits(array: Array, rounding: Rounding) -> bool:
    return bool(np.array_equal(rounding(array), array, equal_nan=True))


def _alternatives() -> Iterator[AnyAlternative]:
    for dtype, rounding in (("bfloat16", BFLOAT16), ("float16", FLOAT16), ("float32", FLOAT32)):
        explains = partial(_is_rounded, rounding=rounding, dtype=dtype)
        yield TensorAlternative(f"{dtype} arithmetic", (), "forward", explains)
        yield TensorAlternative(f"{dtype} arithmetic", (), "backward", explains)
    operands = [("TF32", rounding) for rounding in TF32]
    operands += [("float16", FLOAT16), ("bfloat16", BFLOAT16), ("float32", FLOAT32)]
    for name, rounding in operands:
        for change in (_rounds_operands, _rounds_parameters):
            kinds = ("Conv2d", "Linear") if change is _rounds_operands else ("Conv2d", "Linear", "BatchNorm2d")
            wrong = partial(change, rounding=rounding)
            yield Alternative(f"{name} arithmetic", kinds, "forward", wrong)
            yield Alternative(f"{name} arithmetic", kinds, "backward", only_backward(wrong))


ALTERNATIVES: tuple[AnyAlternative, ...] = tuple(_alternatives())
