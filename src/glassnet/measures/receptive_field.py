"""Shapes and receptive fields of the layers of a network, computed from its specification alone."""

from dataclasses import dataclass

from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.initialization import build_uninitialized
from glassnet.nn.kernels.window import SlidingWindow

Pair = tuple[int, int]
SHORTCUTS = ("downsample", "shortcut")  # a Residual's name for it, with and without parameters


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that each output of a layer depends on.

    Output (i, j) depends on ``size`` rows from ``start + i·stride`` on, and likewise on columns. A start below 0 is in
    the padding.
    """

    start: Pair
    size: Pair
    stride: Pair

    def pixels(self, output: Pair, image: Pair) -> tuple[slice, slice]:
        """Return the rows and columns of an image of this size that one output depends on, without the padding."""
        rows, columns = (
            slice(max(0, start + index * stride), min(length, start + index * stride + size))
            for index, start, size, stride, length in zip(
                output, self.start, self.size, self.stride, image, strict=True
            )
        )
        return rows, columns

    def after_window(self, window: SlidingWindow) -> "ReceptiveField":
        """Return the receptive field after a convolution or pooling (Araujo et al. 2019, eq. 2 and 3)."""
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

    def subsample(self, step: int) -> "ReceptiveField":
        """Return the receptive field after every step-th output is kept in both directions."""
        return ReceptiveField(self.start, self.size, (self.stride[0] * step, self.stride[1] * step))

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """Return the receptive field of the sum of two feature maps of the same shape."""
        start = tuple(map(min, self.start, other.start))
        ends = (
            max(a + size, b + other_size)
            for a, size, b, other_size in zip(self.start, self.size, other.start, other.size, strict=True)
        )
        height, width = (end - first for end, first in zip(ends, start, strict=True))
        return ReceptiveField((start[0], start[1]), (height, width), self.stride)


@dataclass(frozen=True)
class LayerGeometry:
    """A layer or residual block with its name, its shapes for one image (without N) and its receptive field."""

    name: str
    layer: nn.Module
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    receptive_field: ReceptiveField


def layer_geometries(spec: ResNetSpec) -> list[LayerGeometry]:
    """Return every leaf layer and residual block in forward order, a block after its layers.

    Names are those of ``Network.activations``. Shapes follow from the layers' windows; nothing is computed.
    """
    geometries: list[LayerGeometry] = []
    shape, field = (spec.in_channels, *spec.size), ReceptiveField((0, 0), (1, 1), (1, 1))
    _walk("", build_uninitialized(spec), shape, field, spec.size, geometries)
    return geometries


def shortcuts(spec: ResNetSpec) -> dict[str, str]:
    """Return the kind of each residual block's shortcut, in forward order; nothing for a plain network.

    The kinds are "identity", and "zero-pad" or "projection" where the block changes the shape.
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
    name: str,
    layer: nn.Module,
    shape: tuple[int, ...],
    field: ReceptiveField,
    image: Pair,
    geometries: list[LayerGeometry],
) -> tuple[tuple[int, ...], ReceptiveField]:
    """Append the geometry of ``layer`` and of the layers in it; return the output's shape and receptive field."""
    input_shape = shape
    if isinstance(layer, nn.Residual):
        body_shape, total = shape, field
        for child_name, child in layer.named_children():
            path = f"{name}.{child_name}"
            if child_name in SHORTCUTS:
                _, shortcut_field = _walk(path, child, shape, field, image, geometries)
                total = total.union(shortcut_field)
            else:
                body_shape, total = _walk(path, child, body_shape, total, image, geometries)
        shape, field = body_shape, total
    elif isinstance(layer, nn.Sequential):
        for child_name, child in layer.named_children():
            path = f"{name}.{child_name}" if name else child_name
            shape, field = _walk(path, child, shape, field, image, geometries)
        return shape, field
    else:
        shape, field = _after_leaf(layer, shape, field, image)
    geometries.append(LayerGeometry(name, layer, input_shape, shape, field))
    return shape, field


def _after_leaf(
    layer: nn.Module, shape: tuple[int, ...], field: ReceptiveField, image: Pair
) -> tuple[tuple[int, ...], ReceptiveField]:
    whole_image = ReceptiveField((0, 0), image, image)
    match layer:
        case nn.Conv2d():
            return (layer.out_channels, *layer.window.output_size(_size(shape))), field.after_window(layer.window)
        case nn.MaxPool2d() | nn.AvgPool2d():
            return (shape[0], *layer.window.output_size(_size(shape))), field.after_window(layer.window)
        case nn.ZeroPadShortcut():
            height, width = (-(-length // layer.stride) for length in shape[1:])
            return (layer.out_channels, height, width), field.subsample(layer.stride)
        case nn.AdaptiveAvgPool2d():
            return (shape[0], 1, 1), whole_image
        case nn.Flatten():
            return (shape[0] * shape[1] * shape[2],), whole_image
        case nn.Linear():
            return (layer.out_features,), whole_image
        case _:  # elementwise: normalization, activation, dropout
            return shape, field


def _size(shape: tuple[int, ...]) -> Pair:
    return shape[1], shape[2]
