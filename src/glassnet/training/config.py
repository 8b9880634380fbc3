"""The content of ``config.json``: everything that a run was made of, and the settings that may differ on resume."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.compute import Compute
from glassnet.data import Dataset, Likeness, Normalization, Split
from glassnet.data.images.image_form import Fit
from glassnet.engines import Network
from glassnet.errors import ConfigError, RunError
from glassnet.formats import pluralize
from glassnet.recipe import Recipe
from glassnet.settings import REQUIRED, Settings, invalid, setting
from glassnet.training.run_files import FORMAT

# What may differ when a run is resumed, for it does not change the training: settings of the computation, words about
# the data, and what follows from the data but for rounding.
CHANGEABLE_ON_RESUME = {*Compute.types(), "versions", "data.likeness", "data.notes", "data.unreadable_files"}
CHANGEABLE_ON_RESUME -= {"dtype"}

_MAX_LIKENESS_IMAGES = 10_000  # more hardly change it, and it needs them all in memory as float64


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """The data of a run: where images come from, how pixels become numbers, and what the outputs mean."""

    title: ClassVar[str] = "data"

    source: str = setting(REQUIRED, "Name or path of the data; arrays and imported are sources that cannot be loaded.")
    image_size: int | tuple[int, int] | None = setting(None, "Height and width of the images, in pixels.", minimum=1)
    channels: int | None = setting(None, "Number of channels that the images were converted to.", minimum=1)
    samples: int | None = setting(None, "Number of training images, where not all were used.", minimum=1)
    test_samples: int | Literal["all"] = setting("all", "Largest number of test images.", minimum=1)
    seed: int | None = setting(None, "Seed of the samples and the split.", minimum=0)
    test_size: float | None = setting(None, "Fraction of the images that was held out for testing.", minimum=0)
    max_unreadable: float | None = setting(None, "Largest fraction of unreadable images.", minimum=0)
    fit: Fit = setting("crop", "How images of another aspect ratio were brought to the size.")
    value_range: tuple[float, float] | None = setting(None, "Values of 16-bit and float images that became 0 and 255.")
    max_pixels: int | None = setting(None, "Largest width times height of an image file.", minimum=1)
    ink: bool = setting(False, "Whether image files are brought to the form of the built-in digits.")
    likeness: Likeness | None = setting(None, "Measure of the distance of image files from the training images.")
    weights: str | None = setting(None, "File that the weights were imported from.")
    fingerprint: str | None = setting(None, "Digest of images, labels and classes.")
    classes: tuple[str, ...] = setting(REQUIRED, "Class names in the order of the outputs.")
    scale: float = setting(REQUIRED, "Pixel value that stands for 1.", above=0)
    mean: tuple[float, ...] = setting(REQUIRED, "Mean of each channel, in units of the scale.")
    std: tuple[float, ...] = setting(REQUIRED, "Standard deviation of each channel, in units of the scale.", above=0)
    train: int = setting(0, "Number of training images.", minimum=0)
    validation: int = setting(0, "Number of images that selected the best epoch.", minimum=0)
    test: int = setting(0, "Number of test images.", minimum=0)
    test_name: str = setting("test", "Name of the test set in the source of the data.")
    notes: tuple[str, ...] = setting((), "What the data's source says about its images.")
    unreadable_files: tuple[str, ...] = setting((), "Images that could not be read, with the reason.")

    def check(self) -> None:
        """Check that classes have different names.

        :raises ConfigError: if two have the same.
        """
        if len(set(self.classes)) < len(self.classes):
            raise invalid("classes", "different names", list(self.classes))

    def load_arguments(self) -> dict[str, Any]:
        """Return the arguments of ``load_data`` that load the images again."""
        values = {name: getattr(self, name) for name in _LOAD_ARGUMENTS}
        return {name: value for name, value in values.items() if value is not None or name in ("channels", "samples")}


_LOAD_ARGUMENTS = (
    *("source", "image_size", "channels", "samples", "test_samples"),
    *("seed", "test_size", "max_unreadable", "fit", "value_range", "max_pixels", "ink"),
)


@dataclass(frozen=True, kw_only=True)
class RunConfig(Compute):
    """The configuration of a run: how it was computed (the fields of ``Compute``) and everything else it depends on."""

    title: ClassVar[str] = "run"

    format: int = setting(REQUIRED, "Number of the format of the run folder.")
    seed: int = setting(REQUIRED, "Seed of initial weights, batches, augmentation and dropout.", minimum=0)
    spec: ResNetSpec = setting(REQUIRED, "Model.")
    recipe: Recipe | None = setting(REQUIRED, "Recipe; null for imported weights.")
    evaluate_train: bool = setting(False, "Whether the training images were evaluated after each epoch.")
    init: dict[str, Any] | None = setting(None, "Source of the initial weights, and their digest.")
    freeze: Literal["backbone"] | None = setting(None, "Layers that kept their initial weights.")
    data: DataConfig = setting(REQUIRED, "Data.")
    versions: dict[str, str] = setting(REQUIRED, "Versions of the libraries and the platform.")

    def check(self) -> None:
        """Check the data's settings against the model's.

        :raises ConfigError: if a number of classes, channels or images does not fit.
        """
        channels = self.spec.in_channels
        if len(self.data.classes) != self.spec.classes:
            raise invalid("data.classes", f"{self.spec.classes} names, one for each output", list(self.data.classes))
        for name, values in (("mean", self.data.mean), ("std", self.data.std)):
            if len(values) != channels:
                raise invalid(
                    f"data.{name}", f"a list of {pluralize(channels, 'number')}, one for each channel", list(values)
                )
        if self.init is not None and not isinstance(self.init.get("from"), str):
            raise invalid("init", "null or an object with a path as its from", self.init)
        for name in ("train", "test"):
            if self.recipe is not None and getattr(self.data, name) < 1:
                raise invalid(f"data.{name}", "an integer of at least 1", getattr(self.data, name))

    @classmethod
    def parse(cls, values: Any, path: Path) -> RunConfig:
        """Return the configuration that a ``config.json`` holds, checked: it may be edited by hand.

        :raises RunError: if no run writes this; the error names the file, the first wrong setting and what is allowed.
        """
        try:
            return cls.from_dict(values, f"{path}: ")
        except ConfigError as error:
            raise RunError(str(error)) from None


def run_config(network: Network, seed: int, data: DataConfig, **settings: Any) -> dict[str, Any]:
    """Return the configuration of a run as JSON holds it.

    :param settings: further fields of ``RunConfig``, such as ``recipe``.
    """
    config = RunConfig(
        **network.compute.to_dict(),
        format=FORMAT,
        seed=seed,
        spec=network.spec,
        data=data,
        versions={
            "glassnet": version("glassnet"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            **({"torch": version("torch")} if network.engine == "torch" else {}),
            "platform": platform.platform(),
        },
        **settings,
    )
    return config.to_dict()


def data_config(
    data: Dataset, normalization: Normalization, validation: Split | None = None, ink: bool | None = None
) -> DataConfig:
    """Return the configuration of a run's data.

    :param validation: the images that select an epoch.
    :param ink: False to switch off what the data's source has.
    """
    has_ink = bool(data.source.get("ink")) and ink is not False
    return DataConfig(
        **{**data.source, "ink": has_ink},
        likeness=Likeness.measure(_likeness_sample(data.train), data.scale) if has_ink else None,
        fingerprint=data.fingerprint,
        classes=tuple(data.classes),
        scale=normalization.scale,
        mean=normalization.mean,
        std=normalization.std,
        train=len(data.train),
        validation=0 if validation is None else len(validation),
        test=len(data.test),
        test_name=data.test_name,
        notes=tuple(data.notes),
        unreadable_files=tuple(data.unreadable_files),
    )


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested objects by their dotted names: ``{"recipe.lr": 0.1, ...}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _likeness_sample(split: Split) -> NDArray[np.uint8]:
    """Return the images of a split, of many those at equal distances."""
    count = min(len(split), _MAX_LIKENESS_IMAGES)
    return split.pixels(np.linspace(0, len(split) - 1, count).round().astype(np.int64))
