import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glassnet.data import decode_image, decode_ink
from glassnet.data.files.file_search import FoundFile
from glassnet.data.images.file_decoder import FileDecoder
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.ink import Ink
from tests.data.images.drawn_digits import write

FORM = ImageForm((6, 5), 3, "pad")


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)).save(path)
    return str(path)


def test_file_decoder_decodes_in_the_form(image: str) -> None:
    decoder = pickle.loads(pickle.dumps(FileDecoder(FORM, ink=False)))
    on_disk, member = decoder([FoundFile(image), FoundFile("a.zip/x", True, read=Path(image).read_bytes)])
    assert np.array_equal(on_disk, decode_image(image, FORM))
    assert np.array_equal(member, on_disk)


def test_file_decoder_reads_ink(tmp_path: Path) -> None:
    write(3).save(tmp_path / "3.png")
    (ink,) = FileDecoder(ImageForm((8, 8), 1), ink=True)([FoundFile(str(tmp_path / "3.png"))])
    expected = decode_ink(tmp_path / "3.png")
    assert isinstance(ink, Ink)
    assert np.array_equal(ink.pixels, expected.pixels)
    assert (ink.steps, ink.problem) == (expected.steps, expected.problem)


@pytest.mark.parametrize("in_folder", [True, False])
def test_file_decoder_gives_the_reason_or_none_for_what_is_no_image(tmp_path: Path, in_folder: bool) -> None:
    (tmp_path / "text.txt").write_text("text", encoding="utf-8")
    (tmp_path / "text.png").write_text("text", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe.png")
    names = ["text.txt", "text.png", "missing.png", "pipe.png"]
    files = [FoundFile(str(tmp_path / name), in_folder) for name in names]
    expected = [None if in_folder else "not an image", "not an image", "no such file", "not a file"]
    assert FileDecoder(FORM, ink=False)(files) == expected


def test_file_decoder_passes_problems_on(image: str) -> None:
    assert FileDecoder(FORM, ink=False)([FoundFile(image, problem="Permission denied")]) == ["Permission denied"]
