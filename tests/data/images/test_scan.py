import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.scan import ScannedImage, Scans, scan_images
from glassnet.errors import DataError


def content(image=None, image_format="PNG"):
    stream = io.BytesIO()
    (image or Image.new("RGB", (6, 4))).save(stream, image_format)
    return stream.getvalue()


def scan(name, data, **options):
    (scanned,) = scan_images([ImageFile(name, lambda: data)], **options)
    return scanned


def test_scan_images_keeps_the_order_and_reads_each_file_once():
    n_read = []

    def file(index):
        data = content(Image.new("L", (index + 1, 2)))
        return ImageFile(f"{index}.png", lambda: n_read.append(index) or data)

    files = [file(index) for index in range(50)]
    scanned = scan_images(files)
    assert [image.size for image in scanned] == [(2, index + 1) for index in range(50)]
    assert sorted(n_read) == list(range(50))


def test_scan_images_hashes_the_bytes():
    data = content()
    assert scan("a.png", data).hash == hashlib.sha256(data).digest()[:16]
    assert scan("a.png", data[:-5]).hash == hashlib.sha256(data[:-5]).digest()[:16]


@pytest.mark.parametrize(
    ("pixels", "image_format", "is_gray", "is_deep"),
    [
        (np.zeros((4, 6, 3), np.uint8), "PNG", False, False),
        (np.zeros((4, 6), np.uint8), "JPEG", True, False),
        (np.zeros((4, 6), np.uint16), "PNG", True, True),
        (np.zeros((4, 6), np.int32), "TIFF", True, True),
        (np.zeros((4, 6), np.float32), "TIFF", True, True),
    ],
)
def test_scan_images_measures_size_and_kind(pixels, image_format, is_gray, is_deep):
    data = content(Image.fromarray(pixels), image_format)
    assert scan("a", data) == ScannedImage(hashlib.sha256(data).digest()[:16], (4, 6), is_gray, is_deep)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.png", b"", "empty file"),
        ("a.png", b"text", "not an image"),
        ("a.png", content()[:20], "Truncated File Read"),
        ("a", content()[:20], "Truncated File Read"),
        ("a.txt", content()[:10], "damaged PNG"),
        ("a.heic", b"\0\0\0\x18ftypheic", "HEIC, which Pillow cannot read: save as JPEG"),
        ("a.eps", content(image_format="EPS"), "EPS, which is not read: save as PNG"),
    ],
)
def test_scan_images_says_why_an_image_is_unreadable(name, data, problem):
    scanned = scan(name, data)
    assert (scanned.problem, scanned.is_image) == (problem, True)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("labels.txt", b"cat\n"),
        ("labels.txt", b"Label: 3\n"),  # Pillow opens this as an IM file of 512×512 pixels
        ("notes.txt", b"BMW 320i\n"),  # and finds a BMP with an unusual header in this
        ("a.json", b"{}"),
        ("model.h5", b"\x89HDF\r\n\x1a\n"),
        ("film.mpg", b"\0\0\x01\xb3" + bytes(20)),
        ("empty", b""),
    ],
)
def test_scan_images_leaves_out_files_that_are_no_images(name, data):
    assert scan(name, data) == ScannedImage(hashlib.sha256(data).digest()[:16], is_image=False)


@pytest.mark.parametrize("name", ["a", "a.txt", "a.jpg"])
def test_scan_images_recognises_an_image_by_its_content(name):
    assert scan(name, content()).size == (4, 6)


@pytest.mark.parametrize(("name", "is_image"), [("a.png", True), ("a.txt", False)])
@pytest.mark.parametrize(
    ("error", "reason"),
    [(PermissionError(13, "Permission denied"), "Permission denied"), (DataError("too large"),) * 2],
)
def test_scan_images_lists_files_that_cannot_be_read(name, is_image, error, reason):
    def read():
        raise error

    (scanned,) = scan_images([ImageFile(name, read)])
    assert scanned == ScannedImage(b"", problem=str(reason) if is_image else None, is_image=is_image)


def test_scan_images_refuses_more_pixels_than_allowed():
    data = content()
    assert scan("a.png", data, max_pixels=24).problem is None
    assert scan("a.png", data, max_pixels=23).problem == "more pixels than max_pixels (--max-pixels) allows, 23"


def test_scan_images_allows_more_pixels_than_pillow():
    whole = bytearray(content(Image.new("L", (6, 4))))
    whole[16:24] = (20_000).to_bytes(4, "big") * 2
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    assert "178,956,970" in scan("a.png", bytes(whole)).problem
    assert scan("a.png", bytes(whole), max_pixels=400_000_000).size == (20_000, 20_000)


def test_scan_images_decodes_no_png_without_exif_data(monkeypatch):
    def load(image):
        raise AssertionError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    assert scan("a.png", content()).size == (4, 6)


def png_of_16_bits(channels):
    """A PNG of 16 bits that Pillow does not write, of one pixel."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 + 2 * channels))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("channels", "loses_bits"), [(1, False), (2, True), (3, True), (4, True)])
def test_scan_images_finds_16_bits_that_pillow_reduces_to_8(channels, loses_bits):
    scanned = scan("a.png", png_of_16_bits(channels))
    assert (scanned.problem, scanned.loses_bits, scanned.is_deep) == (None, loses_bits, channels == 1)


def test_scans_join_and_take_keep_problems_and_quantiles_with_their_images():
    deep = content(Image.fromarray(np.arange(24, dtype=np.uint16).reshape(4, 6)))
    files = {"a.png": content(), "b.png": b"text", "c.png": deep, "d.txt": b"text"}
    parts = [scan_images([ImageFile(name, lambda data=data: data)]) for name, data in files.items()]
    scans = Scans.join(parts)
    assert [*scans] == [scanned for part in parts for scanned in part]
    assert scans.problems == {1: "not an image"}
    assert scans.has("is_image").tolist() == [True, True, True, False]
    taken = scans.take(np.array([2, 1, 1]))
    assert [*taken] == [scans[2], scans[1], scans[1]]
    assert taken.problems == {1: "not an image", 2: "not an image"}
    ((quantiles, is_float),) = taken.quantiles()
    assert (quantiles[0], quantiles[3], is_float) == (0, 23, False)
    assert [*scans[1:3]] == [scans[1], scans[2]]
    assert len(Scans.join([])) == 0
