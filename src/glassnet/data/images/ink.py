"""Ink: a digit on paper, brought to the form of the built-in digits.

Those come from forms that people filled in. NIST's programs scaled each digit to 32 pixels in height, made thin strokes
thicker until they covered a quarter of 32×32 pixels, and sheared the digit so that its leftmost pixels near the top and
near the bottom were in one column. Then the inked pixels in each block of 4×4 were counted, 0 to 16. (Garris et al.
1994, "NIST Form-Based Handprint Recognition System", NISTIR 5469; UCI, "Optical Recognition of Handwritten Digits".)

``read_ink`` does the same with any image, but for three points. The digit keeps its aspect (NIST stretches it to 20×32)
and is centred by its mass (NIST centres its box): networks classify more drawn digits correctly with each of the two
(benchmarks/handwriting.py). And gray ink stays gray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glassnet.data.images.ink_search import EDGE, Floats, bounds, find_ink, grow, look_at

if TYPE_CHECKING:
    from PIL import Image

SIZE = 8  # side of the built-in digits, in cells
_CELL = 16  # pixels of the canvas along a cell, four for each of NIST's
_SIDE = SIZE * _CELL

# Fractions of the canvas: NIST's limit of 256 of 1,024 pixels, and the mean of the training images, 313.
_MIN_INK, _MEAN_INK = 256 / 1024, 313 / 1024
_MAX_DETAIL = 1.45  # 600 training images, drawn at 200×200 with four filters, had 1.14 in the median and at most 1.28
_SHARPENING = 0.25  # chosen on training images that networks had not seen, enlarged with three filters
_MIN_GRAY = 0.1  # of the ink: 0.16 to 0.33 in enlarged training images, below 0.06 in pen strokes
_BLANK = "no ink was found"
_CENTRE = 4.065 * _CELL  # mean distance of the training images' centres of mass from the left border


@dataclass(frozen=True)
class Ink:
    """A digit that was read from an image.

    Attributes: ``pixels``, uint8 (8, 8, 1), the inked fraction of each cell times 255; ``steps``, what was done to the
    image, as text; ``problem``, the reason why these may not be the pixels of one digit, or None.
    """

    pixels: NDArray[np.uint8]
    steps: str
    problem: str | None = None

    @property
    def is_blank(self) -> bool:
        """Whether no ink was found."""
        return self.problem == _BLANK


def read_ink(image: Image.Image) -> Ink:
    """Find the digit in an image, RGB of any size, and bring it to the form of the built-in digits.

    Ink may be darker or lighter than the paper, or of another colour. An image of 8×8 pixels has the form already: it
    is inverted if its ink is dark, and not changed otherwise.
    """
    if image.size == (SIZE, SIZE):
        view = look_at(image, (0.0, 0.0, float(SIZE), float(SIZE)))
        is_inverted = view is not None and view.is_dark
        pixels = np.asarray(image.convert("L"))[..., np.newaxis]
        steps = "inverted, 8×8 already" if is_inverted else "8×8 already"
        return Ink(255 - pixels if is_inverted else pixels, steps, None if view else _BLANK)
    view = find_ink(image)
    if view is None:
        return Ink(np.zeros((SIZE, SIZE, 1), np.uint8), "no ink found", _BLANK)
    left, top, right, bottom = map(round, view.ink_box())
    canvas = _centre(_shear(_thicken(_fit(view.darkness))))
    steps = f"{'dark ink inverted' if view.is_dark else 'light ink'}, "
    steps += f"{right - left}×{bottom - top} pixels at ({left}, {top}) scaled to {SIZE}×{SIZE}"
    if left <= 0 or top <= 0 or right >= image.width or bottom >= image.height:
        steps += "; it touches the border, so that a part may be missing"
    pixels = np.rint(255 * _inked_fractions(canvas)).astype(np.uint8)
    return Ink(pixels[..., np.newaxis], steps, _problem(view.n_digits, _detail_ratio(canvas)))


def _problem(n_digits: int, detail: float) -> str | None:
    if n_digits > 1:
        return f"{n_digits} marks are side by side, and the largest was read"
    if detail > _MAX_DETAIL:
        return f"it has {detail:.2f} times the detail that 8×8 pixels hold, above {_MAX_DETAIL}"
    return None


def _detail_ratio(canvas: Floats) -> float:
    """Return the total variation of a canvas at NIST's 32×32 pixels relative to that at 8×8.

    The total variation of a shape with clean edges is the length of its outline, at both resolutions; a texture has
    more of it in 32×32 pixels than 8×8 can hold.
    """
    fine, coarse = _total_variation(_block_means(canvas, 4)), _total_variation(_block_means(canvas, _CELL))
    return fine / (4 * coarse) if coarse else 1.0


def _total_variation(values: Floats) -> float:
    padded = np.pad(values, 1)
    return float(np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum())


def _fit(darkness: Floats) -> Floats:
    """Crop to the ink and scale it, aspect kept, to the height of the canvas, or to its width if it is wider."""
    from PIL import Image

    top, bottom, left, right = bounds(darkness >= EDGE)
    factor = _SIDE / max(bottom - top, right - left)
    height, width = (max(1, round(factor * length)) for length in (bottom - top, right - left))
    ink = Image.fromarray(darkness.astype(np.float32))
    filter_ = Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    scaled = np.asarray(ink.resize((width, height), filter_, (left, top, right, bottom)), np.float64)
    canvas = np.zeros((_SIDE, _SIDE))
    y, x = (_SIDE - height) // 2, (_SIDE - width) // 2
    canvas[y : y + height, x : x + width] = scaled.clip(0, 1)
    return canvas


def _thicken(canvas: Floats) -> Floats:
    """Make strokes thicker that cover less of the canvas than NIST's programs allow."""
    if canvas.mean() >= _MIN_INK:
        return canvas
    grown = (canvas > 0.5 * np.percentile(canvas[canvas >= EDGE], 90)).astype(np.float64)
    for _ in range(_CELL):
        if grown.mean() >= _MEAN_INK:
            break
        grown = grow(grown)
    return grown


def _shear(canvas: Floats) -> Floats:
    """Shift rows so that the leftmost pixels near the top and near the bottom of the digit are in one column."""
    pixel = _SIDE // 32  # of NIST's
    mask = canvas > 0.5
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0 or rows[-1] - rows[0] < 8 * pixel:
        return canvas
    # Two pixels from the ends, which may be ragged.
    top, bottom = int(rows[0]) + 2 * pixel, int(rows[-1]) + 1 - 3 * pixel
    first, last = (np.flatnonzero(mask[row : row + pixel].any(axis=0)) for row in (top, bottom))
    if len(first) == 0 or len(last) == 0:
        return canvas
    slope = (first[0] - last[0]) / (bottom - top)
    shifts = np.rint((np.arange(_SIDE) - _SIDE / 2) * slope).astype(int).clip(-_SIDE, _SIDE)
    columns = np.arange(_SIDE) - shifts[:, np.newaxis]
    return np.take_along_axis(np.pad(canvas, ((0, 0), (1, 1))), columns.clip(-1, _SIDE) + 1, axis=1)


def _centre(canvas: Floats) -> Floats:
    """Shift the canvas sideways so that its centre of mass is where that of the training images is."""
    weights = canvas.sum(axis=0)
    if not weights.any():
        return canvas
    shift = round(_CENTRE - float(weights @ (np.arange(_SIDE) + 0.5)) / float(weights.sum()))
    columns = (np.arange(_SIDE) - shift).clip(-1, _SIDE) + 1
    return np.pad(canvas, ((0, 0), (1, 1)))[:, columns]


def _inked_fractions(canvas: Floats) -> Floats:
    """Return the inked fraction of each cell, (8, 8).

    Gray edges are blurred, as those of enlarged small images are. A part of the contrast between neighbouring cells,
    which the blur took, is given back.
    """
    cells = _block_means(canvas, _CELL)
    if (canvas * (1 - canvas)).sum() < _MIN_GRAY * canvas.sum():
        return cells
    padded = np.pad(cells, 1)
    neighbours = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    sharpened: Floats = (cells + _SHARPENING * (cells - neighbours)).clip(0, 1)
    return sharpened


def _block_means(canvas: Floats, side: int) -> Floats:
    n_blocks = _SIDE // side
    means: Floats = canvas.reshape(n_blocks, side, n_blocks, side).mean(axis=(1, 3))
    return means
