"""Images brought to a size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glassnet.data.images.image_form import Fit

if TYPE_CHECKING:
    from PIL import Image


def resize(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Return the image in another size, (height, width), with antialiasing (bilinear, as torchvision's default).

    :param fit: "crop", resized so that it just covers the size, and cropped around the middle; "pad", resized so
        that the whole image is visible, in the middle of black; "squash", without regard to the aspect ratio.
    """
    height, width = size
    if fit == "crop":
        return _crop(image, height, width)
    if fit == "pad":
        return _pad(image, height, width)
    return _resized(image, height, width)


def _resized(
    image: Image.Image, height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    from PIL import Image

    return image.resize((width, height), Image.Resampling.BILINEAR, box)


def _crop(image: Image.Image, height: int, width: int) -> Image.Image:
    factor = max(height / image.height, width / image.width)
    resized_height = max(height, round(image.height * factor))
    resized_width = max(width, round(image.width * factor))
    top, left = (resized_height - height) // 2, (resized_width - width) // 2
    # The part that stays, in the image's own pixels: what is cropped away is never computed.
    down, across = image.height / resized_height, image.width / resized_width
    right = min(image.width, (left + width) * across)
    bottom = min(image.height, (top + height) * down)
    return _resized(image, height, width, (left * across, top * down, right, bottom))


def _pad(image: Image.Image, height: int, width: int) -> Image.Image:
    from PIL import Image

    factor = min(height / image.height, width / image.width)
    inner_height = max(1, min(height, round(image.height * factor)))
    inner_width = max(1, min(width, round(image.width * factor)))
    padded = Image.new(image.mode, (width, height))  # black
    inner = _resized(image, inner_height, inner_width)
    padded.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
    return padded
