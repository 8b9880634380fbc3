"""What the tests of several rooms share."""

import os
import re
import shutil
import signal
import time

# One thread for each worker of pytest-xdist, and for what it starts. Read when NumPy and PyTorch are first imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when ONNX Runtime is first imported

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import glassnet as gn
from glassnet.progress import Progress
from glassnet.training import Model

if TYPE_CHECKING:
    from glassnet.pages.page import Page

# A shell without job control starts what it puts into the background, such as `make test &`, with SIGINT ignored, and
# Python then raises no KeyboardInterrupt. Tests of Ctrl-C need it here and in the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

Snapshot = Callable[[Path], dict[str, tuple[bytes, int]]]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """A cache of the tests alone: none may touch the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLASSNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that lies beside the checkout, for tests that need real images."""
    folder = Path(os.environ.get("GLASSNET_SHARED", Path(__file__).parents[1] / "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set GLASSNET_SHARED to the folder of shared data")
    return folder


@pytest.fixture(scope="session")
def digits() -> gn.Dataset:
    """200 training digits and all 450 test digits: an epoch of tiny takes a few hundredths of a second."""
    return gn.load_data("digits", samples=200, test_samples="all")


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """Every file below a folder with its bytes and its time, to see that nothing was touched."""

    def taken(folder: Path) -> dict[str, tuple[bytes, int]]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    return taken


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Model:
    """Two epochs of the tutorial's network on the digits; not to be written into."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    gn.train("tiny", data="digits", epochs=2, seed=3, run=path, progress=Progress(), report=False)
    return gn.load(path)


@pytest.fixture
def run(trained, tmp_path) -> Model:
    """A copy of it, to do with as one likes."""
    shutil.copytree(trained.path, tmp_path / "run")
    return gn.load(tmp_path / "run")


@pytest.fixture(scope="session")
def digits_data():
    return gn.load_data("digits")


@pytest.fixture(scope="session")
def torchvision_models():
    """torchvision's networks; a test that needs them skips where torchvision is missing."""
    torch = pytest.importorskip("torch")
    # torchvision's compiled operators are of another build of torch; its networks use none of them.
    library = torch.library.Library("torchvision", "DEF")
    try:
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:  # defined already: this torchvision brings its own
        pass
    return pytest.importorskip("torchvision.models", reason="torchvision is not installed")


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


def offered_uploads(tab) -> list[str]:  # type: ignore[no-untyped-def]
    """Return the titles of all buttons and the addresses of all links by which figures would leave the machine."""
    buttons, links = (
        tab.evaluate(f"[...document.querySelectorAll({selector!r})].map(element => element.{attribute} ?? '')")
        for selector, attribute in ((".modebar-btn", "dataset.title"), ("a[href]", "href"))
    )
    assert buttons or not tab.locator(".plot, .js-plotly-plot").count(), "a figure without buttons shows nothing"
    uploads = [title for title in buttons if re.search("share|cloud|edit|studio|send|upload", title, re.IGNORECASE)]
    return uploads + [address for address in links if address.startswith("http")]


# In the colours of the page around them.
FIGURES_ARE_DRAWN = (
    "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.gtitle') && "
    "getComputedStyle(plot.querySelector('.gtitle')).fill === getComputedStyle(document.body).color)"
)
CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text(encoding="utf-8")


def wait_until(tab, expression: str) -> None:  # type: ignore[no-untyped-def]
    """Wait until an expression is true on a page. Playwright's own waiting needs the eval that our policy forbids."""
    deadline = time.monotonic() + 20
    while not tab.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        time.sleep(0.02)


def faint_texts(tab) -> list[str]:  # type: ignore[no-untyped-def]
    """Return the visible texts whose contrast with what lies behind them is below 4.5, each with its contrast."""
    texts = tab.evaluate(CONTRASTS)
    assert texts, "no text was measured"
    return [f"{contrast:.2f} {text}" for text, contrast in texts if contrast < 4.5]


def check_fit(tab, width: int) -> None:  # type: ignore[no-untyped-def]
    """Check that a page is no wider than the window, and that its figures can be seen."""
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert all(
        wide > 200 and high > 100
        for wide, high in tab.evaluate(
            "[...document.querySelectorAll('.plot .main-svg:first-child')].map(svg => svg.getBoundingClientRect())"
            ".map(({width, height}) => [width, height])"
        )
    )


def widen(tab, width: int) -> None:  # type: ignore[no-untyped-def]
    """Make the window of a page wider, and check the page there: to open it again would take seconds."""
    sizes = "JSON.stringify([...document.querySelectorAll('.plot .main-svg:first-child')].map(s => s.clientWidth))"
    before = tab.evaluate(sizes)
    tab.set_viewport_size({"width": width, "height": 900})
    wait_until(tab, f"{sizes} !== {before!r}")  # the figures follow
    wait_until(tab, FIGURES_ARE_DRAWN)
    check_fit(tab, width)


@pytest.fixture
def opened(browser, tmp_path: Path) -> Callable:  # type: ignore[no-untyped-def, type-arg]
    """Opens a page offline in a real browser at a width and checks what holds for every page; returns the tab."""
    from glassnet.pages.page import write_page

    tabs = []

    def open_page(page: "Page", width: int):  # type: ignore[no-untyped-def]
        path = write_page(page, tmp_path / "page.html")
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark", offline=True)
        tabs.append(tab)
        complaints, requests = [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        for scheme in ("dark", "light"):
            tab.emulate_media(color_scheme=scheme)
            wait_until(tab, FIGURES_ARE_DRAWN)
            assert faint_texts(tab) == []
        assert complaints == []
        assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
        assert not offered_uploads(tab)
        check_fit(tab, width)
        return tab

    yield open_page
    for tab in tabs:
        tab.close()
