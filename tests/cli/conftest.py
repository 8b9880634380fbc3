"""Commands called in this process, as from a terminal."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glassnet import cli

Result = tuple[int, str, str]
Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """``glassnet study ...`` in this process, inside ``tmp_path``: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def called(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["glassnet", "study", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return called
