import pytest

import glassnet as gn
from glassnet.pages.page import Page
from glassnet.reports.live_page_link import with_live_page
from glassnet.training import Model

REPORT = Page("A report", [], ["In short."], [])


def test_report_has_the_command_of_the_live_page(run: Model) -> None:
    page = with_live_page(REPORT, run, run.path / "report.html")
    assert page.summary == [
        "In short.",
        f"A live page, in which this network computes and learns: glassnet explore {run.path}",
    ]
    assert page.links == ()


def test_report_links_to_the_live_page_beside_it(run: Model) -> None:
    gn.explore(run.path)
    html = gn.report(run.path).path.read_text(encoding="utf-8")
    assert '<a href="explore.html">The live page, in which this network computes and learns</a>' in html
    assert "glassnet explore" not in html


def test_report_elsewhere_has_the_command(run: Model) -> None:
    (run.path / "explore.html").touch()
    assert not with_live_page(REPORT, run, run.path.parent / "report.html").links


def test_report_of_a_large_network_has_neither(run: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassnet.measures.live_page.MAX_PARAMETERS", 2537)
    assert with_live_page(REPORT, run, run.path / "report.html") is REPORT
