"""Bundles that were read back, and files that are not what was written."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import glassnet as gn
from glassnet.errors import ConfigError, DataError
from glassnet.verify.golden import Bundle
from glassnet.verify.golden.evaluation import PassEvaluation, PortTensors


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("golden") / "new" / "bundle"
    return gn.golden.write("tiny-bn", folder, width=4, dropout=0.3, label_smoothing=0.1, class_weights="balanced")


@pytest.fixture
def other(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))


def test_read_returns_what_was_written(bundle: Bundle) -> None:
    assert bundle.spec == gn.spec("tiny-bn", width=4, dropout=0.3)
    assert bundle.recipe is not None
    assert (bundle.recipe.label_smoothing, bundle.recipe.batch_size, bundle.recipe.momentum) == (0.1, 3, 0.9)
    assert (bundle.steps, bundle.dtype, bundle.names[0]) == (2, "float64", "inputs/pixels")
    pixels = bundle.tensor("inputs/pixels")
    np.testing.assert_array_equal(bundle.normalization.apply(pixels, np.float64), bundle.tensor("inputs/images"))


def test_files_are_plain_and_all_are_in_the_safetensors_file(bundle: Bundle) -> None:
    together = load_file(bundle.folder / "tensors.safetensors")
    assert together.keys() == bundle.entries.keys()
    for name, entry in bundle.entries.items():
        content = (bundle.folder / entry["file"]).read_bytes()
        assert b"'fortran_order': False" in content[:128]
        array = np.load(bundle.folder / entry["file"], allow_pickle=False)
        assert (list(array.shape), array.dtype.str) == (entry["shape"], entry["dtype"])
        np.testing.assert_array_equal(together[name], array)
        np.testing.assert_array_equal(bundle.tensor(name), array)
        assert np.abs(array).max() == pytest.approx(entry["scale"])
    written = {f"{name}.npy" for name in bundle.names} | {"manifest.json", "tensors.safetensors"}
    files = (path for path in bundle.folder.rglob("*") if path.is_file())
    assert {path.relative_to(bundle.folder).as_posix() for path in files} == written


def test_manifest_has_the_hash_of_the_safetensors_file(bundle: Bundle) -> None:
    content = (bundle.folder / "tensors.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == bundle.manifest["safetensors"]["sha256"]


@pytest.mark.parametrize("of", ["eval", "train", 1, 2])
def test_pass_inputs_give_the_numbers_of_the_pass(bundle: Bundle, of: str | int) -> None:
    evaluation = PassEvaluation(bundle.operations, bundle.pass_inputs(of), PortTensors())
    prefix = of if isinstance(of, str) else f"steps/{of}"
    if of != "eval":
        assert evaluation.expected("loss") == bundle.tensor(f"{prefix}/loss")
        for key, gradient in bundle.tensors(f"{prefix}/gradients").items():
            np.testing.assert_array_equal(evaluation.backward(key.rpartition(".")[0]).parameters[key], gradient)
    for name, activation in bundle.tensors(f"{prefix}/activations").items():
        np.testing.assert_array_equal(evaluation.value(name), activation)


def test_pass_inputs_raise_for_a_step_that_was_not_taken(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"step must be at most 2, the steps of .*\. Got 3\.$"):
        bundle.pass_inputs(3)
    for step in (0, "evaluation", True):
        with pytest.raises(ConfigError, match="step must be an integer of at least 1"):
            bundle.pass_inputs(step)


def test_tensor_raises_for_an_unknown_name(bundle: Bundle) -> None:
    with pytest.raises(DataError, match=r"must be one of inputs/pixels, .* Got 'train/los'; did you mean 'train/loss'"):
        bundle.tensor("train/los")


NAME = "train/activations/conv1"


def rehash(folder: Path, **changes: Any) -> None:
    """Let the manifest say what the file has."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text("utf-8"))
    (entry,) = (entry for entry in content["tensors"] if entry["name"] == NAME)
    entry.update(sha256=hashlib.sha256((folder / f"{NAME}.npy").read_bytes()).hexdigest(), **changes)
    path.write_text(json.dumps(content), "utf-8")


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as raised:
        Bundle.read(folder).tensor(NAME)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_tensor_refuses_files_that_are_not_those_that_were_written(other: Path, tmp_path: Path) -> None:
    path = other / f"{NAME}.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    assert re.search(r"conv1\.npy must have the sha256 [0-9a-f]{64}\. Got [0-9a-f]{64}\. Write", refused(other))
    path.write_bytes(content[:-200])
    assert re.search(r"conv1\.npy must have about 6144 bytes, as its shape says\. Got 6072\.$", refused(other))
    path.unlink()
    assert refused(other) == f"The file of {NAME} must be in {other}. Got '{NAME}.npy'."
    (tmp_path / "secret.npy").write_bytes(content)
    path.symlink_to(tmp_path / "secret.npy")
    assert "must be in" in refused(other)
    path.unlink()
    path.symlink_to(path)
    assert "must be in" in refused(other)


def test_tensor_refuses_files_with_the_right_hash_and_a_wrong_content(other: Path) -> None:
    path = other / f"{NAME}.npy"
    array = np.load(path)
    np.save(path, np.where(array == array.max(), np.nan, array))
    rehash(other)
    assert refused(other).endswith("conv1.npy must hold finite numbers. Got nan.")
    np.save(path, array.reshape(-1))
    rehash(other)
    assert refused(other).endswith("in C order. Got <f8 of shape (768,) in C order.")
    np.save(path, array.astype(">f8"))
    rehash(other)
    assert refused(other).endswith("in C order. Got >f8 of shape (3, 4, 8, 8) in C order.")
    np.save(path, np.asfortranarray(array))
    rehash(other)
    assert refused(other).endswith("Got <f8 of shape (3, 4, 8, 8) in Fortran order.")
    path.write_bytes(b"\x93NUMPY" + bytes(6300))
    rehash(other)
    assert "must be a .npy file of numbers. Got: " in refused(other)
    huge = np.lib.format.header_data_from_array_1_0(array) | {"shape": (10**6, 10**6)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, huge)
        file.write(bytes(6144))
    rehash(other)
    assert refused(other).endswith("in C order. Got <f8 of shape (1000000, 1000000) in C order.")


def test_labels_that_are_no_classes_are_refused(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "tensor", lambda bundle, name: np.array([1, -1, 3]))
    with pytest.raises(DataError, match=r"The labels of .* must be from 0 to 9\. Got \[ 1 -1  3\]\.$"):
        Bundle.read(other).pass_inputs("train")
