"""Exercises whose answer is a network: ``tiny`` with one thing changed, judged by its layers and its gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import ResNetSpec, assemble, spec
from glassnet.course.anatomy import Anatomy, dissect, stride_of
from glassnet.course.calling import AnswerError, check_signature, run
from glassnet.course.exercise import Exercise
from glassnet.data import make_rng
from glassnet.engines import Network
from glassnet.errors import GlassnetError
from glassnet.formats import pluralize
from glassnet.verify import check_network

Array = NDArray[Any]


Requirement = Callable[[Anatomy], str]  # returns a hint, empty if the requirement is met


@dataclass(frozen=True, repr=False)
class NetworkExercise(Exercise):
    """An exercise whose answer is a spec, or a function that returns a network of glassnet.nn's layers.

    The requirements are tried in order. Then all other layers must be those of ``expected``, and the gradients right.
    """

    expected: ResNetSpec
    requirements: tuple[Requirement, ...]

    @property
    def signature(self) -> str:
        return "a spec, or a function () -> network"

    def judge(self, answer: Any, seed: int) -> str:
        rng = make_rng(seed, "exercise")
        images, labels = rng.standard_normal((2, 1, 8, 8)), rng.integers(10, size=2)
        try:
            module = _as_module(answer)
            anatomy = dissect(module, images)
        except AnswerError as error:
            return str(error)
        hints = (requirement(anatomy) for requirement in (*_ALWAYS, *self.requirements, self._rest_is_unchanged))
        return next((hint for hint in hints if hint), "") or _check_gradients(module, images, labels)

    def _rest_is_unchanged(self, anatomy: Anatomy) -> str:
        found, expected = _parameter_shapes(anatomy.module), _parameter_shapes(assemble(self.expected, nn))
        if found == expected:
            return ""
        difference = _parameter_count(found) - _parameter_count(expected)
        amount = (
            f"{pluralize(abs(difference), 'parameter')} too {'many' if difference > 0 else 'few'}"
            if difference
            else "other shapes of parameters"
        )
        return f"The change is there, but the network has {amount}. Leave everything else as it is in tiny."


def _parameter_shapes(module: nn.Module) -> Counter[tuple[int, ...]]:
    """Return how often each shape occurs, without those of convolutions with a stride, whose kernel may be chosen."""
    free = {id(p) for m in module.modules() if isinstance(m, nn.Conv2d) and stride_of(m) > 1 for p in m.parameters()}
    return Counter(parameter.data.shape for parameter in module.parameters() if id(parameter) not in free)


def _parameter_count(shapes: Counter[tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) * count for shape, count in shapes.items())


def _as_module(answer: Any) -> nn.Module:
    if callable(answer) and not isinstance(answer, nn.Module):
        check_signature(answer, [])
        answer = run(answer)
    if isinstance(answer, Network):
        answer = answer.spec
    if isinstance(answer, ResNetSpec):
        answer = assemble(answer, nn)
    if not isinstance(answer, nn.Module):
        raise AnswerError(
            f"The answer must be a spec, or a function that returns a network. Got {type(answer).__name__}."
        )
    return deepcopy(answer).to(np.float64).train()


def _check_gradients(module: nn.Module, images: Array, labels: Array) -> str:
    try:
        report = check_network(module, images, labels)
    except Exception as error:  # layers may be the learner's own
        reason = str(error) if isinstance(error, GlassnetError) else f"{type(error).__name__}: {error}"
        return f"The gradients cannot be computed. {reason}"
    return "" if report.passed else f"The layers are there, but the gradient of {report.worst.tensor} is wrong."


# Requirements of every network


def _returns_logits(anatomy: Anatomy) -> str:
    if anatomy.output_shape == (2, 10):
        return ""
    return f"The network must return logits of shape (2, 10) for images (2, 1, 8, 8). Got {anatomy.output_shape}."


def _uses_layers_once(anatomy: Anatomy) -> str:
    counts = Counter(id(step.layer) for step in anatomy.steps) + Counter(map(id, anatomy.blocks))
    if max(counts.values(), default=0) < 2:
        return ""
    return (
        "A layer runs twice in one pass. Make a new layer for each place: it has its own parameters and saved arrays."
    )


_ALWAYS = (_returns_logits, _uses_layers_once)


# Requirements of one exercise


def _has_two_blocks(anatomy: Anatomy) -> str:
    count = len(anatomy.blocks)
    if count == 2:
        return ""
    return f"The network must have two residual blocks. Got {count or 'no residual block'}."


def _blocks_have_shortcuts(anatomy: Anatomy) -> str:
    without = [
        block for block in anatomy.blocks if not {"shortcut", "downsample"} & dict(block.named_children()).keys()
    ]
    return "A block has no shortcut: its output is F(x), not x + F(x)." if without else ""


def _blocks_keep_the_size(anatomy: Anatomy) -> str:
    inside = {id(module) for block in anatomy.blocks for module in block.modules()}
    shapes = {step.output_shape for step in anatomy.steps if id(step.layer) in inside}
    if shapes == {(2, 8, 8, 8)}:
        return ""
    return "The second block must be like the first, and come right after it: 8 channels of 8×8 pixels, in and out."


def _has_no_pool(anatomy: Anatomy) -> str:
    pools = anatomy.steps_of(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
    return f"There is still a {type(pools[0].layer).__name__}." if pools else ""


def _has_one_strided_convolution(anatomy: Anatomy) -> str:
    count = sum(anatomy.is_strided)
    if count == 1:
        return ""
    return (
        f"{count} convolutions have a stride; one should."
        if count
        else "No convolution has a stride: nothing halves the image."
    )


def _strides_after_the_block(anatomy: Anatomy) -> str:
    convolutions = anatomy.steps_of(nn.Conv2d)
    if not anatomy.is_strided[-1]:
        return "The convolution with a stride must be where the pool was: after the residual block."
    step: Any = convolutions[-1]
    if step.input_shape != (2, 8, 8, 8) or step.output_shape != (2, 8, 4, 4):
        change = f"{step.input_shape} -> {step.output_shape}"
        return f"The convolution must halve the image and keep its 8 channels. Got {change}."
    if min(step.layer.window.kernel_size) < 2:
        return "A kernel of 1×1 with stride 2 never reads three of four pixels. Take a larger one."
    return ""


def _has_one_dropout(anatomy: Anatomy) -> str:
    dropouts = anatomy.steps_of(nn.Dropout)
    if len(dropouts) != 1:
        return f"The network must have one dropout layer. Got {len(dropouts) or 'none'}."
    layer: Any = dropouts[0].layer
    return "" if 0 < layer.p < 1 else f"With p = {layer.p}, the layer drops {'everything' if layer.p else 'nothing'}."


def _drops_features(anatomy: Anatomy) -> str:
    after = anatomy.steps[anatomy.steps.index(anatomy.steps_of(nn.Dropout)[0]) :]
    if not any(isinstance(step.layer, nn.Linear) for step in after):
        return "The dropout comes after the last layer: it drops logits, where it should drop the features before them."
    if any(isinstance(step.layer, nn.Conv2d | nn.MaxPool2d) for step in after):
        return "The dropout is too early. The head begins after the pool."
    return ""


def _normalizes_every_convolution(anatomy: Anatomy) -> str:
    if not anatomy.steps_of(nn.BatchNorm2d):
        return "There is no BatchNorm2d."
    pairs = list(pairwise(step.layer for step in anatomy.steps))
    if any(isinstance(a, nn.ReLU) and isinstance(b, nn.BatchNorm2d) for a, b in pairs):
        return "A BatchNorm2d comes after a ReLU. Normalize what the convolution returns, before the ReLU."
    following = [isinstance(b, nn.BatchNorm2d) for a, b in pairs if isinstance(a, nn.Conv2d)]
    if all(following):
        return ""
    count = f"{sum(following)} of {len(following)} convolutions"
    return f"BatchNorm2d follows {count}. It must follow each, also before the sum of the block."


def _convolutions_have_no_bias(anatomy: Anatomy) -> str:
    if all(step.layer.bias is None for step in anatomy.steps_of(nn.Conv2d)):  # type: ignore[attr-defined]
        return ""
    return "A convolution has a bias. BatchNorm2d subtracts the mean and with it the bias: it would learn nothing."


_STUB = '''\
def {name}():
    """Return the changed network: a spec, or a network of glassnet.nn's layers."""
    spec = gn.spec("tiny")
    ...
    return spec
'''

EXERCISES = (
    NetworkExercise(
        name="second_block",
        chapter=5,
        task="Give tiny a second residual block after the first.",
        stub=_STUB.format(name="second_block"),
        expected=spec("tiny", blocks=2),
        requirements=(_has_two_blocks, _blocks_have_shortcuts, _blocks_keep_the_size),
    ),
    NetworkExercise(
        name="strided_convolution",
        chapter=4,
        task="Replace tiny's max-pool by a convolution of stride 2, which learns what to keep.",
        stub=_STUB.format(name="strided_convolution"),
        expected=spec("tiny", pool="stride"),
        requirements=(_has_no_pool, _has_one_strided_convolution, _strides_after_the_block),
    ),
    NetworkExercise(
        name="dropout_in_head",
        chapter=4,
        task="Drop features at random before tiny's last layer.",
        stub=_STUB.format(name="dropout_in_head"),
        expected=spec("tiny", dropout=0.3),
        requirements=(_has_one_dropout, _drops_features),
    ),
    NetworkExercise(
        name="batch_norm_in_network",
        chapter=6,
        task="Put BatchNorm after every convolution of tiny.",
        stub=_STUB.format(name="batch_norm_in_network"),
        expected=spec("tiny", norm="batch"),
        requirements=(_normalizes_every_convolution, _convolutions_have_no_bias),
    ),
)
