"""Classify images with an exported network: python classify.py model.onnx IMAGE..."""

import json
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime reads it when it is imported
import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def read_image(path, size, channels, fit, resize, value_range, background, ink):
    """Return the image in a file as uint8 (H, W, C), as the metadata describes it."""
    image = Image.open(path)
    image.draft(None, (2 * max(size), 2 * max(size)))  # reduces large JPEGs
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":  # 16 bits or floats
        pixels = np.asarray(image, np.float32)
        white = 65535 if image.mode[0] == "I" else 1 if pixels.max() <= 1 else 255
        low, high = value_range or (0, white)
        pixels = (pixels - np.float32(low)) * np.float32(255 / (high - low))
        image = Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(paper, image)
    image = image.convert("L" if channels == 1 else "RGB")
    (height, width), (w, h) = size, size[::-1]
    if fit != "squash":
        ratios = height / image.height, width / image.width
        factor = max(ratios) if fit == "crop" else min(ratios)
        w, h = (max(1, round(factor * length)) for length in image.size)
    left, top = int((w - width) / 2), int((h - height) / 2)  # below 0: black bars
    right, bottom = left + width, top + height
    filter = Image.Resampling[resize.upper()]
    if fit == "crop":  # x and y: pixels of the file for one of the resized image
        x, y = image.width / w, image.height / h
        right, bottom = min(image.width, right * x), min(image.height, bottom * y)
        image = image.resize((width, height), filter, (left * x, top * y, right, bottom))
    else:
        image = image.resize((w, h), filter).crop((left, top, right, bottom))
    return np.asarray(image).reshape(height, width, channels)


if __name__ == "__main__":
    model, *paths = sys.argv[1:]
    session = onnxruntime.InferenceSession(model)
    metadata = session.get_modelmeta().custom_metadata_map
    form, classes = json.loads(metadata["preprocessing"]), json.loads(metadata["classes"])
    if form["ink"]:
        sys.exit("This network reads drawn digits that glassnet.data.decode_ink found.")
    images = np.stack([read_image(path, **form) for path in paths])
    (probabilities,) = session.run(["probabilities"], {"images": images})
    for path, row in zip(paths, probabilities, strict=True):
        print(f"{path}: {classes[row.argmax()]} {row.max():.1%}")
