"""Formatters of numbers and lists, for the sentences and tables of reports, studies and the doctor.

Whatever needs a new format adds it here, so that equal numbers look equal on every page.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TypeAlias

from glassnet.formats import format_duration
from glassnet.measures.significance import SIGNIFICANT

Cell: TypeAlias = str | int | float | None
NOT_MEASURED = "not measured"
"""The cell of a number that the data does not give, such as the recall of a class without test images."""
_DIRECTIONS = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = (*range(9), *range(14, 32), *range(127, 160))  # such as those that colour a terminal; white space stays
_LEFT_OUT = dict.fromkeys((*_DIRECTIONS, *_CONTROLS))


def shorten(text: str, max_columns: int) -> str:
    """Return the text in one line, its middle left out where it is wider than ``max_columns``.

    Characters that control a terminal, or turn the direction of the text around them, are left out.
    """
    line = " ".join(text.translate(_LEFT_OUT).split())
    if count_columns(line) <= max_columns:
        return line
    tail = max_columns // 3  # names often differ in their last characters only
    return f"{_first_columns(line, max_columns - tail - 1).rstrip()}…{_first_columns(line[::-1], tail)[::-1].lstrip()}"


def _first_columns(text: str, columns: int) -> str:
    ends = enumerate(accumulate(map(count_columns, text)))
    return text[: next((index for index, end in ends if end > columns), len(text))]


def count_columns(text: str) -> int:
    """Return the width of the text in columns of a terminal: 2 for a Chinese character, 0 for an accent of its own."""
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def isolate(text: str) -> str:
    """Return a text from right to left between Unicode's isolates, so that numbers beside it keep their place."""
    is_from_right = any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
    return f"\u2068{text}\u2069" if is_from_right else text


def first_names(names: Sequence[str], max_count: int = 5) -> str:
    """Return the first names between commas, with an ellipsis if there are more."""
    return ", ".join(names[:max_count]) + (", …" if len(names) > max_count else "")


def format_value(value: object) -> str:
    """Return a setting's value as text: lists between commas, yes and no, numbers without separators."""
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format_cell(value if value is None or isinstance(value, float) else str(value))  # no 2,026 for a seed


def format_cell(value: Cell) -> str:
    """Return the text of a table's cell: 40,551,040; 0.9711; – if there is nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return (f"{value:.4g}" if isinstance(value, float) else f"{value:,}").replace("-", "−")


def finite(value: float | None) -> float | None:
    """Return the value, or None (a gap in a curve, null in JSON) where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def format_shape(lengths: Iterable[int]) -> str:
    """Return ``8×32×32``."""
    return "×".join(map(str, lengths))


def format_factor(factor: float) -> str:
    """Return how many times as much, with two digits or whole: ``3.2``, ``416``, ``5e+07``."""
    return f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}" if factor < 1e6 else f"{factor:.0e}"


def format_seconds(seconds: float) -> str:
    """Return ``450 ms``, ``2.0 s`` or ``3 min 20 s``."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else format_duration(seconds)


def format_points(difference: float) -> str:
    """Return a difference of two fractions in percentage points, without the unit: ``1.5``, ``−0.2``."""
    return f"{round(100 * difference, 1) + 0.0:.1f}".replace("-", "−")


def format_p_value(p_value: float) -> str:
    """Return ``p = 0.012``, or ``p < 0.0001``."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def format_test(p_value: float | None, test: str) -> str:
    """Return ``significant, paired t-test, p = 0.012``, ``not significant, …``, or ``not tested`` for None."""
    if p_value is None:
        return "not tested"
    return f"{'significant' if p_value < SIGNIFICANT else 'not significant'}, {test}, {format_p_value(p_value)}"
