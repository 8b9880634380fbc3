"""How a bundle is written: whole, reproducibly, over nothing of anybody's, and with tolerances that say something."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import DataError, DivergedError, RunError
from glassnet.verify.golden import Bundle, bundle_files, write

Snapshot = Any
SMALL: dict[str, Any] = {"width": 2, "steps": 1}


def test_write_gives_the_same_bytes_for_the_same_case(tmp_path: Path, snapshot: Snapshot) -> None:
    bundles = [write("tiny", tmp_path / name, **SMALL) for name in "ab"]
    contents = [{name: content for name, (content, _) in snapshot(made.folder).items()} for made in bundles]
    assert contents[0] == contents[1]
    other = write("tiny", tmp_path / "seeded", seed=1, **SMALL)
    assert snapshot(other.folder)["steps/1/state/fc.weight.npy"][0] != contents[0]["steps/1/state/fc.weight.npy"]


@pytest.mark.parametrize("instant", [0, 1, 40, 81])
def test_write_leaves_no_bundle_when_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: int) -> None:
    left, saved = instant, bundle_files.TensorWriter.write

    def killed(writer: Any, name: str, array: Any) -> dict[str, str]:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return saved(writer, name, array)

    monkeypatch.setattr(bundle_files.TensorWriter, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        write("tiny", tmp_path, steps=2, width=2)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"A bundle must have a manifest\. Got no "):
        Bundle.read(tmp_path)
    again = write("tiny", tmp_path, **SMALL)  # fewer tensors than were there
    assert {path.name for path in tmp_path.iterdir()} == {*["inputs", "eval", "train", "steps"], *FILES}
    assert len(list(tmp_path.rglob("*.npy"))) == len(again.names)


FILES = ("manifest.json", "tensors.safetensors")


def test_write_leaves_no_bundle_when_killed_at_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write("tiny", tmp_path, **SMALL)
    monkeypatch.undo()
    assert not (tmp_path / "manifest.json").exists()
    write("tiny", tmp_path, **SMALL)
    assert Bundle.read(tmp_path).tensor("train/loss") > 0


def test_write_touches_nothing_in_a_folder_that_is_not_empty(tmp_path: Path, snapshot: Snapshot) -> None:
    bundle = write("tiny", tmp_path / "bundle", **SMALL).folder
    own, leftover, file = tmp_path / "inputs-of-mine", tmp_path / "leftover", tmp_path / "file"
    for folder, name in ((own / "inputs", "thesis.tex"), (leftover, "thesis.tex"), (leftover, ".unfinished")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("words", encoding="utf-8")
    file.write_text("words", encoding="utf-8")
    before = snapshot(tmp_path)
    for folder, told in (
        (bundle, "Got a folder with a finished bundle."),
        (own, "Got a folder that contains 'inputs'."),  # no bundle was begun there
        (leftover, "Got a folder that contains 'thesis.tex'."),
        (file, "Got a file."),
    ):
        with pytest.raises(RunError, match=re.escape(f"{folder} must be a new or empty folder. {told}")):
            write("tiny", folder, **SMALL)
    assert snapshot(tmp_path) == before


def test_write_computes_the_needed_space_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_files, "available_disk", lambda folder: 1_000_000)
    with pytest.raises(RunError, match=r"The disk of .*new must have 1\d\d\.\d MB free\. Got 1\.0 MB\. Choose another"):
        write("resnet20", tmp_path / "new", steps=6)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changes", [{}, {"steps": 0}, {"dtype": "float32"}])
def test_needed_space_is_about_that_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    needed: list[int] = []

    def prepare(folder: Path, size: int, parts: Any = ()) -> None:
        needed.append(size)
        prepared(folder, size, parts)

    prepared = bundle_files.prepare_folder
    monkeypatch.setattr("glassnet.verify.golden.writing.prepare_folder", prepare)
    bundle = write("tiny-bn", tmp_path / "new", **{"steps": 1, **changes})
    assert 0.9 < needed[0] / bundle.size < 1.1


def test_write_raises_for_numbers_that_are_not_finite(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"must be finite in .*\. Got \S+ in steps/\d/\S+ in float32\. Lower"):
        write("tiny", tmp_path, lr=1e30, steps=3)
    with pytest.raises(DataError, match=r"must have a manifest"):
        Bundle.read(tmp_path)


def exceeded(bundle: Bundle, other: Bundle, dtype: str = "float32") -> list[str]:
    """Return the tensors of another bundle that differ by more than the tolerance of a port in this dtype."""
    wrong = []
    for name, entry in bundle.entries.items():
        difference = np.abs(other.tensor(name).astype(np.float64) - bundle.tensor(name)).max()
        wrong += [name] * bool(difference > entry["tolerance"][dtype] * entry["scale"])
    return wrong


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write("tiny-bn", tmp_path_factory.mktemp("golden") / "bundle")


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"momentum": 0.8}, "steps/2/state/conv1.weight"),
        ({"weight_decay": 0.099}, "steps/1/state/conv1.weight"),
        ({"weight_decay_scope": "all"}, "steps/1/state/bn1.weight"),
        ({"schedule": "constant"}, "steps/2/state/conv1.weight"),
        ({"nesterov": True}, "steps/1/state/conv1.weight"),
        ({"label_smoothing": 0.01}, "train/loss"),
        ({"bn_momentum": 0.11}, "train/buffers/bn1.running_mean"),
        ({"bn_eps": 1e-4}, "eval/activations/bn1"),
    ],
)
def test_every_setting_of_the_default_recipe_shows_in_float32(
    bundle: Bundle, tmp_path: Path, changes: dict[str, Any], first: str
) -> None:
    assert exceeded(bundle, write("tiny-bn", tmp_path, **changes))[0] == first


def test_a_float32_bundle_agrees_within_the_tolerances_of_float32(bundle: Bundle, tmp_path: Path) -> None:
    single = write("tiny-bn", tmp_path, dtype="float32")
    assert {single.tensor(name).dtype for name in single.names} == set(map(np.dtype, ("f4", "i8", "u1")))
    assert exceeded(bundle, single) == []
    assert exceeded(bundle, single, "float64")
    name = "train/activations/conv1"
    assert single.entries[name]["tolerance"]["float64"] == single.entries[name]["tolerance"]["float32"]


def test_torch_agrees_within_the_tolerances(bundle: Bundle) -> None:
    """Another implementation of the sums, in both dtypes: the tolerances are neither too narrow nor wide."""
    pytest.importorskip("torch")
    for dtype in ("float64", "float32"):
        network = gn.build(bundle.spec, "torch", dtype=dtype, state=bundle.tensors("inputs/state"))
        images, labels = bundle.tensor("inputs/images"), bundle.tensor("inputs/labels")
        traced = network.trace(images, labels)
        for of in ("activations", "activation_gradients", "gradients", "buffers"):
            for key, array in getattr(traced, of).items():
                entry = bundle.entries[f"train/{of}/{key}"]
                difference = np.abs(array - bundle.tensor(f"train/{of}/{key}")).max()
                assert difference <= entry["tolerance"][dtype] * entry["scale"], key
                assert entry["tolerance"]["float32"] < 1e-3
                assert entry["tolerance"]["float64"] < 1e-11


def test_the_manifest_lists_what_a_port_needs(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest["learning_rates"] == [0.01, 0.005]
    assert manifest["optimizer"] == {"momentum": 0.9, "nesterov": False}
    assert manifest["updates"]["conv1.weight"] == {"weight_decay": 0.1, "lr_factor": 1.0}
    assert manifest["updates"]["bn1.weight"] == {"weight_decay": 0.0, "lr_factor": 1.0}
    assert manifest["updates"].keys() == gn.build(bundle.spec).gradients(*BATCH)[1].keys()
    kinds = {operation["kind"] for operation in manifest["operations"]}
    assert kinds - {"Linear", "Identity"} <= manifest["conventions"].keys()
    assert manifest["margin"]["smallest"] > manifest["margin"]["target"]
    assert manifest["versions"].keys() == {"glassnet", "numpy", "python"}


BATCH = np.ones((8, 1, 8, 8)), np.arange(8)
