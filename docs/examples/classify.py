"""Classify images with a file that glassnet exported: python classify.py model.onnx IMAGE..."""

import json
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: ONNX Runtime sends events of its use otherwise
import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def read_image(path, size, channels, fit, resize, value_range, background, ink):
    """Return the image in a file as uint8 (H, W, C), in the form that the metadata's "preprocessing" describes."""
    image = Image.open(path)
    image.draft(None, (2 * max(size), 2 * max(size)))  # large JPEGs are reduced while they are decoded
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":  # 16 bits or floats
        pixels = np.asarray(image, np.float32)
        low, high = value_range or (0, 65535 if image.mode[0] == "I" else 1 if pixels.max() <= 1 else 255)
        pixels = (pixels - np.float32(low)) * np.float32(255 / (high - low))
        image = Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    image = image.convert("L" if channels == 1 else "RGB")
    (height, width), (w, h) = size, size[::-1]
    if fit != "squash":
        factor = (max if fit == "crop" else min)(height / image.height, width / image.width)
        w, h = (max(1, round(factor * length)) for length in image.size)
    left, top = int((w - width) / 2), int((h - height) / 2)  # below 0 where pad adds black bars
    resample = Image.Resampling[resize.upper()]
    if fit == "crop":  # x and y: pixels of the file for one of the resized image
        x, y = image.width / w, image.height / h
        box = (left * x, top * y, min(image.width, (left + width) * x), min(image.height, (top + height) * y))
        image = image.resize((width, height), resample, box)
    else:
        image = image.resize((w, h), resample).crop((left, top, left + width, top + height))
    return np.asarray(image).reshape(height, width, channels)


if __name__ == "__main__":
    session = onnxruntime.InferenceSession(sys.argv[1])
    metadata = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    if metadata["preprocessing"]["ink"]:
        sys.exit("This network reads drawn digits that glassnet.data.decode_ink found.")
    images = [read_image(path, **metadata["preprocessing"]) for path in sys.argv[2:]]
    (probabilities,) = session.run(["probabilities"], {"images": np.stack(images)})
    for path, row in zip(sys.argv[2:], probabilities, strict=True):
        print(f"{path}: {metadata['classes'][row.argmax()]} {row.max():.1%}")
