"""Settings: frozen records whose fields carry their default, limits and help text, validated in one place.

A class of settings is a frozen dataclass that derives from ``Settings`` and declares its fields with ``setting``::

    @dataclass(frozen=True)
    class Recipe(Settings):
        epochs: int = setting(10, "Number of passes over the training images.", minimum=1)

The same declaration validates a value wherever it comes from (a keyword, the command line, a JSON file), makes the
option of the command line and writes the reference of the options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cache
from math import inf
from sys import float_info
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from glassnet.errors import ConfigError, choice_error, did_you_mean

REQUIRED = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Limits:
    """The range of a field's numbers: from ``minimum`` to ``maximum``, greater than ``above``, less than ``below``."""

    minimum: float = -inf
    maximum: float = inf
    above: float = -inf
    below: float = inf

    def allow(self, number: float) -> bool:
        """Whether the number is finite and in the range."""
        return (
            self.minimum <= number <= self.maximum
            and self.above < number < self.below
            and abs(number) <= float_info.max
        )

    def __str__(self) -> str:
        parts = {f"of at least {self.minimum}": self.minimum, f"above {self.above}": self.above}
        low = next((text for text, limit in parts.items() if limit > -inf), "")
        high = f"below {self.below}" if self.below < inf else ""
        high = f"at most {self.maximum}" if self.maximum < inf else high
        return " and ".join(filter(None, (low, high)))


def setting(
    default: Any,
    help: str,
    *,
    minimum: float = -inf,
    maximum: float = inf,
    above: float = -inf,
    below: float = inf,
    form: str | None = None,
) -> Any:
    """Declare a field of a class of settings.

    :param default: the value where none is given, or ``REQUIRED``.
    :param help: help text of the command-line option: a phrase that names the thing and its unit.
    :param minimum: the smallest allowed number, and ``maximum`` the largest; ``above`` and ``below`` are limits that
        are not allowed themselves.
    :param form: text of the allowed values in errors; by default it follows from the type and the limits.
    """
    metadata = {"help": help, "limits": Limits(minimum, maximum, above, below), "form": form}
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """Base class of settings. Equal settings are equal values; a changed copy is made by ``replace``.

    :raises ConfigError: if a field is out of its range; the error names the field, what is allowed and the value.
    """

    title: ClassVar[str] = "settings"  # the name of the record, in errors and on the panel of its options
    default_source: ClassVar[str | None] = None  # origin of the options' defaults, if it is not the fields

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            kind, given = self.types()[field.name], getattr(self, field.name)
            value = _convert(kind, given, field.metadata["limits"])
            if value is _INVALID:
                raise invalid(field.name, allowed_text(type(self), field.name), given, choices_of(kind))
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Check what fields demand of each other.

        :raises ConfigError: if two fields exclude each other.
        """

    @classmethod
    def types(cls) -> dict[str, Any]:
        """Return the type of each field by name."""
        return _types(cls)  # type: ignore[arg-type]  # a class is hashable

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the default of each field by name."""
        return {field.name: field.default for field in dataclasses.fields(cls)}  # type: ignore[arg-type]

    def replace(self, **changes: Any) -> Self:
        """Return a changed copy.

        :raises ConfigError: if a name is no field, with the closest field.
        """
        for name in changes:
            if name not in self.types():
                raise choice_error(f"{self.title} field", self.types(), name)
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def differences(self, other: Self) -> dict[str, tuple[Any, Any]]:
        """Return the fields that differ from ``other``: {name: (own value, other's value)}."""
        values = ((name, getattr(self, name), getattr(other, name)) for name in self.types())
        return {name: (value, reference) for name, value, reference in values if value != reference}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict that JSON can hold; nested settings become dicts, too."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, values: Any, where: str = "") -> Self:
        """Return the settings that ``to_dict`` gave, read back from JSON and validated.

        :param where: the path of the file, and of nested settings the field, for errors.
        :raises ConfigError: if a field is unknown, missing or out of its range.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where or cls.title} must be an object with the fields of {cls.title}. Got {values!r}.")
        is_nested = bool(where) and not where.endswith(": ")
        dot = f"{where}." if is_nested else where
        subject = f"{where} field" if is_nested else f"{where}{cls.title} field"
        known = cls.types()
        given = {}
        for name, value in values.items():
            if name not in known:
                raise choice_error(subject, known, name)
            nested = _nested(known[name])
            given[name] = nested.from_dict(value, f"{dot}{name}") if nested and value is not None else value
        for name, default in cls.defaults().items():
            if default is REQUIRED and name not in given:
                raise ConfigError(f"{dot}{name} must be {allowed_text(cls, name)}. Got nothing.")
        try:
            return cls(**given)
        except ConfigError as error:
            raise ConfigError(f"{dot}{error}") from None


def invalid(name: str, allowed: str, value: Any, choices: Iterable[Any] = ()) -> ConfigError:
    """Return the error of a value that is not allowed; it names the closest of the choices, if there are any."""
    return ConfigError(f"{name} must be {allowed}. Got {value!r}{did_you_mean(value, choices)}")


def allowed_text(cls: type[Settings], name: str) -> str:
    """Return in words what a field may be: ``an integer of at least 1``."""
    field = next(field for field in dataclasses.fields(cls) if field.name == name)  # type: ignore[arg-type]
    return field.metadata["form"] or _form(cls.types()[name], field.metadata["limits"])


def choices_of(kind: Any) -> tuple[Any, ...]:
    """Return the choices of a Literal type, without None; nothing for other types."""
    return tuple(choice for member in _members(kind) if get_origin(member) is Literal for choice in get_args(member))


_INVALID = object()
_TYPE_NAMES = {bool: "True or False", str: "text", int: "an integer", float: "a finite number", dict: "an object"}


def _form(kind: Any, limits: Limits) -> str:
    members = [member for member in _members(kind) if get_origin(member) is not Literal and member is not NoneType]
    choices = ", ".join(map(repr, choices_of(kind)))
    texts = [f"one of {choices}" if len(choices_of(kind)) > 1 else choices] if choices else []
    for member in members:
        if get_origin(member) is tuple:
            item = {int: "integers", float: "finite numbers", str: "texts"}[get_args(member)[0]]
            count = "" if get_args(member)[-1] is Ellipsis else f"{len(get_args(member))} "
            texts.append(f"a list of {count}{item} {limits}".rstrip())
        else:
            name = _TYPE_NAMES.get(get_origin(member) or member) or f"an object with the fields of {member.title}"
            texts.append(f"{name} {limits if member in (int, float) else ''}".rstrip())
    return " or ".join([*texts, *(["None"] if NoneType in _members(kind) else [])])


def _convert(kind: Any, value: Any, limits: Limits) -> Any:
    """Return the value as Python's own numbers, tuples for lists; ``_INVALID`` where it does not fit the type."""
    # NumPy's float64 would turn float32 arithmetic into float64.
    if hasattr(value, "dtype") and not isinstance(value, type):
        value = value.tolist()
    for member in _members(kind):
        converted = _convert_member(member, value, limits)
        if converted is not _INVALID:
            return converted
    return _INVALID


def _convert_member(kind: Any, value: Any, limits: Limits) -> Any:
    if get_origin(kind) is Literal:
        return value if any(value == choice and type(value) is type(choice) for choice in get_args(kind)) else _INVALID
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        item, *others = get_args(kind)
        items = tuple(_convert(item, member, limits) for member in value)
        fits = others == [Ellipsis] or len(items) == 1 + len(others)
        return items if fits and not any(item is _INVALID for item in items) else _INVALID
    if kind in (int, float):
        is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        return value if is_number and limits.allow(value) else _INVALID
    plain = get_origin(kind) or kind
    return value if isinstance(plain, type) and isinstance(value, plain) else _INVALID


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _nested(kind: Any) -> type[Settings] | None:
    return next(
        (member for member in _members(kind) if isinstance(member, type) and issubclass(member, Settings)), None
    )


@cache
def _types(cls: type[Settings]) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
