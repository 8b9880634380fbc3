"""Measurements of a convolution: kernel responses, output sizes, and receptive fields."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as get_spec
from glassnet.data import decode_image, load_data
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.scan import scan_images
from glassnet.errors import DataError, ShapeError
from glassnet.measures.receptive_field import ReceptiveField, layer_geometries
from glassnet.pages.text import format_shape
from glassnet.studies.convolution.kernels import ASYMMETRIC_KERNEL, EDGE_KERNELS, KERNELS, Kernel
from glassnet.studies.study import Study
from glassnet.verify import naive_convolution

Array = npt.NDArray[Any]
Image = str | os.PathLike[str] | npt.NDArray[np.uint8]

LONGEST_SIDE = 96  # pixels of the displayed image; the plain loops then take about a second


# Each variation changes one thing of a 3×3 kernel without padding.
VARIATIONS: dict[str, dict[str, Any]] = {
    "one 3×3 kernel": {},
    "a smaller kernel": {"kernel_size": 1},
    "a larger kernel": {"kernel_size": 5},
    "a flat kernel": {"kernel_size": (1, 3)},
    "padding valid (none)": {"padding": "valid"},
    "padding same": {"padding": "same"},
    "padding of 2": {"padding": 2},
    "stride 2": {"stride": 2},
    "stride 2, padding 1": {"stride": 2, "padding": 1},
    "dilation 2": {"dilation": 2},
    "dilation 2, same": {"dilation": 2, "padding": "same"},
    "16 output channels": {"out_channels": 16},
    "16 out of 3 channels": {"in_channels": 3, "out_channels": 16},
}
HEIGHT_SETTINGS: dict[str, dict[str, Any]] = {
    "same": {"padding": "same"},
    "valid": {"padding": "valid"},
    "valid, dilation 2": {"padding": "valid", "dilation": 2},
    "valid, stride 2": {"padding": "valid", "stride": 2},
}
MAX_KERNEL_SIZE = 11


@dataclass(frozen=True)
class KernelResponse:
    """The response of one kernel to the image, (H − 2, W − 2): one value for each position where the kernel fits."""

    kernel: Kernel
    response: Array = field(repr=False)
    lowest: float
    highest: float
    mean_size: float


@dataclass(frozen=True)
class OutputSize:
    """The output shape (channels, height, width) and the parameter count of a convolution with some arguments."""

    changed: str
    arguments: Mapping[str, Any]
    kernel_shape: tuple[int, ...]  # (out_channels, in_channels, height, width)
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class LayerField:
    """The receptive field of a layer, and the rows and columns that the output in the middle of its map covers."""

    layer: str
    output_shape: tuple[int, ...]
    receptive_field: ReceptiveField
    rows: tuple[int, int]  # the first, and the one after the last
    columns: tuple[int, int]


@dataclass(frozen=True, repr=False)
class ConvolutionStudy(Study):
    """A gray image (H, W) with values from 0 to 1, and all measurements on it."""

    name: str
    image: Array = field(repr=False)
    responses: tuple[KernelResponse, ...]
    difference: float  # the largest between Conv2d's responses and those of the plain loops
    kernel: Array  # an asymmetric kernel (3, 3)
    point: Array  # one white pixel (5, 5)
    correlated: Array  # Conv2d's response to the point, (5, 5)
    flipped: Array  # the same with the kernel turned by 180°, which is the convolution of mathematics, (5, 5)
    sizes: tuple[OutputSize, ...]
    heights: Mapping[str, tuple[int | None, ...]]  # output heights for kernel sizes 1, 2, ..., by setting
    model: str
    fields: tuple[LayerField, ...]

    @property
    def flips(self) -> bool:
        """Whether Conv2d flips its kernel: then the response to the point is the kernel as it is."""
        return bool((self.correlated[1:4, 1:4] == self.kernel).all())

    @property
    def summary(self) -> list[str]:
        kind = "as it is: it is a true convolution" if self.flips else "turned by 180°: it is a cross-correlation"
        return [
            f"Conv2d and the definition in plain loops differ by at most {self.difference:.1e} on all kernels.",
            self._strongest_edges(),
            f"Conv2d responds to a single white pixel with the kernel {kind}.",
            self._receptive_fields(),
        ]

    def _strongest_edges(self) -> str:
        edges = self.responses[: len(EDGE_KERNELS)]
        strongest = max(edges, key=lambda response: response.mean_size)
        if strongest.mean_size == 0:
            return "None of the edge kernels responds to this image: it has no edges."
        kernel = strongest.kernel
        return f"Of the four edge kernels {kernel.name}, for {kernel.responds_to}, responds most to this image."

    def _receptive_fields(self) -> str:
        first, last = self.fields[0], self.fields[-1]
        image = format_shape(self.image.shape)
        covering = next((field.layer for field in self.fields if self._covers_image(field)), None)
        reach = (
            f"From {covering} on, the output in the middle covers the whole image of {image} pixels."
            if covering is not None
            else f"No output in the middle of a map covers the whole image of {image} pixels; only the head reads all "
            "of the last map."
        )
        return (
            f"The receptive field in {self.model} grows from {format_shape(first.receptive_field.size)} pixels in "
            f"{first.layer} to {format_shape(last.receptive_field.size)} in {last.layer}. {reach}"
        )

    def _covers_image(self, field: LayerField) -> bool:
        height, width = self.image.shape
        return field.rows == (0, height) and field.columns == (0, width)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the pixels."""
        return super().to_dict() | {"image": list(self.image.shape), "flips": self.flips}


def run_study(image: Image | None = None, model: str | ResNetSpec = "tiny") -> ConvolutionStudy:
    """Apply classic kernels to an image, and compute output sizes and the receptive fields of a model.

    :param image: a file of any size, reduced to at most ``LONGEST_SIDE`` pixels a side; or uint8 of shape (H, W) or
        (H, W, C) with at least 3×3 pixels; by default one of the digits.
    :param model: the name of a preset or a spec; its receptive fields are computed for an image of this size.
    :returns: the measurements.
    :raises DataError: if a file cannot be read, or an array has another dtype or shape.
    :raises ConfigError: if there is no such preset, or it cannot run on an image of this size.
    """
    spec = model if isinstance(model, ResNetSpec) else get_spec(model)
    name, gray = _to_gray(image)
    weights = np.array([kernel.weights for kernel in KERNELS])
    responses = convolve(gray, *weights)
    by_loops = naive_convolution.convolution(gray[np.newaxis, np.newaxis], weights[:, np.newaxis])[0]
    point, kernel = np.zeros((5, 5)), np.array(ASYMMETRIC_KERNEL)
    point[2, 2] = 1
    return ConvolutionStudy(
        name,
        gray,
        tuple(map(_response, KERNELS, responses)),
        float(np.abs(responses - by_loops).max()),
        kernel,
        point,
        convolve(point, kernel, padding="same"),
        convolve(point, kernel[::-1, ::-1], padding="same"),
        output_sizes(gray.shape),
        _heights(gray.shape[0]),
        spec.preset,
        receptive_fields(spec, gray.shape),
    )


def _response(kernel: Kernel, response: Array) -> KernelResponse:
    mean_size = float(np.abs(response).mean())
    return KernelResponse(kernel, response, float(response.min()), float(response.max()), mean_size)


def convolve(image: Array, *kernels: Any, **options: Any) -> Array:
    """Apply ``nn.Conv2d`` with one or several kernels to a gray image (H, W), in float64.

    :returns: (Ho, Wo), or (kernels, Ho, Wo) for several kernels.
    """
    weight = np.asarray(kernels, np.float64)[:, np.newaxis]  # (kernels, 1, kh, kw)
    size = (weight.shape[2], weight.shape[3])
    conv = nn.Conv2d(1, len(kernels), size, bias=False, dtype=np.float64, **options)
    conv.weight.data[...] = weight
    y: Array = conv.eval()(np.asarray(image, np.float64)[np.newaxis, np.newaxis])[0]
    return y[0] if len(kernels) == 1 else y


def output_sizes(size: tuple[int, ...]) -> tuple[OutputSize, ...]:
    """Return the output sizes of ``VARIATIONS`` on an image of (height, width), without those that do not fit."""
    sizes = []
    for changed, changes in VARIATIONS.items():
        arguments = {"in_channels": 1, "out_channels": 1, "kernel_size": 3, **changes}
        conv = nn.Conv2d(**arguments)
        shape = _output_size(conv, size)
        if shape is not None:
            parameters = sum(parameter.data.size for parameter in conv.parameters())
            kernels = conv.weight.data.shape
            sizes.append(OutputSize(changed, arguments, kernels, (conv.out_channels, *shape), parameters))
    return tuple(sizes)


def receptive_fields(model: str | ResNetSpec, size: tuple[int, ...] | None = None) -> tuple[LayerField, ...]:
    """Return the receptive field of each convolution, pool and residual block of a model, in forward order.

    :param size: (height, width) of the image; by default the model's own.
    """
    spec = model if isinstance(model, ResNetSpec) else get_spec(model)
    if size is not None:
        spec = spec.replace(image_size=(size[0], size[1]))
    fields = []
    for geometry in layer_geometries(spec):
        has_window = isinstance(geometry.layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.Residual)
        if has_window and ".downsample." not in geometry.name and len(geometry.output_shape) == 3:
            middle = (geometry.output_shape[1] // 2, geometry.output_shape[2] // 2)
            rows, columns = geometry.receptive_field.pixels(middle, spec.size)
            covered = (rows.start, rows.stop), (columns.start, columns.stop)
            fields.append(LayerField(geometry.name, geometry.output_shape, geometry.receptive_field, *covered))
    return tuple(fields)


def _heights(height: int) -> dict[str, tuple[int | None, ...]]:
    """Return output heights by kernel size for ``HEIGHT_SETTINGS``, None where the kernel does not fit."""
    kernels = range(1, min(height, MAX_KERNEL_SIZE) + 1)
    heights: dict[str, tuple[int | None, ...]] = {}
    for name, options in HEIGHT_SETTINGS.items():
        sizes = [_output_size(nn.Conv2d(1, 1, kernel, **options), (height, height)) for kernel in kernels]
        heights[name] = tuple(size and size[0] for size in sizes)
    return heights


def _output_size(conv: nn.Conv2d, size: tuple[int, ...]) -> tuple[int, int] | None:
    try:
        return conv.window.output_size((size[0], size[1]))
    except ShapeError:  # the kernel does not fit into the image
        return None


def _to_gray(image: Image | None) -> tuple[str, Array]:
    """Return the name of the image, and the image in gray: float64 (H, W) from 0 to 1."""
    if image is None:
        digits = load_data("digits").test
        return f"a handwritten {digits.labels[0]}", digits.images[0, :, :, 0] / 16
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        (scanned,) = scan_images([ImageFile.on_disk(path)])
        size = (LONGEST_SIDE, LONGEST_SIDE) if scanned.problem or not scanned.is_image else scanned.size
        scale = min(1.0, LONGEST_SIDE / max(size))
        height, width = (max(3, round(length * scale)) for length in size)
        return path.name, decode_image(path, (height, width), 1)[:, :, 0] / 255
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or min(pixels.shape[:2]) < 3 or not pixels.size:
        raise DataError(
            "image must be a file, or uint8 of shape (H, W) or (H, W, C) with at least 3×3 pixels. "
            f"Got {pixels.dtype} of shape {pixels.shape}."
        )
    gray: Array = (pixels if pixels.ndim == 2 else pixels.mean(axis=2)) / 255
    return "the image", gray
