"""Numbers as text: accuracies, losses and durations look the same in every log line, on every page and in errors."""

from __future__ import annotations

from collections.abc import Sequence


def format_accuracy(fraction: float) -> str:
    """Return a fraction of images in percent: ``96.4%``."""
    return f"{fraction:.1%}"


def format_loss(loss: float) -> str:
    """Return a mean cross-entropy with four decimals: ``0.2451``."""
    return f"{loss:.4f}"


def format_duration(seconds: float) -> str:
    """Return ``0.8 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_bytes(count: int) -> str:
    """Return ``640 bytes``, ``2.5 MB`` or ``12.3 GB``, in powers of 1000."""
    if count < 1000:
        return pluralize(count, "byte")
    value = count / 1000
    for unit in ("kB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def pluralize(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 epoch`` or ``2 epochs``; a plural of another form is given, such as ``classes``."""
    return f"{number:,} {agree(number, noun, plural or f'{noun}s')}"


def agree(number: int, singular: str, plural: str) -> str:
    """Return the word that agrees with a number: ``has`` or ``have``."""
    return singular if number == 1 else plural


def join_words(words: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
