"""The parts of a batch, and their sums along one fixed binary tree.

A batch is cut into ``shards`` parts, whatever the number of processes. Rounding depends on the order of additions; here
the parts are the leaves of one tree, so that the sum has the same bits on any number of processes::

            (0 1 2 3)+(4 5 6 7)
           /                   \\
     (0 1)+(2 3)           (4 5)+(6 7)         process 0 of 2 has the left half of it, process 1 the right one
      /       \\             /       \\
    0+1       2+3         4+5       6+7        process 0 of 4 has 0+1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Node = tuple[int, int]  # first part and number of parts, a power of 2; the tree may end before all of them


def part_rows(total: int, shards: int) -> list[slice]:
    """Return the rows of each part of a batch of ``total`` images, as ``np.array_split`` cuts it.

    Parts differ by one image at most. With fewer images than parts the last parts have none.
    """
    size, longer = divmod(total, shards)
    stops = [size * (part + 1) + min(part + 1, longer) for part in range(shards)]
    return [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]


class TreeSum:
    """A sum of parts along the tree. Two neighbours are added as soon as both are there; parts without images are None.

    ``nodes`` are the sums that have no neighbour yet: those of a process, once it has added its parts.
    """

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.nodes: dict[Node, Any] = {}

    def add(self, node: Node, value: Any) -> None:
        """Add the sum of a node: ``(i, 1)`` is part i. None stands for no images."""
        start, size = node
        while size < self.shards:
            neighbour = (start ^ size, size)
            if neighbour[0] < self.shards:
                if neighbour not in self.nodes:
                    break
                other = self.nodes.pop(neighbour)
                value = value if other is None else other if value is None else value + other
            start, size = min(start, neighbour[0]), 2 * size
        self.nodes[start, size] = value

    @property
    def total(self) -> Any:
        """The sum of all parts, once all of them are added."""
        ((_, value),) = self.nodes.items()
        return value


def nodes_of(parts: Iterable[int], sizes: Sequence[int]) -> dict[Node, bool]:
    """Return the nodes that a process has after it added its ``parts``, and whether each has images.

    :param sizes: the number of images of each part of the batch.
    """
    tree = TreeSum(len(sizes))
    for part in parts:
        tree.add((part, 1), sizes[part] or None)
    return {node: bool(size) for node, size in tree.nodes.items()}


@contextmanager
def dropout_of_batch(dropouts: Iterable[Any], shape: tuple[int, int]) -> Iterator[Callable[[slice], None]]:
    """Draw the numbers of dropout for a whole batch, and give layers those of the rows that are chosen.

    So the mask of an image depends neither on the number of parts nor on that of processes.

    :param shape: number of images of the batch, and of features of each.
    :returns: the function that chooses the rows of the next part.
    """
    generators = {dropout: dropout.generator for dropout in dropouts}
    stand_ins = {dropout: _DrawnRows(generator.random(shape)) for dropout, generator in generators.items()}
    for dropout, drawn in stand_ins.items():
        dropout.generator = drawn

    def choose(rows: slice) -> None:
        for drawn in stand_ins.values():
            drawn.rows = rows

    try:
        yield choose
    finally:
        for dropout, generator in generators.items():
            dropout.generator = generator


class _DrawnRows:
    """A generator's stand-in, which hands out numbers that were drawn for a whole batch, part by part."""

    def __init__(self, drawn: NDArray[np.float64]) -> None:
        self.drawn, self.rows = drawn, slice(None)

    def random(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the numbers of the present rows, which have this shape."""
        return self.drawn[self.rows].reshape(shape)
