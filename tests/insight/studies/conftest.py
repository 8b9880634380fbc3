from collections.abc import Callable
from pathlib import Path

import pytest

from glassnet.insight.page import Page, write_page


@pytest.fixture
def opened(browser, tmp_path: Path) -> Callable:  # type: ignore[no-untyped-def, type-arg]
    """Opens a page offline in a real browser at a width and checks what holds for every page; returns the tab."""
    tabs = []

    def open_page(page: Page, width: int):  # type: ignore[no-untyped-def]
        path = write_page(page, tmp_path / "page.html")
        tab = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
        tabs.append(tab)
        complaints, requests = [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        tab.wait_for_function("[...document.querySelectorAll('.plot')].every(plot => plot._fullLayout)")
        assert complaints == []
        assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert all(
            wide > 200 and high > 100
            for wide, high in tab.evaluate(
                "[...document.querySelectorAll('.plot .main-svg:first-child')].map(svg => svg.getBoundingClientRect())"
                ".map(({width, height}) => [width, height])"
            )
        )
        return tab

    yield open_page
    for tab in tabs:
        tab.close()
