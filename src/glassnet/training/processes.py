"""A training in several processes: how they start, and what they agree on before the first step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from glassnet.compute import Compute
from glassnet.data import Dataset
from glassnet.engines import Network, ProcessGroup
from glassnet.engines.process_group import joined
from glassnet.errors import ConfigError
from glassnet.formats import pluralize
from glassnet.progress import Progress
from glassnet.recipe import Recipe
from glassnet.resources import usable_cores
from glassnet.training.config import RunConfig, flatten
from glassnet.training.launcher import launch
from glassnet.training.resuming import compute_of_run, stored_config
from glassnet.training.run_folder import RunFolder
from glassnet.training.trained_run import Run

_OF_A_MACHINE = ("device", "versions.platform")  # settings that may differ between processes


class _PreparedError(Exception):
    """The end of a training that only prepares what ``before`` looks at."""


def train_together(train: Callable[..., Run], arguments: dict[str, Any]) -> Run:
    """Call ``train`` as one of the processes that the environment describes, or start ``devices`` processes that do.

    :param arguments: the arguments of ``train`` by name; ``group`` is replaced.
    :raises ConfigError: if ``devices`` contradicts the processes that there are.
    """
    group = ProcessGroup.from_environment()
    with joined(group, report_failure) as watchdog:
        if arguments["engine"] is None:
            arguments["engine"] = group.from_first(lambda: _default_engine(arguments))
        if arguments["run"] is not None:
            watchdog.remedy = f"Resume with --run {arguments['run']} --resume."
        devices = _count_devices(group, arguments)
        if devices == group.world_size:
            return train(**{**arguments, "group": group, "devices": devices})
        _prepare(train, arguments)
        folder = RunFolder(launch(arguments))
        data = arguments["data"]
        return Run(folder.path, folder.read_checkpoint().records, data if isinstance(data, Dataset) else None)


def report_failure(line: str) -> None:
    """Print why the training ends in another process."""
    print(f"Error: {line}", file=sys.stderr, flush=True)


def _default_engine(arguments: Mapping[str, Any]) -> str:
    """Return the engine of the run to resume, or the default."""
    is_resumed = arguments["resume"] and arguments["run"] is not None and not arguments["overwrite"]
    return compute_of_run(stored_config(RunFolder(arguments["run"])) if is_resumed else None, None).engine


def _count_devices(group: ProcessGroup, arguments: Mapping[str, Any]) -> int:
    """Return the number of processes to train with: those of the group, or as many as are wanted.

    :raises ConfigError: if ``devices`` is neither 1 nor the number of the group's processes, or the engine is NumPy's.
    """
    wanted: int = Compute(engine=arguments["engine"]).replace(devices=arguments.get("devices", 1)).devices
    if group.world_size == 1:
        return wanted
    if wanted not in (1, group.world_size):
        raise ConfigError(
            f"devices must be {group.world_size}, the number of processes that were started, or left out. Got {wanted}."
        )
    if arguments["engine"] != "torch":
        raise ConfigError(
            f"engine must be 'torch' for {group.world_size} processes. Got {arguments['engine']!r}. Add --engine torch."
        )
    return group.world_size


def _prepare(train: Callable[..., Run], arguments: dict[str, Any]) -> None:
    """Call ``before`` in this process, for it cannot be sent to others: with the data and the network of a new run."""
    before = arguments.pop("before")
    is_resumed = arguments["resume"] and RunFolder(arguments["run"]).has_checkpoint
    if before is None or is_resumed:
        return

    def stop(*network_and_data: Any) -> None:
        before(*network_and_data)
        raise _PreparedError

    own = {"devices": 1, "before": stop, "progress": Progress(), "group": ProcessGroup()}
    with suppress(_PreparedError):
        train(**{**arguments, **own})


def resolve_shards(
    group: ProcessGroup, recipe: Recipe, compute: Compute, stored: RunConfig | None
) -> tuple[Recipe, Compute]:
    """Return recipe and compute settings with the number of parts of each batch, and the threads that follow from it.

    :param stored: the configuration of the run to resume, whose values are the defaults.
    :raises ConfigError: if the number of processes does not divide the number of parts.
    """
    of_run = stored.recipe if stored is not None else None
    shards = recipe.shards or (group.world_size if of_run is None else of_run.shards)
    group.parts(shards or group.world_size)
    if compute.engine == "torch" and compute.threads is None and (shards or 1) > 1:
        of_torch = stored is not None and stored.engine == "torch"
        compute = compute.replace(threads=stored.threads if stored is not None and of_torch else 1)
    return recipe.replace(shards=shards), compute


def check_same_settings(group: ProcessGroup, config: Mapping[str, Any], **options: Any) -> None:
    """Check that all processes have the same settings and the same data.

    :param config: the configuration of the run; ``options`` are further settings.
    :raises ConfigError: if one differs; names the setting and the rank.
    """
    own = {name: value for name, value in flatten({**config, **options}).items() if name not in _OF_A_MACHINE}
    first, *others = group.gather(own)
    for rank, other in enumerate(others, start=1):
        for name in dict.fromkeys([*first, *other]):
            if first.get(name) != other.get(name):
                raise ConfigError(
                    f"{name} must be the same in all processes. Got {first.get(name)!r} in rank 0 and "
                    f"{other.get(name)!r} in rank {rank}."
                )


def crowded_machine(network: Network) -> list[str]:
    """Return a line for the log if the processes of a machine have more threads than it has cores."""
    count, cores = network.processes.local_world_size, usable_cores()
    if count == 1 or network.device != "cpu" or count * network.threads <= cores:
        return []
    share = f"{count} processes share {pluralize(cores, 'core')}"
    return [f"{share}: with more processes than cores a training is slower, not faster"]
