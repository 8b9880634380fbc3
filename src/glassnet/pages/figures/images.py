"""Images with labels below them: training samples and misclassified images."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from PIL import Image

from glassnet.classification import Misclassification
from glassnet.formats import pluralize
from glassnet.pages.figures.tile_grid import TileGrid, tile_grid_figure
from glassnet.pages.theme import LABEL_SIZE, shorten_label, text_figure, text_width

MAX_PIXELS = 96  # longer side of an image: more would only make the page larger
NO_ERRORS_TEXT = "The network classifies every image correctly."


def sample_figure(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: Sequence[str], *, scale: float = 255.0
) -> go.Figure:
    """Draw images with their class names, nine to a row; one channel in gray, three in colour.

    :param images: uint8 (N, H, W, C); usually 36.
    :param labels: (N,) class indices.
    :param scale: the value of white.
    """
    names = [classes[label] for label in labels]
    return image_grid(
        "Training samples",
        images,
        scale=scale,
        columns=9,
        labels=[[shorten_label(name, 10)] for name in names],
        hover=[shorten_label(name, 60) for name in names],
        caption=(
            "Images of the training set with their class names, one of each class in turn. Look for wrong labels and "
            "for images that you cannot recognize yourself."
        ),
        alt=f"{pluralize(len(images), 'training image')} with class names: {', '.join(dict.fromkeys(names))}.",
    )


def misclassified_figure(
    errors: Sequence[Misclassification],
    images: npt.NDArray[np.uint8],
    classes: Sequence[str],
    *,
    scale: float = 255.0,
    names: Sequence[str] | None = None,
) -> go.Figure:
    """Draw misclassified images in the given order; without any, a sentence in place of images.

    :param errors: as ``most_confident_errors`` returns them.
    :param images: uint8 (len(errors), H, W, C), the images of these errors.
    :param names: of the images, by default their numbers in the split.
    """
    if not errors:
        return text_figure("Misclassified images", NO_ERRORS_TEXT)
    labels, details = zip(*(_describe_error(error, classes) for error in errors), strict=True)
    names = names or [f"image {error.index}" for error in errors]
    first = errors[0]
    return image_grid(
        "Misclassified: true → predicted",
        images,
        scale=scale,
        columns=6,
        labels=list(labels),
        hover=[f"{shorten_label(name, 60)}<br>{text}" for name, text in zip(names, details, strict=True)],
        caption=(
            "Misclassified images with their true class and, after the arrow, the predicted class, each with its "
            "probability; the highest confidence first. High confidence on a clear image may mean a wrong label."
        ),
        alt=(
            f"{pluralize(len(errors), 'misclassified image')}. The highest confidence: {classes[first.true]} predicted "
            f"as {classes[first.predicted]} with probability {first.predicted_probability:.2f}."
        ),
    )


def _describe_error(error: Misclassification, classes: Sequence[str]) -> tuple[list[str], str]:
    """Return the lines below the image of an error, and the text under the pointer."""
    sides = (
        ("true", classes[error.true], error.true_probability),
        ("predicted", classes[error.predicted], error.predicted_probability),
    )
    true, predicted = (f"{shorten_label(name, 10)} {p:.2f}" for _, name, p in sides)
    details = (f"{side}: {shorten_label(name, 60)} ({p:.4f})" for side, name, p in sides)
    return [true, f"→ {predicted}"], "<br>".join(details)


def image_grid(
    title: str,
    images: npt.NDArray[np.uint8],
    *,
    scale: float,
    columns: int,
    labels: list[list[str]],
    hover: list[str],
    caption: str,
    alt: str,
) -> go.Figure:
    """Draw images in rows, below each its lines of ``labels``; the same number of lines for all."""
    tiles = np.stack([_shrink(image, scale) for image in images])
    height, width = tiles.shape[1:3]
    min_width = max(34, 6 + text_width([line for lines in labels for line in lines], LABEL_SIZE) * 0.92)
    label_height = -(-int((len(labels[0]) * (LABEL_SIZE + 3) + 4) * width) // int(min_width))
    grid = TileGrid(len(tiles), height, width, columns, gap=max(1, width // 16), label_height=label_height)
    tile = min_width, max(540 / columns, 1.15 * min_width)
    figure = tile_grid_figure(
        title, grid, labels=labels, hover=hover, tile=tile, below=8, left=8, caption=caption, alt=alt
    )
    if tiles.shape[3] == 3:
        opaque = np.concatenate([tiles, np.full((*tiles.shape[:3], 1), 255, np.uint8)], axis=3)
        figure.add_image(source=_png(grid.paste(opaque, 0)), hoverinfo="skip")
    else:
        canvas = grid.paste(tiles.mean(axis=3, dtype=np.float32), np.nan)
        figure.add_heatmap(z=canvas, colorscale="gray", zmin=0, zmax=255, showscale=False, hoverinfo="skip")
    return figure


def _shrink(image: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """Return uint8 (H, W, C) in [0, scale] as uint8 (h, w, C) in [0, 255], its longer side at most MAX_PIXELS."""
    bright = np.rint(np.clip(image / scale, 0, 1) * 255).astype(np.uint8)
    factor = MAX_PIXELS / max(image.shape[:2])
    if factor >= 1:
        return bright
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    channels = [
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX)) for plane in np.moveaxis(bright, 2, 0)
    ]
    return np.stack(channels, axis=2)


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    """Return RGBA (H, W, 4) as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
