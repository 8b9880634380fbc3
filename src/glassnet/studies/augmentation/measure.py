"""Augmented training images, as the epochs of a training read them, and the numbers that were drawn."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassnet.data import BatchLoader, Changes, Dataset
from glassnet.data.augmentation.changes import PADDING
from glassnet.data.augmentation.pillow_changes import ORDERS
from glassnet.errors import ConfigError
from glassnet.formats import pluralize
from glassnet.measures.outcomes import sample_indices
from glassnet.nn.checks import check_int
from glassnet.pages.text import format_shape
from glassnet.recipe import Recipe
from glassnet.studies.study import Study
from glassnet.training.epoch_batches import recipe_augmentation

FIELDS = ("augment", "rotate", "translate", "jitter", "seed")  # of the recipe
MAX_MEASURED = 512  # number of images whose draws and inputs are measured
_KINDS = ("brightness", "contrast", "saturation")


@dataclass(frozen=True)
class AugmentedImage:
    """A training image and what became of it in each epoch."""

    index: int  # in the training images
    label: str  # its class
    name: str | None  # of its file
    draws: tuple[dict[str, Any], ...]  # the numbers of epoch 1, 2, ...
    original: npt.NDArray[np.uint8] = field(repr=False)  # (H, W, C)
    augmented: npt.NDArray[np.uint8] = field(repr=False)  # (epochs, H, W, C)

    @property
    def title(self) -> str:
        """The name of its file, or its number."""
        return self.name or f"image {self.index}"


@dataclass(frozen=True)
class ChannelInput:
    """One channel of the images that the network reads, normalized: without and with augmentation."""

    channel: int
    pixel_mean: float  # from 0 to 1, of the normalization
    pixel_std: float
    mean: float
    std: float
    augmented_mean: float
    augmented_std: float


@dataclass(frozen=True, repr=False)
class AugmentationStudy(Study):
    """Images before and after their augmentation, and statistics of the draws."""

    source: str
    recipe: dict[str, Any]  # the settings of the augmentation
    image_size: tuple[int, int]
    crop_from: tuple[int, int]  # size of the images that resized crops are cut from
    scale: float
    n_train: int
    n_measured: int
    n_epochs: int
    mirrored: float | None  # fraction of the draws; None where the recipe mirrors nothing
    crop_area: tuple[float, float, float] | None  # smallest, mean and largest fraction of the image
    black: float | None  # mean fraction of the image that a padded crop, rotation or shift brings in
    channels: tuple[ChannelInput, ...]
    images: tuple[AugmentedImage, ...]

    @property
    def settings(self) -> str:
        """The settings of the augmentation as text: ``augment flip-crop, rotate 15``."""
        changing = {name: value for name, value in self.recipe.items() if name != "seed" and value not in ("none", 0)}
        texts = (f"{name} {value if isinstance(value, str) else f'{value:g}'}" for name, value in changing.items())
        return ", ".join(texts)

    @property
    def summary(self) -> list[str]:
        height, width = self.image_size
        sentences = [
            f"A training on {self.source} with {self.settings} and seed {self.recipe['seed']} reads each image of "
            f"{height}×{width} pixels changed anew in each epoch. Labels and all images that are evaluated stay as "
            "they are.",
            f"The {pluralize(len(self.images), 'image')} shown are drawn from its "
            f"{pluralize(self.n_train, 'training image')}, from each class in turn.",
        ]
        measured = f"in {pluralize(self.n_epochs, 'epoch')} of {pluralize(self.n_measured, 'training image')}"
        if self.mirrored is not None:
            sentences.append(f"{self.mirrored:.1%} of the images {measured} are mirrored.")
        if self.crop_area is not None:
            low, mean, high = self.crop_area
            before = f" from {format_shape(self.crop_from)} pixels" if self.crop_from != self.image_size else ""
            sentences.append(f"Resized crops{before} have {low:.0%} to {high:.0%} of the image, {mean:.0%} on average.")
        if self.black is not None:
            sentences.append(f"On average {self.black:.1%} of an image come from outside of it and are black.")
        first = self.channels[0]
        sentences.append(
            f"Normalized, the first channel has mean {_signed(first.mean)} and standard deviation {first.std:.2f} "
            f"without augmentation, and {_signed(first.augmented_mean)} and {first.augmented_std:.2f} with it."
        )
        return sentences


def run_study(data: Dataset, recipe: Recipe, *, n_images: int = 6, n_epochs: int = 3) -> AugmentationStudy:
    """Augment training images as the first epochs of a training do.

    The images are those of a training on all of the data's training images, also pixel for pixel.

    :param recipe: its augmentation and its seed are used.
    :param n_images: number of images to show, of each class in turn.
    :param n_epochs: number of epochs.
    :raises ConfigError: if the recipe changes no image, or a number is below 1.
    """
    n_images, n_epochs = check_int("n_images", n_images), check_int("n_epochs", n_epochs)
    augmentation = recipe_augmentation(recipe)
    if not augmentation:
        raise ConfigError(
            "augment must be other than none, or rotate, translate or jitter above 0. Got none of them. "
            "Set one, for example augment to flip-crop (--augment flip-crop)."
        )
    split, loader = data.train, BatchLoader(data.train, augmentation)
    source = split.larger if augmentation.has_resized_crops and split.larger else split
    shown = np.array(sample_indices(split.labels, n_images))
    count = min(len(split), MAX_MEASURED)
    measured = np.union1d(shown, np.linspace(0, len(split) - 1, count).round().astype(np.int64))
    epochs = range(1, n_epochs + 1)
    augmented = np.stack([next(loader.load([measured], epoch))[0] for epoch in epochs])  # (epochs, n, H, W, C)
    changes = [augmentation.draw(measured, epoch, split.shape[:2], source.shape[:2]) for epoch in epochs]
    places = np.searchsorted(measured, shown).tolist()
    return AugmentationStudy(
        Path(str(data.source["source"])).name,
        {name: getattr(recipe, name) for name in FIELDS},
        data.image_size,
        source.shape[:2],
        data.scale,
        len(split),
        len(measured),
        n_epochs,
        *_measure_draws(changes),
        _measure_inputs(data, split.pixels(measured), augmented),
        tuple(
            _augmented_image(data, index, [_numbers(drawn, place) for drawn in changes], augmented[:, place])
            for index, place in zip(shown.tolist(), places, strict=True)
        ),
    )


def _augmented_image(
    data: Dataset, index: int, draws: list[dict[str, Any]], augmented: npt.NDArray[np.uint8]
) -> AugmentedImage:
    split = data.train
    name = None if split.names is None else split.names[index]
    original = split.pixels([index])[0]
    return AugmentedImage(index, data.classes[split.labels[index]], name, tuple(draws), original, augmented)


def _measure_draws(
    changes: list[Changes],
) -> tuple[float | None, tuple[float, float, float] | None, float | None]:
    """Return the fraction of mirrored images, the areas of resized crops, and the mean fraction of black pixels."""
    flips = [drawn.flips for drawn in changes if drawn.flips is not None]
    boxes = [drawn.boxes for drawn in changes if drawn.boxes is not None]
    mirrored = float(np.mean(flips)) if flips else None
    area = None
    if boxes:
        areas = np.concatenate(boxes)[:, 2:].prod(axis=1) / np.prod(changes[0].crop_from)
        area = float(areas.min()), float(areas.mean()), float(areas.max())
    brings_black = any(drawn is not None for drawn in (changes[0].offsets, changes[0].angles, changes[0].shifts))
    white = np.full((changes[0].count, *changes[0].crop_from, 1), 255, np.uint8)
    black = None
    if brings_black:
        geometry = [Changes(**{**vars(drawn), "factors": None, "orders": None}) for drawn in changes]
        black = float(np.mean([1 - drawn.apply(white).mean() / 255 for drawn in geometry]))
    return mirrored, area, black


def _measure_inputs(
    data: Dataset, images: npt.NDArray[np.uint8], augmented: npt.NDArray[np.uint8]
) -> tuple[ChannelInput, ...]:
    before = data.normalization.apply(images, np.float32)
    after = data.normalization.apply(augmented.reshape(-1, *images.shape[1:]), np.float32)
    return tuple(
        ChannelInput(
            channel,
            data.normalization.mean[channel],
            data.normalization.std[channel],
            *(
                float(number)
                for values in (before[:, channel], after[:, channel])
                for number in (values.mean(dtype=np.float64), values.std(dtype=np.float64))
            ),
        )
        for channel in range(images.shape[3])
    )


def _numbers(changes: Changes, place: int) -> dict[str, Any]:
    """Return what was drawn for one image, by name."""
    drawn: dict[str, Any] = {}
    if changes.offsets is not None:
        down, right = (changes.offsets[place] - PADDING).tolist()
        drawn["crop"] = {"down": down, "right": right}
    if changes.boxes is not None:
        top, left, height, width = changes.boxes[place].tolist()
        drawn["resized crop"] = {"top": top, "left": left, "height": height, "width": width}
    if changes.flips is not None:
        drawn["mirrored"] = bool(changes.flips[place])
    if changes.angles is not None:
        drawn["angle"] = float(changes.angles[place])
    if changes.shifts is not None:
        down, right = changes.shifts[place].tolist()
        drawn["shift"] = {"down": down, "right": right}
    if changes.factors is not None and changes.orders is not None:
        factors = changes.factors[place].tolist()
        drawn["factors"] = {_KINDS[kind]: factors[kind] for kind in ORDERS[int(changes.orders[place])]}
    return drawn


def _signed(number: float) -> str:
    return f"{number + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "−")
