"""Accuracy on drawn digits in image files, and how many images look unlike the training images.

    python benchmarks/handwriting.py [FASHION_IMAGES]

Ten runs of ``tiny`` with the default recipe, seeds 0-9, classify the 450 test digits as arrays and as files: drawn at
200×200 with each of Pillow's filters, shifted by up to a fifth, then on other paper, with noise, in uneven light. "Pen"
are 600 digits that this script writes with strokes of random width, slant and aspect; no choice of the step was made on
those of its seed. The last rows leave out one part of the step at a time. Fashion-MNIST's test images, 1,000 by
default, show how many images of something else are found to be unlike (10,000 are all).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import glassnet as gn
from glassnet.data import Likeness, Normalization, decode_ink
from glassnet.data.images import ink
from glassnet.data.images.ink_search import bounds
from glassnet.progress import Progress

SEEDS = range(10)
PEN_SEED, PEN_DIGITS = 1000, 600
FILTERS = {name: Image.Resampling[name] for name in ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS")}
Draw = Callable[[Image.Image, int], Image.Image]


def enlarge(digit: NDArray[np.uint8], number: int, filter_: Image.Resampling, size: int = 120) -> Image.Image:
    """Return a digit, dark on white at 200×200, at a place that the number chooses."""
    gray = Image.fromarray(np.rint(digit[..., 0] * (255 / 16)).astype(np.uint8))
    image = Image.new("L", (200, 200), 255)
    x, y = np.random.default_rng(number).integers(0, 201 - size, 2).tolist()
    image.paste(0, (x, y), gray.resize((size, size), filter_))
    return image


def levels(image: Image.Image, low: float, high: float, noise: float = 0, number: int = 0) -> Image.Image:
    """Return the image with ink of the lightness ``low`` on paper of ``high``, and white noise."""
    values = low + np.asarray(image, np.float64) / 255 * (high - low)
    values += np.random.default_rng(number).normal(0, noise, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def shade(image: Image.Image) -> Image.Image:
    """Return the image in light that falls to a half from one side to the other."""
    return Image.fromarray((np.asarray(image) * np.linspace(0.5, 1, image.width)).astype(np.uint8))


CONDITIONS: dict[str, Draw] = {
    "gray ink on gray paper": lambda image, _: levels(image, 90, 190),
    "light on dark": lambda image, _: levels(image, 255, 0),
    "blue on yellow": lambda image, _: Image.composite(
        Image.new("RGB", image.size, "#fff4a0"), Image.new("RGB", image.size, "#2040c0"), image
    ),
    "uneven light": lambda image, _: shade(image),
    "noise of 12 levels": lambda image, number: levels(image, 20, 235, 12, number),
    "noise of 30 levels": lambda image, number: levels(image, 20, 235, 30, number),
}


def arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> list[tuple[float, float]]:
    angles = np.radians(np.linspace(start, stop, 24))
    return list(zip((cx + rx * np.cos(angles)).tolist(), (cy + ry * np.sin(angles)).tolist(), strict=True))


# Strokes of two or more forms of each digit in a unit box: x to the right, y down.
FORMS: list[list[list[list[tuple[float, float]]]]] = [
    [[arc(0.5, 0.5, 0.4, 0.5, -90, 270)], [arc(0.5, 0.5, 0.45, 0.48, -60, 300)]],
    [[[(0.5, 0), (0.5, 1)]], [[(0.2, 0.25), (0.5, 0), (0.5, 1)]], [[(0.65, 0), (0.35, 1)]]],
    [[[*arc(0.5, 0.27, 0.4, 0.27, -170, 40), (0.1, 1), (0.9, 1)]]],
    [
        [arc(0.45, 0.25, 0.38, 0.25, -150, 90) + arc(0.45, 0.74, 0.42, 0.26, -90, 150)],
        [[(0.1, 0), (0.85, 0), (0.45, 0.4), *arc(0.45, 0.7, 0.42, 0.3, -90, 150)]],
    ],
    [
        [[(0.6, 0), (0.1, 0.65), (0.95, 0.65)], [(0.7, 0.35), (0.7, 1)]],
        [[(0.25, 0), (0.15, 0.5), (0.85, 0.5)], [(0.8, 0), (0.75, 1)]],
    ],
    [
        [[(0.85, 0), (0.2, 0), (0.15, 0.42), *arc(0.45, 0.68, 0.42, 0.32, -110, 150)]],
        [[(0.2, 0), (0.15, 0.45), *arc(0.45, 0.7, 0.42, 0.3, -100, 140)], [(0.2, 0), (0.9, 0)]],
    ],
    [[[(0.7, 0), (0.35, 0.25), (0.14, 0.6), *arc(0.48, 0.72, 0.36, 0.28, -180, 180)]]],
    [[[(0.1, 0), (0.9, 0), (0.4, 1)]], [[(0.1, 0), (0.9, 0), (0.45, 1)], [(0.25, 0.5), (0.85, 0.5)]]],
    [[arc(0.5, 0.25, 0.32, 0.25, 90, -270) + arc(0.5, 0.74, 0.4, 0.26, -90, 270)]],
    [[[*arc(0.45, 0.28, 0.36, 0.28, -10, -370), (0.8, 0.35), (0.65, 1)]]],
]


def write(digit: int, rng: np.random.Generator) -> Image.Image:
    """Write a digit at 200×200 with random form, size, width of the pen, slant, aspect, rotation and unsteadiness."""
    form = FORMS[digit][rng.integers(len(FORMS[digit]))]
    height, aspect, slant = rng.uniform(70, 140), rng.uniform(0.55, 0.85), rng.uniform(-0.1, 0.35)
    pen, angle, waves = height * rng.uniform(0.02, 0.12), np.radians(rng.uniform(-7, 7)), rng.uniform(0, 0.04)
    phases, turn = rng.uniform(0, 6.28, 2), np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    strokes = []
    for stroke in form:
        corners, steps = np.array(stroke), np.arange(len(stroke))
        at = np.linspace(0, len(stroke) - 1, 40 * len(stroke))
        points = np.stack([np.interp(at, steps, corners[:, axis]) for axis in (0, 1)], axis=1)
        points += waves * np.sin(9 * points[:, ::-1] + phases) - 0.5
        points *= [height * aspect, height]
        points[:, 0] -= slant * points[:, 1]
        strokes.append(points @ turn)
    low, high = np.concatenate(strokes).min(axis=0) - pen, np.concatenate(strokes).max(axis=0) + pen
    place = rng.uniform(0, 1, 2) * np.maximum(200 - (high - low), 0) - low
    image = Image.new("L", (800, 800), 255)  # reduced afterwards, so that edges are smooth
    draw = ImageDraw.Draw(image)
    for points in strokes:
        for x, y in 4 * (points + place):
            draw.ellipse([x - 2 * pen, y - 2 * pen, x + 2 * pen, y + 2 * pen], fill=0)
    return image.resize((200, 200), Image.Resampling.BOX)


def stretch(darkness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit the ink into 20×32 of NIST's pixels, as its programs do."""
    top, bottom, left, right = bounds(darkness >= ink.EDGE)
    crop = Image.fromarray(darkness[top:bottom, left:right].astype(np.float32))
    canvas = np.zeros((128, 128))
    canvas[:, 24:104] = np.asarray(crop.resize((80, 128), Image.Resampling.BILINEAR))
    return canvas


VARIANTS: dict[str, dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "stretched to 20×32": {"_fit": stretch},
    "box centred, not mass": {"_centre": lambda canvas: canvas},
    "not sheared": {"_shear": lambda canvas: canvas},
    "strokes not thickened": {"_thicken": lambda canvas: canvas},
}


class Runs:
    """The networks of the runs, which read pixels of 0 to 255, and the measure of likeness."""

    def __init__(self, folder: Path) -> None:
        self.data = gn.load_data("digits")
        options = {"report": False, "progress": Progress()}
        runs = [gn.train("tiny", self.data, seed=seed, run=folder / str(seed), **options) for seed in SEEDS]
        self.networks = [gn.load(run.path).network for run in runs]
        self.likeness = Likeness.measure(self.data.train.images, 16.0)

    def accuracy(self, images: NDArray[np.uint8], labels: NDArray[np.int64], scale: float = 255.0) -> float:
        """Return the mean accuracy of the networks."""
        values = Normalization(scale, (0.0,), (1.0,)).apply(images)
        return float(np.mean([network.logits(values).argmax(axis=1) == labels for network in self.networks]))


def read(images: Iterator[Image.Image], folder: Path) -> list[ink.Ink]:
    """Return what is read of images that are saved as PNG files."""
    path, found = folder / "image.png", []
    for image in images:
        image.save(path)
        found.append(decode_ink(path))
    return found


def unlike(found: list[ink.Ink], likeness: Likeness) -> float:
    far = [bool(one.problem) or likeness.distance(one.pixels / 255) > likeness.limit for one in found]
    return float(np.mean(far))


def main(n_fashion: int = 1000) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = Runs(folder)
        images, labels = runs.data.test.images, runs.data.test.labels
        arrays = runs.accuracy(images, labels, 16.0)
        cycle = list(FILTERS.values())

        def row(title: str, drawn: Iterator[Image.Image], labels: NDArray[np.int64], base: float | None) -> None:
            found = read(drawn, folder)
            accuracy = runs.accuracy(np.stack([one.pixels for one in found]), labels)
            loss = "" if base is None else f"{100 * (base - accuracy):.2f}"
            print(f"| {title} | {accuracy:.4f} | {loss} | {unlike(found, runs.likeness):.1%} |", flush=True)

        def pen() -> Iterator[Image.Image]:
            rng = np.random.default_rng(PEN_SEED)
            return (write(number % 10, rng) for number in range(PEN_DIGITS))

        far = np.mean([runs.likeness.distance(image / 16) > runs.likeness.limit for image in images])
        print("| test digits | accuracy | lost points | unlike |\n|---|---|---|---|")
        print(f"| arrays | {arrays:.4f} | | {far:.1%} |")
        row("8×8 files", (Image.fromarray(image[..., 0] * 15) for image in images), labels, arrays)
        for title, filter_ in FILTERS.items():
            drawn = (enlarge(image, number, filter_) for number, image in enumerate(images))
            row(f"200×200, {title.lower()}", drawn, labels, arrays)
        whole = (enlarge(image, number, cycle[number % 4], 200) for number, image in enumerate(images))
        row("200×200, whole image, all filters", whole, labels, arrays)
        for title, change in CONDITIONS.items():
            drawn = (change(enlarge(image, number, cycle[number % 4]), number) for number, image in enumerate(images))
            row(f"{title}, all filters", drawn, labels, arrays)
        pen_labels = np.arange(PEN_DIGITS) % 10
        row("pen", pen(), pen_labels, None)
        for title, functions in VARIANTS.items():
            with ExitStack() as stack:
                for function, replacement in functions.items():
                    stack.enter_context(patch.object(ink, function, replacement))
                row(f"pen, {title}", pen(), pen_labels, None)
                drawn = (enlarge(image, number, cycle[number % 4]) for number, image in enumerate(images))
                row(f"200×200, all filters, {title}", drawn, labels, arrays)
        clothes = gn.load_data("fashion-mnist").test.images[:n_fashion]
        found = read((Image.fromarray(image[..., 0]) for image in clothes), folder)
        print(f"| Fashion-MNIST, {len(clothes):,} images | | | {unlike(found, runs.likeness):.1%} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
