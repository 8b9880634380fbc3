"""Bundles: golden references as folders of files. Nothing in such a folder is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import Normalization
from glassnet.errors import ConfigError, DataError, as_path, choice_error
from glassnet.nn.checks import check_int
from glassnet.recipe import Recipe
from glassnet.verify.golden.bundle_files import load_tensor
from glassnet.verify.golden.evaluation import PassInputs
from glassnet.verify.golden.listing import mask_name
from glassnet.verify.golden.manifest import Manifest
from glassnet.verify.golden.operations import Operation

Array = NDArray[Any]


@dataclass(frozen=True)
class Bundle:
    """A golden reference that was written to a folder.

    ``spec`` and ``recipe`` are None where the bundle is of a single operation.
    """

    folder: Path
    manifest: Mapping[str, Any]
    spec: ResNetSpec | None
    recipe: Recipe | None
    operations: tuple[Operation, ...]
    entries: Mapping[str, Mapping[str, Any]]  # those of the manifest's tensors, by name

    @classmethod
    def read(cls, folder: str | PathLike[str]) -> Bundle:
        """Read the manifest of a bundle; its tensors are read when they are asked for.

        :raises DataError: if the folder is no whole bundle, or its manifest says what cannot be.
        """
        path = as_path("A bundle", folder)
        read = Manifest(path)
        return cls(path, read.content, read.spec, read.recipe, read.operations, read.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tensors in the order of the dataflow."""
        return tuple(self.entries)

    @property
    def dtype(self) -> str:
        """The type of the numbers: float64 or float32."""
        return str(self.manifest["dtype"])

    @property
    def steps(self) -> int:
        """The number of steps."""
        return int(self.manifest["steps"])

    @property
    def normalization(self) -> Normalization:
        """The normalization that made the images of the pixels."""
        given = self.manifest["normalization"]
        return Normalization(given["scale"], tuple(given["mean"]), tuple(given["std"]))

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def tensor(self, name: str) -> Array:
        """Return a tensor, checked, as a new array.

        :raises DataError: if the bundle has no tensor of that name, or its file is missing or another than was written.
        """
        if name not in self.entries:
            raise choice_error(f"A tensor of {self.folder}", self.entries, name, DataError)
        return load_tensor(self.folder, name, self.entries[name])

    def tensors(self, prefix: str) -> dict[str, Array]:
        """Return the tensors below a name, such as ``inputs/state``, by the rest of their names."""
        start = f"{prefix}/"
        return {name.removeprefix(start): self.tensor(name) for name in self.entries if name.startswith(start)}

    def pass_inputs(self, of: str | int) -> PassInputs:
        """Return what a pass starts from.

        :param of: "eval", "train", or the number of a step.
        :raises ConfigError: if the bundle has no such step.
        """
        if self.spec is None:
            return self._operation_inputs(training=of != "eval")
        step = {"eval": 0, "train": 1}[of] if of in ("eval", "train") else check_int("step", of, minimum=1)
        if of != "train" and step > self.steps:
            raise ConfigError(f"step must be at most {self.steps}, the steps of {self.folder}. Got {step}.")
        images, labels = self.tensor("inputs/images"), self.tensor("inputs/labels")
        if not (labels.min() >= 0 and labels.max() < self.spec.classes):
            raise DataError(f"The labels of {self.folder} must be from 0 to {self.spec.classes - 1}. Got {labels}.")
        state = self.tensors("inputs/state" if step < 2 else f"steps/{step - 1}/state")
        if step == 0:
            return PassInputs(images, labels, state, training=False, normalization=self.normalization)
        weights = self.tensor("inputs/class_weights") if "inputs/class_weights" in self.entries else None
        smoothing = self.recipe.label_smoothing if self.recipe else 0.0
        masks = self.masks(step)
        return PassInputs(images, labels, state, True, masks, smoothing, weights, normalization=self.normalization)

    def _operation_inputs(self, training: bool) -> PassInputs:
        """Return what a single operation starts from."""
        (operation,) = self.operations
        x, *added = (self.tensor(f"inputs/{name}") for name in operation.inputs)
        return PassInputs(
            x,
            self.tensor("inputs/labels") if "inputs/labels" in self.entries else np.zeros(0, np.int64),
            self.tensors("inputs/state"),
            training,
            self.masks(1),
            operation.attributes.get("label_smoothing", 0.0),
            self.tensor("inputs/class_weights") if "inputs/class_weights" in self.entries else None,
            dict(zip(operation.inputs[1:], added, strict=True)),
            {operation.name: self.tensor("inputs/output_gradient")},
        )

    def masks(self, step: int) -> dict[str, Array]:
        """Return the factors of the dropout layers in a step, by name."""
        names = {o.name: mask_name(o.name, step) for o in self.operations if o.kind == "Dropout"}
        return {layer: self.tensor(name) for layer, name in names.items() if name in self.entries}
