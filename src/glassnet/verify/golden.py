"""Golden numbers: all that a network computes on one batch, in the order in which it does, and the folder of them.

The folder is for those who write the network anew elsewhere: one ``.npy`` file for each tensor, C-ordered and
little-endian, and an ``index.json`` that lists them in the order of the dataflow. ``inputs/`` is where to start from.
The same kind of folder, of any of the tensors, brings their numbers back. Nothing in it is trusted.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import make_rng
from glassnet.engines import Network
from glassnet.errors import ConfigError, DataError, RunError, choice_error, did_you_mean
from glassnet.files import write_atomically
from glassnet.initialization import initial_state_dict
from glassnet.nn.checks import check_int
from glassnet.recipe import Recipe

Array = NDArray[Any]

FORMAT = 1
FLOOR = 1e-6  # of a gradient's scale: this share of the largest gradient, below which rounding is all there is
VALUES_PER_CHANNEL = 8  # at least, in each BatchNorm: over fewer, its division amplifies rounding
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}  # relative to a tensor's scale


@dataclass(frozen=True)
class Case:
    """What is computed: which network, on which batch, for how many steps. Weights and batch follow from ``seed``.

    :raises ConfigError: a count below its least value.
    """

    spec: ResNetSpec
    dtype: str = "float64"
    batch_size: int = 2
    steps: int = 2  # of the recipe's optimizer, all on the one batch
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("batch_size", self.batch_size)
        check_int("steps", self.steps, minimum=0)

    def state(self) -> dict[str, Array]:
        """Initial weights, and random numbers for all that starts as 0 or 1 and would hide what is done with it.

        The last BatchNorm of a block is scaled down, so that the block adds little to what its shortcut carries.
        Otherwise depth amplifies rounding: gradients of ResNet-152 agree to 3e-11 then, with it to 1e-13.
        """
        rng = make_rng(self.seed, "golden state")
        last = ".bn3.weight" if self.spec.block == "bottleneck" else ".bn2.weight"
        state = initial_state_dict(self.spec, self.seed)
        for key, array in state.items():
            if key.endswith("running_var"):
                array *= rng.uniform(0.5, 1.5, array.shape)
            elif array.ndim == 1:
                array += 0.1 * rng.standard_normal(array.shape)
            if key.endswith(last):
                array *= 0.1
        return state

    def batch(self) -> tuple[Array, Array]:
        """Random images (N, C, H, W), at most 64×64 where the network takes any size, and labels (N,)."""
        rng = make_rng(self.seed, "golden batch")
        size = self.spec.size if self.spec.head == "flatten" else [min(64, length) for length in self.spec.size]
        images = rng.standard_normal((self.batch_size, self.spec.in_channels, *size)).astype(self.dtype)
        return images, rng.integers(self.spec.classes, size=self.batch_size, dtype=np.int64)


@dataclass(frozen=True)
class Group:
    """Tensors of one kind, in the order of the dataflow."""

    name: str  # the beginning of their names
    meaning: str
    tensors: Mapping[str, Array]
    is_gradient: bool = False

    @cached_property
    def scales(self) -> dict[str, float]:
        """What differences are measured by: a tensor's largest number, of gradients at least FLOOR of the largest."""
        own = {key: largest(array) for key, array in self.tensors.items()}
        floor = FLOOR * max(own.values()) if self.is_gradient else 0.0
        return {key: max(value, floor) for key, value in own.items()}

    def tolerance(self, dtype: str) -> float:
        """How large a difference may be, in units of its scale; infinite where it is not judged.

        In float32 gradients, and what follows from them, are not: rounding flips a ReLU whose input is almost 0, which
        moves gradients by whole parts (ResNet-152: 3e-1). A tolerance as large as that would pass mistakes.
        """
        judged = dtype == "float64" or not (self.is_gradient or self.name.startswith("steps"))
        return TOLERANCES[dtype] if judged else inf


def largest(array: Array) -> float:
    """The largest absolute value; NaN where there is one."""
    return float(np.abs(array).max())


def compute(network: Network, case: Case) -> Iterator[Group]:
    """Let a network compute the case, group by group.

    :raises ConfigError: a batch so small that BatchNorm sees less than 8 values per channel.
    """
    images, labels = case.batch()
    network.load_state_dict(case.state())
    network.seed_dropout(make_rng(case.seed, "dropout"))
    yield Group("inputs", "of the batch", {"images": images, "labels": labels})
    yield Group("inputs/state", "parameter or buffer, at first", network.state_dict())
    activations = network.activations(images, network.tensor_names)
    yield Group("eval/activations", "output in evaluation mode", activations)

    traced = network.trace(images, labels)
    _check_values_per_channel(traced.activations, traced.buffers)
    yield Group("train/activations", "output in training mode", traced.activations)
    yield Group("train/buffers", "buffer after one pass in training mode", traced.buffers)
    yield Group("train", "mean cross-entropy", {"loss": np.array(traced.loss, case.dtype)})
    backwards = _reversed(traced.activation_gradients)
    yield Group("train/activation_gradients", "gradient of the loss wrt the output", backwards, is_gradient=True)
    backwards = _reversed(traced.gradients)
    yield Group("train/gradients", "gradient of the loss wrt the parameter", backwards, is_gradient=True)

    if case.steps:
        trainer = network.trainer(case.recipe)
        for _ in range(case.steps):
            trainer.step(images, labels)
        yield Group("steps/state", "parameter or buffer after the last step", network.state_dict())
        kept: dict[str, dict[str, Array]] = {}
        for path, array in trainer.state().items():
            key, _, name = path.rpartition("/")
            kept.setdefault(name, {})[key] = array
        for name, arrays in kept.items():
            yield Group(f"steps/{name}", f"the optimizer's {name} after the last step", arrays, is_gradient=True)


def _reversed(gradients: Mapping[str, Array]) -> dict[str, Array]:
    """Backwards, as gradients flow."""
    return dict(reversed(list(gradients.items())))


def _check_values_per_channel(activations: Mapping[str, Array], buffers: Mapping[str, Array]) -> None:
    for key, mean in buffers.items():
        layer, _, name = key.rpartition(".")
        if name == "running_mean" and (seen := activations[layer].size // mean.size) < VALUES_PER_CHANNEL:
            raise ConfigError(
                f"Each BatchNorm2d of a parity check needs at least {VALUES_PER_CHANNEL} values per channel, or it "
                f"amplifies rounding. Got {seen} at {layer}: use a larger batch_size or image_size."
            )


def written(groups: Iterable[Group], case: Case, folder: Path) -> Iterator[Group]:
    """Hand ``groups`` on, and write their tensors to a new folder; ``index.json`` last, so that no half is valid.

    :raises RunError: a folder that holds anything but what a killed dump left.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"A dump needs a new or empty folder. Got the file {folder}.")
    remains = {".index.json.tmp", "inputs", "eval", "train", "steps"}
    found = sorted(path.name for path in folder.iterdir() if path.name not in remains) if folder.exists() else []
    if found:
        raise RunError(f"A dump needs a new or empty folder. Got {folder}, which holds {found[0]}.")
    index: list[dict[str, Any]] = []
    for group in groups:
        for key, array in group.tensors.items():
            name = f"{group.name}/{key}"
            path = folder / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            little = np.array(array, array.dtype.newbyteorder("<"), order="C")
            np.save(path, little, allow_pickle=False)
            about = {"name": name, "file": f"{name}.npy", "shape": little.shape, "dtype": little.dtype.str}
            tolerance = group.tolerance(case.dtype)
            rule = {"scale": group.scales[key], "tolerance": tolerance if isfinite(tolerance) else None}
            index.append({**about, "what": f"{key}: {group.meaning}", **rule})
        yield group
    content = {
        "format": FORMAT,
        "rule": "a tensor agrees where max |difference| <= tolerance * scale; without a tolerance it is not judged",
        "case": asdict(case),
        "versions": {name: version(name) for name in ("glassnet", "numpy")} | {"python": platform.python_version()},
        "tensors": index,
    }
    write_atomically(folder / "index.json", json.dumps(content, indent=1).encode())


class GoldenFolder:
    """What another implementation computed: any of the tensors, each under its name in ``index.json``.

    The index must have ``format`` and ``tensors``, a list of objects with ``name`` and ``file``. Where it has ``case``,
    whatever that says must be so in this check too.

    :raises DataError: an index that is missing, broken or of another case, or a file outside the folder.
    """

    def __init__(self, folder: Path, case: Case) -> None:
        self.folder = folder
        self.dtype = np.dtype(case.dtype)
        index = self._read_index()
        own = _flat(json.loads(json.dumps(asdict(case))))
        for name, value in _flat(index.get("case", {})).items():
            if name not in own:
                raise choice_error(f"A field of the case in {folder / 'index.json'}", own, name, DataError)
            if own[name] != value:
                raise DataError(f"{folder} was computed with {name} {value!r}. This check has {own[name]!r}.")
        self.paths: dict[str, Path] = {}
        for entry in index["tensors"]:
            self._add(entry)
        if not self.paths:
            raise DataError(f"{folder / 'index.json'} lists no tensors.")

    def _read_index(self) -> dict[str, Any]:
        path = self.folder / "index.json"
        if not path.is_file():
            raise DataError(f"There is no file {path}; a folder of golden numbers needs one.")
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not JSON: {error}.") from None
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            found = index.get("format") if isinstance(index, dict) else index
            raise DataError(f"{path} must be a JSON object of format {FORMAT}. Got {str(found)[:80]!r}.")
        if not isinstance(index.get("tensors"), list) or not isinstance(index.get("case", {}), dict):
            raise DataError(f"{path} must have 'tensors', a list, and may have 'case', an object.")
        return index

    def _add(self, entry: Any) -> None:
        index = self.folder / "index.json"
        name, file = (entry.get("name"), entry.get("file")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(file, str):
            raise DataError(f"A tensor in {index} must have a name and a file. Got {str(entry)[:80]!r}.")
        if name in self.paths:
            raise DataError(f"{index} lists {name!r} twice.")
        try:
            path = (self.folder / file).resolve()
            is_file = path.is_file()
        except (ValueError, OSError, RuntimeError):  # a null byte, a name too long, links in a circle
            path, is_file = self.folder, False
        if is_file and not path.is_relative_to(self.folder.resolve()):
            raise DataError(f"The file of {name} in {index} must lie in that folder. Got {file!r}.")
        if not is_file:
            raise DataError(f"The file {file!r} of {name} in {index} is missing.")
        self.paths[name] = path

    def take(self, group: Group) -> dict[str, Array]:
        """The folder's arrays for the tensors of a group, in native byte order.

        :raises DataError: a file that is no plain ``.npy`` file, or has another shape or dtype than its tensor.
        """
        names = {key: f"{group.name}/{key}" for key in group.tensors}
        return {
            key: self._load(self.paths.pop(name), name, group.tensors[key])
            for key, name in names.items()
            if name in self.paths
        }

    def _load(self, path: Path, name: str, ours: Array) -> Array:
        try:
            # Mapped, not read: a header may claim any size, and pickled objects are refused.
            mapped = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # a header is parsed as Python, and fails in as many ways
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(f"{path} is not a whole .npy file of numbers: {reason}.") from None
        if mapped.shape != ours.shape:
            raise DataError(f"{name} has shape {ours.shape}. Got {mapped.shape} in {path}.")
        if mapped.dtype.newbyteorder("=") != ours.dtype and not (mapped.dtype.kind in "iu" and ours.dtype.kind in "iu"):
            raise DataError(f"{name} has dtype {ours.dtype}. Got {mapped.dtype} in {path}.")
        return np.array(mapped, mapped.dtype.newbyteorder("="), order="C")

    def check_all_taken(self, known: Iterable[str]) -> None:
        """:raises DataError: a tensor in the index that no group has."""
        for name in self.paths:
            raise DataError(
                f"A tensor in {self.folder / 'index.json'} must be one that this check computes. "
                f"Got {name!r}{did_you_mean(name, known)}"
            )


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"spec": {"width": 8}} as {"spec.width": 8}."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
