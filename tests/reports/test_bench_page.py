import pytest

from glassnet.pages.page import Table
from glassnet.reports.bench_page import compose, write_bench
from tests.bench.small import contest, report
from tests.pages.test_page import Elements


def test_ratios_come_first_then_every_workload_and_the_machine():
    page = compose(report())
    assert [section.title for section in page.sections] == ["Ratios", "digits", "layers", "Machine"]
    assert page.key_figures == [("digits: of PyTorch's time", "2.00×")]
    assert "checked first in float64" in page.summary[0]
    assert "3 rounds" in page.summary[0]
    sentence = page.sections[1].blocks[0]
    assert sentence.startswith("digits: glassnet's time is 0.60 (0.50–0.70) × that of yardstick, 2 threads;")
    tables = [block for section in page.sections for block in section.blocks if isinstance(block, Table)]
    assert [table.title for table in tables] == ["Title of digits", "Title of layers", "What it was measured on"]
    assert [len(section.blocks) for section in page.sections] == [
        1,
        3,
        2,
        1,
    ]  # layers have the roofline, networks sentences


def test_notes_are_told():
    found = report(digits=[contest()])
    found.notes.append("PyTorch takes no part: it is not there.")
    assert compose(found).summary[-1] == found.notes[0]


def test_the_page_asks_for_nothing(tmp_path):
    path = write_bench(report(), tmp_path / "bench.html")
    elements = Elements(path.read_text(encoding="utf-8"))
    assert not any("src" in attributes for _, attributes in elements.elements)
    assert "nowrap" in [table.get("class") for table in elements.all("table")]
    assert "2.00 (1.50–2.50)" in elements.texts


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_opens_offline_and_fits(browser, tmp_path, width):
    path = write_bench(report(), tmp_path / "bench.html")
    tab = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
    told = []
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.goto(path.as_uri())
    for frame in tab.locator(".plot").all():
        frame.locator(".main-svg").first.wait_for()
    assert tab.locator(".plot").count() == 2
    tab.get_by_role("button", name="Backward").click()
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert told == []
    tab.close()
