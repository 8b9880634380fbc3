"""The layers of a network in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.course.calling import AnswerError
from glassnet.nn.module import module_hooks

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """A layer without children as it ran: its name, and the shapes of its input and output."""

    name: str
    layer: nn.Module
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class Anatomy:
    """The layers of a network in the order in which they ran on images (2, 1, 8, 8), and the shape of the logits."""

    module: nn.Module
    steps: list[Step]
    blocks: list[nn.Residual]  # residual blocks, in the order in which they ran
    output_shape: tuple[int, ...]

    def steps_of(self, *kinds: type) -> list[Step]:
        """Return the steps whose layer is of one of these classes."""
        return [step for step in self.steps if isinstance(step.layer, kinds)]

    @property
    def is_strided(self) -> list[bool]:
        """Whether each convolution has a stride above 1."""
        return [stride_of(step.layer) > 1 for step in self.steps_of(nn.Conv2d)]


def stride_of(layer: Any) -> int:
    """Return the larger stride of a convolution."""
    return int(max(layer.window.stride))


def dissect(module: nn.Module, images: Array) -> Anatomy:
    """Run the network once, and write down which layers run.

    :raises AnswerError: if it does not run.
    """
    names = {layer: name for name, layer in module.named_modules()}  # one name for a layer in two places
    layers = {name: layer for layer, name in names.items()}
    steps: list[Step] = []
    blocks: list[nn.Residual] = []

    def note(name: str, x: Array, y: Array) -> None:
        layer = layers[name]
        if isinstance(layer, nn.Residual):
            blocks.append(layer)
        elif not any(layer.named_children()):
            steps.append(Step(name, layer, x.shape, y.shape))

    try:
        with module_hooks(module, layers, forward=note):
            y = module(images)
    except Exception as error:  # layers may be the learner's own
        raise AnswerError(
            f"The network does not run on images (2, 1, 8, 8). {type(error).__name__}: {error}"
        ) from error
    return Anatomy(module, steps, blocks, np.shape(y))
