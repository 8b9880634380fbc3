"""Gradient at the input of each residual block, and its parts through the skip and through F."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from glassnet import nn
from glassnet.engines import Network, clone_network
from glassnet.errors import ConfigError
from glassnet.initialization import build_uninitialized
from glassnet.measures.receptive_field import SHORTCUTS, shortcuts
from glassnet.nn.kernels import layout

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BlockGradient:
    """The gradient at the input of a block and its two parts, for a few images, in float64.

    ``skip``, ``body`` and ``total`` are L2 norms: of the part through the shortcut, of the part through F, and of the
    gradient. ``error`` is the largest |skip + body − total| over the largest |total|. ``maps`` are the three (H, W) for
    one image, in the channel where the gradient is largest.
    """

    block: str
    shortcut: str  # "identity", "zero-pad" or "projection"
    skip: float
    body: float
    total: float
    cosine: float  # cosine of the angle between the two parts
    error: float
    maps: Array = field(repr=False)


def block_gradients(network: Network, images: Array, labels: Array) -> tuple[BlockGradient, ...]:
    """Return the gradient at the input of each residual block, with its parts through the skip and through F.

    With y = a(S(x) + F(x)) and g the gradient at the sum, dx = S'(g) + F'(g); the part through an identity is g. The
    total comes from the network's own backward pass, on a copy in float64; each part is computed by the layers of its
    path alone. So their sum is a check of the backward pass.

    :param images: float (N, C, H, W).
    :param labels: integers (N,).
    :returns: the blocks in forward order.
    :raises ConfigError: if the network has no shortcuts.
    """
    check_has_shortcuts(network)
    precise = clone_network(network, dtype="float64", device="cpu", precision=None)
    trace = precise.trace(np.asarray(images, np.float64), labels)
    replica = build_uninitialized(network.spec, np.float64)
    replica.load_state_dict(precise.state_dict())
    layers, names = dict(replica.named_modules()), network.activation_names
    blocks = []
    for block, shortcut in shortcuts(network.spec).items():
        first = next(index for index, name in enumerate(names) if name.startswith(f"{block}."))
        before = names[first - 1]  # the layer that gives the block its input
        at_sum = f"{block}.sum" if f"{block}.sum" in trace.activation_gradients else block
        x, g, dx = trace.activations[before], trace.activation_gradients[at_sum], trace.activation_gradients[before]
        blocks.append(_split(block, shortcut, *_parts(layers[block], x, g), dx))
    return tuple(blocks)


def _parts(block: nn.Module, x: Array, g: Array) -> tuple[Array, Array]:
    """Return the gradients through the shortcut and through F."""
    children = dict(block.named_children())
    shortcut = next(children.pop(name) for name in SHORTCUTS if name in children)
    children.pop("relu", None)  # the block's own: g is the gradient in front of it
    return _backward(shortcut, x, g), _backward(nn.Sequential(children), x, g)


def _split(block: str, shortcut: str, skip: Array, body: Array, total: Array) -> BlockGradient:
    image, channel, *_ = np.unravel_index(np.abs(total).argmax(), total.shape)
    skip_norm, body_norm, total_norm = (float(np.linalg.norm(part)) for part in (skip, body, total))
    product = skip_norm * body_norm
    return BlockGradient(
        block,
        shortcut,
        skip_norm,
        body_norm,
        total_norm,
        cosine=float(np.vdot(skip, body)) / product if product else 0.0,
        error=float(np.abs(skip + body - total).max() / (np.abs(total).max() or 1.0)),
        maps=np.stack([part[image, channel] for part in (skip, body, total)]),
    )


def _backward(layer: nn.Module, x: Array, dy: Array) -> Array:
    """Return dx in C order, as a trace has it: equal arrays then have equal norms, to the last bit."""
    layer.train()(layout.channels_last(x))
    return np.ascontiguousarray(layer.backward(layout.channels_last(dy)))


def check_has_shortcuts(network: Network) -> None:
    """Check that a network has shortcuts.

    :raises ConfigError: if it has none, or is no network.
    """
    if not isinstance(network, Network) or not network.spec.skip:
        received = "skip=False" if isinstance(network, Network) else repr(network)
        raise ConfigError(f"network must be a Network with shortcuts. Got {received}.")
