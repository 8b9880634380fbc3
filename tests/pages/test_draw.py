"""Tests of templates/draw.js in a real browser: colour schemes and saved figures."""

import re
import struct
from xml.etree import ElementTree

import numpy as np
import pytest

from glassnet.pages.colours import DARK, TEXT, TRAIN
from glassnet.pages.figures import confusion_figure, loss_curve
from glassnet.pages.page import Page, Section, Table, write_page
from tests.conftest import wait_until

HISTORY = [{"epoch": 1, "loss": 2.0, "test_loss": 2.5}, {"epoch": 2, "loss": 1.0, "test_loss": 1.5}]
LINE = "getComputedStyle(document.querySelector('.plot .js-line')).stroke"
TITLE = "getComputedStyle(document.querySelector('.plot .gtitle')).fill"
SVG = "{http://www.w3.org/2000/svg}"


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[start : start + 2], 16)) for start in (1, 3, 5))})"


def saved(tab, name: str, number: int = 0):
    """Return the file name and the bytes that a figure's button saves."""
    with tab.expect_download() as download:
        tab.get_by_role("button", name=name).nth(number).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """A page with two figures and a wide table, opened once: a browser takes a second to read plotly.js."""
    table = Table("Wide", [f"column {number}" for number in range(20)], [range(20)], nowrap=True)
    matrix = confusion_figure(np.diag(range(9, 19)), list("abcdefghij"))
    content = Page("A page", [("Fact", "1")], ["In short."], [Section("Results", [loss_curve(HISTORY), matrix, table])])
    tab = browser.new_page(viewport={"width": 400, "height": 900}, offline=True)
    tab.goto(write_page(content, tmp_path_factory.mktemp("pages") / "page.html").as_uri())
    yield tab
    tab.close()


@pytest.fixture
def tab(page):
    """The page as a reader of the light scheme finds it."""
    page.emulate_media(color_scheme="light", media="screen")
    page.evaluate("delete document.documentElement.dataset.theme")
    wait_until(page, f"{LINE} === {rgb(TRAIN)!r}")
    return page


def test_figures_follow_the_readers_scheme_while_open(tab) -> None:
    for scheme, colour, text in (("dark", DARK[TRAIN], DARK[TEXT]), ("light", TRAIN, TEXT)):
        tab.emulate_media(color_scheme=scheme)
        wait_until(tab, f"{LINE} === {rgb(colour)!r}")
        assert tab.evaluate(TITLE) == tab.evaluate("getComputedStyle(document.body).color") == rgb(text)


def test_paper_is_light(tab) -> None:
    tab.emulate_media(color_scheme="dark")
    wait_until(tab, f"{LINE} === {rgb(DARK[TRAIN])!r}")
    tab.emulate_media(color_scheme="dark", media="print")
    wait_until(tab, f"{LINE} === {rgb(TRAIN)!r}")
    assert tab.evaluate("getComputedStyle(document.body).color") == rgb(TEXT)
    assert not tab.get_by_text("Save as").first.is_visible()


def test_figures_follow_the_theme_of_a_site(tab) -> None:
    for theme, colour in (("dark", DARK[TRAIN]), ("auto", TRAIN)):
        tab.evaluate(f"document.documentElement.dataset.theme = {theme!r}")
        wait_until(tab, f"{LINE} === {rgb(colour)!r}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_saved_svg_has_the_title_in_large_text_on_white(tab, scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)
    name, content = saved(tab, "Save as SVG")
    assert name == "loss.svg"
    svg = ElementTree.fromstring(content)
    assert (svg.get("width"), svg.get("height")) == ("1280", "648")
    assert svg.find(f"{SVG}rect").get("style").startswith("fill: rgb(255, 255, 255)")
    texts = {text.text: text for text in svg.iter(f"{SVG}text")}
    assert {"Loss", "epoch", "train", "test"} <= texts.keys()
    magnified = 1280 / float(svg.get("viewBox").split()[2])
    for text in texts.values():
        assert float(re.search(r"font-size: ([\d.]+)px", text.get("style"))[1]) * magnified >= 18
    assert rgb(TRAIN) in content.decode()
    assert rgb(DARK[TRAIN]) not in content.decode()


def test_saved_png_has_twice_the_pixels(tab) -> None:
    name, content = saved(tab, "Save as PNG")
    assert name == "loss.png"
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (2560, 1296)


def test_the_chosen_button_outlasts_a_change_of_scheme_and_is_saved(tab) -> None:
    _, counts = saved(tab, "Save as SVG", 1)
    tab.get_by_role("button", name="Fraction of the true class").click()
    tab.emulate_media(color_scheme="dark")
    wait_until(tab, f"{LINE} === {rgb(DARK[TRAIN])!r}")
    assert tab.evaluate("document.querySelectorAll('.plot')[1].data.map(trace => trace.visible)") == [False, True]
    name, fractions = saved(tab, "Save as SVG", 1)
    assert name == "confusion-matrix.svg"
    assert (b">18<" in counts, b">18<" in fractions) == (True, False)
    svg = ElementTree.fromstring(fractions)
    assert float(svg.get("height")) <= 720  # and so the figure fits a slide
    assert float(svg.get("width")) <= 1280


def test_a_table_that_scrolls_has_a_shadow(tab) -> None:
    frame = tab.locator(".frame.table")
    assert frame.evaluate("frame => frame.scrollWidth > frame.clientWidth")
    assert frame.evaluate("frame => getComputedStyle(frame).backgroundAttachment") == "local, local, scroll, scroll"
