"""How the gradient reaches the first layers: plain against residual, by depth, and through the skip and through F."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassnet import nn
from glassnet.architecture import build_uninitialized
from glassnet.data import Dataset, Normalization, cycle_batches, load_data
from glassnet.engines import Batch, Network, build, clone_network
from glassnet.errors import ConfigError
from glassnet.measures.receptive_field import SHORTCUTS, shortcuts
from glassnet.nn.kernels import layout
from glassnet.pages.page import Page, Section, Table
from glassnet.pages.text import pluralize
from glassnet.recipe import Recipe
from glassnet.studies import gradient_flow_figures as figures
from glassnet.studies.study import Study, to_builtin
from glassnet.training.run import spec_for_data

Array = npt.NDArray[Any]

DEPTHS, NORMS, STEPS, WIDTH = (8, 20, 56), ("batch", "none"), 40, 8
STEADY = 10  # times: a gradient that changes more with depth is not called steady, be another even worse
PROBE, SPLIT_IMAGES = 64, 16  # images on which norms are measured, and on which gradients are split
RECIPE = Recipe(lr=0.05, batch_size=32, clip_grad_norm=5.0)
NORM_NAMES = {"batch": "with batch normalization", "none": "without normalization"}


@dataclass(frozen=True)
class Flow:
    """One network: the loss, and the norm of the gradient of each convolution, at the start and after some steps."""

    depth: int
    residual: bool
    norm: str
    layers: tuple[str, ...]
    steps: tuple[int, ...]  # when it was measured
    losses: tuple[float, ...]
    norms: tuple[tuple[float, ...], ...]  # by moment, then by layer

    @property
    def name(self) -> str:
        return f"{'residual' if self.residual else 'plain'}, {self.depth} layers"


@dataclass(frozen=True)
class BlockSplit:
    """The gradient that reaches a block's input, and its two parts, over a few images, in float64.

    ``skip`` came through the shortcut, ``body`` through F; the L2 norms of both and of ``whole``, their cosine, and
    ``error``, the largest |skip + body − whole| over the largest |whole|. ``maps`` are the three (H, W) of one
    image in the channel where the whole is largest: skip, body, whole.
    """

    block: str
    shortcut: str  # "identity", "zero-pad" or "projection"
    skip: float
    body: float
    whole: float
    cosine: float
    error: float
    maps: Array = field(repr=False)


@dataclass(frozen=True)
class GradientFlowStudy(Study):
    """Plain and residual networks of the same depths, and the gradient split in each block of one network."""

    data: str
    flows: tuple[Flow, ...]
    network: str  # whose gradient is split
    splits: tuple[BlockSplit, ...]

    @property
    def error(self) -> float:
        """The largest of all blocks' errors."""
        return max(split.error for split in self.splits)

    @property
    def adds_up(self) -> bool:
        return self.error <= 1e-12

    def growth(self, norm: str, residual: bool) -> float:
        """By how many times the gradient at the first layer is larger in the deepest network than in the shallowest,
        at the start."""
        flows = sorted((f for f in self.flows if (f.norm, f.residual) == (norm, residual)), key=lambda f: f.depth)
        return flows[-1].norms[0][0] / flows[0].norms[0][0]

    @property
    def summary(self) -> list[str]:
        depths = sorted({flow.depth for flow in self.flows})
        sentences = []
        if len(depths) > 1:
            sentences = [self._by_depth(norm, depths) for norm in dict.fromkeys(flow.norm for flow in self.flows)]
        return [*sentences, *self._about_splits()]

    def _by_depth(self, norm: str, depths: Sequence[int]) -> str:
        of_plain, of_residual = self.growth(norm, False), self.growth(norm, True)
        sentence = (
            f"{NORM_NAMES[norm].capitalize()}, from {depths[0]} to {depths[-1]} layers, the gradient at the first "
            f"layer {_changes(of_plain)} in the plain network and {_changes(of_residual)} in the residual one, before "
            "any training: "
        )
        if not (0 < of_plain < math.inf and 0 < of_residual < math.inf):
            return f"{sentence}one of them is lost altogether."
        if abs(math.log(of_residual)) >= abs(math.log(of_plain)):
            return f"{sentence}here the shortcuts do not keep it steadier."
        still = "still explodes" if of_residual > STEADY else "still vanishes" if of_residual < 1 / STEADY else ""
        return f"{sentence}the shortcuts keep it steadier{f', though it {still} there' if still else ''}."

    def _about_splits(self) -> list[str]:
        count = f"{len(self.splits)} block{'s' if len(self.splits) > 1 else ''}"
        more = [split for split in self.splits if split.skip > split.body]
        sums = (
            f"In {self.network} the part through the skip and the part through F add up to the whole gradient in "
            f"{'all of ' if len(self.splits) > 1 else ''}{count}: {self._closeness}."
            if self.adds_up
            else f"In {self.network} the part through the skip and the part through F do NOT add up to the whole "
            f"gradient: they differ by {self.error:.1e} of it in {self._worst.block}. A backward pass is wrong."
        )
        return [
            sums,
            f"The part through the skip is the larger one in {len(more)} of {count}; over all blocks it is "
            f"{_ratio(self._share)} times the part through F (median).",
        ]

    @property
    def _closeness(self) -> str:
        return f"they differ by at most {self.error:.1e} of it" if self.error else "exactly, to the last bit"

    @property
    def _worst(self) -> BlockSplit:
        return max(self.splits, key=lambda split: split.error)

    @property
    def _share(self) -> float:
        return float(np.median([split.skip / split.body if split.body else math.inf for split in self.splits]))

    def to_dict(self) -> dict[str, Any]:
        """All but the maps."""
        splits = [{name: value for name, value in to_builtin(split).items() if name != "maps"} for split in self.splits]
        return super().to_dict() | {"splits": splits, "error": to_builtin(self.error), "adds_up": self.adds_up}


def run_study(
    data: str | Dataset = "digits",
    network: Network | None = None,
    *,
    name: str | None = None,
    normalization: Normalization | None = None,
    depths: Sequence[int] = DEPTHS,
    norms: Sequence[str] = NORMS,
    steps: int = STEPS,
    width: int = WIDTH,
    engine: str = "numpy",
    seed: int = 42,
    told: Callable[[str], None] = lambda line: None,
) -> GradientFlowStudy:
    """Trains plain and residual networks of He et al.'s 6n + 2 layers for a few steps and measures their gradients.

    All start from the same seed and see the same batches. Norms are measured on the same images each time, in
    training mode; measuring moves nothing.

    :param data: a Dataset or what ``load_data`` takes.
    :param network: whose gradient is split block by block; it stays as it is. By default the residual network of the
        middle depth after its steps.
    :param name: what the page calls it.
    :param normalization: what it expects, in place of the data's; of a run, ``model.normalization``.
    :param told: is called with a line for each network.
    :raises ConfigError: a depth that is not 6n + 2, no steps, or a network without shortcuts.
    """
    for depth in depths:
        if depth < 8 or depth % 6 != 2:
            raise ConfigError(f"A depth must be 6n + 2 with n of at least 1, such as 8, 20 or 56. Got {depth}.")
    if steps < 1:
        raise ConfigError(f"The steps of this study must be at least 1. Got {steps}.")
    dataset = load_data(data) if isinstance(data, str) else data
    if network is not None:
        _check_has_shortcuts(network)
    middle = sorted(depths)[len(depths) // 2]
    flows, shown = [], network
    for norm in norms:
        for depth in depths:
            for residual in (False, True):
                changes = {"width": width, "blocks": (depth - 2) // 6, "norm": norm, "skip": residual}
                trained = build(spec_for_data("resnet20", dataset, **changes), engine, seed)
                flow = _flow(trained, dataset, depth, (0, steps // 4, steps), seed)
                told(f"{flow.name}, {NORM_NAMES[norm]}: loss {flow.losses[0]:.3f} → {flow.losses[-1]:.3f}")
                flows.append(flow)
                if residual and depth == middle and shown is None:
                    shown, name = trained, f"the residual network of {depth} layers, {NORM_NAMES[norm]},"
    assert shown is not None, "depths and norms are not empty"
    expected = dataset.normalization if normalization is None else replace(normalization, scale=dataset.scale)
    images, labels = _images(dataset, expected, shown, SPLIT_IMAGES)
    source = Path(str(dataset.source["source"])).name
    return GradientFlowStudy(source, tuple(flows), name or shown.spec.preset, split_gradient(shown, images, labels))


def _flow(network: Network, data: Dataset, depth: int, moments: Sequence[int], seed: int) -> Flow:
    images, labels = _images(data, data.normalization, network, PROBE)
    trainer, placed = network.trainer(RECIPE), network.place(data.train, data.normalization)
    batches = cycle_batches(len(data.train), RECIPE.batch_size, seed)
    moments = sorted(set(moments))
    measured = [convolution_norms(network, images, labels)]
    for before, after in itertools.pairwise(moments):
        for indices in itertools.islice(batches, after - before):
            trainer.step(Batch(placed, indices))
        measured.append(convolution_norms(network, images, labels))
    return Flow(
        depth,
        network.spec.skip,
        network.spec.norm,
        tuple(measured[0][1]),
        tuple(moments),
        tuple(loss for loss, _ in measured),
        tuple(tuple(norms.values()) for _, norms in measured),
    )


def convolution_norms(network: Network, images: Array, labels: Array) -> tuple[float, dict[str, float]]:
    """The loss in training mode, and the L2 norm of its gradient in each convolution's weight, in forward order.

    Shortcuts' projections are left out, so that plain and residual networks have the same layers.
    """
    loss, gradients = network.gradients(images, labels)
    return loss, {
        key.removesuffix(".weight"): float(np.linalg.norm(gradient.astype(np.float64)))
        for key, gradient in gradients.items()
        if gradient.ndim == 4 and ".downsample." not in key
    }


def split_gradient(network: Network, images: Array, labels: Array) -> tuple[BlockSplit, ...]:
    """The gradient at the input of each residual block, split into the part through the skip and that through F.

    With y = a(S(x) + F(x)) and g the gradient at the sum, dx = S'(g) + F'(g); the identity's part is g itself. The
    whole is what the network's own backward pass gives, on a copy in float64; each part is computed apart, by that
    path's layers alone. So their sum is a check of the backward pass.

    :param images: float (N, C, H, W); labels (N,).
    :raises ConfigError: a network without shortcuts.
    """
    _check_has_shortcuts(network)
    precise = clone_network(network, dtype="float64", device="cpu", precision=None)
    trace = precise.trace(np.asarray(images, np.float64), labels)
    apart = build_uninitialized(network.spec).to(np.float64)
    apart.load_state_dict(precise.state_dict())
    layers, names = dict(apart.named_modules()), network.activation_names
    splits = []
    for block, kind in shortcuts(network.spec).items():
        before = names[next(place for place, name in enumerate(names) if name.startswith(f"{block}.")) - 1]
        at_sum = f"{block}.sum" if f"{block}.sum" in trace.activation_gradients else block
        x, g = trace.activations[before], trace.activation_gradients[at_sum]
        splits.append(_split(block, kind, layers[block], x, g, trace.activation_gradients[before]))
    return tuple(splits)


def _split(block: str, kind: str, layer: nn.Module, x: Array, g: Array, whole: Array) -> BlockSplit:
    children = dict(layer.named_children())
    shortcut = next(children.pop(name) for name in SHORTCUTS if name in children)
    children.pop("relu", None)  # the block's own: g is the gradient in front of it
    skip, body = _backward(shortcut, x, g), _backward(nn.Sequential(children), x, g)
    largest = np.abs(whole).max() or 1.0
    image, channel, *_ = np.unravel_index(np.abs(whole).argmax(), whole.shape)
    norms = {name: float(np.linalg.norm(part)) for name, part in (("skip", skip), ("body", body), ("whole", whole))}
    product = norms["skip"] * norms["body"]
    return BlockSplit(
        block,
        kind,
        **norms,
        cosine=float(np.vdot(skip, body)) / product if product else 0.0,
        error=float(np.abs(skip + body - whole).max() / largest),
        maps=np.stack([part[image, channel] for part in (skip, body, whole)]),
    )


def _backward(layer: nn.Module, x: Array, dy: Array) -> Array:
    """dx in the order of its shape, as a trace has it: equal numbers then have equal norms, to the last bit."""
    layer.train()(layout.channels_last(x))
    return np.ascontiguousarray(layer.backward(layout.channels_last(dy)))


def _check_has_shortcuts(network: Network) -> None:
    if not network.spec.skip:
        raise ConfigError("A gradient is split between a shortcut and F. This network has none: skip=False.")


def _images(data: Dataset, normalization: Normalization, network: Network, count: int) -> tuple[Array, Array]:
    """The first training images, as the network reads them."""
    part = data.train.take(np.arange(min(count, len(data.train))))
    return normalization.apply(part.images, network.dtype), part.labels


def build_page(study: GradientFlowStudy) -> Page:
    """The study as a page, not yet written."""
    norms = list(dict.fromkeys(flow.norm for flow in study.flows))
    flows = {norm: [flow for flow in study.flows if flow.norm == norm] for norm in norms}
    by_layer = [figures.gradient_by_layer_figure(part, NORM_NAMES[norm]) for norm, part in flows.items()]
    rows: list[tuple[str | float, ...]] = [
        (
            flow.name,
            NORM_NAMES[flow.norm],
            *(value for norms in (flow.norms[0], flow.norms[-1]) for value in (norms[0], norms[-1])),
            flow.losses[0],
            flow.losses[-1],
        )
        for flow in study.flows
    ]
    after = f"after {pluralize(study.flows[0].steps[-1], 'step')}"
    columns = ["Network", "Normalization", "First layer, at the start", "Last layer, at the start"]
    columns += [
        f"First layer, {after}",
        f"Last layer, {after}",
        "Loss at the start",
        "Loss after",
    ]
    several = len({flow.depth for flow in study.flows}) > 1
    by_depth = [figures.first_layer_figure(study.flows)] if several else []
    how = (
        f"The norm of the loss's gradient in each convolution, over the same {PROBE} images of {study.data}, at the "
        f"start and while the networks learn (SGD, learning rate {RECIPE.lr:g}, batches of {RECIPE.batch_size}, "
        f"gradients clipped at {RECIPE.clip_grad_norm:g}). A norm that shrinks on the way back to the first layers "
        "vanishes, one that grows explodes; either way the layers cannot learn at one common rate. The gradient of a "
        "weight is the signal that comes forward times the one that comes back. Without normalization depth changes "
        "both, so there a deep network's gradients are small, or large, at every layer alike: compare the depths."
    )
    equation = (
        "A block computes y = a(S(x) + F(x)). With g the gradient at the sum, the gradient at its input is "
        "dx = S′(g) + F′(g). Through the identity g arrives as it is, whatever F does to it. Each part is computed "
        "apart here, by that path's layers alone, and the whole by the network's own backward pass, all in float64."
    )
    parts = [
        (split.block, split.shortcut, split.skip, split.body, split.whole, split.cosine, split.error)
        for split in study.splits
    ]
    titles = ["Block", "Shortcut", "Through the skip", "Through F", "Whole", "Cosine of the parts", "Difference"]
    kinds = "plain against residual"
    return Page(
        f"Gradient flow, {kinds}, on {study.data}",
        [
            ("Blocks split", f"{len(study.splits)}"),
            ("skip + F − whole", f"{study.error:.1e}" if study.error else "0"),
            ("Skip against F", f"{_ratio(study._share)}×"),
        ],
        study.summary,
        [
            Section("Layer by layer", [how, *by_layer]),
            Section("By depth", [*by_depth, Table("Norms", columns, rows, collapsed=len(by_depth) > 0)]),
            Section(
                "The identity’s term",
                [
                    equation,
                    figures.split_maps_figure(study.splits),
                    figures.split_figure(study.splits),
                    Table("Every block", titles, parts, collapsed=len(parts) > 12),
                ],
            ),
        ],
    )


def _changes(factor: float) -> str:
    if not math.isfinite(factor):
        return "is no number any more"
    if factor == 0:
        return "vanishes"
    if 1 / 1.5 < factor < 1.5:
        return "stays about the same"
    return f"grows {_ratio(factor)}-fold" if factor > 1 else f"shrinks {_ratio(1 / factor)}-fold"


def _ratio(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}" if value < 1e6 else f"{value:.0e}"
