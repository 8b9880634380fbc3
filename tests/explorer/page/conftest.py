"""Live pages in a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.explorer import write_explorer
from glassnet.progress import Progress
from tests.conftest import wait_until

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


@pytest.fixture
def explore(browser) -> Iterator[Callable]:
    """Opens the page of a run offline; at the end, nothing was requested and no message was written."""
    tabs, complaints, requests = [], [], []

    def open_page(run: gn.Model | Path, width: int = 1280, scheme: str = "light"):
        path = run if isinstance(run, Path) else run.path / "explore.html"
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        tabs.append(tab)
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        wait_until(tab, "Boolean(document.querySelector('.why, .problem'))")
        return tab

    yield open_page
    for tab in tabs:
        tab.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
