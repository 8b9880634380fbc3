"""Manifests that say what cannot be."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet.errors import DataError
from glassnet.verify.golden.manifest import Manifest


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gn.golden.write("tiny", tmp_path_factory.mktemp("golden") / "tiny", width=2, steps=1).folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def edit(folder: Path, change: Callable[[Any], Any]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text("utf-8"))
    content = change(content) or content
    path.write_text(json.dumps(content), "utf-8")


def setting(*path: str | int, value: Any) -> Callable[[Any], None]:
    """Return the change of one value; "drop" removes it."""

    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        if value == "drop":
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


def last(**changes: Any) -> Callable[[Any], None]:
    return lambda content: content["tensors"][-1].update(changes)


HOSTILE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a list": (lambda _: [1], "must be a glassnet golden bundle of format_version 1. Got [1]."),
    "a later format": (setting("format_version", value=2), "format_version 1. Got ('glassnet golden bundle', 2)."),
    "float16": (setting("dtype", value="float16"), "dtype in {path} must be 'float64' or 'float32'. Got 'float16'."),
    "a batch of true": (setting("batch_size", value=True), "batch_size in {path} must be an integer of at least 1."),
    "no steps": (setting("steps", value="drop"), "steps in {path} must be an integer of at least 0. Got None."),
    "a trillion steps": (setting("steps", value=10**12), "must be a list of 1000000000000 numbers. Got [0.01]."),
    "rates of text": (setting("learning_rates", value=["0.1"]), "must be a list of 1 numbers. Got ['0.1']."),
    "no normalization": (
        setting("normalization", value=None),
        "normalization in {path} must be an object with a scale",
    ),
    "no channels": (setting("normalization", value={"scale": 1, "mean": [], "std": []}), "of each channel. Got"),
    "std of 0": (setting("normalization", "std", value=[0.0]), "mean and std above 0 of each channel. Got"),
    "two channels": (setting("normalization", value={"scale": 1, "mean": [0, 0], "std": [1, 1]}), "of the network."),
    "an unknown field": (setting("spec", "wdith", value=8), "model field must be one of preset, "),
    "a width of text": (setting("spec", "width", value="8"), "width must be an integer of at least 1. Got '8'."),
    "another width": (setting("spec", "width", value=4), "operations in {path} must be those of its spec, 13 of them."),
    "a billion blocks": (
        setting("spec", "blocks", value=[10**9]),
        "must be those of its spec, with 1000000000 blocks.",
    ),
    "a recipe of text": (setting("recipe", value="sgd"), "must be an object with the fields of recipe. Got 'sgd'."),
    "no recipe": (setting("recipe", value=None), "recipe and normalization in {path} must be those of the network."),
    "another optimizer": (setting("recipe", "optimizer", value="adam"), "must be one of inputs/pixels, inputs/images"),
    "operations of text": (setting("operations", value="conv1"), "operations in {path} must be those of its spec"),
    "an operation less": (
        lambda content: content["operations"].pop() and None,
        "must be those of its spec, 13 of them",
    ),
    "no tensors": (setting("tensors", value=[]), "tensors in {path} must be a list of at least one tensor. Got []."),
    "a tensor less": (
        lambda content: content["tensors"].pop(5) and None,
        "tensors in {path} must be all of the network",
    ),
    "a tensor twice": (
        lambda content: content["tensors"].append(content["tensors"][0]),
        "A tensor in {path} must be listed once. Got 'inputs/pixels'.",
    ),
    "a number as a tensor": (
        setting("tensors", 0, value=3),
        "A tensor in {path} must be an object with a name. Got 3.",
    ),
    "an unknown tensor": (
        last(name="steps/1/momentum_bufer/fc.bias"),
        "did you mean 'steps/1/momentum_buffer/fc.bias'?",
    ),
    "a path upward": (last(file="../../secret.npy"), "must be a .npy file in the folder. Got '../../secret.npy'."),
    "an absolute path": (last(file="/etc/passwd.npy"), "must be a .npy file in the folder. Got '/etc/passwd.npy'."),
    "another drive": (last(file="C:\\x.npy"), "must be a .npy file in the folder. Got"),
    "another file": (last(file="manifest.json"), "must be a .npy file in the folder. Got 'manifest.json'."),
    "no file": (last(file=None), "must be a .npy file in the folder. Got None."),
    "a negative length": (last(shape=[-1]), "must be a list of integers of at least 0. Got [-1]."),
    "a huge shape": (last(shape=[10**30]), "must be (10,) float64 fc update. Got '(1000000000"),
    "objects": (last(dtype="|O"), "must be one of <f8, <f4, <i8, |u1. Got '|O'."),
    "other numbers": (last(dtype="<f4"), "must be (10,) float64 fc update. Got '(10,) float32 fc update'."),
    "an unknown operation": (last(operation="fcc"), "must be the name of an operation, or null. Got 'fcc'."),
    "an operation that cannot be a key": (last(operation=[1]), "or null. Got [1]."),
    "another operation": (
        last(operation="conv1"),
        "must be (10,) float64 fc update. Got '(10,) float64 conv1 update'.",
    ),
    "an unknown direction": (last(direction="sideways"), "must be one of input, forward, backward, update."),
    "no tolerance": (last(tolerance=None), "must be an object with numbers for float64 and float32. Got None."),
    "a tolerance of text": (last(tolerance={"float64": "1", "float32": 1}), "must be an object with numbers"),
    "no hash": (last(sha256="xyz"), "must be 64 hexadecimal digits. Got 'xyz'."),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_manifest_refuses_in_one_line(folder: Path, name: str) -> None:
    change, told = HOSTILE[name]
    edit(folder, change)
    with pytest.raises(DataError, match=re.escape(told.format(path=folder / "manifest.json"))) as raised:
        Manifest(folder)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 4000


CONTENT: dict[str, tuple[bytes, str]] = {
    "no json": (b"{", "must be JSON. Got: Expecting property name"),
    "no text": (b"\xff\xfe\x00", "must be JSON. Got: "),
    "NaN": (b'{"format": NaN}', "must be JSON. Got: the number NaN."),
    "infinitely deep": (b"[" * 200_000, "must be JSON. Got: "),
    "a number of 5,000 digits": (b'{"format": 1' + b"0" * 5000 + b"}", "must be JSON. Got: "),
    "nothing": (b"", "must be JSON. Got: "),
}


@pytest.mark.parametrize("name", CONTENT)
def test_manifest_refuses_what_is_no_json(folder: Path, name: str) -> None:
    content, told = CONTENT[name]
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(told)) as raised:
        Manifest(folder)
    assert "\n" not in str(raised.value)


def test_manifest_raises_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A bundle must have a manifest\. Got no .*manifest\.json\.$"):
        Manifest(tmp_path)
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(DataError, match=r"A bundle must have a manifest\."):
        Manifest(tmp_path)
