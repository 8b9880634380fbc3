"""What a training starts from, where it does not start from nothing."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Self

from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import Dataset, Normalization
from glassnet.engines import Network
from glassnet.errors import ConfigError, as_path
from glassnet.training.model import load
from glassnet.weights import load_weights


@dataclass(frozen=True)
class InitialWeights:
    """Weights to start from, without their head; empty, it changes nothing. A file knows no more than its weights,
    a run also its model and how its images were normalized."""

    body: dict[str, NDArray[Any]] = field(default_factory=dict)
    spec: ResNetSpec | None = None
    normalization: Normalization | None = None
    described: dict[str, Any] | None = None  # for config.json: where from, and a digest of the weights

    @classmethod
    def load(cls, source: str | PathLike[str]) -> Self:
        """From a run folder, or from a file that ``load_weights`` reads.

        :raises ConfigError: a path that does not exist.
        :raises GlassnetError: whatever ``load`` and ``load_weights`` have to object.
        """
        path = as_path("init", source)
        if not path.exists():
            raise ConfigError(
                f"init is {str(path)!r}, which does not exist; allowed is a run folder or a weights file."
            )
        if path.is_dir():
            model = load(path)
            state, spec, normalization = model.network.state_dict(), model.network.spec, model.normalization
        else:
            state, spec, normalization = load_weights(path), None, None
        body = {key: array for key, array in state.items() if not key.startswith("fc.")}
        digest = hashlib.sha256()
        for key, array in sorted(body.items()):
            digest.update(key.encode() + array.tobytes())
        return cls(body, spec, normalization, {"from": str(path.resolve()), "sha256": digest.hexdigest()})

    def model(self, asked: str | ResNetSpec | None, classes: int) -> str | ResNetSpec | None:
        """The model to train: the run's with as many classes as the data has, or else what was asked for.

        :raises ConfigError: another model was asked for than the run's.
        """
        if self.spec is None:
            return asked
        if asked is not None and asked != self.spec.preset:
            raise ConfigError(f"The run that init names holds a {self.spec.preset}. Leave model out. Got {asked!r}.")
        return self.spec.replace(classes=classes)

    def lay(self, network: Network) -> None:
        """Give a network these weights; its head keeps its own."""
        head = {key: array for key, array in network.state_dict().items() if key.startswith("fc.")}
        network.load_state_dict({**self.body, **head})

    def normalization_for(self, data: Dataset) -> Normalization:
        """The run's mean and std, which its weights expect, in the data's scale; or else the data's own."""
        if self.normalization is None:
            return data.normalization
        return dataclasses.replace(self.normalization, scale=data.scale)
