"""Gradient norms of plain and residual networks of several depths, before training and after some steps."""

import itertools
import math
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from glassnet.architecture import ResNetSpec
from glassnet.data import Dataset, Normalization, cycle_batches, load_data
from glassnet.engines import Batch, Network, build
from glassnet.formats import format_loss, pluralize
from glassnet.pages.text import format_factor
from glassnet.progress import Progress
from glassnet.recipe import Recipe
from glassnet.settings import Settings, allowed_text, invalid, setting
from glassnet.studies.gradient_flow.blocks import BlockGradient, block_gradients, check_has_shortcuts
from glassnet.studies.study import Study, to_builtin
from glassnet.training.run import spec_for_data, split_fields

Array = npt.NDArray[Any]

STEADY_FACTOR = 10  # times: a gradient that changes more with depth is not called steady
NORM_BATCH_SIZE, BLOCK_BATCH_SIZE = 64, 16  # images for the norms, and for the gradients of the blocks
RECIPE = Recipe(lr=0.05, batch_size=32, clip_grad_norm=5.0)
NORM_NAMES = {"batch": "with batch normalization", "none": "without normalization"}


@dataclass(frozen=True)
class ComparedNetworks(Settings):
    """The networks of the study: for each depth and normalization a plain and a residual one."""

    title: ClassVar[str] = "gradient flow"

    depths: tuple[int, ...] = setting(
        (8, 20, 56), "Numbers of layers.", minimum=8, form="a list of distinct integers 6n + 2, such as 8, 20, 56"
    )
    norms: tuple[Literal["batch", "none"], ...] = setting(
        ("batch", "none"), "Normalizations: batch, none, or both.", form="a list of 'batch', 'none' or both"
    )
    steps: int = setting(40, "Number of training steps of each network.", minimum=1)
    width: int = setting(8, "Number of channels of the first stage.", minimum=1)
    seed: int = setting(42, "Seed of initial weights and batches.", minimum=0, below=2**32)

    def check(self) -> None:
        """Check that depths and normalizations can be compared.

        :raises ConfigError: if one is given twice or there is none, or a depth is not 6n + 2.
        """
        for name, values in (("depths", self.depths), ("norms", self.norms)):
            if not values or len(set(values)) < len(values) or any(depth % 6 != 2 for depth in self.depths):
                raise invalid(name, allowed_text(type(self), name), values)


@dataclass(frozen=True)
class GradientNorms:
    """One network: the loss and the gradient norm of each convolution, before training and after some steps."""

    depth: int
    residual: bool
    norm: str
    layers: tuple[str, ...]
    steps: tuple[int, ...]  # the steps after which it was measured
    losses: tuple[float, ...]  # by step
    norms: tuple[tuple[float, ...], ...]  # by step, then by layer

    @property
    def name(self) -> str:
        """The kind and the depth: ``residual, 56 layers``."""
        return f"{'residual' if self.residual else 'plain'}, {self.depth} layers"


@dataclass(frozen=True, repr=False)
class GradientFlowStudy(Study):
    """Plain and residual networks of the same depths, and the gradient in each block of one network."""

    data: str
    networks: tuple[GradientNorms, ...]
    network: str  # the one whose blocks are measured
    blocks: tuple[BlockGradient, ...]

    @property
    def depths(self) -> list[int]:
        """The depths, from the smallest."""
        return sorted({network.depth for network in self.networks})

    @property
    def worst_block(self) -> BlockGradient:
        """The block with the largest error."""
        return max(self.blocks, key=lambda block: block.error)

    @property
    def adds_up(self) -> bool:
        """Whether both parts add up to the gradient in each block."""
        return self.worst_block.error <= 1e-12

    @property
    def skip_ratio(self) -> float:
        """Median over the blocks of the norm through the skip, relative to that through F."""
        return float(np.median([block.skip / block.body if block.body else math.inf for block in self.blocks]))

    def select(self, norm: str, residual: bool) -> list[GradientNorms]:
        """Return the networks of one kind by depth."""
        kind = [network for network in self.networks if (network.norm, network.residual) == (norm, residual)]
        return sorted(kind, key=lambda network: network.depth)

    def growth(self, norm: str, residual: bool) -> float:
        """Return the gradient norm of the first layer in the deepest network relative to the shallowest, at step 0."""
        shallowest, *_, deepest = self.select(norm, residual)
        return deepest.norms[0][0] / shallowest.norms[0][0]

    @property
    def summary(self) -> list[str]:
        norms = dict.fromkeys(network.norm for network in self.networks)
        by_depth = [self._describe_growth(norm) for norm in norms] if len(self.depths) > 1 else []
        count = pluralize(len(self.blocks), "block")
        n_larger = sum(block.skip > block.body for block in self.blocks)
        return [
            *by_depth,
            self._describe_sum(count),
            f"The part through the skip is the larger one in {n_larger} of {count}. Its norm is "
            f"{format_factor(self.skip_ratio)} times that of the part through F (median over the blocks).",
        ]

    def _describe_growth(self, norm: str) -> str:
        plain, residual = self.growth(norm, False), self.growth(norm, True)
        growth = (
            f"{NORM_NAMES[norm].capitalize()}, from {self.depths[0]} to {self.depths[-1]} layers, the gradient of the "
            f"first layer before training {_describe_factor(plain)} in the plain network and "
            f"{_describe_factor(residual)} in the residual one."
        )
        if not (0 < plain < math.inf and 0 < residual < math.inf):
            return f"{growth} One of them has no gradient left to compare."
        if abs(math.log(residual)) >= abs(math.log(plain)):
            return f"{growth} The shortcuts do not keep it steadier."
        is_steady = 1 / STEADY_FACTOR <= residual <= STEADY_FACTOR
        still = "" if is_steady else f", but it still {'explodes' if residual > 1 else 'vanishes'}"
        return f"{growth} The shortcuts keep it steadier{still}."

    def _describe_sum(self, count: str) -> str:
        parts = f"In {self.network} the parts of the gradient through the skip and through F"
        worst = self.worst_block
        if not self.adds_up:
            return f"{parts} do NOT add up: {worst.block} differs by {worst.error:.1e}. A backward pass is wrong."
        closeness = f"to within {worst.error:.1e} of its largest value" if worst.error else "exactly, to the last bit"
        return f"{parts} add up to the total in {'all ' * (len(self.blocks) > 1)}{count}, {closeness}."

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the maps."""
        return super().to_dict() | {"error": to_builtin(self.worst_block.error), "adds_up": self.adds_up}


def run_study(
    data: str | PathLike[str] | Dataset = "digits",
    network: Network | None = None,
    *,
    name: str | None = None,
    normalization: Normalization | None = None,
    engine: str = "numpy",
    progress: Progress | None = None,
    **options: Any,
) -> GradientFlowStudy:
    """Train plain and residual networks of He et al.'s 6n + 2 layers for a few steps, and measure their gradients.

    All networks start from one seed and train on the same batches. The norms are measured on the same images each
    time, in training mode; measuring changes nothing.

    :param data: a Dataset or a source that ``load_data`` takes.
    :param network: the network whose blocks are measured; it stays as it is. By default the residual network of the
        middle depth after its training steps.
    :param name: its name on the page.
    :param normalization: its normalization, by default the data's; for a run, ``model.normalization``.
    :param progress: logs a line for each network.
    :param options: the fields of ``ComparedNetworks``, and fields of ResNetSpec that all networks share.
    :returns: the norms by network, and the gradients by block.
    :raises ConfigError: if an option is out of its range, or the network has no shortcuts.
    """
    compared_fields, model_fields = split_fields(options, ComparedNetworks, ResNetSpec)
    compared = ComparedNetworks().replace(**compared_fields)
    dataset = data if isinstance(data, Dataset) else load_data(data)
    if network is not None:
        check_has_shortcuts(network)
    middle = sorted(compared.depths)[len(compared.depths) // 2]
    results = []
    for norm, depth, residual in itertools.product(compared.norms, compared.depths, (False, True)):
        fields = {"width": compared.width, "blocks": (depth - 2) // 6, "norm": norm, "skip": residual}
        trained = build(spec_for_data("resnet20", dataset, **{**model_fields, **fields}), engine, compared.seed)
        results.append(_train(trained, dataset, depth, compared))
        first_loss, *_, last_loss = results[-1].losses
        if progress is not None:
            progress.log(
                f"{results[-1].name}, {NORM_NAMES[norm]}: loss {format_loss(first_loss)} → {format_loss(last_loss)}"
            )
        if network is None and residual and depth == middle:
            network, name = trained, f"the residual network of {depth} layers, {NORM_NAMES[norm]},"
    assert network is not None, "depths and norms are not empty"
    expected = dataset.normalization if normalization is None else replace(normalization, scale=dataset.scale)
    blocks = block_gradients(network, *_first_images(dataset, expected, network, BLOCK_BATCH_SIZE))
    source = Path(str(dataset.source["source"])).name
    return GradientFlowStudy(source, tuple(results), name or network.spec.preset, blocks)


def _train(network: Network, data: Dataset, depth: int, compared: ComparedNetworks) -> GradientNorms:
    """Train for some steps, and measure before the first, after a quarter of them and after the last."""
    images, labels = _first_images(data, data.normalization, network, NORM_BATCH_SIZE)
    trainer, split = network.trainer(RECIPE), data.train
    batches = cycle_batches(len(data.train), RECIPE.batch_size, compared.seed)
    measured = {}
    for step in range(compared.steps + 1):
        if step in (0, compared.steps // 4, compared.steps):
            measured[step] = convolution_norms(network, images, labels)
        if step < compared.steps:
            indices = next(batches)
            trainer.step(Batch(split.pixels(indices), split.labels[indices], data.normalization))
    losses, norms = zip(*measured.values(), strict=True)
    spec, values = network.spec, tuple(tuple(by_layer.values()) for by_layer in norms)
    return GradientNorms(depth, spec.skip, spec.norm, tuple(norms[0]), tuple(measured), losses, values)


def convolution_norms(network: Network, images: Array, labels: Array) -> tuple[float, dict[str, float]]:
    """Return the loss in training mode, and the L2 norm of its gradient for each convolution, in forward order.

    The projections of shortcuts are left out, so that plain and residual networks have the same layers.
    """
    loss, gradients = network.gradients(images, labels)
    return loss, {
        key.removesuffix(".weight"): float(np.linalg.norm(gradient.astype(np.float64)))
        for key, gradient in gradients.items()
        if gradient.ndim == 4 and ".downsample." not in key
    }


def _first_images(data: Dataset, normalization: Normalization, network: Network, count: int) -> tuple[Array, Array]:
    """Return the first training images, normalized, and their labels."""
    count = min(count, len(data.train))
    return normalization.apply(data.train.pixels(range(count)), network.dtype), data.train.labels[:count]


def _describe_factor(factor: float) -> str:
    if not math.isfinite(factor):
        return "is not finite"
    if factor == 0:
        return "vanishes"
    if 1 / 1.5 < factor < 1.5:
        return "stays about the same"
    return f"grows {format_factor(factor)}-fold" if factor > 1 else f"shrinks {format_factor(1 / factor)}-fold"
