"""Compose the README's image from four parts of a report, two by two. `make image` calls it.

The environment variable CHROMIUM may name the browser; otherwise it must be on the path.
"""

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

IMAGE = Path(__file__).with_name("report.png")
WIDTH = 720  # of each part, in pixels
GAP = 20  # above each part
PARTS = (  # each from the top of one element to the bottom of another
    ("header", "#data"),
    ("#training", "#training figure:nth-of-type(2)"),
    ("#results-on-the-test-images", "#results-on-the-test-images figure:nth-of-type(1)"),
    ("#inside-the-network", "#inside-the-network figure:nth-of-type(2)"),
)


def edges(element: Locator) -> tuple[float, float]:
    """Return top and bottom of an element, in pixels from the top of the page."""
    box = element.bounding_box()
    assert box is not None, f"{element} is not on the page"
    return box["y"], box["y"] + box["height"]


def screenshot(page: Page, first: str, last: str) -> Image.Image:
    """Return the page from the top of the first element to the bottom of the last."""
    top, bottom = edges(page.locator(first))[0], edges(page.locator(last))[1]
    png = page.screenshot(full_page=True, clip={"x": 0, "y": top, "width": WIDTH, "height": bottom - top})
    return Image.open(io.BytesIO(png))


def main(report: Path) -> None:
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(report.resolve().as_uri())
        for frame in page.locator(".plot").all():  # Plotly draws one figure after the other
            frame.locator(".main-svg").first.wait_for()
        parts = [screenshot(page, first, last) for first, last in PARTS]
        browser.close()
    rows = [parts[:2], parts[2:]]
    image = Image.new("RGB", (2 * WIDTH, sum(GAP + max(part.height for part in row) for row in rows)), "white")
    top = 0
    for row in rows:
        for column, part in enumerate(row):
            image.paste(part, (column * WIDTH, top + GAP))
        top += GAP + max(part.height for part in row)
    image.quantize(256, Image.Quantize.MAXCOVERAGE).save(IMAGE, optimize=True)
    print(f"{IMAGE.name}: {image.width}×{image.height} pixels, {IMAGE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
