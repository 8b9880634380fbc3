"""Exercise: the backward pass of a whole residual block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.course.functions import Case, FunctionExercise, Mistake
from glassnet.nn.functional import add, conv2d, conv2d_backward, identity, relu, relu_backward

Array = NDArray[Any]


def residual_block(x: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> tuple[Array, tuple[Any, ...]]:
    """Return y = relu(x + F(x)) and saved, with F two 3×3 convolutions and a ReLU between them, as in ``tiny``.

    x (N, C, H, W), w1 and w2 (C, C, 3, 3), b1 and b2 (C,). ``saved`` has what each of the four functions saved, in the
    order in which they ran: conv2d, relu, conv2d, and the relu after the sum.
    """
    a, saved_a = conv2d(x, w1, b1, padding=1)
    h, saved_h = relu(a)
    f, saved_f = conv2d(h, w2, b2, padding=1)
    y, saved_y = relu(add(identity(x), f))
    return y, (saved_a, saved_h, saved_f, saved_y)


def _backward(
    dy: Array,
    saved: tuple[Any, ...],
    *,
    shortcut: float = 1,
    body: float = 1,
    mask: str = "both",  # the terms that pass the last ReLU's mask
    inner: bool = True,
) -> tuple[Array | None, ...]:
    saved_a, saved_h, saved_f, saved_y = saved
    masked = relu_backward(dy, saved_y)
    df = masked if mask in ("both", "body") else dy
    dh, dw2, db2 = conv2d_backward(df, saved_f)
    dx_a, dw1, db1 = conv2d_backward(relu_backward(dh, saved_h) if inner else dh, saved_a)
    dx = shortcut * (masked if mask in ("both", "shortcut") else dy) + body * dx_a
    return dx, dw1, db1, dw2, db2


def _but(**changes: Any) -> Any:
    return lambda dy, saved: _backward(dy, saved, **changes)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    shapes = {
        "one image, one channel": (1, 1, 4, 5),
        "several images": (3, 1, 5, 4),
        "several channels": (2, 3, 4, 6),
    }
    for label, shape in shapes.items():
        C = shape[1]
        weights = {name: rng.standard_normal((C, C, 3, 3)) / 2 for name in ("w1", "w2")}
        biases = {name: rng.standard_normal(C) / 2 for name in ("b1", "b2")}
        inputs = {"x": rng.standard_normal(shape), **weights, **biases}
        yield Case(label, {name: inputs[name] for name in ("x", "w1", "b1", "w2", "b2")})


RESIDUAL_BACKWARD = FunctionExercise(
    name="residual_backward",
    chapter=5,
    task="Compute the gradients of y = relu(x + F(x)), with F of two convolutions.",
    stub='''\
from glassnet.nn.functional import conv2d_backward, relu_backward

# The forward pass of the block, as glassnet.course.residual_block has it:
#     a, saved_a = conv2d(x, w1, b1, padding=1)
#     h, saved_h = relu(a)
#     f, saved_f = conv2d(h, w2, b2, padding=1)
#     y, saved_y = relu(x + f)


def residual_backward(dy, saved):
    """Return dx (N, C, H, W), dw1 (C, C, 3, 3), db1 (C,), dw2 and db2."""
    saved_a, saved_h, saved_f, saved_y = saved
    ...
    return dx, dw1, db1, dw2, db2
''',
    reference=_backward,
    returns=("dx", "dw1", "db1", "dw2", "db2"),
    cases=_cases,
    forward=residual_block,
    mistakes=(
        Mistake("the gradient through the shortcut were missing", _but(shortcut=0)),
        Mistake("the gradient through the convolutions were missing", _but(body=0)),
        Mistake("the mask of the last ReLU were missing", _but(mask="none")),
        Mistake("the gradient through the shortcut did not pass the last ReLU", _but(mask="body")),
        Mistake("the gradient through the convolutions did not pass the last ReLU", _but(mask="shortcut")),
        Mistake("the mask of the ReLU between the convolutions were missing", _but(inner=False)),
        Mistake("both masks were missing", _but(mask="none", inner=False)),
        Mistake("both terms of the sum had half of the gradient", lambda dy, saved: _backward(dy / 2, saved)),
        Mistake("both terms of the sum were averaged", _but(shortcut=0.5, body=0.5)),
        Mistake("the shortcut were subtracted", _but(shortcut=-1)),
        Mistake("the shortcut were added twice", _but(shortcut=2)),
    ),
)

EXERCISES = (RESIDUAL_BACKWARD,)
