import shutil

import pytest

import glassnet as gn
from glassnet.insight import compare, measures
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
