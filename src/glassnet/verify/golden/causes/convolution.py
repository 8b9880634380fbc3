"""Causes in convolutions: windows at other places, turned kernels, channels in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.nn import functional
from glassnet.nn.functional import pair
from glassnet.verify.golden.causes.alternative import (
    Alternative,
    AnyAlternative,
    InapplicableError,
    TensorAlternative,
    only_backward,
    with_backward,
)
from glassnet.verify.golden.causes.layout import of_weight, with_reordered_weight
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.reference import Computed, Gradients, Site, arguments, compute

Array = NDArray[Any]
Pair = tuple[int, int]

CONV = ("Conv2d",)
SHIFTS: tuple[Pair, ...] = ((1, 1), (-1, -1), (2, 2), (-2, -2), (3, 3), (-3, -3), (1, 0), (0, 1), (-1, 0), (0, -1))


def window_of(site: Site) -> Any:
    """Return the window of a convolution: kernel_size, stride, dilation and ((top, bottom), (left, right)) padding."""
    layer = nn.Conv2d(**{**arguments(site.operation), "in_channels": 1, "out_channels": 1})
    return layer.window


def _convolve(site: Site, rows: Array, columns: Array, stride: Any, dilation: Any) -> Computed:
    """Convolve x̃[i, j] = x[rows[i], columns[j]], which is 0 where there is no such pixel."""
    w = site.parameter("weight")
    assert w is not None
    height, width = site.x.shape[2:]
    down = (rows[:, None] == np.arange(height)).astype(site.x.dtype)
    across = (columns[:, None] == np.arange(width)).astype(site.x.dtype)
    taken = down @ site.x @ across.T
    if any(d * (k - 1) >= length for d, k, length in zip(pair(dilation), w.shape[2:], taken.shape[2:], strict=True)):
        raise InapplicableError
    y, saved = functional.conv2d(taken, w, site.parameter("bias"), stride, 0, dilation)

    def backward(dy: Array) -> Gradients:
        dx, dw, db = functional.conv2d_backward(dy, saved)
        parameters = {"weight": dw} if db is None else {"weight": dw, "bias": db}
        return Gradients(
            (down.T @ dx @ across,), {f"{site.operation.name}.{key}": value for key, value in parameters.items()}
        )

    return Computed(y, backward)


def _with_border(site: Site, border: Callable[[int, Pair], Array], **other: Any) -> Computed:
    """Convolve with other borders: ``border(length, padding)`` lists the rows, or columns, of the padded image."""
    window = window_of(site)
    rows, columns = (border(length, p) for length, p in zip(site.x.shape[2:], window.padding, strict=True))
    return _convolve(site, rows, columns, other.get("stride", window.stride), other.get("dilation", window.dilation))


def _zeros(length: int, padding: Pair) -> Array:
    return np.arange(-padding[0], length + padding[1])


def _shifted(site: Site, shift: Pair, is_padding: bool, is_cropped: bool = False) -> Computed:
    """Let all windows start some pixels later: the padding is on the other side, or there is too little for that."""
    window = window_of(site)
    fits = window.stride == (1, 1) or all(abs(by) <= p[0] for by, p in zip(shift, window.padding, strict=True))
    if fits != is_padding:
        raise InapplicableError
    rows, columns = (
        np.arange(by - p[0], length + p[1] + (0 if is_cropped else by))
        for by, p, length in zip(shift, window.padding, site.x.shape[2:], strict=True)
    )
    return _convolve(site, rows, columns, window.stride, window.dilation)


def _unpadded(site: Site) -> Computed:
    return _with_border(site, lambda length, padding: np.arange(length))


def _unpadded_in_zeros(site: Site) -> Computed:
    """Leave out the padding, and put the smaller output into the middle of zeros."""
    right, small = compute(site), _unpadded(site)
    borders = [(n - m) // 2 for n, m in zip(right.output.shape[2:], small.output.shape[2:], strict=True)]
    output = np.zeros_like(right.output)
    output[:, :, *(slice(b, b + m) for b, m in zip(borders, small.output.shape[2:], strict=True))] = small.output
    return Computed(output, right.backward)


def _padded_by(site: Site, mode: Any) -> Computed:
    return _with_border(site, lambda length, padding: np.pad(np.arange(length), padding, mode=mode))


def _strided(site: Site, stride: int, is_cropped: bool) -> Computed:
    if window_of(site).stride == (stride, stride):
        raise InapplicableError
    wrong = _with_border(site, _zeros, stride=stride)
    if not is_cropped:
        return wrong
    height, width = (right := compute(site)).output.shape[2:]
    return Computed(wrong.output[:, :, :height, :width], right.backward)


def _dilated(site: Site, dilation: int, keeps_size: bool) -> Computed:
    window = window_of(site)
    if window.dilation == (dilation, dilation) or window.kernel_size == (1, 1):
        raise InapplicableError
    more = [
        (dilation - d) * (k - 1) // 2 if keeps_size else 0
        for d, k in zip(window.dilation, window.kernel_size, strict=True)
    ]
    rows, columns = (
        np.arange(-p[0] - by, length + p[1] + by)
        for by, p, length in zip(more, window.padding, site.x.shape[2:], strict=True)
    )
    return _convolve(site, rows, columns, window.stride, dilation)


def _grouped(site: Site, groups: int, *, reads_first: bool) -> Computed:
    """Let each group of output channels read one group of input channels, by its own or by the first weights."""
    w = site.parameter("weight")
    assert w is not None
    O, C = w.shape[:2]
    if O % groups or C % groups or min(O, C) < groups:
        raise InapplicableError
    belongs = (np.arange(O)[:, None] * groups // O == np.arange(C) * groups // C)[:, :, None, None]
    parts = np.tile(w[:, : C // groups], (1, groups, 1, 1)) if reads_first else w
    return compute(site.with_state(weight=np.where(belongs, parts, 0)))


def _without_border(site: Site, first: bool, last: bool) -> Computed:
    """Leave the gradient of the input 0 in its first or last rows and columns, as many as there is padding."""
    width = max(1, *(side for axis in window_of(site).padding for side in axis))

    def crop(gradients: Gradients, _: Array) -> Gradients:
        dx = gradients.inputs[0].copy()
        for axis in (dx, dx.swapaxes(2, 3)):
            if first:
                axis[:, :, :width] = 0
            if last:
                axis[:, :, -width:] = 0
        return Gradients((dx,), gradients.parameters)

    return with_backward(site, crop)


def _reads_channels(site: Site, order: Callable[[int], Sequence[int]]) -> Computed:
    channels = site.operation.attributes["in_channels"]
    return with_reordered_weight(site, lambda w: w[:, list(order(channels))])


def _permuted(channels: int, permutation: tuple[int, ...]) -> Sequence[int]:
    if channels != len(permutation):
        raise InapplicableError
    return permutation


def _swapped_pairs(channels: int) -> Sequence[int]:
    if channels % 2:
        raise InapplicableError
    return [channel ^ 1 for channel in range(channels)]


def _interleaved(channels: int, groups: int) -> Sequence[int]:
    if channels % groups:
        raise InapplicableError
    return [int(channel) for channel in np.arange(channels).reshape(groups, -1).T.reshape(-1)]


CHANNEL_ORDERS: tuple[Callable[[int], Sequence[int]], ...] = (
    lambda channels: range(channels)[::-1],
    lambda channels: [1, 0, *range(2, channels)][:channels] if channels > 1 else [0],
    lambda channels: [*range(1, channels), 0],
    lambda channels: [channels - 1, *range(channels - 1)],
    _swapped_pairs,
    partial(_interleaved, groups=2),
    lambda channels: _interleaved(channels, max(1, channels // 2)),
    *(partial(_permuted, permutation=permutation) for size in (3, 4) for permutation in permutations(range(size))),
)


def _has_reordered_outputs(judgement: Judgement, operation: Operation) -> bool:
    """Whether the output is right, but has its channels in another order."""
    expected = judgement.expect(judgement.evaluation)
    if not judgement.tensor.endswith(f"/{operation.name}") or judgement.port.size != expected.size:
        raise InapplicableError
    port = judgement.port.reshape(expected.shape)
    wanted, given = (array.swapaxes(0, 1).reshape(array.shape[1], -1).astype(np.float64) for array in (expected, port))
    distances = (wanted**2).sum(1)[:, None] - 2 * wanted @ given.T + (given**2).sum(1)
    order = distances.argmin(1)
    return len(set(order)) == len(order) and replace(judgement, port=port[:, order]).row.passed


FLIPPED: tuple[Callable[[Array], Array], ...] = (
    lambda w: w[:, :, ::-1, ::-1],
    lambda w: w[:, :, ::-1],
    lambda w: w[:, :, :, ::-1],
)


def _in_both_passes(key: str, wrong: Callable[[Site], Computed]) -> Iterator[Alternative]:
    yield Alternative(key, CONV, "forward", wrong)
    yield Alternative(key, CONV, "backward", only_backward(wrong))


def _alternatives() -> Iterator[AnyAlternative]:
    for flip in FLIPPED:
        yield from of_weight("flipped kernel", "Conv2d", flip)
    for key, is_padding in (("padding side", True), ("stride phase", False)):
        for shift in SHIFTS:
            for is_cropped in (False, True):
                shifted = partial(_shifted, shift=shift, is_padding=is_padding, is_cropped=is_cropped)
                yield from _in_both_passes(key, shifted)
    yield from _in_both_passes("no padding", _unpadded)
    yield Alternative("no padding", CONV, "forward", _unpadded_in_zeros)
    for mode in ("reflect", "edge", "wrap", "symmetric"):
        yield from _in_both_passes("padding mode", partial(_padded_by, mode=mode))
    for stride in (1, 2, 3):
        for is_cropped in (False, True):
            yield Alternative(
                "stride ignored", CONV, "forward", partial(_strided, stride=stride, is_cropped=is_cropped)
            )
    for dilation in (1, 2, 3):
        for keeps_size in (True, False):
            yield from _in_both_passes("dilation", partial(_dilated, dilation=dilation, keeps_size=keeps_size))
    for order in CHANNEL_ORDERS:
        yield from _in_both_passes("channel order", partial(_reads_channels, order=order))
    for kinds in (CONV, ("Linear",)):
        yield TensorAlternative("channel order", kinds, "forward", _has_reordered_outputs)
    for groups in (2, 3, 4, 8, 16):
        for reads_first in (True, False):
            yield from _in_both_passes("groups", partial(_grouped, groups=groups, reads_first=reads_first))
    for first, last in ((False, True), (True, False), (True, True)):
        cropped = partial(_without_border, first=first, last=last)
        yield Alternative("cropped gradient", CONV, "backward", cropped)


ALTERNATIVES: tuple[AnyAlternative, ...] = tuple(_alternatives())
