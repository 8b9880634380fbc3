"""Page of the augmentation study."""

from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from glassnet.formats import join_words, pluralize
from glassnet.pages.figures.images import image_grid
from glassnet.pages.page import Page, Section, Table
from glassnet.pages.text import format_shape
from glassnet.pages.theme import shorten_label
from glassnet.studies.augmentation.measure import AugmentationStudy


def build_page(study: AugmentationStudy) -> Page:
    """Return the study as a page."""
    key_figures = [
        ("Image size", format_shape(study.image_size)),
        ("Augmentation", study.settings),
        *([("Crops from", format_shape(study.crop_from))] if study.crop_from != study.image_size else []),
    ]
    how = (
        "The numbers of an image follow from the seed, the epoch and its index in the training images alone. So every "
        "engine, every order of the batches and any number of processes read the images that are shown here, and a "
        "resumed run goes on with the same ones."
    )
    return Page(
        f"Augmentation of {study.source}",
        key_figures,
        study.summary,
        [
            Section("What the network reads", [how, image_figure(study), _draw_table(study)]),
            Section("Input of the network", [_NORMALIZATION, _channel_table(study)]),
        ],
    )


_NORMALIZATION = (
    "The network reads (pixel / scale − mean) / standard deviation of each channel, measured on the training images "
    "before any augmentation. Black borders and changed colours move the mean of its input; images that are evaluated "
    "keep the numbers without augmentation."
)


_BELOW = {
    "crop": "how far the crop is moved",
    "resized crop": "height and width of the resized crop",
    "angle": "the angle in degrees counterclockwise",
    "shift": "the shift in pixels",
    "factors": "the factors of brightness, contrast and saturation",
}


def image_figure(study: AugmentationStudy) -> go.Figure:
    """Draw each image and its augmented ones in a row, with the numbers below."""
    tiles, labels, hover = [], [], []
    n_lines = max(len(_lines(draw)) for image in study.images for draw in image.draws)
    for image in study.images:
        title = shorten_label(image.label, 10)
        tiles.append(image.original)
        labels.append([title, "original", *[""] * (n_lines - 1)])
        hover.append(f"{shorten_label(image.title, 60)}, class {shorten_label(image.label, 60)}")
        for epoch, (pixels, draw) in enumerate(zip(image.augmented, image.draws, strict=True), start=1):
            lines = _lines(draw)
            tiles.append(pixels)
            labels.append([f"epoch {epoch}", *lines, *[""] * (n_lines - len(lines))])
            hover.append("<br>".join([f"epoch {epoch}", *(f"{name}: {text}" for name, text in _texts(draw).items())]))
    classes = join_words(list(dict.fromkeys(image.label for image in study.images))[:10])
    return image_grid(
        "Images before and after augmentation",
        np.stack(tiles),
        scale=study.scale,
        columns=study.n_epochs + 1,
        labels=labels,
        hover=hover,
        caption=(
            "Training images, the original first, then as the network reads them in the first epochs. "
            f"{_explain(study.images[0].draws[0])}Look for images whose class you no longer recognize: then the "
            "augmentation is too strong, or a mirrored image belongs to another class."
        ),
        alt=f"{pluralize(len(study.images), 'image')} of {classes}, each beside "
        f"{pluralize(study.n_epochs, 'augmented one')}.",
    )


def _lines(draw: dict[str, Any]) -> list[str]:
    """Return the numbers of a draw as short lines below the image, as ``_BELOW`` explains them."""
    texts: dict[str, Callable[[Any], str]] = {
        "crop": _arrows,
        "resized crop": lambda v: f"{v['height']}×{v['width']}",
        "angle": lambda v: f"{round(v):+d}°".replace("-", "−"),
        "shift": _arrows,
        "factors": lambda v: " ".join(f"{factor:.1f}" for _, factor in sorted(v.items())),
        "mirrored": lambda v: "mirrored" if v else "",
    }
    return [text(draw[name]) for name, text in texts.items() if name in draw]


def _explain(draw: dict[str, Any]) -> str:
    numbers = [text for name, text in _BELOW.items() if name in draw]
    return f"Below are {join_words(numbers)}. " if numbers else ""


def _arrows(move: dict[str, int]) -> str:
    down, right = move["down"], move["right"]
    return f"{'↑' if down < 0 else '↓'}{abs(down)} {'←' if right < 0 else '→'}{abs(right)}"


def _texts(draw: dict[str, Any]) -> dict[str, str]:
    """Return the numbers of a draw in words."""
    texts: dict[str, Callable[[Any], str]] = {
        "crop": lambda v: f"{v['down']} down, {v['right']} right",
        "resized crop": lambda v: f"{v['height']}×{v['width']} at row {v['top']}, column {v['left']}",
        "mirrored": lambda v: "yes" if v else "no",
        "angle": lambda v: f"{v:.1f}°",
        "shift": lambda v: f"{v['down']} down, {v['right']} right",
        "factors": lambda v: ", ".join(f"{kind} {factor:.2f}" for kind, factor in v.items()),
    }
    return {name: texts[name](value).replace("-", "−") for name, value in draw.items()}


def _draw_table(study: AugmentationStudy) -> Table:
    rows = [
        {"Image": image.title, "Class": image.label, "Epoch": epoch}
        | {name.capitalize(): text for name, text in _texts(draw).items()}
        for image in study.images
        for epoch, draw in enumerate(image.draws, start=1)
    ]
    return Table.from_records("All numbers drawn", rows, collapsed=True)


def _channel_table(study: AugmentationStudy) -> Table:
    rows = [
        {
            "Channel": row.channel,
            "Mean": round(row.pixel_mean, 4),
            "Standard deviation": round(row.pixel_std, 4),
            "Input mean": round(row.mean, 4) + 0.0,
            "Input deviation": round(row.std, 4),
            "Augmented mean": round(row.augmented_mean, 4),
            "Augmented deviation": round(row.augmented_std, 4),
        }
        for row in study.channels
    ]
    return Table.from_records("Normalization, and the input by channel without and with augmentation", rows)
