"""Resuming a run: the checks that nothing but the computation changed, and the state to continue from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from glassnet.architecture import PRESETS, ResNetSpec
from glassnet.compute import Compute
from glassnet.data import Dataset
from glassnet.engines import Network
from glassnet.errors import RunError
from glassnet.formats import agree, join_words
from glassnet.training.config import CHANGEABLE_ON_RESUME, RunConfig, flatten
from glassnet.training.image_table import ImageTable
from glassnet.training.model import describe_change
from glassnet.training.run_files import Checkpoint
from glassnet.training.run_folder import RunFolder

# What of the computation is the run's own where it is resumed on the same engine; the rest is the machine's.
_OF_THE_RUN = ("dtype", "kernels", "all_reduce", "precision", "compile")
_MEASURED = ("data.image_size", "data.channels", "data.value_range")  # on the images, unless they are given
# What follows from the data or from another setting, which an error names instead.
_FOLLOWING = {
    *(f"data.{name}" for name in ("fingerprint", "classes", "scale", "mean", "std", "train", "validation", "test")),
    *("data.test_name", "spec.in_channels", "spec.image_size", "spec.classes", "recipe.seed", "init.sha256"),
}
_MAX_SHOWN = 60  # characters of a value


def model_of_run(stored: RunConfig, model: str | ResNetSpec | None, data: Dataset) -> str | ResNetSpec:
    """Return the model of the run to resume for this data, if no other one is given.

    :param model: what was given: the name of a preset changes nothing else.
    """
    if isinstance(model, ResNetSpec) or (model is not None and model not in PRESETS):
        return model
    measured = {"in_channels": data.channels, "image_size": data.image_size, "classes": len(data.classes)}
    return stored.spec.replace(preset=model or stored.spec.preset, **measured)


def compute_of_run(stored: RunConfig | None, engine: str | None) -> Compute:
    """Return the settings of the computation of the run to resume; those of its machine are chosen anew.

    :param engine: what was given.
    """
    if stored is None:
        return Compute().replace(engine=engine or Compute().engine)
    names = _OF_THE_RUN if engine in (None, stored.engine) else ("dtype",)
    own = {name: getattr(stored, name) for name in names}
    return Compute().replace(engine=engine or stored.engine, **own)


def check_resumable(old: Mapping[str, Any], new: Mapping[str, Any], path: Path, ignored: Collection[str] = ()) -> None:
    """Check that a run can be resumed with the new settings.

    :param ignored: settings that are not compared, by their dotted names.
    :raises RunError: if settings differ; names them all.
    """
    before, now = flatten(old), flatten(new)
    names = [
        name
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
        and name not in ignored
        and not any(f"{name}.".startswith(f"{free}.") for free in CHANGEABLE_ON_RESUME)
    ]
    if names:
        allowed = [f"{name}{' must be' * (name == names[0])} {_shown(before.get(name))}" for name in names]
        raise RunError(
            f"{join_words(allowed)} to resume {path}. Got {join_words([_shown(now.get(name)) for name in names])}. "
            f"Leave {agree(len(names), 'it', 'them')} out to go on with the run's own, or train in another folder."
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def stored_config(folder: RunFolder) -> RunConfig | None:
    """Return the configuration of the run in the folder, if it has a finished epoch.

    :raises RunError: if it is damaged.
    """
    return RunConfig.parse(folder.read_config(), folder.config_path) if folder.has_checkpoint else None


def restore(
    folder: RunFolder, config: dict[str, Any], network: Network, data: Dataset, images: ImageTable
) -> Checkpoint:
    """Return the state after the last finished epoch, and write the present machine into the configuration.

    :param config: the configuration of a run with the settings now, and ``images`` its table of images.
    :raises RunError: if the run has other settings, images were added, removed or changed, or it is damaged.
    """
    stored = RunConfig.parse(folder.read_config(), folder.config_path)
    old, stored_images = stored.to_dict(), folder.read_images()
    has_same_images = stored_images.has_same_images(images)
    check_resumable(old, config, folder.path, {*_FOLLOWING, *(() if has_same_images else _MEASURED)})
    if not has_same_images or old["data"]["fingerprint"] != config["data"]["fingerprint"]:
        raise RunError(
            f"{describe_change(stored.data.source, folder.path, stored_images, data)} Restore the images, or train a "
            f"new run from its weights: --init {folder.path}."
        )
    check_resumable(old, config, folder.path)
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
