import json
from math import inf, nan

import pytest

from glassnet.cli.app import show


def test_json_has_null_for_what_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    show({"loss": nan, "rows": [{"worst": inf}, (1.5, -inf)], "name": "nan", "passed": True}, "", True)
    out = capsys.readouterr().out
    assert "NaN" not in out
    assert json.loads(out) == {"loss": None, "rows": [{"worst": None}, [1.5, None]], "name": "nan", "passed": True}
