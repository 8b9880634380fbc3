"""The search for ink in an image: the lightness of the paper, the darkness on it, and the parts that are one digit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]  # left, top, right, bottom

EDGE = 0.1  # darkness at which ink begins, between 0 (paper) and 1 (ink)
_VIEW = 128  # longest side of the reduced image in which ink is looked for, in pixels
_MAX_VIEWS = 3  # enough for a digit of a hundredth of the image's side
_MARGIN = 0.15  # paper around the ink in a closer view, as a fraction of the ink's longer side
_MIN_SAMPLE = 8  # pixels that determine the light
_MIN_CONTRAST = 20.0  # of ink to paper, of 255 levels
_MIN_PART = 0.05  # parts with a smaller fraction of the largest part's ink are dirt
_MIN_DIGIT = 0.25  # parts beside the largest one with at least this fraction of its ink are other digits


@dataclass(frozen=True)
class View:
    """Ink in a part of an image: darkness from 0 (paper) to 1 (ink), (H, W), each at most 128."""

    darkness: Floats
    part: Box  # of the image, in its pixels
    is_dark: bool
    n_digits: int

    def ink_box(self) -> Box:
        """Return the box around the ink in pixels of the image."""
        top, bottom, left, right = bounds(self.darkness >= EDGE)
        height, width = self.darkness.shape
        x, y = (self.part[2] - self.part[0]) / width, (self.part[3] - self.part[1]) / height
        return self.part[0] + left * x, self.part[1] + top * y, self.part[0] + right * x, self.part[1] + bottom * y


def find_ink(image: Image.Image) -> View | None:
    """Look for the ink of a digit in an image, RGB of any size, and then closer; None if there is none.

    Closer the light is more even, and strokes are wider.
    """
    view = look_at(image, (0.0, 0.0, float(image.width), float(image.height)))
    n_digits = 0
    for _ in range(_MAX_VIEWS):
        if view is None:
            return None
        n_digits = max(n_digits, view.n_digits)
        closer = _widen(view.ink_box(), image)
        if _side(closer) > 0.8 * _side(view.part):
            break
        view = look_at(image, closer)
    return view and replace(view, n_digits=n_digits)


def look_at(image: Image.Image, part: Box) -> View | None:
    """Look for ink in a part of an image; None if there is none."""
    from PIL import Image

    factor = min(1.0, _VIEW / _side(part))
    size = (max(1, round(factor * (part[2] - part[0]))), max(1, round(factor * (part[3] - part[1]))))
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX, part, reducing_gap=3.0), np.float64)
    lightness = _main_contrast(pixels)
    paper = np.zeros_like(lightness)
    for _ in range(2):  # a second time in the light that the first time found
        is_light = lightness - paper > _otsu(lightness - paper)
        # The paper covers most of the image and of its border.
        is_dark = bool(is_light.mean() + _border(is_light).mean() > 1)
        paper = _even_surface(lightness, is_light if is_dark else ~is_light)
        if np.ptp(paper) < _MIN_CONTRAST / 2:
            break
    depth = paper - lightness if is_dark else lightness - paper
    if is_dark:  # in the shade the paper is darker, and as much less dark ink differs from it
        depth *= (paper.mean() / np.maximum(paper, 1.0)).clip(0.5, 2.0)
    full = float(np.percentile(depth[depth >= depth.max() / 2], 75)) if depth.max() > 0 else 0.0
    noise = _noise(lightness)
    if full < max(_MIN_CONTRAST, 4 * noise):
        return None
    floor = min(0.4, 3 * noise / full)
    darkness = np.clip((depth / full - floor) / (1 - floor), 0, 1)
    darkness, n_digits = _one_digit(darkness)
    return View(darkness, part, is_dark, n_digits)


def _main_contrast(pixels: Floats) -> Floats:
    """Return a lightness in which ink and paper, (H, W, 3), differ most: colours along their direction of variance."""
    colours = pixels.reshape(-1, 3)[:: 1 + pixels.size // 10_000]
    colours = colours - colours.mean(axis=0)
    direction = np.linalg.eigh(colours.T @ colours)[1][:, -1]
    direction *= 1 if direction.sum() >= 0 else -1
    lightness: Floats = pixels @ (direction / np.abs(direction).sum())
    return lightness


def _otsu(values: Floats) -> float:
    """Return the threshold that separates two classes of values best (Otsu 1979)."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = values.size - below
    total = np.cumsum(counts * middles)
    difference = total[:-1] / np.maximum(below, 1) - (total[-1] - total[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * difference**2)])


def _noise(lightness: Floats) -> float:
    """Return the standard deviation of white noise, from second differences: even and slanting areas have none.

    In a small image they are the digit.
    """
    if min(lightness.shape) < _VIEW // 2:
        return 0.0
    return float(np.median(np.abs(np.diff(lightness, n=2, axis=1)))) / (0.6745 * 6**0.5)


def _border(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _even_surface(lightness: Floats, is_paper: NDArray[np.bool_]) -> Floats:
    """Return the lightness of the paper everywhere, a plane through its pixels: light may fall from one side.

    Pixels far from a plane are left out of the next one. They may be faint ink, or paper in the shade that was taken
    for ink. A part of the pixels is enough.
    """
    y, x = (np.linspace(-1, 1, length) for length in lightness.shape)
    step = 1 + max(lightness.shape) // 32
    sample = lightness[::step, ::step].ravel()
    yy, xx = np.meshgrid(y[::step], x[::step], indexing="ij")
    terms = np.stack([np.ones_like(sample), xx.ravel(), yy.ravel()], axis=1)
    papers = is_paper[::step, ::step].ravel()
    plane = np.array([np.median(lightness[is_paper]), 0.0, 0.0])
    previous = np.zeros_like(papers)
    for _ in range(6):
        distance = np.abs(sample - terms @ plane)
        near = distance <= max(3.0, 4 * float(np.median(distance[papers])) if papers.any() else 0.0)
        if near.sum() < _MIN_SAMPLE or (near == previous).all():
            break
        previous = near
        plane = np.linalg.solve(terms[near].T @ terms[near] + 1e-9 * np.eye(3), terms[near].T @ sample[near])
    surface: Floats = plane[0] + plane[1] * x + plane[2] * y[:, np.newaxis]
    return surface


def _one_digit(darkness: Floats) -> tuple[Floats, int]:
    """Return the ink without dirt and other digits, and the number of digits side by side."""
    labels, n_parts = _label(darkness >= EDGE)
    mass = np.bincount(labels.ravel(), darkness.ravel(), n_parts + 1)
    mass[0] = 0
    keep = mass >= _MIN_PART * mass.max()
    is_digit = keep[labels]
    groups = _column_groups(np.flatnonzero(is_digit.any(axis=0)), len(is_digit[0]) // 40)
    weights = np.array([(darkness * is_digit)[:, start:stop].sum() for start, stop in groups])
    start, stop = groups[int(weights.argmax())]
    is_digit[:, :start] = is_digit[:, stop:] = False
    # Pixels just outside the edge are soft borders of the ink.
    return darkness * grow(is_digit), int((weights >= _MIN_DIGIT * weights.max()).sum())


def _column_groups(columns: NDArray[np.int64], max_gap: int) -> list[tuple[int, int]]:
    """Return (start, stop) of each run of columns; gaps of up to ``max_gap`` are bridged."""
    breaks = np.flatnonzero(np.diff(columns) > 1 + max_gap)
    starts, stops = columns[np.r_[0, breaks + 1]], columns[np.r_[breaks, len(columns) - 1]] + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _label(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Return the connected part of each pixel, 1 and up or 0 outside, and the number of parts.

    SciPy's ``ndimage.label`` would add 0.3 s to the start of predict.
    """
    number = np.arange(1, mask.size + 1).reshape(mask.shape) * mask
    while True:
        spread = _spread_largest(_spread_largest(number, mask).T, mask.T).T
        if (spread == number).all():
            break
        number = spread
    parts = np.unique(number[mask])
    return np.searchsorted(parts, number, side="right") * mask, len(parts)


def _spread_largest(number: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give each pixel of a run in a row the largest number of the run; all numbers outside the mask are 0."""
    changes = np.diff(mask, axis=1, prepend=~mask[:, :1]).ravel()  # every row begins a run
    starts = np.flatnonzero(changes)
    largest = np.maximum.reduceat(number.ravel(), starts)
    return np.repeat(largest, np.diff(starts, append=mask.size)).reshape(mask.shape)


def grow(values: NDArray[Any]) -> NDArray[Any]:
    """Return the maximum over each pixel and its four neighbours."""
    grown = values.copy()
    np.maximum(grown[1:], values[:-1], out=grown[1:])
    np.maximum(grown[:-1], values[1:], out=grown[:-1])
    np.maximum(grown[:, 1:], values[:, :-1], out=grown[:, 1:])
    np.maximum(grown[:, :-1], values[:, 1:], out=grown[:, :-1])
    return grown


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _widen(box: Box, image: Image.Image) -> Box:
    """Return the box with a margin of paper, as far as the image reaches."""
    margin = max(2.0, _MARGIN * _side(box))
    return (
        max(0.0, box[0] - margin),
        max(0.0, box[1] - margin),
        min(float(image.width), box[2] + margin),
        min(float(image.height), box[3] + margin),
    )
