"""Live pages in a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import glassnet as gn
from glassnet.explorer import write_explorer
from glassnet.progress import Progress
from tests.conftest import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUIET = {"progress": Progress(), "report": False, "dtype": "float64", "epochs": 1, "seed": 3}


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> gn.Model:
    """The smallest network, on the digits."""
    path = tmp_path_factory.mktemp("explorer") / "digits"
    gn.train("tiny", data=gn.load_data("digits", samples=200), run=path, **QUIET)
    write_explorer(gn.load(path))
    return gn.load(path)


@pytest.fixture(scope="session")
def photos_run(tmp_path_factory) -> gn.Model:
    """A network with as many kinds of layers as possible, on rectangular images in colour."""
    path = tmp_path_factory.mktemp("explorer") / "photos"
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 24, 3), dtype=np.uint8)
    data = gn.Dataset(images, np.arange(60) % 3, ["cat", "dog", "bird"])
    layers = {
        "blocks": (1, 1),
        "width": 4,
        "preactivation": True,
        "shortcut": "projection",
        "pool": "avg",
        "dropout": 0.2,
    }
    gn.train("resnet20", data=data, run=path, batch_size=20, augment="none", **layers, **QUIET)
    write_explorer(gn.load(path), data)
    return gn.load(path)


# Makes an open page what it was at first, which takes a tenth of the time of opening it.
RESET = """async () => {
  await session.call("pause");
  const isBusy = () => tracer.busy || store.state.training.isRunning || store.state.breaking.isRunning;
  const settled = async () => { while (isBusy()) await new Promise((done) => setTimeout(done, 5)); };
  await settled();
  await session.call("choose", {network: "main"}); // after the answers to all earlier calls
  render(null, document.getElementById("app"));
  session.listeners.clear();
  window.first ??= store.state;
  Object.assign(tracer, {edits: NO_EDITS, sent: new Map()});
  Object.assign(drawing, {strokes: [], cursor: [0.5, 0.2], isDown: false, isFirst: false});
  listenToTraining.done = false;
  lastEdit = {};
  store.replace({...first, dark: darkScheme.matches});
  store.forget();
  await settled();
  store.replace({layer: first.layer, hover: null, problem: null});
  render(html`<${App} />`, document.getElementById("app"));
}"""


class Tabs:
    """Live pages that are open, offline, and what they complained of and requested."""

    def __init__(self, browser) -> None:
        self._browser = browser
        self._shared: dict[Path, Page] = {}
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def open(self, path: Path, **looks) -> "Page":
        """Open a page."""
        tab = self._browser.new_page(**looks, offline=True)
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.goto(path.as_uri())
        wait_until(tab, "Boolean(document.querySelector('.why, .problem')) && !tracer.busy")
        return tab

    def share(self, path: Path, viewport: dict[str, int], color_scheme: str) -> "Page":
        """Return the one tab of a page, as if it had just been opened."""
        if path not in self._shared:
            self._shared[path] = self.open(path, viewport=viewport, color_scheme=color_scheme)
        tab = self._shared[path]
        tab.mouse.move(0, 0)
        tab.set_viewport_size(viewport)
        tab.emulate_media(color_scheme=color_scheme)
        tab.evaluate(RESET)
        wait_until(tab, "Boolean(document.querySelector('.why'))")
        return tab


@pytest.fixture(scope="session")
def tabs(browser) -> Tabs:
    """The pages of runs stay open for all tests."""
    return Tabs(browser)


@pytest.fixture
def explore(tabs) -> Iterator[Callable]:
    """Opens the page of a run, or a file; at the end, nothing was requested and no message was written."""
    own_tabs = []

    def open_page(run: gn.Model | Path, width: int = 1280, scheme: str = "light"):
        looks = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
        if not isinstance(run, Path):
            return tabs.share(run.path / "explore.html", **looks)
        own_tabs.append(tabs.open(run, **looks))
        return own_tabs[-1]

    yield open_page
    for tab in own_tabs:
        tab.close()
    complaints, requests = tabs.complaints[:], tabs.requests[:]
    tabs.complaints.clear()
    tabs.requests.clear()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
