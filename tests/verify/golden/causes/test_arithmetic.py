"""Layers in torch's types of 16 bits, in emulated TensorFloat-32, and in float32 in place of float64."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from tests.verify.golden.causes.planting import HEALTHY, diagnose_layer

Array = NDArray[Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 7, 6))
STATE = {"weight": 0.3 * RNG.standard_normal((5, 4, 3, 3)), "bias": RNG.standard_normal(5)}
DY = RNG.standard_normal((2, 5, 7, 6))
ATTRIBUTES = {"in_channels": 4, "out_channels": 5, "kernel_size": 3, "stride": 1, "padding": 1, "bias": True}


def diagnose(port: dict[str, Array]) -> str:
    return diagnose_layer("Conv2d", ATTRIBUTES, X, STATE, DY, port)


def port_in(dtype: torch.dtype, stored: torch.dtype, operands: Any = lambda a: a) -> dict[str, Array]:
    """The layer in one type, its results written in another."""
    x, w, b = (torch.tensor(a).to(dtype) for a in (X, *STATE.values()))
    x, w, dy = operands(x), operands(w), operands(torch.tensor(DY).to(dtype))
    leaves = [a.clone().requires_grad_() for a in (x, w, b)]
    y = F.conv2d(*leaves, padding=1)
    y.backward(dy)
    gradients = zip(("dx", "weight"), leaves[:2], strict=True)
    return {
        "y": y.detach().to(stored).numpy(),
        **{name: leaf.grad.to(stored).numpy() for name, leaf in gradients},
        "bias": torch.tensor(DY).to(dtype).sum((0, 2, 3)).to(stored).numpy(),
    }


def to_tf32(a: torch.Tensor) -> torch.Tensor:
    """Numbers with 10 bits of mantissa, by Veltkamp's splitting: the upper bits survive."""
    high = a * (2.0**13 + 1)
    return high - (high - a)


@pytest.mark.parametrize("stored", [torch.float64, torch.float32])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_arithmetic_of_16_bits_is_named(dtype: str, stored: torch.dtype) -> None:
    port = port_in(getattr(torch, dtype), stored)
    assert diagnose(port) == f"{dtype} arithmetic at layer"
    right = port_in(stored, stored)
    for name in ("dx", "weight"):
        assert diagnose({**right, name: port[name]}) == f"{dtype} arithmetic at layer"


def test_operands_of_fewer_bits_are_named() -> None:
    exact = torch.float32
    assert diagnose(port_in(exact, exact, to_tf32)) == "TF32 arithmetic at layer"
    assert diagnose(port_in(exact, exact, lambda a: a.to(torch.bfloat16).to(exact))) == "bfloat16 arithmetic at layer"


def test_gradients_of_operands_of_fewer_bits_are_named() -> None:
    exact = torch.float32
    right, port = port_in(exact, exact), port_in(exact, exact, to_tf32)
    for name in ("dx", "weight"):
        assert diagnose({**right, name: port[name]}) == "TF32 arithmetic at layer"


def test_float32_in_a_file_of_float64_is_named_unless_it_is_asked_for() -> None:
    port = port_in(torch.float32, torch.float64)
    assert diagnose(port) == "float32 arithmetic at layer"
    assert diagnose({name: array.astype(np.float32) for name, array in port.items()}) == HEALTHY


def test_a_bug_in_16_bits_is_not_called_arithmetic() -> None:
    wrong = port_in(torch.float16, torch.float32)
    wrong["y"] = wrong["y"][..., ::-1].copy()
    assert diagnose(wrong) == "unknown at layer"


def test_sums_in_float16_are_named() -> None:
    """Products are exact, but every partial sum is rounded."""
    x = np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros(DY.shape, np.float16) + STATE["bias"].astype(np.float16)[:, None, None]
    for c, u, v in np.ndindex(4, 3, 3):
        y = (y + x[:, c, None, u : u + 7, v : v + 6] * STATE["weight"][:, c, u, v, None, None]).astype(np.float16)
    assert diagnose({"y": y.astype(np.float32)}) == "float16 arithmetic at layer"
