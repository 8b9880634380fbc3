import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import glassnet as gn
from glassnet.insight import compare, measures
from glassnet.insight.page import Page, write_page
from glassnet.training import Model, Progress
from tests.insight import contestants


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Model:
    """Two epochs of the tutorial's network on the digits; not to be written into."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    gn.train("tiny", data="digits", epochs=2, seed=3, run=path, progress=Progress())
    return gn.load(path)


@pytest.fixture
def run(trained, tmp_path) -> Model:
    """A copy of it, to do with as one likes."""
    shutil.copytree(trained.path, tmp_path / "run")
    return gn.load(tmp_path / "run")


@pytest.fixture(scope="session")
def digits_data():
    return gn.load_data("digits")


@pytest.fixture
def contest(monkeypatch):
    """Compares contestants by what they are made to say, in place of networks."""
    monkeypatch.setattr(measures, "layer_table", lambda network: [measures.Layer("fc", (3,), 9, 90, 12)])
    monkeypatch.setattr(measures, "probabilities", lambda network, normalization, images: network.probabilities)
    return lambda *models, dataset=contestants.DATA: compare(models, dataset)


@pytest.fixture(scope="session")
def browser():
    """A Chromium of the machine; a test that opens a page skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()


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
