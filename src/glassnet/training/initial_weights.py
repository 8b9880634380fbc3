"""Initial weights for fine-tuning, read from a run folder or a weights file."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Self

from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import Dataset, Normalization
from glassnet.data.images.image_form import Fit
from glassnet.engines import Network
from glassnet.errors import ConfigError, as_path
from glassnet.training.config import RunConfig
from glassnet.training.image_table import ImageTable
from glassnet.training.model import load
from glassnet.training.run_files import images_of_weights
from glassnet.weights import load_weights


@dataclass(frozen=True)
class InitialWeights:
    """The initial weights of a backbone; without any, a network keeps its own.

    A run also has its model, the form of its images and their normalization; a weights file has none of these.
    ``images`` are those of the run, also where its weights file is given.
    """

    backbone: dict[str, NDArray[Any]] = field(default_factory=dict)
    spec: ResNetSpec | None = None
    normalization: Normalization | None = None
    fit: Fit = "crop"
    value_range: tuple[float, float] | None = None
    images: ImageTable = field(default_factory=ImageTable)
    metadata: dict[str, Any] | None = None  # entry in config.json: the path, and a digest of the weights

    @classmethod
    def load(cls, source: str | PathLike[str]) -> Self:
        """Load the weights of a run folder, or of a file that ``load_weights`` reads.

        :raises ConfigError: if the path does not exist.
        :raises GlassnetError: if ``load`` or ``load_weights`` cannot read it.
        """
        path = as_path("init", source)
        if not path.exists():
            raise ConfigError(f"init must be a run folder or a weights file. Got {str(path)!r}, which does not exist.")
        of_run: dict[str, Any] = {}
        if path.is_dir():
            model = load(path)
            state, images = model.network.state_dict(), model.images
            data = RunConfig.parse(model.config, path / "config.json").data
            of_run = {"spec": model.network.spec, "normalization": model.normalization}
            of_run |= {"fit": data.fit, "value_range": data.value_range}
        else:
            state, images = load_weights(path), images_of_weights(path)
        backbone = {key: array for key, array in state.items() if not key.startswith("fc.")}
        digest = hashlib.sha256()
        for key, array in sorted(backbone.items()):
            digest.update(key.encode() + array.tobytes())
        metadata = {"from": str(path.resolve()), "sha256": digest.hexdigest()}
        return cls(backbone, images=images, metadata=metadata, **of_run)

    def resolve_model(self, requested: str | ResNetSpec | None, classes: int) -> str | ResNetSpec | None:
        """Return the model to train: the run's with as many classes as the data has, or else the requested one.

        :raises ConfigError: if another model is requested than the run's.
        """
        if self.spec is None:
            return requested
        if requested is not None and requested != self.spec.preset:
            raise ConfigError(f"model must be {self.spec.preset}, that of init, or None. Got {requested!r}.")
        return self.spec.replace(classes=classes)

    def apply_to(self, network: Network) -> None:
        """Copy the weights into a network; its head keeps its own."""
        if not self.backbone:
            return
        head = {key: array for key, array in network.state_dict().items() if key.startswith("fc.")}
        network.load_state_dict({**self.backbone, **head})

    def normalization_for(self, data: Dataset) -> Normalization:
        """Return the run's mean and std, which its weights expect, in the data's scale, or else the data's own."""
        if self.normalization is None:
            return data.normalization
        return dataclasses.replace(self.normalization, scale=data.scale)
