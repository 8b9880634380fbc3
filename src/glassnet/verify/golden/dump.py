"""The tensors that a port computed, under the names of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, did_you_mean, examples, short_name
from glassnet.verify.golden.array_files import StoredArray, list_arrays
from glassnet.verify.golden.mapping import Mapped, resolve_mapping
from glassnet.verify.golden.rounding import EPS

Array = NDArray[Any]
MAX_SUGGESTIONS = 20  # unknown tensors for which the closest known name is searched


@dataclass(frozen=True)
class Expected:
    """The form that one of the bundle's tensors has."""

    shape: tuple[int, ...]
    is_integer: bool = False


class Dump:
    """The tensors of a dump that a bundle knows, under the bundle's names and in its order.

    ``unknown`` are the names of all others, in the order of the dump. Of these nothing is read.
    """

    def __init__(
        self, path: Path, tensors: Mapping[str, StoredArray], unknown: tuple[str, ...], expected: Mapping[str, Expected]
    ) -> None:
        self.path, self.unknown = path, unknown
        self._tensors, self._expected = tensors, expected
        self.names = tuple(tensors)
        floats = [tensor.dtype for tensor in tensors.values() if tensor.dtype in EPS]
        self._coarsest = max(floats, key=EPS.__getitem__, default="float64")

    @classmethod
    def read(cls, path: Path, expected: Mapping[str, Expected], mapping: Mapped | None = None) -> Dump:
        """Read which tensors a dump has.

        :param path: a folder with .npy files, an .npz or a .safetensors file.
        :param expected: the tensors of the bundle, by name.
        :param mapping: names of the bundle to names of the dump, or the path of a JSON file with such an object.
        :raises DataError: if the dump or the mapping cannot be read, or the dump has no tensor of the bundle.
        """
        stored = list_arrays(path)
        mapped = {} if mapping is None else resolve_mapping(mapping, expected, stored)
        unmapped = {name: name for name in stored.keys() - set(mapped.values())}
        names = {name: other for name in expected if (other := mapped.get(name, unmapped.get(name))) is not None}
        if not names:
            received = f"others{examples(tuple(stored))}" if stored else "no .npy file"
            close = did_you_mean(next(iter(stored))[:200], expected) if stored else "."
            computed = [name for name in expected if not name.startswith("inputs/")]
            raise DataError(
                f"{path} must hold tensors under names of the bundle{examples(computed)}. "
                f"Got {received}{close} Rename them, or map the bundle's names to them (--map)."
            )
        used = set(names.values())
        unknown = tuple(name for name in stored if name not in used)
        return cls(path, {name: stored[other]() for name, other in names.items()}, unknown, expected)

    def within(self, folder: str) -> Dump:
        """Return the tensors whose names begin with a folder, without it."""
        start = f"{folder}/"
        tensors, expected = (
            {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}
            for arrays in (self._tensors, self._expected)
        )
        return Dump(self.path, tensors, (), expected)  # type: ignore[arg-type]

    def get(self, name: str) -> Array | None:
        """Return a tensor, None if the dump lacks it.

        Numbers that should be floats are float16, float32 (bfloat16, too) or float64. An array larger than the
        bundle's keeps its shape alone: its numbers are not loaded.

        :raises DataError: if the numbers cannot be read.
        """
        if name not in self._tensors:
            return None
        stored, expected = self._tensors[name], self._expected[name]
        if prod(stored.shape) > prod(expected.shape):
            return np.broadcast_to(np.zeros((), np.float32), stored.shape)
        array = stored.load()
        is_usual = expected.is_integer or (array.dtype.kind == "f" and array.itemsize <= 8)
        return array if is_usual else array.astype(np.float64)

    def dtype(self, name: str) -> str:
        """Return the dtype, a key of ``rounding.EPS``, in which a tensor can have been computed.

        That of a single number is the coarsest of the dump: programs of any dtype write their loss as float64.
        """
        stored = self._tensors[name]
        if prod(stored.shape) == 1:
            return self._coarsest
        return stored.dtype if stored.dtype in EPS else "float64"

    def notes(self) -> tuple[str, ...]:
        """Return sentences about the tensors that the bundle does not know."""
        notes = [
            f"{short_name(name)} is none of the bundle's tensors{did_you_mean(name[:200], self._expected)}"
            for name in self.unknown[:MAX_SUGGESTIONS]
        ]
        if more := self.unknown[MAX_SUGGESTIONS:]:
            notes.append(f"{len(more)} more are none of the bundle's tensors{examples(more)}.")
        return tuple(notes)
