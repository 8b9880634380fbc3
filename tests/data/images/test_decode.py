import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glassnet.data import decode_image
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images import decode, decode_processes
from glassnet.data.images.decode import decode_images
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.resize import resize
from glassnet.data.images.scan import scan_images
from glassnet.errors import ConfigError, DataError


def noise(height=12, width=12, channels=3, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def save(path, image, **options):
    image.save(path, **options)
    return path


def header(path):
    (scanned,) = scan_images([ImageFile.on_disk(path)])
    return scanned.size, scanned.is_gray


# --- sizes


def test_decode_image_keeps_every_bit_of_lossless_images_of_the_right_size(shared):
    paths = sorted((shared / "cifar10-samples").glob("*.png"))
    assert len(paths) == 20
    for path in paths:
        with Image.open(path) as image:
            decoded = decode_image(path, (32, 32), 3)
            np.testing.assert_array_equal(decoded, np.asarray(image))
            assert decoded.flags.writeable


def test_decode_image_crops_to_the_bit(tmp_path):
    pixels = noise(12, 17)
    path = save(tmp_path / "a.png", Image.fromarray(pixels))
    np.testing.assert_array_equal(decode_image(path, (12, 12), 3), pixels[:, 2:14])


def test_decode_image_antialiases(tmp_path):
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    path = save(tmp_path / "a.png", Image.fromarray(checks.astype(np.uint8)))
    assert np.ptp(decode_image(path, (8, 8), 1)[1:-1, 1:-1].astype(int)) <= 4


def test_decode_image_takes_no_memory_for_cropped_pixels(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (1, 60000), (1, 2, 3)))
    np.testing.assert_array_equal(decode_image(path, (64, 64), 3), np.tile([1, 2, 3], (64, 64, 1)))


def test_decode_image_reduces_large_jpegs_while_decoding(tmp_path, monkeypatch):
    smooth = np.linspace(0, 255, 1600)[np.newaxis, :, np.newaxis] * np.ones((1200, 1, 3))
    image = Image.fromarray(smooth.astype(np.uint8))
    path = save(tmp_path / "a.jpg", image, quality=95)
    sizes = []
    monkeypatch.setattr(decode, "resize", lambda image, *form: sizes.append(image.size) or resize(image, *form))
    reduced = decode_image(path, (32, 32), 3).astype(int)
    assert sizes == [(200, 150)]  # an eighth, the most that JPEG can
    np.testing.assert_allclose(reduced, np.asarray(resize(image, (32, 32), "crop")), atol=2)


def test_decode_image_decodes_small_jpegs_as_pillow(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(noise(32, 32)))
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode_image(path, (32, 32), 3), np.asarray(image))


# --- rotation


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_image_applies_exif_rotation(tmp_path, orientation, suffix):
    upright = np.zeros((24, 32, 3), np.uint8)  # four flat quarters survive a lossy format
    upright[:12, :16], upright[:12, 16:], upright[12:, :16] = 250, 160, 80
    # How a camera that was held so stores the upright image: by the operation that undoes the viewer's.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    assert header(path) == ((24, 32), False)
    np.testing.assert_allclose(decode_image(path, (24, 32), 3).astype(int), upright, atol=6)


def test_decode_image_ignores_damaged_exif_data(tmp_path):
    pixels = noise()
    path = save(tmp_path / "a.png", Image.fromarray(pixels), exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    np.testing.assert_array_equal(decode_image(path, (12, 12), 3), pixels)
    path = save(tmp_path / "a.jpg", Image.fromarray(pixels), exif=b"Exif\0\0nonsense")
    assert decode_image(path, (12, 12), 3).shape == (12, 12, 3)


# --- modes

GRAY = noise(channels=1)
COLOUR = noise()
ALPHA = noise(channels=1, seed=1)


def over_white(pixels, alpha):
    return 255 - (255 - pixels.astype(float)) * (alpha.astype(float) / 255)


def rgba():
    return Image.fromarray(np.dstack([COLOUR, ALPHA]), "RGBA")


def gray_alpha():
    return Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(ALPHA)])


MODES = {
    # name: image, file, gray, expected
    "1": (Image.fromarray(GRAY > 127), "a.png", True, (GRAY > 127) * 255.0),
    "L": (Image.fromarray(GRAY), "a.png", True, GRAY),
    "L bmp": (Image.fromarray(GRAY), "a.bmp", True, GRAY),
    "LA": (gray_alpha(), "a.png", True, over_white(GRAY, ALPHA)),
    "RGB": (Image.fromarray(COLOUR), "a.png", False, COLOUR),
    "RGB ppm": (Image.fromarray(COLOUR), "a.ppm", False, COLOUR),
    "RGBA": (rgba(), "a.png", False, over_white(COLOUR, ALPHA[..., np.newaxis])),
    "RGBA webp": (rgba(), "a.webp", False, over_white(COLOUR, ALPHA[..., np.newaxis])),
    "CMYK": (Image.fromarray(COLOUR).convert("CMYK"), "a.tif", False, COLOUR),
    "I;16": (Image.fromarray(GRAY.astype(np.uint16) * 257), "a.png", True, GRAY),
    "I;16 tif": (Image.fromarray(GRAY.astype(np.uint16) * 257), "a.tif", True, GRAY),
    "I": (Image.fromarray(GRAY.astype(np.int32) * 257), "a.tif", True, GRAY),
    "F 0..1": (Image.fromarray(GRAY.astype(np.float32) / 255), "a.tif", True, GRAY),
    "F 0..255": (Image.fromarray(GRAY.astype(np.float32)), "a.tif", True, GRAY),
    "P colour": (Image.fromarray(COLOUR).quantize(256), "a.png", False, COLOUR),
    "P gray": (Image.fromarray(GRAY).convert("P"), "a.png", True, GRAY),
    "P gif": (Image.fromarray(COLOUR).quantize(256), "a.gif", False, COLOUR),
}


@pytest.mark.parametrize("name", MODES)
def test_decode_image_converts_every_mode(tmp_path, name):
    image, file, gray, expected = MODES[name]
    path = save(tmp_path / file, image, **({"lossless": True, "exact": True} if file.endswith("webp") else {}))
    assert header(path) == ((12, 12), gray)
    expected = np.broadcast_to(np.reshape(expected, (12, 12, -1)), (12, 12, 3)).astype(float)
    coloured = decode_image(path, (12, 12), 3)
    assert coloured.dtype == np.uint8
    np.testing.assert_allclose(coloured, expected, atol=1)
    luminance = expected @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    np.testing.assert_allclose(decode_image(path, (12, 12), 1)[..., 0], luminance, atol=1.5)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_decode_image_converts_jpegs_that_are_not_rgb(tmp_path, mode):
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    path = save(tmp_path / "a.jpg", flat.convert(mode))
    np.testing.assert_allclose(decode_image(path, (16, 16), 3)[8, 8].astype(int), [200, 100, 50], atol=4)


@pytest.mark.parametrize("channels", [1, 3])
def test_decode_image_lays_a_transparent_palette_on_white(tmp_path, channels):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((0, 0), 1)
    for transparency in (0, bytes([0, 255])):
        path = save(tmp_path / "a.png", image, transparency=transparency)
        decoded = decode_image(path, (4, 4), channels)
        assert (decoded[1:] == 255).all()
        assert (decoded[0, 0] < 255).any()


def test_decode_image_lays_a_transparent_gray_on_white(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[7, 8]], np.uint8)), transparency=7)
    assert decode_image(path, (1, 2), 1).ravel().tolist() == [255, 8]


def test_decode_image_rounds_16_bits(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 200, 32768, 65535]], np.uint16)))
    assert decode_image(path, (1, 4), 1).ravel().tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[np.nan, 0.5]], np.float32), "pixels that are NaN or infinite"),
        (np.array([[0, np.inf]], np.float32), "pixels that are NaN or infinite"),
        (np.array([[-1, 0.5]], np.float32), "pixels from -1 to 0.5, outside 0 to 1 or 0 to 255: give their value"),
        (np.array([[0, 70000]], np.int32), "pixels from 0 to 70000, outside 0 to 65535: give their value_range"),
    ],
)
def test_decode_image_raises_for_pixels_of_another_range(tmp_path, values, message):
    path = save(tmp_path / "a.tif", Image.fromarray(values))
    with pytest.raises(DataError, match=f"a.tif must be a readable image. Got: {message}"):
        decode_image(path, (1, 2), 1)


def test_decode_image_takes_the_first_image_of_an_animation(tmp_path):
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (decode_image(path, (4, 4), 1) == 10).all()


def test_decode_image_takes_the_first_image_of_a_phones_jpeg(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = save(tmp_path / "a.jpg", frames[0], format="MPO", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode_image(path, (16, 16), 3)[8, 8].astype(int), [255, 0, 0], atol=4)


# --- files that are not images


def png_of(width, height):
    chunk = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def block(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", chunk) + block(b"IDAT", pixels) + block(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"not an image at all", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "EPS, which is not read: save as PNG"),
        (png_of(100_000, 100_000), "more pixels than max_pixels .* allows, 178,956,970"),
        (png_of(50, 50), ".+"),
    ],
)
def test_decode_image_raises_for_other_files(tmp_path, data, reason):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"a.png must be a readable image. Got: {reason}") as failure:
        decode_image(path, (8, 8), 3)
    assert "\n" not in str(failure.value)


def test_decode_image_raises_for_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match=r"none.png must be a readable image. Got: no such file\."):
        decode_image(tmp_path / "none.png", (8, 8), 3)
    with pytest.raises(DataError, match="not a file"):
        decode_image(tmp_path, (8, 8), 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_decode_image_raises_or_returns_for_a_file_cut_anywhere(tmp_path, suffix):
    whole = save(tmp_path / f"whole.{suffix}", Image.fromarray(noise(16, 16))).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    refused = 0
    lengths = range(0, len(whole) - 1, max(1, len(whole) // 60))
    for length in lengths:
        path.write_bytes(whole[:length])
        try:
            decode_image(path, (16, 16), 3)
        except DataError as error:
            refused += 1
            message = str(error)
            assert "\n" not in message
    assert refused > len(lengths) * 0.9


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_decode_image_raises_or_returns_for_wrong_bytes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "flipped"
    suffix = data.draw(st.sampled_from(["png", "jpeg", "gif", "tiff"]))
    save(path, Image.fromarray(noise(8, 8)), format=suffix)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert decode_image(path, (8, 8), 3).shape == (8, 8, 3)
    except DataError as error:
        message = str(error)
        assert "\n" not in message


def test_decode_image_silences_pillows_warnings(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 144 pixels: above it, but not above twice as much
    path = save(tmp_path / "a.png", Image.fromarray(noise()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode_image(path, (12, 12), 3).shape == (12, 12, 3)
    assert caught == []


@pytest.mark.parametrize(
    ("image_size", "channels", "message"),
    [
        ((0, 8), 3, r"image_size must be a side or \(height, width\), each at least 1\. Got \(0, 8\)\."),
        ((8,), 3, r"Got \(8,\)\."),
        ((8, 8), 2, r"channels must be one of 1, 3\. Got 2\."),
    ],
)
def test_decode_image_raises_for_wrong_arguments(tmp_path, image_size, channels, message):
    with pytest.raises(ConfigError, match=message):
        decode_image(tmp_path / "a.png", image_size, channels)


# --- many


@pytest.mark.parametrize("seconds_alone", [0, 100])
def test_decode_images_keeps_the_order_and_lists_unreadable_files(tmp_path, monkeypatch, seconds_alone):
    monkeypatch.setattr(decode_processes, "SECONDS_ALONE", seconds_alone)
    monkeypatch.setattr(decode_processes, "_are_started", lambda first_answer: first_answer.result() == [])
    paths = [tmp_path / f"{index}.png" for index in range(70)]
    for index, path in enumerate(paths):
        save(path, Image.new("L", (3, 3), index))
    paths[0].write_bytes(b"")
    paths[33].unlink()
    files = [ImageFile.on_disk(path) for path in paths]
    images, failures = decode_images(files, ImageForm((3, 3), 1))
    assert failures == {0: "empty file", 33: "no such file"}
    assert images.shape == (68, 3, 3, 1)
    assert images[:, 1, 1, 0].tolist() == [index for index in range(70) if index not in (0, 33)]
    np.testing.assert_array_equal(images[5], decode_image(paths[6], (3, 3), 1))
