"""What ``config.json`` says of a run, and what of it may change when the run goes on."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from glassnet.data import Normalization
from glassnet.engines import Network
from glassnet.errors import RunError
from glassnet.training.run_folder import FORMAT

# Where and how it is computed, not what.
_FREE_ON_RESUME = ("engine", "device", "precision", "threads", "versions")


def describe_run(network: Network, seed: int, data: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """The configuration of a run as JSON holds it: the network, the data and whatever else was set."""
    return {
        "format": FORMAT,
        "engine": network.engine,
        "dtype": network.dtype.name,
        "device": network.device,
        "precision": network.precision,
        "threads": network.threads,
        "seed": seed,
        "spec": dataclasses.asdict(network.spec),
        **settings,
        "data": data,
        "versions": {
            "glassnet": version("glassnet"),
            "python": platform.python_version(),
            "numpy": np.__version__,
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
