"""The mapping of a bundle's names to those of a dump that has others."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from os import PathLike
from pathlib import Path

from glassnet.errors import DataError, choice_error, did_you_mean, short_name

PLACE = "{name}"  # stands for any text, the same in both names
Mapped = Mapping[str, str] | str | PathLike[str]


def resolve_mapping(mapping: Mapped, known: Collection[str], stored: Collection[str]) -> dict[str, str]:
    """Return the dump's names of the bundle's tensors that a mapping lists and the dump has.

    :param mapping: names of the bundle to names of the dump, or the path of a JSON file with such an object. Both names
        may have ``{name}`` once: ``{"eval/activations/{name}": "forward.{name}"}``. Full names come before patterns.
    :param known: names of the bundle.
    :param stored: names of the dump.
    :raises DataError: if the file is no such object, or a name is none of the bundle's or the dump's.
    """
    where = "mapping" if isinstance(mapping, Mapping) else str(mapping)
    pairs = mapping if isinstance(mapping, Mapping) else _read(Path(mapping))
    found: dict[str, str] = {}
    for own, other in sorted(pairs.items(), key=lambda pair: PLACE in pair[0]):
        if (PLACE in own) != (PLACE in other) or own.count(PLACE) > 1:
            raise DataError(f"{PLACE} in {where} must be in both names of a pair. Got {own!r}: {other!r}.")
        matches = _matches(own, other, known) if PLACE in own else [(own, other)]
        if PLACE not in own and own not in known:
            raise choice_error(f"A name in {where}", known, own, DataError)
        if not (present := [pair for pair in matches if pair[1] in stored]):
            raise DataError(
                f"{short_name(own)} in {where} must lead to a tensor of the dump. Got {other!r}"
                f"{did_you_mean(other, stored)}"
            )
        found |= {name: to for name, to in present if name not in found}
    return found


def _matches(own: str, other: str, known: Iterable[str]) -> list[tuple[str, str]]:
    """Return the bundle's names that a pattern matches, with the names of the dump that it makes of them."""
    prefix, _, suffix = own.partition(PLACE)
    return [
        (name, other.replace(PLACE, name.removeprefix(prefix).removesuffix(suffix)))
        for name in known
        if name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix) + len(suffix)
    ]


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} must be a JSON file. Got: {error}.") from None
    if not (isinstance(content, dict) and all(isinstance(value, str) for value in content.values())):
        raise DataError(f"{path} must be a JSON object of names. Got {str(content)[:80]!r}.")
    return content
