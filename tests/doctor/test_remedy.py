"""Remedies as text, and the commands that carry them out."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet import cli
from glassnet.doctor.remedy import Remedy, to_options, training_command
from glassnet.progress import Progress
from glassnet.training.config import RunConfig
from glassnet.training.run_folder import RunFolder


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"lr": 0.05, "batch_size": 64}, "--lr 0.05 --batch-size 64"),
        ({"lr": 1.0, "clip_grad_norm": 1e-05}, "--lr 1 --clip-grad-norm 1e-05"),
        ({"skip": False, "nesterov": True}, "--no-skip --nesterov"),
        ({"blocks": (1, 2), "init": None, "device": "cuda:0"}, "--blocks 1,2 --device cuda:0"),
        ({"init": "my runs/a"}, "--init 'my runs/a'"),
    ],
)
def test_to_options_are_those_of_train(settings: dict[str, Any], options: str) -> None:
    assert to_options(settings) == options


def test_remedy_ends_with_its_options() -> None:
    assert str(Remedy("train again", {"lr": 0.05})) == "train again: --lr 0.05"
    assert str(Remedy("look at the images")) == "look at the images"


def config_of(run: Path) -> RunConfig:
    folder = RunFolder(run)
    return RunConfig.parse(folder.read_config(), folder.config_path)


def call(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert not exited.value.code


@pytest.fixture
def images(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "my images"
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (12, 12), 10 * number + ord(label) % 2).save(folder / label / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        "digits --model tiny --epochs 1 --samples 100 --no-ink",
        "digits --model tiny-bn --recipe tutorial --epochs 1 --samples 100 --test-samples all --dtype float64",
        "digits --model tiny --blocks 2 --no-skip --dropout 0.2 --augment flip-crop --validation-fraction 0.2 "
        "--clip-grad-norm 1 --lr 0.3 --seed 7 --epochs 1 --samples 60 --kernels plain --evaluate-train",
        "IMAGES --model tiny --image-size 8 --epochs 1 --batch-size 5 --max-unreadable 0.2",
        "IMAGES --model tiny --image-size 8,10 --epochs 1 --test-samples 4",
        "IMAGES --model tiny --image-size 8,10 --epochs 1 --fit pad --value-range 0,99.5 --max-pixels 1000",
    ],
)
def test_training_command_repeats_the_training(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    options = options.replace("IMAGES", shlex.quote(str(images)))
    end = "--no-report --run"
    call(monkeypatch, f"glassnet train {options} {end} {tmp_path / 'run'}")
    command = training_command(config_of(tmp_path / "run"), {})
    assert len(command) <= len(f"glassnet train {options}") + 1  # nothing but what differs from the defaults
    call(monkeypatch, f"{command} {end} {tmp_path / 'again'}")
    first, again = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("run", "again"))
    assert again == first
    assert (tmp_path / "run/last.safetensors").read_bytes() == (tmp_path / "again/last.safetensors").read_bytes()


def test_training_command_ends_with_the_changes(healthy_run: Path) -> None:
    config = config_of(healthy_run)
    start = "glassnet train digits --model tiny --samples 400 --epochs 3 --seed 1"
    assert training_command(config, {"lr": 0.01}) == f"{start} --lr 0.01"
    assert training_command(config, {"lr": 0.1}) == f"{start} --lr 0.1"  # the preset's
    assert training_command(config, {"norm": "batch", "width": 16}) == f"{start} --norm batch --width 16"
    assert training_command(config, {"epochs": 30}) == f"{start.replace(' --epochs 3', '')} --epochs 30"


def test_training_command_leaves_out_the_initial_weights(healthy_run: Path, tmp_path: Path) -> None:
    given = {"init": healthy_run, "run": tmp_path / "run", "epochs": 1, "samples": 100, "freeze": "backbone"}
    gn.train("tiny", "digits", progress=Progress(), report=False, **given)
    start = "glassnet train digits --model tiny --samples 100 --epochs 1"
    config = config_of(tmp_path / "run")
    assert training_command(config, {"lr": 1}) == f"{start} --init {healthy_run} --freeze backbone --lr 1"
    assert training_command(config, {"init": None}) == start


@pytest.mark.parametrize(
    ("model", "data", "start"),
    [
        ("tiny", {"samples": 100, "seed": 3}, "'tiny', data, epochs=1"),  # the command line has no seed of the data
        ("tiny", None, "'tiny', data, epochs=1"),
        (gn.ResNetSpec(in_channels=1, image_size=8, blocks=(1,)), {"samples": 100}, "spec, data, epochs=1"),
    ],
)
def test_training_command_is_python_for_what_only_python_can_load(
    tmp_path: Path, model: Any, data: Any, start: str
) -> None:
    digits = gn.load_data("digits", **(data or {"samples": 100}))
    if data is None:
        digits = gn.Dataset(digits.train.images, digits.train.labels, scale=16)
    gn.train(model, digits, epochs=1, run=tmp_path / "run", progress=Progress(), report=False)
    command = training_command(config_of(tmp_path / "run"), {"lr": 0.01, "augment": "flip-crop"})
    assert command == f"gn.train({start}, lr=0.01, augment='flip-crop')"
