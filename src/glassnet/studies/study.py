"""What all studies have in common: numbers, and sentences computed from them."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Study(ABC):
    """What was measured. Each study is a frozen dataclass of this kind; its fields are the numbers."""

    @property
    @abstractmethod
    def words(self) -> list[str]:
        """What the numbers say: sentences that would say the opposite if the numbers did."""

    def numbers(self) -> dict[str, Any]:
        """All fields, and the words, as JSON takes them; null where a number is not finite."""
        return {name: plain(value) for name, value in vars(self).items()} | {"words": self.words}


def plain(value: Any) -> Any:
    """Dataclasses, arrays, mappings and sequences as dicts and lists; what is not finite becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
