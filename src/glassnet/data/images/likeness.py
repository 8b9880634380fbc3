"""Likeness: how far an image is from the training images, measured with a few numbers that a run's config holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from glassnet.settings import REQUIRED, Settings, invalid, setting

_COMPONENTS = 10
_FOLDS = 5
_QUANTILE = 0.99  # of the training images; the others are more unlike than the limit
_UNITS = 1000  # patterns are stored as whole numbers of thousandths


@dataclass(frozen=True)
class Likeness(Settings):
    """The mean and the main patterns of the training images, and the distance from them that is unusual.

    The distance of an image is its reconstruction error by principal component analysis: what is left of it when its
    mean and the best mixture of the patterns are taken away.
    """

    title: ClassVar[str] = "likeness"

    mean: str = setting(REQUIRED, "Mean training image, in thousandths of the scale.")
    patterns: tuple[str, ...] = setting(REQUIRED, "Principal components of the training images, in thousandths.")
    limit: float = setting(REQUIRED, "Distance that 1% of held-out training images exceed.", above=0)

    def check(self) -> None:
        """Check that the patterns are numbers, as many as the mean has.

        :raises ConfigError: if one is not.
        """
        for name, texts in (("mean", (self.mean,)), ("patterns", self.patterns)):
            for text in texts:
                numbers = text.split()
                if len(numbers) != len(self.mean.split()) or not all(n.lstrip("-").isdecimal() for n in numbers):
                    raise invalid(name, f"{len(self.mean.split())} integers separated by spaces", text)

    @classmethod
    def measure(cls, images: NDArray[np.uint8], scale: float) -> Likeness:
        """Return the likeness of training images, uint8 (N, H, W, C) with values up to ``scale``.

        The limit is chosen on the training images alone: each fifth of them is measured with the patterns of the
        others.
        """
        rows = images.reshape(len(images), -1) / scale  # (N, H·W·C)
        fold = np.random.default_rng(0).permutation(len(rows)) % _FOLDS
        held_out = [_distances(rows[fold == k], *_principal_components(rows[fold != k])) for k in range(_FOLDS)]
        mean, patterns = _principal_components(rows)
        limit = float(np.quantile(np.concatenate(held_out), _QUANTILE))
        return cls(_to_text(mean), tuple(map(_to_text, patterns)), max(round(limit, 3), 0.001))

    def distance(self, image: NDArray[np.floating]) -> float:
        """Return the distance of an image, (H, W, C) in units of the scale, from the training images."""
        patterns = np.array([_from_text(text) for text in self.patterns]).reshape(len(self.patterns), image.size)
        return float(_distances(image.reshape(1, -1), _from_text(self.mean), patterns)[0])


def _principal_components(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = rows.mean(axis=0)
    _, _, components = np.linalg.svd(rows - mean, full_matrices=False)
    return mean, components[: min(_COMPONENTS, len(rows) // 2)]


def _distances(
    rows: NDArray[np.floating], mean: NDArray[np.float64], patterns: NDArray[np.float64]
) -> NDArray[np.float64]:
    centred = rows - mean
    distances: NDArray[np.float64] = np.linalg.norm(centred - centred @ patterns.T @ patterns, axis=1)
    return distances


def _to_text(values: NDArray[np.float64]) -> str:
    return " ".join(str(round(value * _UNITS)) for value in values.tolist())


def _from_text(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), np.float64) / _UNITS
