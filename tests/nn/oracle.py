"""PyTorch as the oracle, and one comparison of any layer with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from glassnet import nn
from glassnet.nn.kernels import layout

Array = NDArray[Any]

torch.set_num_threads(1)

TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 2e-5}  # of the tensor's largest value, or of 1

FLOATS = (np.float64, np.float32)

examples = settings(max_examples=60, deadline=None, derandomize=True)


def tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C"))


def compare(what: str, ours: Array, theirs: Array | torch.Tensor, tolerance: float | None = None) -> None:
    """Shape, dtype and values of one array; the failure says which array and what is wrong with it."""
    expected = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    assert ours.shape == expected.shape, f"{what}: shape {ours.shape} instead of {expected.shape}"
    assert ours.dtype == expected.dtype, f"{what}: dtype {ours.dtype} instead of {expected.dtype}"
    if not ours.size:
        return
    scale = max(1.0, float(np.nanmax(np.abs(expected)))) if not np.isnan(expected).all() else 1.0
    if np.issubdtype(ours.dtype, np.floating):
        atol = scale * (TOLERANCE[ours.dtype] if tolerance is None else tolerance)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=atol, err_msg=what)
    else:
        np.testing.assert_array_equal(ours, expected, err_msg=what)


def parity(layer: nn.Module, oracle: torch.nn.Module, x: Array, *, seed: int = 0, batches: int = 1) -> None:
    """Give both the same random weights, inputs and upstream gradients; compare everything that comes back.

    The output, the gradients of the input and of each parameter, the state dict's keys, order and values. In
    evaluation mode there are no gradients. More ``batches`` run through the same layers again, with other numbers.
    """
    rng = np.random.default_rng(seed)
    dtype = x.dtype
    layer.to(dtype)
    oracle.to(torch.from_numpy(np.empty(0, dtype)).dtype)
    for parameter in layer.parameters():
        parameter.data[...] = rng.standard_normal(parameter.data.shape)
    oracle.load_state_dict({key: tensor(value) for key, value in layer.state_dict().items()})
    oracle.train(layer.training)
    for batch in range(batches):
        if batch:
            x = x[::-1] + rng.standard_normal(x.shape).astype(dtype)
        theirs_x = tensor(x).requires_grad_()
        ours, theirs = layer(x), oracle(theirs_x)
        compare("output", ours, theirs)
        if layer.training:
            dy = rng.standard_normal(ours.shape).astype(dtype)  # never all ones: BatchNorm would answer 0
            oracle.zero_grad()
            theirs.backward(tensor(dy))
            dx = layer.backward(layout.channels_last(dy))
            compare("gradient of the input", dx, theirs_x.grad)
            assert [name for name, _ in layer.named_parameters()] == [name for name, _ in oracle.named_parameters()]
            for (name, parameter), expected in zip(layer.named_parameters(), oracle.parameters(), strict=True):
                compare(f"gradient of {name}", parameter.grad, expected.grad)
        state, expected_state = layer.state_dict(), oracle.state_dict()
        assert list(state) == list(expected_state)
        for key, value in state.items():
            compare(key, value, expected_state[key])


@st.composite
def images(
    draw: st.DrawFn,
    *,
    channels: int | None = None,
    smallest: tuple[int, int] = (1, 1),
    integers: bool | None = None,
    batch: int = 3,
    dtypes: tuple[DTypeLike, ...] = FLOATS,
) -> Array:
    """(N, C, H, W): of either float type, in either memory order, random or (with many ties) small integers."""
    size = [draw(st.integers(least, least + 5)) for least in smallest]
    shape = (draw(st.integers(1, batch)), channels or draw(st.integers(1, 4)), *size)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    tied = draw(st.booleans()) if integers is None else integers
    x = rng.integers(-2, 3, shape) if tied else rng.standard_normal(shape)
    x = x.astype(draw(st.sampled_from(dtypes)))
    return layout.channels_last(x) if draw(st.booleans()) else x


class TorchZeroPad(torch.nn.Module):
    """He et al.'s option A in autograd's words."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new = stride, after - before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        front = self.new // 2
        pixels = x[:, :, :: self.stride, :: self.stride]
        return torch.nn.functional.pad(pixels, (0, 0, 0, 0, front, self.new - front))
