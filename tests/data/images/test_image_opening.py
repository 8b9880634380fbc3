import logging
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from glassnet.data.files.image_file import ImageFile
from glassnet.data.images import image_opening
from glassnet.data.images.image_opening import UnreadableError, open_image, quiet_pillow, read_bytes
from glassnet.errors import DataError


def test_quiet_pillow_silences_warnings_and_the_log_and_restores_all(capfd):
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    with quiet_pillow(1000), quiet_pillow(4 * limit):
        warnings.warn("an unusual file", stacklevel=1)
        logging.getLogger("PIL.TiffImagePlugin").warning("an unusual tag")
        assert 2 * limit == Image.MAX_IMAGE_PIXELS  # Pillow raises above twice of it
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == (filters, limit)
    assert logging.getLogger("PIL").handlers == []
    assert capfd.readouterr().err == ""


def test_quiet_pillow_lasts_until_the_last_thread_leaves():
    limit, entered, leave = Image.MAX_IMAGE_PIXELS, threading.Event(), threading.Event()

    def wait_inside():
        with quiet_pillow(4 * limit):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=wait_inside)
    with quiet_pillow(1):
        thread.start()
        assert entered.wait(10)
    assert 2 * limit == Image.MAX_IMAGE_PIXELS
    warnings.warn("an unusual file", stacklevel=1)
    leave.set()
    thread.join()
    assert limit == Image.MAX_IMAGE_PIXELS


def test_quiet_pillow_keeps_a_limit_that_was_switched_off(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with quiet_pillow(1000):
        assert Image.MAX_IMAGE_PIXELS is None


def test_quiet_pillow_silences_libtiff(tmp_path, capfd):
    path = tmp_path / "a.tif"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(path, compression="tiff_lzw")
    data = path.read_bytes()
    data = data[:8] + bytes(1000) + data[1008:]

    def fails():
        with pytest.raises(UnreadableError), open_image(data, 10_000) as image:
            image.load()

    with quiet_pillow(10_000):
        fails()
    assert capfd.readouterr().err == ""
    fails()
    assert capfd.readouterr().err != ""  # libtiff prints again


def test_libtiff_setters_are_none_where_pillow_hides_them(monkeypatch):
    monkeypatch.setattr("PIL._imaging.__file__", image_opening.__file__)
    assert image_opening._libtiff_setters.__wrapped__() == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "No such file or directory"), "No such file or directory"),
        (OSError("two\nlines"), "two lines"),
        (DataError("larger than 2 GB"), "larger than 2 GB"),
    ],
)
def test_read_bytes_raises_the_reason(error, reason):
    def read():
        raise error

    with pytest.raises(UnreadableError, match=f"^{reason}$"):
        read_bytes(ImageFile("a.png", read))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "too large for the memory"),
        (AssertionError(), r"damaged \(AssertionError\)"),
        (KeyError("a\nb"), r"'a\\nb'"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_open_image_turns_every_error_into_a_reason(tmp_path, error, reason):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match=f"^{reason}$"), open_image((tmp_path / "a.png").read_bytes(), 4):
        raise error
