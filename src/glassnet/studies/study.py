"""The base of all studies: a frozen dataclass of numbers, and sentences computed from them."""

import dataclasses
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glassnet.measures.seed_stats import PairedDifference
from glassnet.pages.text import format_points, format_test


class Study(ABC):
    """The result of a study. Each study is a frozen dataclass with ``repr=False``; its fields are the numbers."""

    @property
    @abstractmethod
    def summary(self) -> list[str]:
        """Sentences about the numbers, worded by the sign of each result."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary[0]!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return fields and summary as JSON takes them, null where a number is not finite.

        Fields declared with ``repr=False``, such as images, are left out.
        """
        return {**to_builtin(self), "summary": self.summary}


def default_output(study: str, *subjects: Path | str | None) -> Path:
    """Return the page's file in the working directory: ``study-sweep-digits.html``.

    :param subjects: the data, the run or the model that the study is about. Paths become part of the file's name, so
        that the pages of two runs never overwrite each other; None is skipped.
    """
    parts = (re.sub(r"[^\w.=+]+", "-", str(subject)).strip("-.") for subject in subjects if subject is not None)
    return Path("-".join(["study", study, *(part[-100:] for part in parts if part)]) + ".html")


def format_paired_test(difference: PairedDifference, test: str = "paired t-test") -> str:
    """Return ``95% interval −2.5 to 0.2; not significant, paired t-test, p = 0.08``, or ``one seed, not tested``.

    :param difference: of two fractions; the interval is written in percentage points.
    """
    if difference.low is None or difference.high is None:
        return "one seed, not tested"
    interval = f"95% interval {format_points(difference.low)} to {format_points(difference.high)}"
    return f"{interval}; {format_test(difference.p_value, test)}"


def to_builtin(value: Any) -> Any:
    """Return dataclasses, arrays and mappings as dicts and lists, and None in place of a number that is not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_builtin(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, np.ndarray | np.generic):
        return to_builtin(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): to_builtin(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_builtin(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
