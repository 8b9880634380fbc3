"""Tests of glassnet.cli.options: every field of the settings is an option, with one help text everywhere."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from glassnet.architecture import ResNetSpec
from glassnet.cli import app
from glassnet.cli.app import DEPTH_STUDY_SETS
from glassnet.cli.options import separate, with_settings
from glassnet.compute import Compute
from glassnet.errors import ConfigError
from glassnet.recipe import Recipe
from glassnet.settings import Settings

MODEL_COMMANDS = {
    "train": "train",
    "import": "import",
    "summary": "summary",
    "check gradients": "check gradients",
    "check parity": "check parity",
    "study convolution": "study convolution",
    "study parameters": "study parameters",
    "study lr-range": "study lr-range",
}


def options_of(command: str) -> dict[str, Any]:
    """Return the options of a command, by the name of its parameter."""
    group: Any = typer.main.get_command(app)
    for name in command.split():
        group = group.commands[name]
    return {parameter.name: parameter for parameter in group.params}


@pytest.mark.parametrize("command", MODEL_COMMANDS)
def test_commands_that_take_a_model_take_its_fields(command: str) -> None:
    options = options_of(command)
    own = {"preset", "image_size", "classes"}  # a command may use these names for more than the field
    for field in fields(ResNetSpec):
        if field.name not in own:
            assert options[field.name].help == field.metadata["help"], field.name
    assert {"image_size", "classes"} <= set(options)


@pytest.mark.parametrize("command", ["study gradient-flow", "study degradation"])
def test_studies_of_depths_take_the_fields_that_they_do_not_vary(command: str) -> None:
    options = options_of(command)
    for field in fields(ResNetSpec):
        if field.name not in DEPTH_STUDY_SETS:
            assert options[field.name].help == field.metadata["help"], field.name


@pytest.mark.parametrize("cls", [ResNetSpec, Recipe, Compute])
def test_train_has_every_field_as_an_option(cls: type[Settings]) -> None:
    options = options_of("train")
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name != "preset":
            assert options[field.name].opts == [f"--{field.name.replace('_', '-')}"]
            text, default = field.metadata["help"], field.default
            if cls.default_source is None and default is not None:
                text += f" Default: {'no' if default is False else default}."
            assert options[field.name].help == text


def test_every_option_has_a_help_text_that_is_a_phrase() -> None:
    def commands(group: Any, prefix: str = "") -> Any:
        for name, command in group.commands.items():
            yield from commands(command, f"{prefix}{name} ") if hasattr(command, "commands") else [prefix + name]

    for command in commands(typer.main.get_command(app)):
        for name, option in options_of(command).items():
            assert re.fullmatch(r"[A-Zf.].*\.", option.help or ""), (command, name, option.help)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], {}),
        (["--no-skip", "--preactivation"], {"skip": False, "preactivation": True}),
        (["--blocks", "2"], {"blocks": 2}),
        (["--blocks", "1,2,3", "--image-size", "8,9"], {"blocks": (1, 2, 3), "image_size": (8, 9)}),
        (["--lr", "1e-3", "--epochs", "3"], {"lr": 0.001, "epochs": 3}),
        (["--clip-grad-norm", "2", "--optimizer", "adam"], {"clip_grad_norm": 2.0, "optimizer": "adam"}),
        (["--kernels", "plain", "--threads", "1", "--no-channels-last"], {"kernels": "plain", "threads": 1}),
    ],
)
def test_a_command_receives_the_settings_that_were_given(arguments: list[str], given: dict[str, Any]) -> None:
    program, received = typer.Typer(), []

    @program.command()
    @with_settings(ResNetSpec, Recipe, Compute, without={"preset", "channels_last"})
    def command(source: str, settings: dict[str, Any], channels_last: bool = True) -> None:
        received.append((source, settings))

    result = CliRunner().invoke(program, ["digits", *arguments])
    assert result.exit_code == 0, result.output
    assert received == [("digits", given)]


def test_a_list_of_integers_is_checked() -> None:
    result = CliRunner().invoke(app, ["summary", "tiny", "--blocks", "1,x"])
    assert result.exit_code == 2
    assert "must be integers" in result.output


def test_numbers_separated_by_commas_are_read_or_refused() -> None:
    assert separate("mean", "0.5,1", float) == [0.5, 1.0]
    assert separate("depths", "8", int) == [8]
    with pytest.raises(ConfigError, match=re.escape("--mean must be numbers separated by commas. Got '0.5,'.")):
        separate("mean", "0.5,", float)
    with pytest.raises(ConfigError, match=re.escape("--the-depths must be integers separated by commas. Got '1.5'.")):
        separate("the_depths", "1.5", int)
