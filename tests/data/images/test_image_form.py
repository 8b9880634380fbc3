import math

import pytest

from glassnet.data.images.image_form import MAX_PIXELS, ImageForm, check_file_channels
from glassnet.errors import ConfigError


def test_image_form_has_pillows_limit_of_pixels():
    from PIL import Image

    assert ImageForm((8, 8), 1) == ImageForm((8, 8), 1, "crop", None, MAX_PIXELS)
    assert 2 * Image.MAX_IMAGE_PIXELS == MAX_PIXELS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (0, 8)}, r"image_size must be a side or \(height, width\), each at least 1\. Got \(0, 8\)\."),
        ({"fit": "padd"}, r"fit must be one of crop, pad, squash\. Got 'padd'; did you mean 'pad'?"),
        ({"value_range": (5, 5)}, r"value_range must be two finite numbers, the lower one first\. Got \(5, 5\)\."),
        ({"value_range": (0, math.nan)}, r"value_range must be .*Got \(0, nan\)\."),
        ({"value_range": (0, math.inf)}, r"value_range must be .*Got \(0, inf\)\."),
        ({"value_range": (1, 2, 3)}, r"value_range must be .*Got \(1, 2, 3\)\."),
        ({"max_pixels": 0}, r"max_pixels must be an integer of at least 1\. Got 0\."),
    ],
)
def test_image_form_raises_for_values_out_of_range(changes, message):
    with pytest.raises(ConfigError, match=message):
        ImageForm(**{"size": (8, 8), "channels": 1, **changes})


def test_check_file_channels_raises_for_others_than_gray_and_colour():
    check_file_channels(1)
    check_file_channels(3)
    with pytest.raises(ConfigError, match=r"channels must be one of 1, 3\. Got 2\."):
        check_file_channels(2)
