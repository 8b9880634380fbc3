import numpy as np
import pytest
from PIL import Image, ImageFilter

from glassnet.data import load_data
from glassnet.data.images import ink
from glassnet.data.images.ink import _CENTRE, _shear, read_ink
from glassnet.data.images.ink_search import bounds
from tests.data.images.drawn_digits import STROKES, enlarge, write


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load_data("digits").train.images


def pixels(image: Image.Image) -> np.ndarray:
    return read_ink(image.convert("RGB")).pixels[..., 0] / 255


def difference(image: Image.Image, other: Image.Image) -> float:
    return float(np.abs(pixels(image) - pixels(other)).mean())


def test_read_ink_recovers_an_enlarged_digit(digits: np.ndarray) -> None:
    # Nearest-neighbour pixels are the cells themselves, so that only a shift by parts of a cell is left.
    errors = [
        np.abs(pixels(enlarge(digit, 4 * number)) - digit[..., 0] / 16) for number, digit in enumerate(digits[:40])
    ]
    assert np.mean(errors) < 0.08


def test_training_images_have_the_form_that_read_ink_makes(digits: np.ndarray) -> None:
    values = digits[..., 0] / 16
    assert (values[:, [0, -1]] > 0).any(axis=2).all()  # the full height
    columns = values.sum(axis=1) @ (np.arange(8) + 0.5) / values.sum(axis=(1, 2))
    assert columns.mean() * 16 == pytest.approx(_CENTRE, abs=0.01)
    inked = values.mean(axis=(1, 2)) * 1024
    assert inked.mean() == pytest.approx(313, abs=1)
    assert np.quantile(inked, [0.02, 0.98]) == pytest.approx([257, 387], abs=1)  # in NIST's 256 to 412 pixels
    # The leftmost pixels of the first and the last row are in one column: the shear.
    first = (values > 0.05).argmax(axis=2)
    left = first + 1 - np.take_along_axis(values, first[..., np.newaxis], axis=2)[..., 0]
    assert (left[:, 0] - left[:, 7]).mean() == pytest.approx(0, abs=0.02)
    assert (left[:, 0] - left[:, 7]).std() < 0.25


def test_read_ink_sharpens_blurred_edges_alone(digits: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    blurred, crisp = enlarge(digits[0], 1), write(3)
    before = pixels(blurred), pixels(crisp)
    monkeypatch.setattr(ink, "_SHARPENING", 0.0)
    assert pixels(blurred).std() < before[0].std() - 0.01
    assert np.array_equal(pixels(crisp), before[1])


@pytest.mark.parametrize("digit", STROKES)
def test_read_ink_of_any_polarity_colour_place_and_size(digit: int) -> None:
    expected = write(digit)
    assert read_ink(expected).problem is None
    same = {
        "light on dark": write(digit, paper="black", ink="white"),
        "blue on yellow": write(digit, paper="#fff4a0", ink="#2040c0"),
        "red on green of the same gray": write(digit, paper="#00a000", ink="#ff1010"),
        "gray on gray": write(digit, paper="#b0b0b0", ink="#505050"),
        "at the border": write(digit, at=(4, 4)),
        "in a large image": write(digit, size=(900, 700), at=(500, 60)),
        "scaled": write(digit, size=(600, 600), height=300, pen=24, at=(90, 200)),
    }
    for name, image in same.items():
        assert difference(image, expected) < 0.04, name


def test_read_ink_normalizes_the_width_of_strokes() -> None:
    inked = [pixels(write(3, pen=pen)).mean() for pen in (2, 4, 8)]
    assert min(inked) > 0.29
    assert max(inked) < 0.36
    assert difference(write(3, pen=2), write(3, pen=8)) < 0.08


def test_read_ink_straightens_a_slanted_digit() -> None:
    upright = write(7)
    slanted = upright.transform(upright.size, Image.Transform.AFFINE, (1, 0.3, -30, 0, 1, 0), fillcolor="white")
    assert difference(slanted, upright) < 0.06


def test_read_ink_in_uneven_light_noise_and_dirt() -> None:
    expected = write(5)
    values = np.asarray(expected, np.float64)
    light = np.linspace(0.55, 1, 200)[np.newaxis, :, np.newaxis]
    shaded = Image.fromarray((values * light).astype(np.uint8))
    assert difference(shaded, expected) < 0.03
    gray = Image.fromarray(((0.3 * 255 + 0.7 * values) * light).astype(np.uint8))  # the ink is shaded, too
    assert difference(gray, expected) < 0.03
    noise = np.random.default_rng(0).normal(0, 20, values.shape[:2])[..., np.newaxis]
    noisy = Image.fromarray((values * 0.8 + 25 + noise).clip(0, 255).astype(np.uint8))
    assert difference(noisy, expected) < 0.06
    dirty = expected.copy()
    for place in ((10, 10), (180, 190), (150, 5)):
        dirty.putpixel(place, (0, 0, 0))
    assert difference(dirty, expected) < 0.01


def test_read_ink_of_8x8_pixels_only_inverts(digits: np.ndarray) -> None:
    for digit in digits[:50]:
        gray = digit[..., 0] * 15
        light, dark = Image.fromarray(gray), Image.fromarray(255 - gray)
        assert np.array_equal(read_ink(light.convert("RGB")).pixels[..., 0], gray)
        assert np.array_equal(read_ink(dark.convert("RGB")).pixels[..., 0], gray)
        assert read_ink(light.convert("RGB")).problem is None


def test_read_ink_says_that_a_digit_touches_the_border() -> None:
    text = "; it touches the border, so that a part may be missing"
    assert text not in read_ink(write(4)).steps
    for place in ((60, -20), (60, 140), (-10, 40), (160, 40)):
        assert read_ink(write(4, at=place)).steps.endswith(text)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2), (8, 8), (40, 30), (400, 3)])
@pytest.mark.parametrize("colour", ["white", "black", "#7f7f80"])
def test_read_ink_finds_none_in_a_plain_image(size: tuple[int, int], colour: str) -> None:
    found = read_ink(Image.new("RGB", size, colour))
    assert found.is_blank
    assert found.problem == "no ink was found"
    assert found.pixels.shape == (8, 8, 1)


def test_read_ink_reads_one_of_several_digits() -> None:
    image = write(2, size=(400, 200), height=120, pen=10)
    image.paste(write(5, height=90, pen=8, size=(200, 200)), (200, 0))
    found = read_ink(image)
    assert found.problem == "2 marks are side by side, and the largest was read"
    assert np.abs(found.pixels[..., 0] / 255 - pixels(write(2, height=120, pen=10))).mean() < 0.04


def test_read_ink_has_a_problem_with_texture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    for image in (Image.fromarray(noise), Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3))):
        assert read_ink(image).problem is not None


def test_read_ink_finds_a_small_digit_in_a_photo() -> None:
    image = write(4, size=(4000, 3000), height=160, pen=14, at=(2500, 400))
    found = read_ink(image)
    assert found.problem is None
    assert np.abs(found.pixels[..., 0] / 255 - pixels(write(4, height=100, pen=8.75))).mean() < 0.04
    assert found.steps.startswith("dark ink inverted, 1")
    assert found.steps.endswith("scaled to 8×8")


def test_shear_puts_leftmost_pixels_of_top_and_bottom_in_one_column() -> None:
    canvas = np.zeros((128, 128))
    for row in range(128):
        start = 70 - row // 3
        canvas[row, start : start + 20] = 1
    _, _, left, right = bounds(_shear(canvas) > 0.5)
    assert right - left <= 22
    assert _shear(canvas).sum() == canvas.sum()
