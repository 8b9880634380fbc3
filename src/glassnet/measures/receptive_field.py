"""Where each layer of a network stands: the shapes it connects, and how much of the image one output sees."""

from dataclasses import dataclass

from glassnet import nn
from glassnet.architecture import ResNetSpec, build_uninitialized
from glassnet.nn.kernels.window import SlidingWindow

Pair = tuple[int, int]
SHORTCUTS = ("downsample", "shortcut")  # a Residual's name for it, with and without parameters


@dataclass(frozen=True)
class ReceptiveField:
    """What one number of a map sees of the image: output (i, j) reads ``size`` rows from ``start + i·stride`` on,
    and columns likewise. A start below 0 lies in the padding."""

    start: Pair
    size: Pair
    stride: Pair

    def pixels(self, output: Pair, image: Pair) -> tuple[slice, slice]:
        """The rows and columns of the image that one output sees, without the padding."""
        rows, columns = (
            slice(max(0, start + place * stride), min(length, start + place * stride + size))
            for place, start, size, stride, length in zip(
                output, self.start, self.size, self.stride, image, strict=True
            )
        )
        return rows, columns

    def through(self, window: SlidingWindow) -> "ReceptiveField":
        """What one number sees after a window slid over this map (Araujo et al. 2019, eq. 2 and 3)."""
        axes = zip(self.start, self.size, self.stride, window.padding, window.kernel_size, window.dilation, strict=True)
        start, size = zip(
            *(
                (start - before * stride, size + dilation * (kernel - 1) * stride)
                for start, size, stride, (before, _), kernel, dilation in axes
            ),
            strict=True,
        )
        stride = (self.stride[0] * window.stride[0], self.stride[1] * window.stride[1])
        return ReceptiveField(start, size, stride)

    def every(self, step: int) -> "ReceptiveField":
        """Only every step-th number of this map is left."""
        return ReceptiveField(self.start, self.size, (self.stride[0] * step, self.stride[1] * step))

    def joined(self, other: "ReceptiveField") -> "ReceptiveField":
        """What the sum of two maps of the same shape sees."""
        start = tuple(map(min, self.start, other.start))
        ends = (
            max(a + size, b + other_size)
            for a, size, b, other_size in zip(self.start, self.size, other.start, other.size, strict=True)
        )
        height, width = (end - first for end, first in zip(ends, start, strict=True))
        return ReceptiveField((start[0], start[1]), (height, width), self.stride)


@dataclass(frozen=True)
class Place:
    """One layer or residual block: its name, itself, its input and output for one image, without N, and its view."""

    name: str
    layer: nn.Module
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    view: ReceptiveField


def places(spec: ResNetSpec) -> list[Place]:
    """Every leaf layer and residual block of a network in forward order, a block after what it is made of.

    Worked out from the layers' windows, without computing anything; names are those of ``Network.activations``.
    """
    shape = (spec.in_channels, *spec.size)
    found: list[Place] = []
    _walk("", build_uninitialized(spec), shape, ReceptiveField((0, 0), (1, 1), (1, 1)), spec.size, found)
    return found


def shortcuts(spec: ResNetSpec) -> dict[str, str]:
    """What carries x around F in each residual block: "identity", "zero-pad" or "projection", which change the shape.

    Blocks in forward order; none where the network is plain.
    """
    kinds = {nn.Identity: "identity", nn.ZeroPadShortcut: "zero-pad", nn.Sequential: "projection"}
    return {
        name: kinds[type(child)]
        for name, block in build_uninitialized(spec).named_modules()
        if isinstance(block, nn.Residual)
        for child_name, child in block.named_children()
        if child_name in SHORTCUTS
    }


def _walk(
    name: str, layer: nn.Module, shape: tuple[int, ...], view: ReceptiveField, image: Pair, found: list[Place]
) -> tuple[tuple[int, ...], ReceptiveField]:
    """Adds what stands in ``layer`` to ``found``; returns the shape and the view behind it."""
    entered = shape
    if isinstance(layer, nn.Residual):
        after, seen = shape, view
        for child_name, child in layer.named_children():
            if child_name in SHORTCUTS:
                _, carried = _walk(f"{name}.{child_name}", child, shape, view, image, found)
                seen = seen.joined(carried)
            else:
                after, seen = _walk(f"{name}.{child_name}", child, after, seen, image, found)
        shape, view = after, seen
    elif isinstance(layer, nn.Sequential):
        for child_name, child in layer.named_children():
            path = f"{name}.{child_name}" if name else child_name
            shape, view = _walk(path, child, shape, view, image, found)
        return shape, view
    else:
        shape, view = _behind(layer, shape, view, image)
    found.append(Place(name, layer, entered, shape, view))
    return shape, view


def _behind(
    layer: nn.Module, shape: tuple[int, ...], view: ReceptiveField, image: Pair
) -> tuple[tuple[int, ...], ReceptiveField]:
    whole = ReceptiveField((0, 0), image, image)
    match layer:
        case nn.Conv2d():
            return (layer.out_channels, *layer.window.output_size(_size(shape))), view.through(layer.window)
        case nn.MaxPool2d() | nn.AvgPool2d():
            return (shape[0], *layer.window.output_size(_size(shape))), view.through(layer.window)
        case nn.ZeroPadShortcut():
            height, width = (-(-length // layer.stride) for length in shape[1:])
            return (layer.out_channels, height, width), view.every(layer.stride)
        case nn.AdaptiveAvgPool2d():
            return (shape[0], 1, 1), whole
        case nn.Flatten():
            return (shape[0] * shape[1] * shape[2],), whole
        case nn.Linear():
            return (layer.out_features,), whole
        case _:  # number by number: normalization, activation, dropout
            return shape, view


def _size(shape: tuple[int, ...]) -> Pair:
    return shape[1], shape[2]
