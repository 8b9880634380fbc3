import json
from math import inf, nan

import pytest

from glassnet.cli.app import show, table


def test_json_has_null_for_what_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    show({"loss": nan, "rows": [{"worst": inf}, (1.5, -inf)], "name": "nan", "passed": True}, "", True)
    out = capsys.readouterr().out
    assert "NaN" not in out
    assert json.loads(out) == {"loss": None, "rows": [{"worst": None}, [1.5, None]], "name": "nan", "passed": True}


def test_table_aligns_numbers_to_the_right() -> None:
    rows = [
        {"name": "a", "accuracy": "96.4%", "loss": "0.2451 ± 0.0031", "count": 1500, "error": -2.5e-12, "same": True},
        {"name": "bb", "accuracy": "100.0%", "loss": "12.0000", "count": 3, "error": None, "same": False},
    ]
    assert table(rows).splitlines() == [
        "name  accuracy             loss  count     error  same",
        "a        96.4%  0.2451 ± 0.0031  1,500  −2.5e-12  yes",
        "bb      100.0%          12.0000      3         –  NO",
    ]
