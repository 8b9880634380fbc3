"""A small folder of images in a cache of its own."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glassnet.data import decoding, load_data


def cache_photos(monkeypatch: pytest.MonkeyPatch, folder: Path, sizes: Iterable[int]) -> None:
    """Write ``photos`` with two classes of ten images into the folder, and load them in these sizes into ``cache``."""
    monkeypatch.setenv("GLASSNET_CACHE", str(folder / "cache"))
    monkeypatch.setattr(decoding, "CACHED_FILES", 0)
    rng = np.random.default_rng(0)
    for label in "ab":
        (folder / "photos" / label).mkdir(parents=True)
        for index in range(10):
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(folder / f"photos/{label}/{index}.png")
    for size in sizes:
        load_data(folder / "photos", image_size=size)
