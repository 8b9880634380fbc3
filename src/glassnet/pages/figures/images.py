"""Images with their names below them: training samples, and mistakes."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from PIL import Image

from glassnet.measures.outcomes import Misclassification
from glassnet.pages.figures.tile_grid import TileGrid, tile_grid_figure
from glassnet.pages.theme import LABEL_SIZE, shorten_label, text_figure, text_width

MAX_PIXELS = 96  # of an image's longer side: more would only make the report heavy
NO_ERRORS_TEXT = "Every test image is named correctly: there is no mistake to show."


def sample_figure(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: Sequence[str], *, scale: float = 255.0
) -> go.Figure:
    """Images with their class names, nine to a row; one channel in gray, three in colour.

    :param images: uint8 (N, H, W, C); usually 36.
    :param labels: (N,) class numbers.
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
            "What the network learns from, one image of each class in turn. Could you name them all? An image that "
            "puzzles you, or that has the wrong name, puzzles the network too."
        ),
        alt=f"{len(images)} training images with their class names: {', '.join(dict.fromkeys(names))}.",
    )


def misclassified_figure(
    mistakes: Sequence[Misclassification],
    images: npt.NDArray[np.uint8],
    classes: Sequence[str],
    *,
    scale: float = 255.0,
) -> go.Figure:
    """Wrongly named images in the order given; without any, a sentence in place of images.

    :param mistakes: as ``most_confident_errors`` finds them.
    :param images: uint8 (len(mistakes), H, W, C), the images that they are about.
    """
    if not mistakes:
        return text_figure("Misclassified", NO_ERRORS_TEXT)
    labels, hover = [], []
    for mistake in mistakes:
        true, predicted = classes[mistake.true], classes[mistake.predicted]
        labels.append(
            [
                f"{shorten_label(true, 10)} {mistake.true_probability:.2f}",
                f"→ {shorten_label(predicted, 10)} {mistake.predicted_probability:.2f}",
            ]
        )
        hover.append(
            f"test image {mistake.index}<br>true: {shorten_label(true, 60)} ({mistake.true_probability:.4f})"
            f"<br>predicted: {shorten_label(predicted, 60)} ({mistake.predicted_probability:.4f})"
        )
    worst = mistakes[0]
    return image_grid(
        "Misclassified: true → predicted",
        images,
        scale=scale,
        columns=6,
        labels=labels,
        hover=hover,
        caption=(
            "The surest mistakes first. Below each image stands its true class and, after the arrow, the predicted "
            "one, each with the probability that the network gives it. A sure mistake on a clear image is worth a "
            "look: the label may be wrong."
        ),
        alt=(
            f"{len(mistakes)} wrongly named test images. The surest: {classes[worst.true]} taken for "
            f"{classes[worst.predicted]} with probability {worst.predicted_probability:.2f}."
        ),
    )


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
    """Images in rows, below each its lines of ``labels``; the same number of lines for all."""
    tiles = np.stack([_reduced(image, scale) for image in images])
    height, width = tiles.shape[1:3]
    lines = len(labels[0])
    least = max(34, 6 + text_width([line for label in labels for line in label], LABEL_SIZE) * 0.92)
    label_height = -(-int((lines * (LABEL_SIZE + 3) + 4) * width) // int(least))
    tiling = TileGrid(len(tiles), height, width, columns, gap=max(1, width // 16), label_height=label_height)
    figure = tile_grid_figure(
        title,
        tiling,
        labels=labels,
        hover=hover,
        tile=(least, max(540 / columns, 1.15 * least)),
        below=8,
        left=8,
        caption=caption,
        alt=alt,
    )
    if tiles.shape[3] == 3:
        opaque = np.concatenate([tiles, np.full((*tiles.shape[:3], 1), 255, np.uint8)], axis=3)
        figure.add_image(source=_png(tiling.paste(opaque, 0)), hoverinfo="skip")
    else:
        canvas = tiling.paste(tiles.mean(axis=3, dtype=np.float32), np.nan)
        figure.add_heatmap(z=canvas, colorscale="gray", zmin=0, zmax=255, showscale=False, hoverinfo="skip")
    return figure


def _reduced(image: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """uint8 (H, W, C) in [0, scale] -> uint8 (h, w, C) in [0, 255], its longer side at most MAX_PIXELS."""
    bright = np.rint(np.clip(image / scale, 0, 1) * 255).astype(np.uint8)
    share = MAX_PIXELS / max(image.shape[:2])
    if share >= 1:
        return bright
    size = (max(1, round(image.shape[1] * share)), max(1, round(image.shape[0] * share)))
    planes = [
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX)) for plane in np.moveaxis(bright, 2, 0)
    ]
    return np.stack(planes, axis=2)


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    """RGBA (H, W, 4) as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
