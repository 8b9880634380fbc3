from pathlib import Path
from typing import Any

import pytest

from glassnet.doctor import write_examination
from glassnet.doctor.check import Reading
from glassnet.doctor.data_checks import Unbalanced
from glassnet.doctor.diagnose import Checked, Examination
from glassnet.doctor.network_checks import WrongGradient
from glassnet.doctor.page import compose
from glassnet.doctor.training_checks import Overfitting
from glassnet.errors import RunError


@pytest.fixture
def examined(seen: Any) -> Examination:
    """Two findings, one thing sound, one not looked at."""
    checked = [
        Checked(Unbalanced(), Reading(9, "9.0 times", "high", "<b>'cat'</b> has 9 times more.")),
        Checked(Overfitting(), Reading(0.13, "+13 points", "medium", "A gap.")),
        Checked(WrongGradient(), Reading(1e-9, "worst error 1e-09")),
        Checked(WrongGradient(), None, "no time"),
    ]
    return Examination("runs/a", seen, checked)


def test_findings_stand_in_the_order_of_use(examined: Examination) -> None:
    page = compose(examined)
    assert [section.title for section in page.sections] == [
        *("1. Classes unbalanced", "2. Overfitting", "The training", "What was checked")
    ]
    _, table, *advice = page.sections[0].blocks
    assert [row[1] for row in table.rows] == ["9.0 times", Unbalanced.normal, "high", Unbalanced.source]
    assert advice[1].startswith("1. Judge by the recall")
    assert [block.title for block in page.sections[-1].blocks] == ["Looked for and not found", "Not looked for"]


def test_a_healthy_page_says_so(seen: Any) -> None:
    page = compose(Examination("runs/a", seen, [Checked(WrongGradient(), Reading(0, "0"))]))
    assert page.summary == ["runs/a looks healthy: 1 of 1 possible faults were looked for."]
    assert page.facts[0] == ("First finding", "None")


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1400])
def test_it_opens_offline_and_fits(opened: Any, examined: Examination, width: int) -> None:
    tab = opened(compose(examined), width)
    assert tab.locator("figure").count() == 2
    fits = "[...document.querySelectorAll('.table')].map(table => table.scrollWidth <= table.clientWidth)"
    assert tab.evaluate(fits) == [True] * 4  # all that was found and looked for can be read without scrolling sideways


def test_it_is_one_file_and_escaped(examined: Examination, tmp_path: Path) -> None:
    html = write_examination(examined, tmp_path / "doctor.html").read_text(encoding="utf-8")
    assert "<b>'cat'</b>" not in html
    assert "default-src" in html


def test_a_place_that_cannot_be_written(examined: Examination, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        write_examination(examined, tmp_path / "nowhere" / "doctor.html")
