"""Commands called in the test's own process, as from a terminal."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from glassnet import cli

Result = tuple[int, str, str]  # exit code, stdout, stderr
Call = Callable[..., Result]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *first: str) -> Call:
    """Return a function that calls ``glassnet`` with the words of ``first`` and its own arguments."""

    def call(*arguments: Any) -> Result:
        monkeypatch.setattr(sys, "argv", ["glassnet", *first, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call
