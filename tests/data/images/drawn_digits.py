"""Digits drawn as people draw them: dark or light, of any size and place, with a pen or from an 8×8 image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

FILTERS = [Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


def enlarge(digit: NDArray[np.uint8], number: int, *, side: int = 200, paper: int = 255, ink: int = 0) -> Image.Image:
    """Draw an 8×8 digit of 0..16 at three fifths of a square image, up to a fifth of its side off the middle.

    The number chooses place and filter.
    """
    size = 3 * side // 5
    gray = Image.fromarray(np.rint(digit[..., 0] * (255 / 16)).astype(np.uint8))
    mask = gray.resize((size, size), FILTERS[number % len(FILTERS)])
    image = Image.new("L", (side, side), paper)
    x, y = np.random.default_rng(number).integers(0, side - size + 1, 2).tolist()
    image.paste(ink, (x, y), mask)
    return image


# Strokes of digits in a unit box: x to the right, y down.
STROKES = {
    1: [[(0.2, 0.25), (0.5, 0), (0.5, 1)]],
    2: [[(0.1, 0.25), (0.25, 0.05), (0.5, 0), (0.8, 0.1), (0.85, 0.3), (0.1, 1), (0.9, 1)]],
    3: [[(0.1, 0), (0.85, 0), (0.45, 0.4), (0.8, 0.5), (0.85, 0.75), (0.6, 0.97), (0.3, 1), (0.05, 0.85)]],
    4: [[(0.6, 0), (0.1, 0.65), (0.95, 0.65)], [(0.7, 0.35), (0.7, 1)]],
    5: [[(0.2, 0), (0.15, 0.45), (0.5, 0.4), (0.85, 0.6), (0.75, 0.9), (0.4, 1), (0.1, 0.85)], [(0.2, 0), (0.9, 0)]],
    7: [[(0.1, 0), (0.9, 0), (0.45, 1)], [(0.25, 0.5), (0.85, 0.5)]],
}


def write(
    digit: int,
    *,
    size: tuple[int, int] = (200, 200),
    height: float = 100,
    pen: float = 8,
    at: tuple[float, float] = (60, 40),
    paper: str = "white",
    ink: str = "black",
) -> Image.Image:
    """Write a digit with a pen, its box's left upper corner ``at`` a place, all in pixels."""
    image = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(image)
    for stroke in STROKES[digit]:
        points = [(at[0] + 0.7 * height * x, at[1] + height * y) for x, y in stroke]
        draw.line(points, fill=ink, width=max(1, round(pen)), joint="curve")
        for x, y in points:
            draw.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=ink)
    return image
