"""All that is known about a run, or about images before any run; what is costly is made when first asked for."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import Dataset, Normalization
from glassnet.doctor.image_stats import Copies, Neighbours, copies, neighbours
from glassnet.engines import Network, build
from glassnet.errors import DataError, GlassnetError, RunError
from glassnet.recipe import Recipe
from glassnet.training.config import parse_config
from glassnet.training.initial_weights import InitialWeights
from glassnet.training.model import load, load_run_dataset
from glassnet.training.run_folder import Record, RunFolder

# What a diagnosis may need, and what is said where it is not there.
PARTS = {
    "run": "there is no run, only images",
    "recipe": "the run has no recipe: its weights were trained elsewhere",
    "history": "no epoch of the run was finished",
    "weights": "the run has no weights that can be read",
    "data": "the images are not there",
}
_VALUES = 4_000_000  # of one layer's output: how many images of a network's size are looked at together


class Evidence:
    """A run folder, its images, or both.

    ``config``, ``recipe``, ``spec``, ``history``, ``failure`` (what ended the training, where something did) and
    ``dataset`` are None or empty where they are not there; ``missing`` says of each missing part why.
    """

    def __init__(self, path: Path | None = None, dataset: Dataset | None = None) -> None:
        """:raises RunError: a folder that is missing, holds no run, or a damaged one.
        :raises DataError: images that do not fit the run's network.
        """
        self.path, self.dataset = path, dataset
        self.missing: dict[str, str] = {}
        self.config: dict[str, Any] = {}
        self.history: list[Record] = []
        self.failure: Record | None = None
        self.spec: ResNetSpec | None = None
        self.recipe: Recipe | None = None
        self.normalization: Normalization | None = None if dataset is None else dataset.normalization
        self.network: Network | None = None
        if path is None:
            self.missing = {part: PARTS["run"] for part in PARTS if part != "data"}
        else:
            self._read(RunFolder(path))
        if self.dataset is not None and self.spec is not None:
            self._check_fit(self.dataset, self.spec)

    def _read(self, folder: RunFolder) -> None:
        config = self.config = folder.read_config()
        self.history, self.failure = folder.read_records(), folder.read_failure()
        self.spec, self.recipe = parse_config(config, folder.config_path)
        data = config["data"]
        other = self.dataset is not None and self.dataset.fingerprint != data["fingerprint"]
        scale = self.dataset.scale if self.dataset is not None and other else data["scale"]
        self.normalization = Normalization(scale, tuple(data["mean"]), tuple(data["std"]))
        if self.recipe is None:
            self.missing["recipe"] = PARTS["recipe"]
        if not self.history:
            self.missing["history"] = PARTS["history"] if self.recipe else PARTS["recipe"]
        if folder.last_path.is_file():
            self.network = load(folder.path, "last").network
        else:
            self.missing["weights"] = f"{folder.path} has no {folder.last_path.name}"
        if self.dataset is None:
            self._load_again(folder.path)

    def _load_again(self, path: Path) -> None:
        try:
            self.dataset = load_run_dataset(path, self.config)
        except GlassnetError as error:
            self.missing["data"] = str(error)

    def _check_fit(self, dataset: Dataset, spec: ResNetSpec) -> None:
        for name, own, theirs in (
            ("classes", self.config["data"]["classes"], dataset.classes),
            ("channels", spec.in_channels, dataset.channels),
        ):
            if own != theirs:
                raise DataError(f"The {name} of {self.path} are {own}, of the data {theirs}; they must be equal.")
        if spec.head == "flatten" and spec.size != dataset.image_size:
            raise DataError(f"{self.path} takes images of {spec.size}, the data has {dataset.image_size}.")

    def lacks(self, needs: tuple[str, ...]) -> str:
        """Why something of these parts is missing; nothing where all are there."""
        return next((self.missing[part] for part in needs if part in self.missing), "")

    @property
    def chance_loss(self) -> float:
        """ln of the number of classes: the cross-entropy, in nats, of a network that says nothing."""
        assert self.spec is not None
        return math.log(self.spec.classes)

    @property
    def loss(self) -> float:
        """The last epoch's training loss as a share of ``chance_loss``, less what label smoothing leaves at least;
        1 is as good as guessing. Infinite where the training failed or no epoch ended."""
        if self.failure is not None or not self.history or self.history[-1].get("loss") is None:
            return math.inf
        return self.share_of_chance(self.history[-1]["loss"])

    def share_of_chance(self, loss: float) -> float:
        assert self.recipe is not None
        least = least_loss(self.recipe.label_smoothing, len(self.config["data"]["classes"]))
        return (loss - least) / (self.chance_loss - least)

    @cached_property
    def copies(self) -> Copies:
        """Which images stand in the data more than once."""
        assert self.dataset is not None
        return copies(self.dataset)

    @cached_property
    def neighbours(self) -> Neighbours:
        """What the images' neighbours say of their labels."""
        assert self.dataset is not None
        return neighbours(self.dataset)

    @cached_property
    def initial(self) -> Network:
        """The network that the training began with, on the NumPy engine.

        :raises GlassnetError: it began with weights that are no longer where they were.
        """
        assert self.spec is not None
        network = build(self.spec, "numpy", self.config["seed"], threads=1)
        if described := self.config.get("init"):
            initial_weights = InitialWeights.load(described["from"])
            if initial_weights.described != described:
                raise RunError(f"The weights in {described['from']} are no longer those that the training began with.")
            initial_weights.lay(network)
        return network

    def batch(self, most: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Up to ``most`` training images as the network reads them, float32 (N, C, H, W), and their labels; fewer of
        large networks. The same ones every time, spread over the split."""
        assert self.dataset is not None
        assert self.normalization is not None
        height, width = self.dataset.image_size
        fits = _VALUES // (height * width * (self.spec.width if self.spec else 1))
        split, count = self.dataset.train, max(2, min(most, fits, len(self.dataset.train)))
        few = split.take(np.random.default_rng(0).permutation(len(split))[:count])
        return self.normalization.apply(few.images, np.float32), few.labels


def least_loss(smoothing: float, classes: int) -> float:
    """The cross-entropy, in nats, of a perfect answer where labels are smoothed: the entropy of the target."""
    if not smoothing:
        return 0.0
    other = smoothing / classes
    own = 1 - smoothing + other
    return -own * math.log(own) - (classes - 1) * other * math.log(other)


def run_image_size(path: Path) -> Any:
    """The size of the images that a run's network takes.

    :raises RunError: a folder that holds no run.
    """
    folder = RunFolder(path)
    return parse_config(folder.read_config(), folder.config_path)[0].image_size
