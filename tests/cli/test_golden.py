"""``glassnet golden write``."""

import json
from pathlib import Path

import pytest

import glassnet as gn
from glassnet.cli.golden import WITHOUT
from glassnet.verify.golden.request import WITHOUT_EFFECT
from tests.calls import Call, caller


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(monkeypatch, capsys, "golden", "write")


def test_write_says_what_it_wrote_and_what_comes_next(call: Call, tmp_path: Path) -> None:
    code, out, err = call("tiny", "my new")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("Bundle my new: 106 tensors, 1.1 MB")
    assert lines[1] == "tiny, images 3×1×8×8, 2 steps of sgd, float64"
    assert lines[2].startswith("Margin: 98.6 times float32's rounding from the nearest kink, layer1.0.relu1 in steps/2")
    assert lines[3] == "Next: glassnet golden check 'my new' DUMP"
    assert err.startswith("my new needs about 1.1 MB on the disk")
    assert gn.golden.Bundle.read(tmp_path / "my new").steps == 2


def test_every_option_reaches_the_bundle(call: Call, tmp_path: Path) -> None:
    words = "--steps 1 --dtype float32 --batch-size 5 --seed 3 --blocks 1 --image-size 12,10 --width 4 --json"
    code, out, err = call("resnet20", "new", *words.split(), "--optimizer", "adamw", "--lr", "0.1", "--ema", "0.5")
    assert code == 0, err
    bundle = gn.golden.Bundle.read(tmp_path / "new")
    assert bundle.spec == gn.spec("resnet20", blocks=1, image_size=(12, 10), width=4)
    assert bundle.recipe is not None
    assert (bundle.recipe.optimizer, bundle.recipe.lr, bundle.recipe.ema) == ("adamw", 0.1, 0.5)
    assert (bundle.steps, bundle.dtype, bundle.manifest["seed"]) == (1, "float32", 3)
    shown = json.loads(out)
    assert shown.keys() == {"folder", "tensors", "bytes", "batch", "margin", "next"}
    assert (shown["batch"], shown["tensors"]) == ([5, 3, 12, 10], len(bundle.names))
    assert shown["margin"]["draws"] >= 1


def test_an_error_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    code, out, err = call("tiny", str(tmp_path))
    assert (code, out) == (1, "")
    assert err == f"Error: {tmp_path} must be a new or empty folder. Got a folder that contains 'thesis.tex'.\n"


def test_fields_without_effect_are_no_options() -> None:
    assert {*WITHOUT_EFFECT, "preset", "batch_size", "seed", "shards"} == WITHOUT
