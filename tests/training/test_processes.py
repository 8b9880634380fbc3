"""Trainings in several processes. A process with torch costs seconds, so few tests start any."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.compute import Compute
from glassnet.engines import ProcessGroup
from glassnet.errors import ConfigError, RunError
from glassnet.progress import Progress
from glassnet.training.config import RunConfig
from glassnet.training.processes import check_same_settings, crowded_machine, resolve_shards, train_together
from tests.training.runs import assert_same_run, train, untimed

TORCH: dict[str, Any] = {"engine": "torch", "device": "cpu"}
# 93 training images: batches of 37, 37 and 19, which 4 does not divide.
HARD: dict[str, Any] = {"model": "tiny-bn", "width": 4, "batch_size": 37, "epochs": 30, "dropout": 0.25, "shards": 4}
HARD |= {"augment": "flip-crop", "class_weights": "balanced", "ema": 0.9, "validation_fraction": 0.2}


MARK = "GLASSNET_TEST"  # variable by which the processes of a test are found


class AfterEpoch(Progress):
    """Does something when the first epoch has ended."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def log(self, line: str) -> None:
        if "] epoch 01/" in line:
            self.act()


def workers(rank: int) -> list[int]:
    """Return the ids of the processes of a rank that the present test has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            variables = (path / "environ").read_text("utf-8", "replace").split("\0")
            arguments = (path / "cmdline").read_text("utf-8", "replace")
        except OSError:
            continue
        is_own = f"{MARK}={os.environ[MARK]}" in variables
        if is_own and f"RANK={rank}" in variables and "glassnet.training.worker" in arguments:
            found.append(int(path.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_train_has_the_same_bits_on_two_processes_killed_and_resumed_on_one(
    digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path))
    few = gn.Dataset.from_splits(digits.train.take(np.arange(116)), digits.test, digits.classes, scale=16.0)
    alone = train(few, tmp_path / "alone", **HARD, **TORCH)
    seen: list[Any] = []

    def kill() -> None:
        for pid in workers(1):
            os.kill(pid, signal.SIGKILL)

    def look(network: gn.Network, data: gn.Dataset) -> None:
        seen.append((network.spec.preset, data))

    told = re.escape(f"Rank 1 of 2: the process is gone. Resume with --run {tmp_path / 'run'} --resume.")
    with pytest.raises(RunError, match=told):
        train(few, tmp_path / "run", **HARD, **TORCH, devices=2, progress=AfterEpoch(kill), before=look)
    assert seen == [("tiny-bn", few)]
    assert 1 <= len(gn.load(tmp_path / "run").history) < 30
    assert not workers(0)
    resumed = train(few, tmp_path / "run", **HARD, **TORCH, resume=True)
    assert untimed(resumed.history) == untimed(alone.history)
    assert_same_run(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
def test_train_raises_what_a_worker_raises(digits: gn.Dataset, tmp_path: Path) -> None:
    """Both processes refuse the shards; one error comes back, of its kind, and nothing is written."""
    told = "Rank 0 of 2: shards must be a multiple of the number of processes, 2. Got 3"
    with pytest.raises(ConfigError, match=told):
        train(digits, tmp_path / "run", **TORCH, devices=2, shards=3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_train_with_shards_is_the_whole_batch_up_to_rounding(digits: gn.Dataset, tmp_path: Path, engine: str) -> None:
    """Without BatchNorm only the order of additions differs; weights of classes count over the whole batch."""
    options: dict[str, Any] = {"engine": engine, "dtype": "float64", "batch_size": 37, "dropout": 0.25}
    options |= {"class_weights": "balanced", "clip_grad_norm": 0.5, "augment": "flip-crop"}
    whole, parts = (train(digits, tmp_path / str(n), **options, shards=n) for n in (1, 5))
    expected, weights = (gn.load_weights(run.path / "last.safetensors") for run in (whole, parts))
    for key, array in expected.items():
        np.testing.assert_allclose(weights[key], array, rtol=0, atol=1e-12, err_msg=key)
    for ours, theirs in zip(untimed(whole.history), untimed(parts.history), strict=True):
        norms = ours.pop("gradient_norms"), theirs.pop("gradient_norms")
        assert ours == pytest.approx(theirs, rel=1e-11)
        assert norms[0] == pytest.approx(norms[1], rel=1e-9)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_step_updates_running_statistics_once_from_all_parts(digits: gn.Dataset, momentum: float | None) -> None:
    """By hand: each part normalized by itself, gradients and moments weighted by images; both engines agree."""
    images = digits.normalization.apply(digits.train.pixels(range(7)), "float64")
    labels = digits.train.labels[:7]
    spec = gn.spec("tiny-bn", bn_momentum=momentum)
    parts = (slice(0, 3), slice(3, 5), slice(5, 7))
    expected = gn.build(spec, dtype="float64").state_dict()
    update = {key: np.zeros_like(array) for key, array in expected.items()}
    for part in parts:
        traced = gn.build(spec, dtype="float64").trace(images[part], labels[part])
        weight = (part.stop - part.start) / 7
        for key, gradient in traced.gradients.items():
            update[key] -= 0.1 * weight * gradient
        for key, buffer in traced.buffers.items():
            if not key.endswith("num_batches_tracked"):
                update[key] += weight * (buffer - expected[key])
    for engine in ("numpy", "torch"):
        network = gn.build(spec, engine, dtype="float64", **({"device": "cpu"} if engine == "torch" else {}))
        trainer = network.trainer(gn.Recipe(lr=0.1, momentum=0.0, shards=3))
        trainer.step(images, labels)
        for key, array in network.state_dict().items():
            steps = 1 if key.endswith("num_batches_tracked") else expected[key] + update[key]
            np.testing.assert_allclose(array, steps, rtol=0, atol=1e-12, err_msg=f"{engine} {key}")


class Group(ProcessGroup):
    """Two processes, of which the other one has these values."""

    others: Any = None

    def gather(self, value: Any) -> list[Any]:
        return [value, value | {name: text for name, text in self.others.items() if name in value}]


def test_check_same_settings_names_the_setting_and_the_rank() -> None:
    Group.others = {"data.fingerprint": "b", "device": "cuda:1"}
    config = {"seed": 3, "device": "cuda:0", "data": {"fingerprint": "a"}, "versions": {"platform": "x"}}
    told = "data.fingerprint must be the same in all processes. Got 'a' in rank 0 and 'b' in rank 1."
    with pytest.raises(ConfigError, match=re.escape(told)):
        check_same_settings(Group(0, 2), config)
    Group.others = {"device": "cuda:1", "versions.platform": "other"}
    check_same_settings(Group(0, 2), config)


def test_resolve_shards_defaults_to_the_processes_and_one_thread() -> None:
    compute = Compute(engine="torch")
    recipe, own = resolve_shards(ProcessGroup(1, 4), gn.Recipe(), compute, None)
    assert (recipe.shards, own.threads) == (4, 1)
    recipe, own = resolve_shards(ProcessGroup(1, 4), gn.Recipe(shards=8), compute.replace(threads=3), None)
    assert (recipe.shards, own.threads) == (8, 3)
    recipe, own = resolve_shards(ProcessGroup(), gn.Recipe(), compute, None)
    assert (recipe.shards, own.threads) == (1, None)


def test_train_resumes_with_the_shards_and_threads_of_the_run(digits: gn.Dataset, tmp_path: Path) -> None:
    options: dict[str, Any] = {**TORCH, "epochs": 2}
    train(digits, tmp_path / "run", **options, shards=2, stop_after_epoch=1)
    told = "threads must be 1 to resume .*, whose 2 shards give the same bits on any number of processes. Got 2."
    with pytest.raises(RunError, match=told):
        train(digits, tmp_path / "run", **options, threads=2, resume=True)
    with pytest.raises(RunError, match="recipe.shards must be 2 to resume .*. Got 4."):
        train(digits, tmp_path / "run", **options, shards=4, resume=True)
    train(digits, tmp_path / "run", resume=True)
    config = RunConfig.parse(gn.load(tmp_path / "run").config, tmp_path)
    assert config.recipe is not None
    assert config.engine == "torch"  # nothing else was given
    assert (config.recipe.shards, config.threads, config.devices, config.all_reduce) == (2, 1, 1, "tree")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "devices must be an integer of at least 1. Got 0."),
        ({"devices": "2"}, "devices must be an integer of at least 1. Got '2'."),
        ({"devices": 2}, "devices must be 1 for engine='numpy'. Got 2. Add --engine torch."),
    ],
)
def test_train_refuses_devices_before_it_starts_any(
    digits: gn.Dataset, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        train(digits, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"engine": "torch", "devices": 2},
            "Rank 1 of 4: devices must be 4, the number of processes that were started, or left out. Got 2.",
        ),
        ({"engine": "numpy"}, "Rank 1 of 4: engine must be 'torch' for 4 processes. Got 'numpy'. Add --engine torch."),
    ],
)
def test_train_together_refuses_what_contradicts_the_processes(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    variables = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("glassnet.engines.process_group._join", lambda *_: None)
    monkeypatch.setattr("glassnet.engines.watchdog.PATIENCE", 0.0)
    with pytest.raises(ConfigError, match=re.escape(message)):
        train_together(lambda **_: pytest.fail("it trains"), {"run": None, **arguments})


def test_crowded_machine_names_processes_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassnet.training.processes.usable_cores", lambda: 2)
    network = gn.build("tiny", threads=1)
    assert crowded_machine(network) == []
    network.processes = ProcessGroup(0, 4, 0, 4)
    assert crowded_machine(network)[0].startswith("4 processes share 2 cores: ")
