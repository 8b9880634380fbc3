"""What ``config.json`` says of a run, and what of it may change when the run goes on."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from glassnet.architecture import ResNetSpec
from glassnet.data import Normalization
from glassnet.engines import ENGINES, Network
from glassnet.errors import RunError
from glassnet.recipe import Recipe
from glassnet.training.run_folder import FORMAT

# Where and how it is computed, not what.
_FREE_ON_RESUME = (
    *("engine", "device", "devices", "strategy", "precision", "threads", "compile", "channels_last", "versions"),
)


def describe_run(network: Network, seed: int, data: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """The configuration of a run as JSON holds it: the network, the data and whatever else was set."""
    return {
        "format": FORMAT,
        "engine": network.engine,
        "dtype": network.dtype.name,
        "device": network.device,
        "devices": network.processes.count,
        "strategy": "ddp" if network.processes.count > 1 else "auto",
        "precision": network.precision,
        "threads": network.threads,
        "compile": network.compile,
        "channels_last": network.channels_last,
        "seed": seed,
        "spec": dataclasses.asdict(network.spec),
        **settings,
        "data": data,
        "versions": {
            "glassnet": version("glassnet"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            **({"torch": version("torch")} if network.engine == "torch" else {}),
            "platform": platform.platform(),
        },
    }


def describe_data(
    source: Mapping[str, Any],
    normalization: Normalization,
    classes: Sequence[str],
    *,
    fingerprint: str | None = None,
    train: int = 0,
    test: int = 0,
    skipped: Sequence[str] = (),
) -> dict[str, Any]:
    """Where pictures come from, how pixels become numbers, and what the outputs mean."""
    return {
        **source,
        "fingerprint": fingerprint,
        "classes": list(classes),
        "scale": normalization.scale,
        "mean": list(normalization.mean),
        "std": list(normalization.std),
        "train": train,
        "test": test,
        "skipped": list(skipped),
    }


def source_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """What ``describe_data`` was given as the source."""
    own = ("fingerprint", "classes", "scale", "mean", "std", "train", "test", "skipped")
    return {name: value for name, value in described.items() if name not in own}


def check_described(config: Mapping[str, Any], spec: ResNetSpec, path: Path) -> None:
    """Refuse what no run writes; people edit the file.

    :raises RunError: names the first setting that is none, with what is allowed.
    """
    data = config["data"]
    names, numbers = f"{spec.classes} different names, one for each output", f"{spec.in_channels} finite numbers"
    rules: tuple[tuple[str, Any, bool, str], ...] = (
        ("data.classes", data["classes"], _are(str, data["classes"], spec.classes, different=True), names),
        ("data.scale", data["scale"], _are_numbers([data["scale"]], 1, above=0), "a finite number above 0"),
        ("data.mean", data["mean"], _are_numbers(data["mean"], spec.in_channels), numbers),
        ("data.std", data["std"], _are_numbers(data["std"], spec.in_channels, above=0), f"{numbers} above 0"),
        ("data.train", data["train"], _are(int, [data["train"]], 1), "an integer"),
        ("data.test", data["test"], _are(int, [data["test"]], 1), "an integer"),
        ("data.source", data["source"], isinstance(data["source"], str), "a name or a path"),
        ("data.fingerprint", data["fingerprint"], isinstance(data["fingerprint"], str | None), "a digest or null"),
        ("data.skipped", data["skipped"], _are(str, data["skipped"]), "a list of lines"),
        ("engine", config["engine"], config["engine"] in ENGINES, " or ".join(ENGINES)),
        ("device", config["device"], isinstance(config["device"], str), "a name"),
        ("versions", config["versions"], isinstance(config["versions"], dict), "an object"),
    )
    for name, value, fits, allowed in rules:
        if not fits:
            raise RunError(f"{path}: {name} must be {allowed}. Got {value!r}.")
    if config["recipe"] is not None:
        Recipe(**config["recipe"])


def _are(kind: type, values: Any, count: int | None = None, different: bool = False) -> bool:
    """Whether ``values`` is a list of so many of the kind."""
    return (
        isinstance(values, list)
        and all(type(value) is kind for value in values)
        and count in (None, len(values))
        and not (different and len(set(values)) < len(values))
    )


def _are_numbers(values: Any, count: int, above: float = -inf) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and isfinite(value) and value > above for value in values)
    )


def check_same(old: Mapping[str, Any], new: Mapping[str, Any], path: Path, prefix: str = "") -> None:
    """Refuse to go on with other settings; tuples and lists are the same in JSON.

    :raises RunError: names the first setting that differs.
    """
    for name in dict.fromkeys([*old, *new]):
        if not prefix and name in _FREE_ON_RESUME:
            continue
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            check_same(before, now, path, f"{prefix}{name}.")
        elif before != (list(now) if isinstance(now, tuple) else now):
            raise RunError(f"{path} was begun with {prefix}{name} {before!r}. It cannot go on with {now!r}.")
