"""Equality, speed, size and memory of live pages in headless Chromium.

    python benchmarks/live_page.py [--minutes 10]

Trains ``tiny`` and ``tiny-bn`` on the digits and ``resnet20`` on generated images, in NumPy and float64, writes their
live pages and opens each one without a network. Prints a table for each page: its size; the time to the first paint,
and until its network computes; how far its gradients and its training end from NumPy's; seconds of a training; the
median time from a click to the numbers it asks for; and the heap before and after that many minutes of training. Then
the requests and messages that the pages made (none), and the machine. A busy machine makes all times longer.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

import glassnet as gn

CHROMIUM = {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox", "--enable-precise-memory-info"]}
CLICKS = 9


def train_runs(folder: Path) -> dict[str, Path]:
    """Train the runs whose pages are measured, and return their folders by preset."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (96, 32, 32, 3), np.uint8), np.arange(96) % 10
    generated = gn.Dataset(images[:32], labels[:32], test_images=images[32:], test_labels=labels[32:])
    settings: dict[str, Any] = {"dtype": "float64", "report": False, "progress": None}
    runs = {preset: folder / preset for preset in ("tiny", "tiny-bn", "resnet20")}
    for preset in ("tiny", "tiny-bn"):
        gn.train(preset, data="digits", run=runs[preset], **settings)
    gn.train("resnet20", data=generated, run=runs["resnet20"], epochs=1, augment="none", **settings)
    gn.explore(runs["resnet20"], data=generated)
    return runs


def gradient_error(page: Page, run: Path, count: int) -> float:
    """Return how far the page's gradients are from NumPy's, relative to each tensor's largest value."""
    network = gn.load(run).network
    spec, rng = network.spec, np.random.default_rng(1)
    images, labels = rng.standard_normal((count, spec.in_channels, *spec.size)), rng.integers(0, spec.classes, count)
    _, expected = network.gradients(images, labels)
    found = page.evaluate(
        "async ([shape, images, labels]) => {"
        " const {gradients} = await glassnet.gradients({shape, data: Float64Array.from(images)}, labels);"
        " return Object.fromEntries(Object.entries(gradients).map(([key, {data}]) => [key, [...data]])); }",
        [list(images.shape), images.ravel().tolist(), labels.tolist()],
    )
    floor = 1e-6 * max(np.abs(gradient).max() for gradient in expected.values())
    return max(
        float(np.abs(np.asarray(found[key]) - gradient.ravel()).max() / max(np.abs(gradient).max(), floor))
        for key, gradient in expected.items()
    )


def training(page: Page, run: Path) -> tuple[float, float]:
    """Train as the run did; return the seconds, and the largest difference from the run's weights."""
    start = perf_counter()
    page.evaluate("glassnet.train().then(() => null)")
    seconds = perf_counter() - start
    found = page.evaluate(
        "glassnet.stateDict().then((state) =>"
        " Object.fromEntries(Object.entries(state).map(([key, {data}]) => [key, [...data].map(Number)])))"
    )
    expected = gn.load(run).network.state_dict()
    return seconds, max(float(np.abs(np.asarray(found[key]) - expected[key].ravel()).max()) for key in expected)


def seconds_of(page: Page, expression: str, repeats: int = CLICKS) -> float:
    """Return the median milliseconds of a promise in the page, until the numbers are drawn."""
    return statistics.median(
        page.evaluate(
            "async () => { while (tracer.busy) await new Promise((idle) => setTimeout(idle));"
            f" const start = performance.now(); await ({expression});"
            " await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));"
            " return performance.now() - start; }"
        )
        for _ in range(repeats)
    )


SKIP_SWITCHED = """new Promise((done) => {
  const stop = store.subscribe(({trace, edits}) => { if (trace.of.edits === edits) { stop(); done(); } });
  toggleSkip(flowOf(store.state.graph).PLACE(({kind}) => kind === "Sum").block);
})"""
CLICKED = {
    "another layer": "store.set({layer: store.state.layer === 'conv1' ? 'relu' : 'conv1'})",
    "first skip switched": SKIP_SWITCHED.replace("PLACE", "find"),
    "last skip switched": SKIP_SWITCHED.replace("PLACE", "findLast"),
}


def measure(page: Page, path: Path, run: Path, minutes: float) -> dict[str, str]:
    """Return a row of the table."""
    row = {"page": run.name, "size": f"{path.stat().st_size / 1e3:,.0f} kB"}
    start = perf_counter()
    page.goto(path.as_uri())
    page.evaluate("glassnet.ready")
    row["ready"] = f"{perf_counter() - start:.2f} s"
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
    row["first paint"] = f"{paint / 1e3:.2f} s"
    small = run.name != "resnet20"
    row["gradients"] = f"{gradient_error(page, run, 16 if small else 2):.0e}"
    for name, expression in CLICKED.items():
        row[name] = f"{seconds_of(page, expression):.0f} ms"
    if not small:
        return row | {"training": "", "weights": "", "heap": ""}
    seconds, difference = training(page, run)
    row |= {"training": f"{seconds:.1f} s", "weights": f"{difference:.0e}"}
    heap = "performance.memory.usedJSHeapSize / 1e6"
    before, end = page.evaluate(heap), perf_counter() + 60 * minutes
    while perf_counter() < end:
        page.evaluate("glassnet.train().then(() => null)")
    return row | {"heap": f"{before:.0f} to {page.evaluate(heap):.0f} MB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=0, help="of training tiny and tiny-bn, for the heap")
    options = parser.parse_args()
    rows, events = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(**CHROMIUM)
        for run in train_runs(Path(folder)).values():
            context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
            page = context.new_page()
            page.on("console", lambda message: events.append(message.text))
            page.on("pageerror", lambda error: events.append(str(error)))
            page.on("request", lambda request: events.append(request.url))
            path = run / "explore.html"
            if not path.exists():
                gn.explore(run)
            rows.append(measure(page, path, run, options.minutes))
            context.close()
        chromium = browser.version
        browser.close()
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")
    others = [event for event in events if not event.startswith(("file:", "blob:", "data:"))]
    print(f"\nRequests and messages: {', '.join(others) or 'none'}")
    print(f"Chromium {chromium}, Python {platform.python_version()}, NumPy {version('numpy')}, {platform.machine()}")


if __name__ == "__main__":
    main()
