"""Every page of the built site in a real browser, for `make docs check-site`. Without GLASSNET_SITE they skip."""

import os
from pathlib import Path

import pytest

from tests.conftest import faint_texts, wait_until

SITE = Path(os.environ.get("GLASSNET_SITE", "/absent")).resolve()
PAGES = sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts)
MAX_HEIGHT = 8000  # pixels, 1280 wide
COLOURS_ARE_SET = (
    "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.gtitle') && "
    "getComputedStyle(plot.querySelector('.gtitle')).fill === "
    "getComputedStyle(plot.closest('figure').querySelector('.save button')).color)"
)
SHOW_ALL_SECTIONS = (
    "document.querySelectorAll('.other-section').forEach(part => part.classList.remove('other-section'))"
)

pytestmark = pytest.mark.skipif(not PAGES, reason="GLASSNET_SITE names no site; run `make docs check-site`")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(SITE).as_posix())
def test_page_is_short_readable_and_without_errors(browser, path: Path) -> None:  # type: ignore[no-untyped-def]
    size = {"width": 1280, "height": 900}
    # Without motion the theme's colours do not fade from one scheme to the other.
    tab = browser.new_page(viewport=size, color_scheme="dark", reduced_motion="reduce", offline=True)
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(path.as_uri())
    try:
        wait_until(tab, COLOURS_ARE_SET)
        assert tab.evaluate("document.documentElement.scrollHeight") <= MAX_HEIGHT
        tab.evaluate(SHOW_ALL_SECTIONS)
        for scheme in ("dark", "light"):
            tab.emulate_media(color_scheme=scheme)
            wait_until(tab, f"document.documentElement.dataset.theme === {scheme!r}")
            wait_until(tab, COLOURS_ARE_SET)
            assert faint_texts(tab) == [], scheme
        for width in (1280, 390):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert complaints == []
    finally:
        tab.close()
