"""Initial weights for fine-tuning, read from a run folder or a weights file."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Self

from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.architecture import spec as get_spec
from glassnet.data import Dataset, Normalization
from glassnet.data.images.image_form import Fit
from glassnet.engines import Network
from glassnet.errors import ConfigError, as_path
from glassnet.nn.module import state_dict_faults
from glassnet.recognition import describe_spec, field_text, recognize_state, state_shapes
from glassnet.training.config import RunConfig
from glassnet.training.image_table import ImageTable
from glassnet.training.model import load
from glassnet.training.run_files import images_of_weights
from glassnet.weights import load_weights

# The fields that decide about keys and shapes of the weights of a backbone.
_FIXED = ("in_channels", "width", "blocks", "block", "stem", "norm", "preactivation", "shortcut", "pool")


@dataclass(frozen=True)
class InitialWeights:
    """The initial weights of a backbone; without any, a network keeps its own.

    A run also has the form of its images and their normalization; a weights file has neither, and its model is
    recognized. ``images`` are those of the run, also where its weights file is given.
    """

    backbone: dict[str, NDArray[Any]] = field(default_factory=dict)
    spec: ResNetSpec | None = None
    normalization: Normalization | None = None
    fit: Fit = "crop"
    value_range: tuple[float, float] | None = None
    images: ImageTable = field(default_factory=ImageTable)
    metadata: dict[str, Any] | None = None  # entry in config.json: the path, and a digest of the weights
    remarks: tuple[str, ...] = ()  # lines of the log

    @classmethod
    def load(cls, source: str | PathLike[str]) -> Self:
        """Load the weights of a run folder, or of a file that ``load_weights`` reads.

        :raises ConfigError: if the path does not exist.
        :raises GlassnetError: if ``load`` or ``load_weights`` cannot read it, or no spec describes its network.
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
            remarks = [f"initial weights from {path.resolve()}, but for the last layer, which is new"]
        else:
            state, images = load_weights(path), images_of_weights(path)
            recognition = recognize_state(path, state, as_backbone=True)
            of_run = {"spec": recognition.spec}
            remarks = [
                f"initial weights, but for the last layer, which is new: {recognition}",
                f"{path} is a weights file without mean and std: those of the data are used. "
                "To set others, make a run of it with glassnet import.",
            ]
        backbone = {key: array for key, array in state.items() if not key.startswith("fc.")}
        digest = hashlib.sha256()
        for key, array in sorted(backbone.items()):
            digest.update(key.encode() + array.tobytes())
        metadata = {"from": str(path.resolve()), "sha256": digest.hexdigest()}
        return cls(backbone, images=images, metadata=metadata, remarks=tuple(remarks), **of_run)

    @classmethod
    def of_resumed(cls, stored: RunConfig, images: ImageTable) -> Self:
        """Return what a run that is resumed needs of the weights that it started from, which may be gone by now.

        :param images: the table of the run, which has those of the weights.
        """
        if stored.init is None:
            return cls()
        normalization = Normalization(stored.data.scale, stored.data.mean, stored.data.std)
        return cls(normalization=normalization, images=images.ancestors(), metadata=stored.init)

    def check_model(self, requested: str | ResNetSpec | None, fields: dict[str, Any]) -> None:
        """Check, before the data is loaded, that the requested model has the backbone of the weights.

        :param fields: fields of the spec that are requested.
        :raises ConfigError: if it is of another model; names it, or the fields that differ.
        """
        if self.spec is None:
            return
        spec = self.spec
        if requested is not None and self.normalization is not None:  # those of a run fix all of the model
            if requested != spec.preset:
                raise ConfigError(f"model must be {spec.preset}, that of init, or None. Got {requested!r}.")
        elif isinstance(requested, str):
            spec = get_spec(requested, in_channels=spec.in_channels)
        elif requested is not None:
            spec = requested
        self._check_backbone(spec.replace(**fields))

    def resolve_model(self, requested: str | ResNetSpec | None, data: Dataset) -> str | ResNetSpec | None:
        """Return the model to train: that of the weights for the data's classes and size, or else the requested one."""
        if self.spec is None or (requested is not None and self.normalization is None):
            return requested  # a file does not fix all of the model: check_model checks what it fixes
        return self.spec.replace(classes=len(data.classes), image_size=data.image_size)

    def apply_to(self, network: Network) -> None:
        """Copy the weights into a network; its head keeps its own.

        :raises ConfigError: if the network is of another model; names the fields that differ.
        """
        if self.spec is None:
            return
        self._check_backbone(network.spec)
        network.load_state_dict(network.state_dict() | self.backbone)

    def _check_backbone(self, spec: ResNetSpec) -> None:
        assert self.spec is not None
        expected = {key: shape for key, shape in state_shapes(spec).items() if not key.startswith("fc.")}
        if state_dict_faults(expected, {key: array.shape for key, array in self.backbone.items()}):
            changes = spec.differences(self.spec)
            received = (
                f"{name} {field_text(a)} instead of {field_text(b)}"
                for name, (a, b) in changes.items()
                if name in _FIXED
            )
            raise ConfigError(
                f"model must be {describe_spec(self.spec)}, that of init, or None. Got {', '.join(received)}."
            )

    def normalization_for(self, data: Dataset) -> Normalization:
        """Return the run's mean and std, which its weights expect, in the data's scale, or else the data's own."""
        if self.normalization is None:
            return data.normalization
        return dataclasses.replace(self.normalization, scale=data.scale)
