"""How many parameters a convolution saves: a dense layer for the same map, beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as preset
from glassnet.measures.receptive_field import Place, places
from glassnet.pages.page import Page, Section, Table
from glassnet.studies import parameters_figures as figures
from glassnet.studies.study import Study

MOST_OPEN_ROWS = 24


@dataclass(frozen=True)
class LayerParameters:
    """One layer with parameters, and how many a dense layer for the same map would have (None: it has no such).

    Shapes are those of one image, without N.
    """

    name: str
    kind: str  # "convolution", "dense" or "normalization"
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel_size: tuple[int, int] | None  # of a convolution
    parameters: int
    dense: int | None

    @property
    def map(self) -> str:
        """What it does to an image, such as 1→8, 3×3 on 8×8."""
        before, after = self.input_shape[0], self.output_shape[0]
        if self.kernel_size is None:
            return f"{before}→{after}" if self.kind == "dense" else f"{after} channels"
        return f"{before}→{after}, {_times(self.kernel_size)} on {_times(self.input_shape[1:])}"


@dataclass(frozen=True)
class ParameterStudy(Study):
    """A worked example, and every layer with parameters of a model in forward order."""

    model: str
    example: LayerParameters
    layers: tuple[LayerParameters, ...]

    @property
    def convolutions(self) -> list[LayerParameters]:
        return [layer for layer in self.layers if layer.kind == "convolution"]

    def total(self, kind: str) -> int:
        """Parameters in all layers of a kind."""
        return sum(layer.parameters for layer in self.layers if layer.kind == kind)

    @property
    def dense(self) -> int:
        """Parameters of dense layers in place of all convolutions."""
        return sum(layer.dense or 0 for layer in self.convolutions)

    @property
    def summary(self) -> list[str]:
        one, total = self.example, self.total("convolution")
        inputs, outputs = prod(one.input_shape), prod(one.output_shape)
        sentences = [
            f"A dense layer from {inputs:,} to {outputs:,} numbers has {one.dense:,} parameters. A convolution for the "
            f"same map ({one.map}) has {one.parameters:,}: {_compared(one.parameters, one.dense or 0)}.",
            f"In {self.model} the {len(self.convolutions)} convolutions have {total:,} parameters; dense layers in "
            f"their place would have {self.dense:,}. The convolutions need {_compared(total, self.dense)}.",
        ]
        shares = {kind: self.total(kind) for kind in ("convolution", "normalization", "dense")}
        everything = sum(shares.values())
        told = ", ".join(f"{count / everything:.1%} in {name}" for name, count in _named(shares) if count)
        return [*sentences, f"Its {everything:,} parameters: {told}."]


def run_study(model: str | ResNetSpec = "tiny") -> ParameterStudy:
    """Counts the parameters of a model's layers, and of dense layers for the same maps.

    A dense layer has a bias for each of its outputs where the convolution has biases.

    :param model: a preset's name or a spec; of a network, ``network.spec``.
    :raises ConfigError: there is no such preset.
    """
    spec = preset(model) if isinstance(model, str) else model
    conv, image = nn.Conv2d(1, 8, 3, padding="same"), (1, 8, 8)
    output = (8, *conv.window.output_size((8, 8)))
    example = _counted("example", conv, image, output)
    return ParameterStudy(spec.preset, example, tuple(_layers(places(spec))))


def _layers(found: Iterable[Place]) -> Iterable[LayerParameters]:
    for place in found:
        if isinstance(place.layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            yield _counted(place.name, place.layer, place.input_shape, place.output_shape)


def _counted(
    name: str, layer: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> LayerParameters:
    own = sum(parameter.data.size for parameter in layer.parameters())
    if isinstance(layer, nn.Conv2d):
        inputs, outputs = prod(input_shape), prod(output_shape)
        dense = inputs * outputs + (outputs if layer.bias is not None else 0)
        return LayerParameters(name, "convolution", input_shape, output_shape, layer.window.kernel_size, own, dense)
    is_dense = isinstance(layer, nn.Linear)
    kind = "dense" if is_dense else "normalization"
    return LayerParameters(name, kind, input_shape, output_shape, None, own, own if is_dense else None)


def build_page(study: ParameterStudy) -> Page:
    """The study as a page, not yet written."""
    facts = [
        ("In convolutions", f"{study.total('convolution'):,}"),
        ("Dense layers instead", f"{study.dense / study.total('convolution'):,.0f}×"),
        ("The example", f"{study.example.parameters:,} against {study.example.dense:,}"),
    ]
    rows = [
        (
            layer.name,
            layer.kind,
            _times(layer.input_shape),
            _times(layer.output_shape),
            layer.parameters,
            layer.dense,
            None if layer.dense is None else layer.dense / layer.parameters,
        )
        for layer in study.layers
    ]
    columns = ["Layer", "Kind", "Input", "Output", "Parameters", "Dense", "Times as many"]
    why = (
        "A convolution uses the same few weights at every place of the image, so its parameters do not depend on the "
        "image's size, and what it learned in one corner it knows in all others. A dense layer has a weight of its "
        "own from every input to every output. Biases are counted where the layer has them."
    )
    every = Table(f"Every layer with parameters of {study.model}", columns, rows, folded=len(rows) > MOST_OPEN_ROWS)
    return Page(
        f"Parameters of {study.model}: convolution against dense",
        facts,
        study.summary,
        [
            Section("The same map, twice", [why, figures.dense_example_figure(study.example)]),
            Section(f"The convolutions of {study.model}", [figures.parameter_figure(study.convolutions), every]),
        ],
    )


def _named(shares: dict[str, int]) -> list[tuple[str, int]]:
    names = {"convolution": "convolutions", "normalization": "normalization", "dense": "the dense layer at the end"}
    return [(names[kind], count) for kind, count in shares.items()]


def _compared(convolution: int, dense: int) -> str:
    """How many times fewer, or more, parameters a convolution has."""
    if dense >= convolution:
        return f"{_ratio(dense / convolution)} times fewer"
    return f"{_ratio(convolution / dense)} times more, since the image is smaller than the kernel"


def _ratio(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _times(lengths: Iterable[int]) -> str:
    return "×".join(map(str, lengths))
