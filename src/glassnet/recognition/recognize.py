"""``recognize``, which finds the spec of the network in a weights file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from glassnet.architecture import PRESETS, ResNetSpec
from glassnet.errors import ConfigError, DataError, as_path, examples
from glassnet.formats import pluralize
from glassnet.layer_graph import graph, walk
from glassnet.nn.module import state_dict_faults
from glassnet.progress import Progress, TerminalProgress, show_progress
from glassnet.recognition.config_beside import (
    check_variant,
    input_size,
    names_network,
    read_config_beside,
    spec_of_run,
)
from glassnet.recognition.other_networks import name_of_network
from glassnet.recognition.spec_from_shapes import assumptions, spec_from_shapes
from glassnet.weights import load_weights

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Recognition:
    """The spec of the weights in a file, and what about it neither they nor a configuration beside the file say."""

    path: Path
    spec: ResNetSpec
    assumptions: tuple[str, ...] = ()

    def __str__(self) -> str:
        assumed = f". Assumed, as the weights do not say: {'; '.join(self.assumptions)}" * bool(self.assumptions)
        return f"{self.path} has the weights of {describe_spec(self.spec)}{assumed}"


def recognize(weights: str | PathLike[str], progress: Progress | None = None) -> ResNetSpec:
    """Return the spec of the network whose weights a file has, found from their keys and shapes.

    These fix the block, the number of blocks of each stage, channels, stem, classes, BatchNorm, pre-activation, and
    projection shortcuts. What they do not fix is assumed, and one line says what: the image size of the preset (a
    flatten head fixes it), torch's ``bn_eps``, the pool that the presets have, the stride on the 3×3 convolution of a
    bottleneck (v1.5, torchvision), and, without projections, zero-padded shortcuts (option A). A ``config.json`` beside
    the file, of a run, of Hugging Face's Transformers or of timm, is respected. ``spec.preset`` is the nearest preset.

    :param weights: a file that ``load_weights`` reads.
    :param progress: receives the line; None shows it on stderr.
    :raises DataError: if ``load_weights`` cannot read the file, or no spec describes its network; names what differs.
    """
    path = as_path("A weights file", weights)
    progress = progress or TerminalProgress()
    with show_progress(progress):
        recognized = recognize_state(path, load_weights(path))
    progress.log(str(recognized))
    return recognized.spec


def recognize_state(path: Path, state: Mapping[str, NDArray[Any]], *, as_backbone: bool = False) -> Recognition:
    """Return the spec of the weights that ``load_weights`` read from a file.

    :param as_backbone: True if the images and the last layer are to be others, which may be of any kind here.
    :raises DataError: if no spec describes the network.
    """
    shapes = {key: array.shape for key, array in state.items()}
    with_head = not as_backbone and any(key.startswith("fc.") for key in shapes)
    config = read_config_beside(path)
    of_run = spec_of_run(config)
    if of_run and not _faults(of_run, shapes, with_head):
        return Recognition(path, of_run)
    try:
        spec = spec_from_shapes(shapes)
    except ConfigError as error:
        raise DataError(f"{path} must hold a network that a ResNetSpec describes: {error}") from None
    if spec is None:
        name = name_of_network(shapes)
        received = (
            f"{name}, in {pluralize(len(shapes), 'tensor')}"
            if name
            else f"{pluralize(len(shapes), 'tensor')}{examples(list(shapes)) * bool(shapes)}"
        )
        raise DataError(f"{path} must hold a network that a ResNetSpec describes. Got {received}.")
    if faults := _faults(spec, shapes, with_head):
        raise DataError(
            f"{path} must hold a network that a ResNetSpec describes. Got {name_of_network(shapes) or 'another one'}. "
            f"Beside the nearest spec, {describe_spec(spec)}, it has {faults}."
        )
    check_variant(path, config, spec)
    known = {"image_size", "classes"} if as_backbone else set()
    if names_network(config, spec):
        known |= {"pool", "stride", "skip"}
    if (size := input_size(config)) and spec.head == "average":
        spec, known = spec.replace(image_size=size), known | {"image_size"}
    assumed = assumptions(spec, shapes)
    return Recognition(path, spec, tuple(text for subject, text in assumed.items() if subject not in known))


def describe_spec(spec: ResNetSpec) -> str:
    """Return the preset of a spec and the fields that differ from it: ``resnet50 with classes 37, image_size 64``."""
    changes = spec.differences(PRESETS[spec.preset]) if spec.preset in PRESETS else spec.differences(ResNetSpec())
    fields = ", ".join(f"{name} {field_text(value)}" for name, (value, _) in changes.items() if name != "preset")
    return spec.preset + f" with {fields}" * bool(fields)


def field_text(value: Any) -> str:
    """Return the value of a field as a person types it: ``3+4+6+3``."""
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def state_shapes(spec: ResNetSpec) -> dict[str, Shape]:
    """Return the shape of each parameter and buffer of the network of a spec, by key."""
    return {
        key: tuple(shape)
        for node in walk(graph(spec))
        for key, shape in {**node["parameters"], **node["buffers"]}.items()
    }


def _faults(spec: ResNetSpec, shapes: Mapping[str, Shape], with_head: bool) -> str:
    def compared(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {key: shape for key, shape in shapes.items() if with_head or not key.startswith("fc.")}

    return state_dict_faults(compared(state_shapes(spec)), compared(shapes))
