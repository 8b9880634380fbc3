"""Commands are called, and must make the run again: its whole configuration, and in float64 its weights."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.explorer.command import training_command
from glassnet.progress import Progress
from glassnet.training.config import RunConfig
from tests.calls import Call, caller

FEW = {"samples": 60, "test_samples": 20, "epochs": 1, "progress": Progress(), "report": False}


@pytest.fixture
def glassnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(monkeypatch, capsys)


def config_of(run: str | Path) -> RunConfig:
    return RunConfig.parse(gn.load(run).config, Path(run) / "config.json")


def make_again(glassnet: Call, run: str, **compute: Any) -> str:
    """Call the command of a run, and return the folder that it makes."""
    command = training_command(config_of(run), "again", **compute)
    assert command is not None
    program, *words = shlex.split(command)
    code, _, err = glassnet(*words, "--no-report")
    assert (program, code) == ("glassnet", 0), f"{command}: {err}"
    return "again"


CUSTOM = gn.ResNetSpec(in_channels=1, image_size=8, width=4, blocks=(1, 2), bn_eps=1e-3, shortcut="projection")


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("tiny", {}),
        ("tiny", {"recipe": "tutorial", "kernels": "plain", "skip": False, "test_samples": "all"}),
        ("tiny-bn", {"blocks": 2, "lr": 0.02, "nesterov": False, "ema": 0.9, "class_weights": "balanced", "seed": 7}),
        ("tiny-bn", {"validation_fraction": 0.2, "patience": 3, "augment": "crop", "dropout": 0.5, "shards": 2}),
        ("tiny", {"optimizer": "adamw", "lr": 1e-3, "momentum": 0.0, "nesterov": False, "clip_grad_norm": 1.0}),
        (CUSTOM, {"schedule": "cosine", "ink": False}),
    ],
    ids=["defaults", "tutorial", "fields", "validation", "adamw", "custom"],
)
def test_training_command_makes_the_run_again(glassnet: Call, model: Any, settings: dict[str, Any]) -> None:
    gn.train(model, "digits", dtype="float64", run="run", **FEW | settings)
    again, first = gn.load(make_again(glassnet, "run")), gn.load("run")
    for key, array in first.network.state_dict().items():
        np.testing.assert_array_equal(again.network.state_dict()[key], array)
    assert config_of("again").recipe == config_of("run").recipe
    assert config_of("again").data == config_of("run").data


def test_training_command_makes_a_float64_twin_of_a_torch_run(glassnet: Call) -> None:
    pytest.importorskip("torch")
    gn.train("tiny", "digits", "torch", run="run", **FEW)
    command = training_command(config_of("run"), "again", engine="numpy", dtype="float64")
    assert command == (
        "glassnet train digits --model tiny --epochs 1 --seed 42 --dtype float64 --samples 60 --test-samples 20 "
        "--run again"
    )
    twin = gn.load(make_again(glassnet, "run", engine="numpy", dtype="float64"))
    assert (twin.config["engine"], twin.config["dtype"]) == ("numpy", "float64")
    for key, array in gn.load("run").network.state_dict().items():
        np.testing.assert_allclose(twin.network.state_dict()[key], array, atol=1e-3)


def test_training_command_reads_a_folder_of_images_alike(glassnet: Call) -> None:
    rng = np.random.default_rng(0)
    for index in range(24):
        folder = Path("two words") / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (14, 20, 3), np.uint8)).save(folder / f"{index}.png")
    settings = {"epochs": 1, "progress": Progress(), "report": False, "width": 2, "fit": "pad"}
    gn.train("tiny", "two words", run="run", image_size=(8, 12), **settings)
    make_again(glassnet, "run")
    assert config_of("again").data == config_of("run").data
    assert config_of("again").spec == config_of("run").spec


def test_training_command_starts_from_the_same_weights(glassnet: Call) -> None:
    gn.train("tiny", "digits", run="first", **FEW)
    gn.train(None, "digits", run="run", init="first", freeze="backbone", **FEW)
    make_again(glassnet, "run")
    first, again = config_of("run"), config_of("again")
    assert (again.init, again.freeze, again.spec) == (first.init, first.freeze, first.spec)


@pytest.mark.parametrize(
    "changes",
    [{"source": "arrays"}, {"seed": 7}, {"test_size": 0.5}],
    ids=["arrays", "data seed", "test size"],
)
def test_training_command_is_none_where_no_command_loads_the_data(trained: Any, changes: dict[str, Any]) -> None:
    config = RunConfig.parse(trained.config, trained.path)
    assert training_command(config, "again") is not None
    assert training_command(config.replace(data=config.data.replace(**changes)), "again") is None


def test_training_command_is_none_for_a_setting_without_an_option(trained: Any) -> None:
    config = RunConfig.parse(trained.config, trained.path)
    assert training_command(config.replace(spec=config.spec.replace(norm="batch", bn_momentum=None)), "again") is None
    assert training_command(config.replace(recipe=None), "again") is None
