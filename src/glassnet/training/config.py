"""What ``config.json`` says of a run, and what of it may change when the run goes on."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from math import inf
from pathlib import Path
from sys import float_info
from typing import Any

import numpy as np

from glassnet.architecture import ResNetSpec
from glassnet.data import Normalization
from glassnet.engines import ENGINES, Network
from glassnet.errors import ConfigError, RunError
from glassnet.recipe import Recipe
from glassnet.training.run_folder import FORMAT

# Where and how it is computed, not what.
_FREE_ON_RESUME = (*("engine", "device", "devices", "precision", "threads", "compile", "channels_last", "versions"),)


def run_config(network: Network, seed: int, data: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """The configuration of a run as JSON holds it: the network, the data and whatever else was set."""
    return {
        "format": FORMAT,
        "engine": network.engine,
        "dtype": network.dtype.name,
        "device": network.device,
        "devices": network.processes.count,
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


def data_config(
    source: Mapping[str, Any],
    normalization: Normalization,
    classes: Sequence[str],
    *,
    fingerprint: str | None = None,
    train: int = 0,
    test: int = 0,
    skipped: Sequence[str] = (),
) -> dict[str, Any]:
    """Where images come from, how pixels become numbers, and what the outputs mean."""
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


def data_source(described: Mapping[str, Any]) -> dict[str, Any]:
    """What ``data_config`` was given as the source."""
    own = ("fingerprint", "classes", "scale", "mean", "std", "train", "test", "skipped")
    return {name: value for name, value in described.items() if name not in own}


def parse_config(config: Mapping[str, Any], path: Path) -> tuple[ResNetSpec, Recipe | None]:
    """The model and the recipe (None of imported weights) that a configuration names.

    :raises RunError: what no run writes, since people edit the file: names the first such setting and what is allowed.
    """
    try:
        spec = ResNetSpec(**config["spec"])
        recipe = None if config["recipe"] is None else Recipe(**config["recipe"])
        for name, value, fits, allowed in _rules(config, spec):
            if not fits:
                raise RunError(f"{path}: {name} must be {allowed}. Got {value!r}.")
    except ConfigError as error:
        raise RunError(f"{path}: {error}") from None
    except (TypeError, ValueError, KeyError) as error:
        raise RunError(f"{path} does not describe a model: {error}.") from None
    return spec, recipe


def _rules(config: Mapping[str, Any], spec: ResNetSpec) -> Iterator[tuple[str, Any, bool, str]]:
    """The name of each setting, its value, whether that fits, and what is allowed."""
    data, init, freeze, threads = config["data"], config.get("init"), config.get("freeze"), config.get("threads")
    names, numbers = f"{spec.classes} different names, one for each output", f"{spec.in_channels} finite numbers"
    fewest = 0 if config["recipe"] is None else 1
    yield "data.classes", data["classes"], _are(str, data["classes"], spec.classes, different=True), names
    yield "data.scale", data["scale"], _are_numbers([data["scale"]], 1, above=0), "a finite number above 0"
    yield "data.mean", data["mean"], _are_numbers(data["mean"], spec.in_channels), numbers
    yield "data.std", data["std"], _are_numbers(data["std"], spec.in_channels, above=0), f"{numbers} above 0"
    for name in ("train", "test"):
        yield f"data.{name}", data[name], _is_integer(data[name], fewest), f"an integer of at least {fewest}"
    yield "data.source", data["source"], isinstance(data["source"], str), "a name or a path"
    yield "data.fingerprint", data["fingerprint"], isinstance(data["fingerprint"], str | None), "a digest or null"
    yield "data.skipped", data["skipped"], _are(str, data["skipped"]), "a list of lines"
    yield "engine", config["engine"], config["engine"] in ENGINES, " or ".join(ENGINES)
    yield "device", config["device"], isinstance(config["device"], str), "a name"
    yield "threads", threads, threads is None or _is_integer(threads, 1), "an integer of at least 1 or null"
    yield (
        "init",
        init,
        init is None or (isinstance(init, dict) and _are(str, [init.get("from")])),
        "null or an object with a path as its from",
    )
    yield "freeze", freeze, freeze in (None, "body"), "null or body"
    yield "versions", config["versions"], isinstance(config["versions"], dict), "an object"


def _is_integer(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


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
        and all(type(value) in (int, float) and above < value and abs(value) <= float_info.max for value in values)
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
