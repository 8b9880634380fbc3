"""Bundles of single operations."""

from pathlib import Path

import numpy as np
import pytest

from glassnet.errors import ConfigError, DataError, RunError
from glassnet.verify.golden.bundle import Bundle
from glassnet.verify.golden.evaluation import PassEvaluation, PortTensors
from glassnet.verify.golden.operation_bundles import collection_names, write_layers
from glassnet.verify.golden.operation_cases import operation_cases


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layers(tmp_path_factory.mktemp("golden") / "layers")


def test_write_layers_makes_a_bundle_of_every_case(written: Path) -> None:
    names = collection_names(written)
    assert names is not None
    assert len(names) == len(set(names)) == len(operation_cases())
    assert {path.name for path in written.iterdir()} == {*names, "manifest.json"}
    assert {Bundle.read(written / name).manifest["title"] for name in names} == operation_cases().keys()


def test_bundles_hold_what_the_reference_computes(written: Path) -> None:
    """The numbers in the files are those of an evaluation that starts from the files."""
    for name in collection_names(written) or []:
        bundle = Bundle.read(written / name)
        (operation,) = bundle.operations
        evaluation = PassEvaluation(bundle.operations, bundle.pass_inputs("train"), PortTensors())
        output = "loss" if operation.name == "loss" else f"activations/{operation.name}"
        np.testing.assert_array_equal(bundle.tensor(f"train/{output}"), evaluation.expected(operation.name))
        for source in operation.inputs:
            gradient = bundle.tensor(f"train/activation_gradients/{source}")
            np.testing.assert_array_equal(gradient, evaluation.expected_gradient(source), err_msg=name)


def test_write_layers_in_float32_writes_float32(tmp_path: Path) -> None:
    bundle = Bundle.read(write_layers(tmp_path / "layers", dtype="float32") / "conv2d")
    assert bundle.tensor("train/activations/layer").dtype == np.float32
    assert bundle.entries["train/activations/layer"]["tolerance"]["float64"] > 1e-7  # no better than its numbers


def test_write_layers_refuses_a_folder_with_other_files_and_an_unknown_dtype(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunError, match=r"must be a new or empty folder\. Got a folder that contains 'mine\.txt'\."):
        write_layers(tmp_path)
    with pytest.raises(ConfigError, match="dtype must be one of float64, float32"):
        write_layers(tmp_path / "new", dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_write_layers_replaces_what_a_killed_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_layers(tmp_path / "layers")
    (folder / "manifest.json").unlink()  # as if it had been killed before the last file
    (folder / ".unfinished").touch()
    (folder / "conv2d" / "manifest.json").unlink()
    assert collection_names(folder) is None
    assert collection_names(write_layers(folder)) is not None
    Bundle.read(folder / "conv2d")


@pytest.mark.parametrize("names", ["[]", '["../up"]', "[1]", "null", '["conv2d/.."]'])
def test_collection_names_refuses_names_that_are_no_folders_of_it(tmp_path: Path, names: str) -> None:
    text = f'{{"format": "glassnet golden operations", "format_version": 1, "operations": {names}}}'
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"manifest\.json must (have|be)|operations in .* must be names of folders"):
        collection_names(tmp_path)


def test_collection_names_leaves_other_folders_to_the_reader_of_bundles(tmp_path: Path, written: Path) -> None:
    assert collection_names(tmp_path) is None
    assert collection_names(written / "conv2d") is None
