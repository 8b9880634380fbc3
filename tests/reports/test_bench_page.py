from dataclasses import replace

from glassnet.pages.page import Table
from glassnet.reports.bench_page import build_page, write_bench
from tests.bench.small import report
from tests.conftest import widen
from tests.pages.test_page import Elements


def test_build_page_has_ratios_workloads_and_machine():
    page = build_page(report())
    assert [section.title for section in page.sections] == ["Ratios", "digits", "block", "Machine"]
    assert page.key_figures[1] == ("digits beside PyTorch", "2.00× the time")
    assert "3 rounds" in page.summary[0]
    sentence, _, table = page.sections[1].blocks
    assert sentence.startswith("The time of NumPy fast is 0.60 (0.50–0.70) × that of NumPy plain, 2 threads;")
    assert isinstance(table, Table)
    assert table.title == "Step of tiny"
    assert ["torch", "not installed"] in page.sections[-1].blocks[0].rows


def test_build_page_has_the_notes():
    assert build_page(replace(report(), notes=["PyTorch was not measured: why"])).summary[-1].startswith("PyTorch")


def test_write_bench_makes_a_page_without_requests(tmp_path):
    path = write_bench(report(), tmp_path / "bench.html")
    elements = Elements(path.read_text(encoding="utf-8"))
    assert not any("src" in attributes for _, attributes in elements.elements)
    assert "nowrap" in [table.get("class") for table in elements.all("table")]
    assert "2.00 (1.50–2.50)" in elements.texts


def test_page_opens_offline_and_fits(browser, tmp_path):
    path = write_bench(report(), tmp_path / "bench.html")
    tab = browser.new_page(viewport={"width": 390, "height": 900}, offline=True)
    messages = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.goto(path.as_uri())
    tab.locator(".plot .main-svg").first.wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    widen(tab, 1280)
    assert messages == []
    tab.close()
