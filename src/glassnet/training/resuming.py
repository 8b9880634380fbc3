"""Resuming a run: the checks that nothing but the computation changed, and the state to continue from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassnet.compute import Compute
from glassnet.data import Dataset
from glassnet.engines import Network
from glassnet.errors import RunError
from glassnet.training.config import DataConfig, RunConfig
from glassnet.training.image_table import ImageTable
from glassnet.training.model import describe_change
from glassnet.training.run_files import Checkpoint
from glassnet.training.run_folder import RunFolder

# What does not change the training: settings of the computation, words about the data, and what follows from the data
# but for rounding.
_CHANGEABLE_ON_RESUME = {*Compute.types(), "versions", "data.likeness", "data.notes", "data.unreadable_files"}
_CHANGEABLE_ON_RESUME -= {"dtype"}
_MEASURED = ("image_size", "channels", "value_range")  # on the images, unless they are given


def check_resumable(old: Mapping[str, Any], new: Mapping[str, Any], path: Path, prefix: str = "") -> None:
    """Check that a run can be resumed with the new settings.

    :raises RunError: if a setting differs; names the first one.
    """
    for name in dict.fromkeys([*old, *new]):
        if f"{prefix}{name}" in _CHANGEABLE_ON_RESUME:
            continue
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            check_resumable(before, now, path, f"{prefix}{name}.")
        elif before != now:
            raise RunError(f"{prefix}{name} must be {before!r} to resume {path}. Got {now!r}.")


def check_same_data(folder: RunFolder, described: DataConfig, data: Dataset, images: ImageTable) -> None:
    """Check that the images are those of the run in the folder; files may have other names.

    :param described: the configuration of the data now, and ``images`` the table of a run on it.
    :raises RunError: if they come from another source, or images were added, removed or changed.
    """
    old = RunConfig.parse(folder.read_config(), folder.config_path).data
    stored = folder.read_images()
    is_same = stored.has_same_images(images)
    before, now = (
        {name: value for name, value in config.load_arguments().items() if is_same or name not in _MEASURED}
        for config in (old, described)
    )
    check_resumable(before, now, folder.path, "data.")
    if old.fingerprint != described.fingerprint or not is_same:
        raise RunError(
            f"{describe_change(old.source, folder.path, stored, data)} Restore the images, or train a new run from "
            f"its weights: --init {folder.path}."
        )


def stored_config(folder: RunFolder) -> RunConfig | None:
    """Return the configuration of the run in the folder, if it has a finished epoch.

    :raises RunError: if it is damaged.
    """
    return RunConfig.parse(folder.read_config(), folder.config_path) if folder.has_checkpoint else None


def restore(folder: RunFolder, config: dict[str, Any], network: Network) -> Checkpoint:
    """Return the state after the last finished epoch, and write the present machine into the configuration.

    :raises RunError: if the run has other settings, or is damaged.
    """
    stored = RunConfig.parse(folder.read_config(), folder.config_path)
    check_resumable(stored.to_dict(), config, folder.path)
    _check_threads(stored, network, folder.path)
    checkpoint = folder.restore()
    if not folder.is_finished:
        folder.write_config(config)
    return checkpoint


def _check_threads(stored: RunConfig, network: Network, path: Path) -> None:
    """Check that a run of several parts keeps its threads: PyTorch's convolutions round differently with others."""
    shards = (stored.recipe and stored.recipe.shards) or 1
    of_torch_on_cpu = stored.engine == network.engine == "torch" and stored.device == network.device == "cpu"
    if shards > 1 and of_torch_on_cpu and stored.threads != network.threads:
        raise RunError(
            f"threads must be {stored.threads} to resume {path}, whose {shards} shards give the same bits on any "
            f"number of processes. Got {network.threads}. Resume with --threads {stored.threads}."
        )
