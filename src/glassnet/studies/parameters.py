"""Parameters of a model's convolutions, beside those of dense layers for the same shapes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log10, prod
from typing import Any

import plotly.graph_objects as go

from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as get_spec
from glassnet.measures.receptive_field import layer_geometries
from glassnet.pages.colours import BACKGROUND, TEST, TRAIN
from glassnet.pages.page import Page, Section, Table
from glassnet.pages.text import format_factor, format_shape
from glassnet.pages.theme import (
    CATEGORY_AXIS,
    LABEL_SIZE,
    TITLE_HEIGHT,
    legend,
    new_figure,
    text_width,
)
from glassnet.studies.study import Study

MAX_OPEN_ROWS = 24
KIND_NAMES = {"convolution": "convolutions", "normalization": "normalization", "dense": "the dense layer at the end"}
_ROW_HEIGHT, _FOOT_HEIGHT = 48, 84  # pixels: two bars, and the space below all bars


@dataclass(frozen=True)
class LayerParameters:
    """One layer with parameters, and the count of a dense layer for the same shapes (None for normalization).

    Shapes are those of one image, without N.
    """

    name: str
    kind: str  # "convolution", "dense" or "normalization"
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel_size: tuple[int, int] | None  # None where the layer is no convolution
    parameters: int
    dense: int | None

    @property
    def shapes(self) -> str:
        """The channels, the kernel and the image size, such as ``1→8, 3×3 on 8×8``."""
        before, after = self.input_shape[0], self.output_shape[0]
        if self.kernel_size is None:
            return f"{before}→{after}" if self.kind == "dense" else f"{after} channels"
        return f"{before}→{after}, {format_shape(self.kernel_size)} on {format_shape(self.input_shape[1:])}"


@dataclass(frozen=True, repr=False)
class ParameterStudy(Study):
    """A worked example, and every layer with parameters of a model in forward order."""

    model: str
    example: LayerParameters
    layers: tuple[LayerParameters, ...]

    @property
    def convolutions(self) -> list[LayerParameters]:
        """The convolutions, in forward order."""
        return [layer for layer in self.layers if layer.kind == "convolution"]

    def total(self, kind: str) -> int:
        """Return the number of parameters in all layers of a kind."""
        return sum(layer.parameters for layer in self.layers if layer.kind == kind)

    @property
    def dense(self) -> int:
        """Parameters of dense layers in place of all convolutions."""
        return sum(layer.dense or 0 for layer in self.convolutions)

    @property
    def summary(self) -> list[str]:
        example, n_convolution = self.example, self.total("convolution")
        n_parameters = sum(layer.parameters for layer in self.layers)
        fractions = [
            f"{self.total(kind) / n_parameters:.1%} in {name}" for kind, name in KIND_NAMES.items() if self.total(kind)
        ]
        return [
            f"A dense layer from {prod(example.input_shape):,} to {prod(example.output_shape):,} values has "
            f"{example.dense:,} parameters. A convolution for the same shapes ({example.shapes}) has "
            f"{example.parameters:,}, {_compare(example.parameters, example.dense or 0)}.",
            f"The {len(self.convolutions)} convolutions of {self.model} have {n_convolution:,} parameters. Dense "
            f"layers for the same shapes would have {self.dense:,}. The convolutions have "
            f"{_compare(n_convolution, self.dense)}.",
            f"{self.model} has {n_parameters:,} parameters: {', '.join(fractions)}.",
        ]


def run_study(model: str | ResNetSpec = "tiny") -> ParameterStudy:
    """Count the parameters of a model's layers, and of dense layers for the same shapes.

    A dense layer has a bias for each of its outputs where the convolution has biases.

    :param model: the name of a preset or a spec; for a network, ``network.spec``.
    :returns: the counts of all layers and of a worked example.
    :raises ConfigError: if there is no such preset.
    """
    spec = model if isinstance(model, ResNetSpec) else get_spec(model)
    layers = [
        _count(geometry.name, geometry.layer, geometry.input_shape, geometry.output_shape)
        for geometry in layer_geometries(spec)
        if isinstance(geometry.layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    ]
    example = _count("example", nn.Conv2d(1, 8, 3, padding="same"), (1, 8, 8), (8, 8, 8))
    return ParameterStudy(spec.preset, example, tuple(layers))


def _count(name: str, layer: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> LayerParameters:
    parameters = sum(parameter.data.size for parameter in layer.parameters())
    kernel_size, dense = None, None
    if isinstance(layer, nn.Conv2d):
        kind, kernel_size = "convolution", layer.window.kernel_size
        dense = prod(output_shape) * (prod(input_shape) + (layer.bias is not None))
    elif isinstance(layer, nn.Linear):
        kind, dense = "dense", parameters
    else:
        kind = "normalization"
    return LayerParameters(name, kind, input_shape, output_shape, kernel_size, parameters, dense)


def build_page(study: ParameterStudy) -> Page:
    """Return the study as a page."""
    key_figures = [
        ("In convolutions", f"{study.total('convolution'):,}"),
        ("Dense layers instead", f"{format_factor(study.dense / study.total('convolution'))}×"),
        ("The example", f"{study.example.parameters:,} against {study.example.dense:,}"),
    ]
    rows = [
        {
            "Layer": layer.name,
            "Kind": layer.kind,
            "Input": format_shape(layer.input_shape),
            "Output": format_shape(layer.output_shape),
            "Parameters": layer.parameters,
            "Dense": layer.dense,
            "Dense / parameters": layer.dense and layer.dense / layer.parameters,
        }
        for layer in study.layers
    ]
    title = f"Every layer with parameters of {study.model}"
    table = Table.from_records(title, rows, collapsed=len(rows) > MAX_OPEN_ROWS)
    why = (
        "A convolution uses the same few weights at every position of the image. Its parameter count does not depend "
        "on the image size, and a pattern learned in one corner is recognized everywhere. A dense layer has a separate "
        "weight from every input to every output. Biases are counted where the layer has them."
    )
    return Page(
        f"Parameters of {study.model}: convolution against dense",
        key_figures,
        study.summary,
        [
            Section("One convolution", [why, dense_example_figure(study.example)]),
            Section(f"The convolutions of {study.model}", [parameter_figure(study.convolutions), table]),
        ],
    )


def dense_example_figure(layer: LayerParameters) -> go.Figure:
    """Draw one convolution beside the dense layer for the same shapes, on a linear axis."""
    return _bars(
        "A convolution beside a dense layer",
        [layer.shapes],
        [layer],
        log=False,
        caption=(
            "Parameter counts of two layers with the same input and output shape. Lengths are in proportion, so the "
            "bar of the convolution is hardly visible."
        ),
    )


def parameter_figure(layers: Sequence[LayerParameters]) -> go.Figure:
    """Draw two bars for each kind of convolution of a model, on a logarithmic axis that begins at one parameter.

    :param layers: the convolutions; those with the same channels, kernel and image size share a pair of bars.
    """
    counts = Counter(layer.shapes for layer in layers)
    kinds = {layer.shapes: layer for layer in reversed(layers)}
    return _bars(
        "Parameters of one layer",
        [f"{shapes} ({count}×)" if count > 1 else shapes for shapes, count in counts.items()],
        [kinds[shapes] for shapes in counts],
        log=True,
        caption=(
            "Parameter counts by channels before → after, kernel and image size, with the number of such layers. The "
            "axis is logarithmic. The gap between two bars is what shared weights save; it narrows as images become "
            "smaller."
        ),
    )


def _bars(title: str, names: Sequence[str], layers: Sequence[LayerParameters], *, log: bool, caption: str) -> go.Figure:
    counts = "; ".join(
        f"{name}: {layer.parameters:,} as convolution, {layer.dense:,} as dense layer"
        for name, layer in zip(names, layers, strict=True)
    )
    left = 16 + text_width(names)
    figure = new_figure(
        title,
        caption=caption,
        alt=f"Bars on a {'logarithmic' if log else 'linear'} axis. {counts}.",
        height=TITLE_HEIGHT + _ROW_HEIGHT * max(len(names), 2) + _FOOT_HEIGHT,
        margin={"l": left, "b": _FOOT_HEIGHT, "r": 24},
        min_width=left + 150,
    )
    _add_bars(figure, "convolution", TRAIN, names, [layer.parameters for layer in layers])
    _add_bars(figure, "dense layer", TEST, names, [layer.dense or 0 for layer in layers])
    figure.update_layout(barmode="group", bargap=0.25, legend=legend() | {"traceorder": "normal"})
    figure.update_yaxes(autorange="reversed", **CATEGORY_AXIS)
    largest = max(layer.dense or 1 for layer in layers)
    axis: dict[str, Any] = {"range": [0, 1.02 * largest], "nticks": 5}
    if log:
        powers_per_tick = 3 if largest > 10**5 else 1
        axis = {"type": "log", "range": [0, 1.02 * log10(largest)], "exponentformat": "power", "dtick": powers_per_tick}
    return figure.update_xaxes(title_text="parameters", zeroline=True, tickangle=0, **axis)


def _add_bars(figure: go.Figure, name: str, colour: str, categories: Iterable[str], counts: list[int]) -> None:
    figure.add_bar(
        y=list(categories),
        x=counts,
        name=name,
        orientation="h",
        marker_color=colour,
        text=[f"{count:,}" for count in counts],
        textposition="auto",
        textfont={"size": LABEL_SIZE},
        insidetextanchor="end",
        insidetextfont_color=BACKGROUND,
        textangle=0,
        cliponaxis=False,
        hovertemplate=f"%{{y}}<br>{name}: %{{x:,}} parameters<extra></extra>",
    )


def _compare(convolution: int, dense: int) -> str:
    if dense >= convolution:
        return f"{format_factor(dense / convolution)} times fewer"
    return f"{format_factor(convolution / dense)} times more, because the image is smaller than the kernel"
