import io

import pytest
from PIL import Image

from glassnet.data.files.image_formats import describe_not_read, is_named_as_image, is_recognised, rare_formats


def saved(image_format, mode="RGB"):
    content = io.BytesIO()
    Image.new(mode, (16, 16)).save(content, image_format)
    return content.getvalue()


@pytest.mark.parametrize(
    "name", ["a.jpg", "A/B.JPEG", "a.b.png", "a.avif", "a.jp2", "a.tga", "a.dds", "a.psd", "a.HEIC", "a.dcm", "a.eps"]
)
def test_is_named_as_image_knows_suffixes_in_any_case(name):
    assert is_named_as_image(name)


@pytest.mark.parametrize(
    "name",
    [
        "labels.txt",
        "a.json",
        "a.xml",
        "a.csv",
        "a.jpg.txt",
        "png",
        ".png",
        "a",
        "a.pdf",
        "a.ps",
        "a.mpg",
        "a.h5",
        "a.db",
    ],
)
def test_is_named_as_image_refuses_other_names(name):
    assert not is_named_as_image(name)


def test_is_recognised_needs_the_suffix_of_formats_without_signature():
    assert is_recognised("TGA", "a.tga")
    assert not is_recognised("TGA", "a.bin")
    assert not is_recognised("IM", "labels.txt")
    assert is_recognised("SPIDER", "a.dat")
    assert is_recognised("PNG", "a.txt")


def test_rare_formats_start_no_program_and_end_with_those_without_signature():
    formats = rare_formats()
    assert {"WEBP", "TIFF", "TGA", "DDS", "PSD", "ICO"} < set(formats)
    assert not {"EPS", "WMF", "MPEG", "HDF5", "PNG"} & set(formats)
    assert formats.index("TGA") > formats.index("TIFF")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"plain text", "not an image"),
        (b"P6 is a format, and this is none", "not an image"),
        (saved("PNG")[:8], "damaged PNG"),
        (saved("TIFF")[:8], "damaged TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which Pillow cannot read: save as JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC, which Pillow cannot read: save as JPEG"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "damaged AVIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "not an image"),
        (b"\xff\x0a\xfa", "JPEG XL, which Pillow cannot read: save as PNG"),
        (bytes(128) + b"DICM", "DICOM, which Pillow cannot read: save as PNG"),
        (b'<?xml version="1.0"?>\n<svg width="8">', "SVG, which Pillow cannot read: save as PNG"),
        (saved("EPS"), "EPS, which is not read: save as PNG"),
        (b"\xd7\xcd\xc6\x9a\0\0", "WMF or EMF, which is not read: save as PNG"),
    ],
)
def test_describe_not_read_names_the_format(data, reason):
    assert describe_not_read(data) == reason


@pytest.mark.parametrize("accept", [None, lambda prefix: "AVIF support is not installed"])
def test_describe_not_read_names_avif_where_pillow_lacks_it(monkeypatch, accept):
    Image.init()
    monkeypatch.setitem(Image.OPEN, "AVIF", (None, accept))
    data = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1"
    assert describe_not_read(data) == "AVIF, which Pillow cannot read: save as PNG"
