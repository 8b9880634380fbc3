"""Options of the command line that are made from the fields of settings: one declaration, one help text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer

from glassnet.errors import ConfigError
from glassnet.settings import Settings, choices_of

Number = TypeVar("Number", int, float)

Command = Callable[..., None]


def with_settings(
    *classes: type[Settings], without: Collection[str] = (), defaults: Mapping[type[Settings], str] | None = None
) -> Callable[[Command], Command]:
    """Give a command an option for each field of the settings; it receives those that were given as ``settings``.

    :param classes: classes of settings; each has a panel of the help, titled by its ``title``.
    :param without: fields that get no option.
    :param defaults: where the values come from that are not given, for classes with another source than their own.
    """
    sources = {cls: (defaults or {}).get(cls, cls.default_source) for cls in classes}
    options = [
        _option(cls, field.name, field.metadata["help"], sources[cls])
        for cls in classes
        for field in fields(cls)  # type: ignore[arg-type]
        if field.name not in without
    ]
    names = [option.name for option in options]

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]

        @wraps(command)
        def run(**values: Any) -> None:
            given = {name: value for name in names if (value := values.pop(name)) is not None}
            command(**values, settings=given)

        parameters = [*own, *(option for option in options if option.name not in signature.parameters)]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _option(cls: type[Settings], name: str, help: str, default_source: str | None) -> inspect.Parameter:
    """Return the parameter of a command for one field; it is None where the option is not given."""
    kind, default = cls.types()[name], cls.defaults()[name]
    choices = "|".join(map(str, choices_of(kind)))
    members = set(get_args(kind) or (kind,))
    source = f" (default: {default_source})" if default_source else ""
    details: dict[str, Any] = {
        "help": help if default is None or source else f"{help} Default: {_to_text(default)}.",
        "rich_help_panel": f"{cls.title.capitalize()} settings{source}",
        "show_default": False,  # None stands for an option that was not given
    }
    option: Any = str
    if bool in members or kind is bool:
        option = bool
    elif choices:
        details["metavar"] = choices
    elif any(get_origin(member) is tuple for member in {*members, kind}):
        details |= {"parser": lambda text: _integers(name, str(text)), "metavar": "INTEGER[,INTEGER...]"}
        option = str
    elif int in members or float in members:
        option = int if int in members else float
    annotation = Annotated[option | None, typer.Option(**details)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _to_text(default: Any) -> str:
    return ("no", "yes")[default] if isinstance(default, bool) else str(default)


def _integers(name: str, text: str) -> int | tuple[int, ...]:
    integers = separate(name, text, int)
    return integers[0] if len(integers) == 1 else tuple(integers)


def separate(name: str, text: str, number: type[Number]) -> list[Number]:
    """Return the numbers that commas separate.

    :raises ConfigError: if there is anything else between the commas; names the option.
    """
    try:
        return [number(part) for part in text.split(",")]
    except ValueError:
        kind = {int: "integers", float: "numbers"}[number]
        raise ConfigError(f"--{name.replace('_', '-')} must be {kind} separated by commas. Got {text!r}.") from None
