"""What a convolution does to an image: what kernels answer to, what options do to the size, how far outputs see."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as preset
from glassnet.data import decode_image, load_data
from glassnet.data.decode import read_image_headers
from glassnet.errors import DataError, ShapeError
from glassnet.measures.receptive_field import ReceptiveField, places
from glassnet.pages.page import Code, Page, Section, Table
from glassnet.studies import convolution_figures as figures
from glassnet.studies.study import Study, to_builtin
from glassnet.verify import naive_convolution

Array = npt.NDArray[Any]
Image = str | os.PathLike[str] | npt.NDArray[np.uint8]

LONGEST_SIDE = 96  # pixels: so much is shown, and the plain loops still take about a second


@dataclass(frozen=True)
class Kernel:
    """A classic kernel, and what it answers to."""

    name: str
    answers_to: str
    weights: tuple[tuple[float, ...], ...]


_NINTH, _SIXTEENTH = 1 / 9, 1 / 16
KERNELS: tuple[Kernel, ...] = (
    # Named by what they answer to: columns 1, 0, −1 compare left with right, which differ at a vertical edge.
    Kernel("Sobel, columns 1, 0, −1", "vertical edges", ((1, 0, -1), (2, 0, -2), (1, 0, -1))),
    Kernel("Sobel, rows 1, 0, −1", "horizontal edges", ((1, 2, 1), (0, 0, 0), (-1, -2, -1))),
    Kernel("diagonal", "edges rising to the right", ((2, 1, 0), (1, 0, -1), (0, -1, -2))),
    Kernel("diagonal, mirrored", "edges falling to the right", ((0, 1, 2), (-1, 0, 1), (-2, -1, 0))),
    Kernel("Laplace", "spots and all edges", ((0, -1, 0), (-1, 4, -1), (0, -1, 0))),
    Kernel("sharpen", "brightness and contrast", ((0, -1, 0), (-1, 5, -1), (0, -1, 0))),
    Kernel("mean", "brightness around", ((_NINTH,) * 3,) * 3),
    Kernel(
        "Gauss",
        "brightness close by",
        (
            (_SIXTEENTH, 2 * _SIXTEENTH, _SIXTEENTH),
            (2 * _SIXTEENTH, 4 * _SIXTEENTH, 2 * _SIXTEENTH),
            (_SIXTEENTH, 2 * _SIXTEENTH, _SIXTEENTH),
        ),
    ),
)

LOPSIDED = ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, -1.0))  # unlike itself in any other position

# What is changed, one thing at a time, against 3×3 kernels without padding.
VARIATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("one 3×3 kernel", {}),
    ("a smaller kernel", {"kernel_size": 1}),
    ("a larger kernel", {"kernel_size": 5}),
    ("a flat kernel", {"kernel_size": (1, 3)}),
    ("padding valid (none)", {"padding": "valid"}),
    ("padding same", {"padding": "same"}),
    ("padding of 2", {"padding": 2}),
    ("stride 2", {"stride": 2}),
    ("stride 2, padding 1", {"stride": 2, "padding": 1}),
    ("dilation 2", {"dilation": 2}),
    ("dilation 2, same", {"dilation": 2, "padding": "same"}),
    ("16 output channels", {"out_channels": 16}),
    ("16 out of 3 channels", {"in_channels": 3, "out_channels": 16}),
)


@dataclass(frozen=True)
class Answer:
    """One kernel's answer to the image: (H − 2, W − 2), as the kernel is laid only where it fits."""

    kernel: Kernel
    response: Array


@dataclass(frozen=True)
class Size:
    """What one setting of a convolution makes of an image: its output's shape, and how many parameters it has."""

    changed: str
    arguments: Mapping[str, Any]
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Field:
    """How many pixels (height, width) one output of a layer sees, and which: those of the output in the middle."""

    layer: str
    output_shape: tuple[int, ...]
    view: ReceptiveField
    rows: tuple[int, int]  # first, and behind the last
    columns: tuple[int, int]


@dataclass(frozen=True)
class ConvolutionStudy(Study):
    """A gray image (H, W) in 0..1 and all that was measured on it."""

    name: str
    image: Array
    answers: tuple[Answer, ...]
    difference: float  # the largest between Conv2d's answers and those of the plain loops
    kernel: Array  # a lopsided kernel (3, 3) ...
    point: Array  # ... one white pixel (5, 5) ...
    correlated: Array  # ... and what Conv2d makes of the two, (5, 5),
    flipped: Array  # and with the kernel turned by 180°, the mathematicians' convolution, (5, 5)
    sizes: tuple[Size, ...]
    sides: Mapping[str, tuple[int | None, ...]]  # output height by kernel size 1, 2, ..., for settings by name
    model: str
    fields: tuple[Field, ...]

    @property
    def flips(self) -> bool:
        """Whether Conv2d flips its kernel: then the point's answer is the kernel as it is, and not turned."""
        inner = self.correlated[1:4, 1:4]
        return bool((inner == self.kernel).all())

    @property
    def summary(self) -> list[str]:
        strongest = max(self.answers[:4], key=lambda answer: float(np.abs(answer.response).mean()))
        edges = (
            f"Of the four kernels that compare two sides, the one for {strongest.kernel.answers_to} answers to this "
            "image most."
            if np.abs(strongest.response).any()
            else "None of the kernels that compare two sides answers to this image: it has no edges."
        )
        turned = "as it is" if self.flips else "turned by 180°"
        kind = "a true convolution" if self.flips else "a cross-correlation: it lays the kernel on the image unflipped"
        whole = next((field.layer for field in self.fields if self._sees_all(field)), None)
        height, width = self.image.shape
        last = self.fields[-1]
        seen = (
            f"From {whole} on the output in the middle sees the whole image of {height}×{width} pixels."
            if whole is not None
            else f"Not even that one sees the whole image of {height}×{width} pixels from the middle of its map; "
            "only the head, which reads the whole map, does."
        )
        return [
            f"On every kernel, Conv2d and the definition in plain loops differ by at most {self.difference:.1e}.",
            edges,
            f"Conv2d answers to a single white pixel with the kernel {turned}, so it is {kind}.",
            f"In {self.model} one output of {self.fields[0].layer} sees {_times(self.fields[0].view.size)} pixels, one "
            f"of {last.layer} sees {_times(last.view.size)}. {seen}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """All but the images, of which the extremes are told."""
        answers = [
            {
                "kernel": to_builtin(answer.kernel),
                "lowest": float(answer.response.min()),
                "highest": float(answer.response.max()),
                "mean_size": float(np.abs(answer.response).mean()),
            }
            for answer in self.answers
        ]
        return super().to_dict() | {"image": list(self.image.shape), "answers": answers, "flips": self.flips}

    def _sees_all(self, field: Field) -> bool:
        height, width = self.image.shape
        return field.rows == (0, height) and field.columns == (0, width)


def run_study(image: Image | None = None, model: str | ResNetSpec = "tiny") -> ConvolutionStudy:
    """Lays classic kernels on an image, and works out what options do to sizes, and how far a model's outputs see.

    :param image: a file of any size, of which at most ``LONGEST_SIDE`` pixels are shown; or uint8 (H, W) or
        (H, W, C), at least 3×3; by default one of the digits.
    :param model: whose receptive fields are worked out, on an image of this size.
    :raises DataError: a file that cannot be read, or an array of another dtype or shape.
    :raises ConfigError: there is no such preset.
    """
    spec = preset(model) if isinstance(model, str) else model
    name, gray = _gray(image)
    answers, difference = _answers(gray)
    point = np.zeros((5, 5))
    point[2, 2] = 1
    kernel = np.array(LOPSIDED)
    return ConvolutionStudy(
        name,
        gray,
        answers,
        difference,
        kernel,
        point,
        convolved(point, kernel, padding="same"),
        convolved(point, kernel[::-1, ::-1], padding="same"),
        output_sizes(gray.shape),
        _sides(gray.shape[0]),
        spec.preset,
        receptive_fields(spec, gray.shape),
    )


def convolved(image: Array, *kernels: Any, **options: Any) -> Array:
    """What ``nn.Conv2d`` makes of a gray image (H, W) with one or several kernels, in float64.

    :returns: (Ho, Wo), of several kernels (kernels, Ho, Wo).
    """
    weight = np.asarray(kernels, np.float64)[:, np.newaxis]
    size = (weight.shape[2], weight.shape[3])
    conv = nn.Conv2d(1, len(kernels), size, bias=False, dtype=np.float64, **options)
    conv.weight.data[...] = weight
    y: Array = conv.eval()(np.asarray(image, np.float64)[np.newaxis, np.newaxis])[0]
    return y[0] if len(kernels) == 1 else y


def output_sizes(size: tuple[int, ...]) -> tuple[Size, ...]:
    """What each of ``VARIATIONS`` makes of an image of (height, width); those that do not fit on it are left out."""
    found = []
    for changed, changes in VARIATIONS:
        arguments = {"in_channels": 1, "out_channels": 1, "kernel_size": 3, **changes}
        conv = nn.Conv2d(**arguments)
        shape = _output(conv, size)
        if shape is not None:
            count = sum(parameter.data.size for parameter in conv.parameters())
            found.append(Size(changed, arguments, (conv.out_channels, *shape), count))
    return tuple(found)


def receptive_fields(model: str | ResNetSpec, size: tuple[int, ...] | None = None) -> tuple[Field, ...]:
    """How far each convolution, pool and residual block of a model sees, in forward order.

    :param size: (height, width) of the image; by default the model's own.
    """
    spec = preset(model) if isinstance(model, str) else model
    if size is not None:
        spec = spec.replace(image_size=(size[0], size[1]))
    found = []
    for place in places(spec):
        sees = isinstance(place.layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.Residual)
        if not sees or ".downsample." in place.name or len(place.output_shape) != 3:
            continue
        middle = (place.output_shape[1] // 2, place.output_shape[2] // 2)
        rows, columns = place.view.pixels(middle, spec.size)
        found.append(
            Field(place.name, place.output_shape, place.view, (rows.start, rows.stop), (columns.start, columns.stop))
        )
    return tuple(found)


def _answers(gray: Array) -> tuple[tuple[Answer, ...], float]:
    weights = [kernel.weights for kernel in KERNELS]
    responses = convolved(gray, *weights)
    by_loops = naive_convolution.convolution(gray[np.newaxis, np.newaxis], np.asarray(weights)[:, np.newaxis])[0]
    answers = tuple(Answer(kernel, response) for kernel, response in zip(KERNELS, responses, strict=True))
    return answers, float(np.abs(responses - by_loops).max())


def _sides(height: int) -> dict[str, tuple[int | None, ...]]:
    """Output heights by kernel size, None where the kernel no longer fits."""
    settings: dict[str, dict[str, Any]] = {
        "same": {"padding": "same"},
        "valid": {"padding": "valid"},
        "valid, dilation 2": {"padding": "valid", "dilation": 2},
        "valid, stride 2": {"padding": "valid", "stride": 2},
    }
    kernels = range(1, min(height, 11) + 1)
    sides: dict[str, tuple[int | None, ...]] = {}
    for name, options in settings.items():
        shapes = [_output(nn.Conv2d(1, 1, kernel, **options), (height, height)) for kernel in kernels]
        sides[name] = tuple(shape and shape[0] for shape in shapes)
    return sides


def _output(conv: nn.Conv2d, size: tuple[int, ...]) -> tuple[int, int] | None:
    try:
        return conv.window.output_size((size[0], size[1]))
    except ShapeError:  # not a single window fits
        return None


def _gray(image: Image | None) -> tuple[str, Array]:
    """The image's name, and it in gray: float64 (H, W) from 0 to 1."""
    if image is None:
        digits = load_data("digits").test
        return f"a handwritten {digits.labels[0]}", digits.images[0, :, :, 0] / 16
    if isinstance(image, str | os.PathLike):
        return Path(image).name, _decoded(Path(image)) / 255
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or min(pixels.shape[:2]) < 3:
        raise DataError(
            f"An image must be uint8 of shape (H, W) or (H, W, C), at least 3×3. Got {pixels.dtype} of shape "
            f"{pixels.shape}."
        )
    gray: Array = (pixels if pixels.ndim == 2 else pixels.mean(axis=2)) / 255
    return "the image", gray


def _decoded(path: Path) -> npt.NDArray[np.uint8]:
    """A file in gray, in its own proportions."""
    size = next((size for _, size, _ in read_image_headers([path])), (LONGEST_SIDE, LONGEST_SIDE))
    share = min(1.0, LONGEST_SIDE / max(size))
    height, width = (max(3, round(length * share)) for length in size)
    return decode_image(path, (height, width), 1)[:, :, 0]


def build_page(study: ConvolutionStudy) -> Page:
    """The study as a page, not yet written."""
    height, width = study.image.shape
    code = Code("The definition, as Python", inspect.getsource(naive_convolution.convolution))
    lead = (
        "A kernel is laid on every place of the image; the numbers under it are multiplied with its weights and "
        f"added up. Here the kernels are laid only where they fit, so of {height}×{width} pixels "
        f"{height - 2}×{width - 2} answers are left."
    )
    weights = Table(
        "The kernels, row by row",
        ["Answers to", "Kernel", "Weights", "Sum of the weights", "Largest answer"],
        [
            (
                answer.kernel.answers_to,
                answer.kernel.name,
                " | ".join(" ".join(map(_fraction, row)) for row in answer.kernel.weights),
                round(float(np.sum(answer.kernel.weights)), 12),
                float(np.abs(answer.response).max()),
            )
            for answer in study.answers
        ],
        folded=True,
    )
    sizes = Table(
        f"What becomes of an image of {height}×{width}",
        ["Changed", "Output", "Parameters"],
        [(one.changed, _times(one.output_shape), one.parameters) for one in study.sizes],
    )
    formula = (
        "Along each axis the output has ⌊(size + padding − dilation · (kernel − 1) − 1) / stride⌋ + 1 numbers, where "
        "the padding counts both borders. Channels change nothing about height and width: each output channel has a "
        "kernel of its own, which runs over all input channels."
    )
    sum_zero = (
        "A kernel whose weights add up to 0 answers with 0 to whatever is even. One whose weights add up to 1 hands "
        "brightness on."
    )
    fields = Table(
        f"Every layer of {study.model} that looks around itself",
        ["Layer", "Output", "Sees (pixels)", "Steps (pixels)"],
        [
            (field.layer, _times(field.output_shape), _times(field.view.size), _times(field.view.stride))
            for field in study.fields
        ],
        folded=len(study.fields) > 12,
    )
    growth = (
        "A 3×3 kernel sees its neighbours, and through them their neighbours: each further layer adds two pixels, "
        "twice as many behind a layer of stride 2. The shortcut adds none; it only keeps the near view beside the far "
        "one."
    )
    return Page(
        f"Convolution, on {study.name}",
        [
            ("Image", f"{height}×{width}"),
            ("Against plain loops", f"{study.difference:.1e}"),
            (f"{study.fields[-1].layer} sees", _times(study.fields[-1].view.size)),
        ],
        study.summary,
        [
            Section("What kernels answer to", [lead, figures.kernel_answer_figure(study), sum_zero, weights, code]),
            Section("Not flipped", [figures.correlation_figure(study)]),
            Section("What options do to the size", [formula, figures.output_size_figure(study), sizes]),
            Section(
                "The receptive field",
                [growth, figures.field_on_image_figure(study), figures.field_growth_figure(study), fields],
            ),
        ],
    )


def _fraction(weight: float) -> str:
    return str(Fraction(weight).limit_denominator(16)).replace("-", "−")


def _times(lengths: tuple[int, ...]) -> str:
    return "×".join(map(str, lengths))
