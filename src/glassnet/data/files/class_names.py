"""Names of classes: their order, and the one that a label stands for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence


class UnknownClassError(Exception):
    """A label that names none of the classes."""


def order_classes(names: Collection[str]) -> list[str]:
    """Return class names in their order: by value if all are numbers, or else as text."""
    if all(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def number_labels(labels: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return the index of the class that each label names, be it in another case if there is only one such class.

    :raises UnknownClassError: if a label names none.
    """
    indices = {name: index for index, name in enumerate(classes)}
    folded: dict[str, list[int]] = {}
    for name, index in indices.items():
        folded.setdefault(name.casefold(), []).append(index)
    for label in sorted(set(labels) - set(classes)):
        same = folded.get(label.casefold(), [])
        if len(same) != 1:
            raise UnknownClassError(label)
        indices[label] = same[0]
    return [indices[label] for label in labels]
