"""A store of three images, and the files that they come from."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.pixel_writer import RowTask, ScanningWriter
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.image_form import ImageForm

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)


def fill_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PixelStore, list[ImageFile]]:
    """Write 0.png, 1.png and 2.png into the folder, and decode them into a store."""
    for index, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    files = [ImageFile.on_disk(folder / f"{index}.png", f"{index}.png") for index in range(3)]
    monkeypatch.setenv("GLASSNET_CACHE", str(folder / "cache"))
    source = SourceFolder.of("photos")
    store = PixelStore(source, ImageForm((4, 4), 3), ink=False)
    with source.locked():
        source.prepare()
        store.prepare(np.zeros((0, 16), np.uint8))
        store.add(ScanningWriter(store)(RowTask(0, files))[1].records, {})
    return store, files


def damage(store: PixelStore, row: int) -> None:
    """Change a bit of an image."""
    content = bytearray(store.pixels.read_bytes())
    content[row * store.row_bytes + 5] ^= 1
    store.pixels.write_bytes(content)
