import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from glassnet.data import load_data
from glassnet.data.images.ink import read_ink
from glassnet.data.images.resize import resize
from tests.data.images.drawn_digits import enlarge, write

from ..javascript import JavaScript


def as_image(image: Image.Image) -> dict[str, Any]:
    return {"width": image.width, "height": image.height, "text": base64.b64encode(image.tobytes()).decode()}


def images() -> dict[str, Image.Image]:
    digits = load_data("digits").test.images
    noise = np.random.default_rng(0)
    shade = np.asarray(write(5), np.float64) * np.linspace(0.5, 1, 200)[:, np.newaxis] + noise.normal(
        0, 9, (200, 200, 1)
    )
    two = write(2, size=(400, 200), height=120, pen=10)
    two.paste(write(5, height=90), (200, 0))
    return {
        **{f"enlarged {n}": enlarge(digits[n], n, side=60 + 35 * n, ink=40 * (n % 2)) for n in range(8)},
        "light": write(3, paper="black", ink="white"),
        "coloured": write(4, paper="#00a000", ink="#ff1010"),
        "thin": write(7, pen=2),
        "slanted, blurred": write(7).rotate(20, fillcolor="white").filter(ImageFilter.GaussianBlur(2)),
        "at the border": write(5, at=(60, 140)),
        "tiny": write(2, size=(20, 20), height=12, pen=2, at=(4, 4)),
        "far off in a photo": write(4, size=(1400, 900), height=90, pen=9, at=(1100, 50)),
        "shaded, noisy": Image.fromarray(shade.clip(0, 255).astype(np.uint8)),
        "two": two,
        "texture": Image.fromarray(noise.integers(0, 256, (90, 130, 3), np.uint8)),
        "blank": Image.new("RGB", (40, 30), "#7f7f80"),
        "one pixel": Image.new("RGB", (1, 1), "white"),
        "8×8": Image.fromarray(digits[0, ..., 0] * 15),
        "dark 8×8": Image.fromarray(255 - digits[1, ..., 0] * 15),
    }


def test_read_ink_gives_the_pixels_of_python(javascript: JavaScript) -> None:
    inputs = {name: image.convert("RGB") for name, image in images().items()}
    results = javascript(
        """return images.map(({width, height, text}) =>
          readInk({width, height, channels: 3, values: new Uint8Array(Buffer.from(text, "base64"))}));""",
        images=[as_image(image) for image in inputs.values()],
    )
    for (name, image), result in zip(inputs.items(), results, strict=True):
        expected = read_ink(image)
        assert np.array_equal(result["pixels"], expected.pixels.ravel()), name
        assert (result["steps"], result["problem"]) == (expected.steps, expected.problem), name


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_resize_to_fit_gives_the_levels_of_python(javascript: JavaScript, fit: Any) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (75, 103, 3), np.uint8)
    for mode in ("RGB", "L"):
        image = Image.fromarray(pixels)
        for width, height in ((32, 32), (9, 40), (150, 120), (103, 75)):
            result = javascript(
                """const image = {width, height, channels: 3, values: new Uint8Array(Buffer.from(text, "base64"))};
                return resizeToFit(mode === "L" ? toGray(image) : image, ...size, fit).values;""",
                **as_image(image),
                **{"mode": mode, "size": [width, height], "fit": fit},
            )
            assert np.array_equal(result, np.asarray(resize(image.convert(mode), (height, width), fit)).ravel())
