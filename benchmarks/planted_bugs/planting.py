"""Bugs to plant at run time: what is replaced, and the settings with which it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from glassnet.nn.kernels import Kernels

Change = Callable[..., Any]
Row = tuple[str, Any, str, Any, str, dict[str, Any]]  # name, place, attribute, maker, what may be named, settings


@dataclass(frozen=True)
class Bug:
    """A function that is replaced at run time, and the settings with which it is used."""

    name: str
    place: Any  # a class or module
    attribute: str
    make: Callable[[Any], Any]  # returns the wrong function from the right one
    expected: frozenset[str]  # kinds or names of operations, each of which would be right to name
    settings: dict[str, Any] = field(default_factory=dict)


# Small networks with every option, as a preset and changed fields.
TINY = {"model": "tiny", "width": 4}
NORM = {"model": "tiny-bn", "width": 4}
DROPOUT = {**NORM, "dropout": 0.3}
AVERAGE = {**NORM, "pool": "avg"}
STRIDE = {**TINY, "pool": "stride"}
CIFAR = {"model": "resnet20", "image_size": 8, "blocks": 1, "width": 4}
PROJECTION = {**CIFAR, "shortcut": "projection"}
PREACTIVATION = {**CIFAR, "preactivation": True}
PLAIN = {**CIFAR, "skip": False}
LARGE = {"model": "resnet18", "image_size": 32, "blocks": (1, 1), "width": 4, "classes": 5}
LARGE_AVERAGE = {**LARGE, "pool": "avg"}
BOTTLENECK = {"model": "resnet50", "image_size": 32, "blocks": (1, 1), "width": 2, "classes": 5}
OBLONG = {**TINY, "image_size": (7, 10), "in_channels": 3}
SMOOTH = {**TINY, "label_smoothing": 0.1}
WEIGHTS = {**TINY, "class_weights": "balanced", "label_smoothing": 0.1}


def on_result(change: Change) -> Callable[[Any], Any]:
    """Return a maker of functions whose result is changed."""
    return lambda plain: lambda *args, **named: change(plain(*args, **named))


def on_part(index: int, change: Change) -> Callable[[Any], Any]:
    """Return a maker of functions of which one of several results is changed."""

    def changed(results: tuple[Any, ...]) -> tuple[Any, ...]:
        if results[index] is None:
            return results
        return (*results[:index], change(results[index]), *results[index + 1 :])

    return on_result(changed)


def on_argument(index: int, change: Change) -> Callable[[Any], Any]:
    """Return a maker of functions of which one argument is changed; -1 is the last array before keywords."""

    def make(plain: Any) -> Any:
        def wrong(*args: Any, **named: Any) -> Any:
            offset = index + (bool(args) and isinstance(args[0], Kernels))
            return plain(*args[:offset], change(args[offset]), *args[offset + 1 :], **named)

        return wrong

    return make


def fixed(**named: Any) -> Any:
    """Return a maker of functions that are given other keyword arguments."""
    return lambda plain: lambda *args, **given: plain(*args, **{**given, **named})


def bugs_of(title: str, rows: list[Row]) -> Iterator[Bug]:
    """Yield the bugs of a table."""
    for name, place, attribute, make, expected, settings in rows:
        names = frozenset({*expected.split(), expected})
        yield Bug(f"{title}, {attribute}: {name} ({describe(settings)})", place, attribute, make, names, settings)


def describe(settings: dict[str, Any]) -> str:
    """Return settings as text: ``tiny-bn, dropout 0.3``."""
    fields = [f"{name} {value}" for name, value in settings.items() if name not in ("model", "width", "image_size")]
    return ", ".join([settings["model"], *fields])
