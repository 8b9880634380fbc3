"""The networks that the live page can switch to: with and without skip connections, deeper, with another norm."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from glassnet.architecture import ResNetSpec
from glassnet.layer_graph import Node, graph, walk

_DEPTHS = (1, 2, 3, 5, 8)  # times the run's own blocks
_NORMS = {"none": "without normalization", "batch": "with BatchNorm"}


def variants(spec: ResNetSpec, max_normals: int) -> list[dict[str, Any]]:
    """Return the networks of the page with their graphs, the run's own first.

    Each has ``title``, ``skip``, ``blocks``, ``norm`` and ``graph``.

    :param max_normals: largest count of normal numbers that the initial weights of a network may take; the run's own
        network and that without its skip connections may take more.
    """
    return [_describe(other) for other in _specs(spec, max_normals)]


def count_normals(node: Node) -> int:
    """Return how many normal numbers the initial weights of a graph take: one for each weight of its kernels."""
    shapes = [shape for part in walk(node) for shape in part["parameters"].values()]
    return sum(prod(shape) for shape in shapes if len(shape) > 1)


def _specs(spec: ResNetSpec, max_normals: int) -> Iterator[ResNetSpec]:
    norms = [spec.norm, *(norm for norm in _NORMS if norm != spec.norm)]
    for depth, norm, skip in product(_DEPTHS, norms, (spec.skip, not spec.skip)):
        zero_init = spec.zero_init and norm == "batch"
        blocks = tuple(count * depth for count in spec.blocks)
        other = spec.replace(blocks=blocks, norm=norm, skip=skip, zero_init=zero_init)
        is_own_size = depth == 1 and norm == spec.norm
        if is_own_size or count_normals(graph(other)) <= max_normals:
            yield other


def _describe(spec: ResNetSpec) -> dict[str, Any]:
    count = sum(spec.blocks)
    blocks = f"{count} {'block' if count == 1 else 'blocks'}"
    return {
        "title": f"{'residual' if spec.skip else 'plain'}, {blocks}, {_NORMS[spec.norm]}",
        "skip": spec.skip,
        "blocks": list(spec.blocks),
        "norm": spec.norm,
        "graph": graph(spec),
    }
