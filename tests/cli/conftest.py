"""Commands called in this process, as from a terminal."""

from pathlib import Path

import pytest

from tests.calls import Call, caller


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """``glassnet study ...`` in this process, inside ``tmp_path``: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    return caller(monkeypatch, capsys, "study")
