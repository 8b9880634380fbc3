"""Errors of glassnet: one line with the argument or the path, what is allowed, and what was received."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path


class GlassnetError(Exception):
    """The base of all errors. The command line prints its one line and ends with exit code 1."""


class ShapeError(GlassnetError, ValueError):
    """An array whose shape does not fit a layer.

    A container that passes the error on prefixes the name of the child it came from, so that the
    text which reaches a person starts with the layer's full dotted name.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    def with_prefix(self, name: str) -> "ShapeError":
        """Put the name of the enclosing container's child before the path of the layer."""
        self.path.insert(0, name)
        return self

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.message}" if self.path else self.message


class DataError(GlassnetError, ValueError):
    """Images, labels or files that cannot be used."""


class ConfigError(GlassnetError, ValueError):
    """An argument, a model's spec or a recipe that is not allowed."""


class RunError(GlassnetError):
    """A run folder that is missing, unfinished, already existing or of another format; or a run that failed."""


class DivergedError(RunError):
    """A run whose loss or gradients are no longer finite."""


def as_path(name: str, value: object) -> Path:
    """Return ``value`` as a Path.

    :param name: the argument's name, for the error.
    :raises ConfigError: if the value is no path.
    """
    if not isinstance(value, str | PathLike):
        raise ConfigError(f"{name} must be a path. Got {value!r}.")
    return Path(value)


def did_you_mean(received: object, known: Iterable[object]) -> str:
    """Return the end of a message about an unknown name: ``; did you mean 'tiny'?``, or ``.`` if none is close."""
    matches = get_close_matches(str(received), list(map(str, known)), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else "."


def choice_error(
    subject: str, allowed: Iterable[object], received: object, kind: type[GlassnetError] = ConfigError
) -> GlassnetError:
    """Return the error for a value that is none of the allowed ones, with the closest of them.

    :param subject: the argument as the user typed it, such as ``model``.
    :param allowed: the values to choose from; the text lists the first 40.
    """
    names = list(map(str, allowed))
    choices = ", ".join(names[:_MAX_CHOICES]) + (", ..." if len(names) > _MAX_CHOICES else ".")
    return kind(f"{subject} must be one of {choices} Got {received!r}{did_you_mean(received, names)}")


def short_name(name: str) -> str:
    """Return a name that comes from a file on one line of at most about 80 characters."""
    return name if len(name) <= _MAX_NAME and name.isprintable() else f"{name[:_MAX_NAME]!r}..."


def examples(names: Sequence[str]) -> str:
    """Return the end of a count, with the names or three of them: ``: a, b`` or ``, such as a, b, c``."""
    return f"{':' if len(names) <= 3 else ', such as'} {', '.join(map(short_name, names[:3]))}"


def class_error(expected: Sequence[str], received: Sequence[str]) -> GlassnetError:
    """Return the error for data of other classes than the model's; of many classes it lists the first."""
    texts = (f"{list(names[:_MAX_CHOICES])}{' ...' * (len(names) > _MAX_CHOICES)}" for names in (expected, received))
    return DataError("classes of the data must be {}, as in the model. Got {}.".format(*texts))


_MAX_CHOICES = 40
_MAX_NAME = 80
