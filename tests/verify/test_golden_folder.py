"""The folder of golden numbers: what it holds, and what it does with folders that others wrote."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import DataError, GlassnetError, RunError
from glassnet.verify import check_parity, golden_folder
from glassnet.verify.golden.cases import GoldenCase, compute_groups
from glassnet.verify.golden_folder import dump_groups
from tests.without_torch import BLOCK_TORCH

CASE: dict[str, Any] = {"model": "tiny-bn", "steps": 1}


def dump(folder: Path, model: str = "tiny-bn", **case: Any) -> Path:
    network = gn.build(model, dtype=case.get("dtype", "float64"))
    for _ in dump_groups(compute_groups(network, made := GoldenCase(network.spec, **case)), made, folder):
        pass
    return folder


@pytest.fixture(scope="session")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dump(
        tmp_path_factory.mktemp("dump") / "new" / "folder",
        steps=1,
        recipe=gn.Recipe(lr=1e-4, weight_decay=0.1),  # check_parity's
    )


def index_of(folder: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return index


@pytest.fixture
def other(dumped: Path, tmp_path: Path) -> Path:
    """Another implementation's folder, which agrees so far."""
    return Path(shutil.copytree(dumped, tmp_path / "other"))


def rewrite(folder: Path, **changes: Any) -> None:
    (folder / "index.json").write_text(json.dumps({**index_of(folder), **changes}), encoding="utf-8")


def against(folder: Path, **changes: Any) -> Any:
    return check_parity(**{**CASE, **changes}, against=folder)


# What it holds.


def test_dump_groups_writes_every_tensor_in_the_order_of_the_check(dumped: Path) -> None:
    report = check_parity(**CASE)
    index = index_of(dumped)
    assert index["format"] == 1
    rows = [row for row in report.rows if not row.tensor.startswith(("initial/", "steps/learning_rates"))]
    assert [entry["name"] for entry in index["tensors"]] == [row.tensor for row in rows]
    for entry, row in zip(index["tensors"], rows, strict=True):
        array = np.load(dumped / entry["file"], allow_pickle=False)
        assert list(array.shape) == entry["shape"]
        assert array.dtype.str == entry["dtype"]
        assert entry["dtype"] == ("<i8" if entry["name"].endswith(("labels", "num_batches_tracked")) else "<f8")
        assert array.flags.c_contiguous
        header = (dumped / entry["file"]).read_bytes()[:128]
        assert b"'fortran_order': False" in header
        assert entry["tolerance"] == row.tolerance
        assert entry["scale"] >= np.abs(array).max()
        assert entry["what"].startswith(entry["name"].rpartition("/")[2] + ": ")
    assert {path.name for path in dumped.iterdir()} == {"index.json", "inputs", "eval", "train", "steps"}


def test_dump_groups_writes_the_case_and_the_versions(dumped: Path) -> None:
    index = index_of(dumped)
    assert gn.ResNetSpec(**index["case"]["spec"]) == gn.spec("tiny-bn")
    assert {name: index["case"][name] for name in ("dtype", "batch_size", "steps", "seed")} == {
        "dtype": "float64",
        "batch_size": 2,
        "steps": 1,
        "seed": 0,
    }
    assert index["case"]["recipe"]["optimizer"] == "sgd"
    assert index["versions"].keys() == {"glassnet", "numpy", "python"}


def test_dump_groups_writes_all_that_another_implementation_needs(dumped: Path) -> None:
    """Weights and batch from the folder alone give every number in it."""

    def load(name: str) -> Any:
        return np.load(dumped / f"{name}.npy")

    index = index_of(dumped)
    network = gn.build(gn.ResNetSpec(**index["case"]["spec"]), dtype="float64", seed=7)
    prefix = "inputs/state/"
    names = [entry["name"] for entry in index["tensors"]]
    network.load_state_dict({name.removeprefix(prefix): load(name) for name in names if name.startswith(prefix)})
    images, labels = load("inputs/images"), load("inputs/labels")
    np.testing.assert_array_equal(network.logits(images), load("eval/activations/fc"))
    loss, gradients = network.gradients(images, labels)
    assert loss == load("train/loss")
    for key, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, load(f"train/gradients/{key}"))
    network.trainer(gn.Recipe(**index["case"]["recipe"])).step(images, labels)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, load(f"steps/state/{key}"))


def test_dump_groups_writes_no_tolerance_for_gradients_in_float32(tmp_path: Path) -> None:
    index = index_of(dump(tmp_path, dtype="float32", steps=0))
    tolerances = {entry["name"]: entry["tolerance"] for entry in index["tensors"]}
    assert tolerances["inputs/state/fc.bias"] == tolerances["train/activations/fc"] == tolerances["train/loss"] == 1e-4
    assert tolerances["train/gradients/fc.bias"] is None
    assert {entry["dtype"] for entry in index["tensors"]} == {"<f4", "<i8"}


def test_dump_groups_writes_the_same_numbers_for_the_same_case(dumped: Path, tmp_path: Path) -> None:
    recipe = gn.Recipe(lr=1e-4, weight_decay=0.1)
    again, other = (dump(tmp_path / str(seed), steps=1, seed=seed, recipe=recipe) for seed in (0, 1))
    name = "steps/state/fc.weight.npy"
    assert (again / name).read_bytes() == (dumped / name).read_bytes() != (other / name).read_bytes()


# How it is written.


@pytest.mark.parametrize("instant", [0, 1, 20, 80])
def test_dump_groups_leaves_no_valid_folder_when_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dumped: Path, instant: int
) -> None:
    left = instant

    def killed(path: Path, array: Any, allow_pickle: bool) -> None:
        nonlocal left
        if left == 0:
            Path(path).write_bytes(b"\x93NUMPY half")
            raise KeyboardInterrupt
        left -= 1
        saved(path, array, allow_pickle=allow_pickle)

    saved = np.save
    monkeypatch.setattr(golden_folder.np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        check_parity(**CASE, dump=tmp_path)
    monkeypatch.undo()
    with pytest.raises(DataError, match=re.escape(f"must have an index. Got no {tmp_path / 'index.json'}.")):
        against(tmp_path)
    check_parity(**CASE, dump=tmp_path)
    assert index_of(tmp_path)["tensors"] == index_of(dumped)["tensors"]
    assert against(tmp_path).passed


def test_dump_groups_leaves_no_index_when_killed_while_writing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        dump(tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "index.json").exists()
    dump(tmp_path)
    assert not (tmp_path / ".index.json.tmp").exists()


def test_dump_groups_raises_for_a_folder_that_is_not_empty(dumped: Path, tmp_path: Path, snapshot: Any) -> None:
    (tmp_path / "thesis.tex").write_text("words", encoding="utf-8")
    (tmp_path / "inputs").mkdir()
    before = snapshot(dumped), snapshot(tmp_path)
    with pytest.raises(RunError, match=re.escape(f"new or empty folder. Got {dumped}, which holds index.json")):
        check_parity("tiny", dump=dumped)
    with pytest.raises(RunError, match=re.escape(f"Got {tmp_path}, which holds thesis.tex.")):
        check_parity("tiny", dump=tmp_path)
    with pytest.raises(RunError, match=r"Got the file .*thesis\.tex\.$"):
        check_parity("tiny", dump=tmp_path / "thesis.tex")
    assert (snapshot(dumped), snapshot(tmp_path)) == before


# Folders of other implementations.


def test_golden_folder_passes_if_it_agrees(other: Path) -> None:
    report = against(other)
    assert report.passed
    assert report.other == str(other)
    assert len(report.rows) == len(index_of(other)["tensors"])


def change(folder: Path, name: str, by: float = 1.0) -> None:
    path = folder / f"{name}.npy"
    array = np.load(path)
    array.flat[-1] += by
    np.save(path, array)


def test_golden_folder_names_the_first_tensor_that_differs(other: Path) -> None:
    for name in (
        "train/gradients/conv1.weight",
        "train/gradients/layer1.0.conv1.weight",
        "train/buffers/bn1.running_var",
    ):
        change(other, name)
        report = against(other)
        assert report.first is not None
        assert report.first.tensor == name
    with pytest.raises(GlassnetError, match=re.escape(f"in NumPy and in {other}: 3 of ")):
        report.raise_if_failed()


def test_golden_folder_may_have_any_subset_in_any_order(other: Path) -> None:
    names = ["train/loss", "train/activations/layer1.0.sum", "eval/activations/bn1"]
    change(other, "train/loss", 1e-6)
    change(other, "train/activations/layer1.0.sum", 1e-6)
    rewrite(other, tensors=[{"name": name, "file": f"{name}.npy"} for name in names])
    index = index_of(other)
    (other / "index.json").write_text(json.dumps({name: index[name] for name in ("format", "tensors")}), "utf-8")
    report = against(other)
    assert [row.tensor for row in report.rows] == names[::-1]
    assert report.first is not None
    assert report.first.tensor == "train/activations/layer1.0.sum"


def test_golden_folder_may_have_other_layouts(other: Path) -> None:
    for name, convert in {
        "inputs/state/conv1.weight": np.asfortranarray,
        "eval/activations/conv1": lambda array: array.astype(">f8"),
        "train/loss": lambda array: array.astype(">f8"),
        "inputs/labels": lambda array: array.astype(">i4"),
        "inputs/state/bn1.num_batches_tracked": lambda array: array.astype(np.uint8),
    }.items():
        np.save(other / f"{name}.npy", convert(np.load(other / f"{name}.npy")))
    assert against(other).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_golden_folder_fails_for_numbers_that_are_not_finite(other: Path, value: float) -> None:
    change(other, "eval/activations/relu", value)
    report = against(other)
    assert report.first is not None
    assert report.first.tensor == "eval/activations/relu"
    assert report.first.required_tolerance == np.inf


def test_golden_folder_raises_for_another_case(other: Path) -> None:
    for changes, told in (
        ({"seed": 1}, "seed in {index} must be 1, as here. Got 0."),
        ({"dtype": "float32"}, "dtype in {index} must be 'float32', as here. Got 'float64'."),
        ({"model": "tiny"}, "spec.preset in {index} must be 'tiny', as here. Got 'tiny-bn'."),
        ({"model": gn.spec("tiny-bn", width=8)}, "spec.width in {index} must be 8, as here. Got 16."),
        ({"optimizer": "adam"}, "recipe.optimizer in {index} must be 'adam', as here. Got 'sgd'."),
    ):
        with pytest.raises(DataError, match=re.escape(told.format(index=other / "index.json"))):
            against(other, **changes)
    rewrite(other, case={"seed": 0})
    assert against(other).passed
    rewrite(other, case={"sead": 3})
    with pytest.raises(DataError, match=r"A field of the case in .*index\.json must be .*; did you mean 'seed'\?"):
        against(other)


NAME = "eval/activations/conv1"
HOSTILE: dict[str, tuple[Any, str]] = {
    "no list": ({"tensors": {}}, "index.json must be a list. Got '{}'."),
    "no case": ({"case": []}, "index.json must be a dict. Got '[]'."),
    "nothing": ({"tensors": []}, "index.json must list at least one tensor. Got none."),
    "another format": ({"format": 2}, "index.json must be a JSON object of format 1. Got '2'."),
    "no entry": ({"tensors": [3]}, "must have a name and a file. Got '3'."),
    "no file": ({"tensors": [{"name": NAME}]}, "must have a name and a file. Got"),
    "no name": ({"tensors": [{"name": 1, "file": "a.npy"}]}, "must have a name and a file. Got"),
    "twice": (
        {"tensors": [{"name": NAME, "file": f"{NAME}.npy"}] * 2},
        f"must be listed once. Got '{NAME}' twice.",
    ),
    "unknown": (
        {"tensors": [{"name": f"{NAME}x", "file": f"{NAME}.npy"}]},
        f"one that this check computes. Got '{NAME}x'; did you mean '{NAME}'?",
    ),
    "missing": ({"tensors": [{"name": NAME, "file": "gone.npy"}]}, "Got 'gone.npy'."),
    "a folder": ({"tensors": [{"name": NAME, "file": "eval"}]}, "Got 'eval'."),
    "empty": ({"tensors": [{"name": NAME, "file": ""}]}, f"The file of {NAME} must be in "),
    "null byte": ({"tensors": [{"name": NAME, "file": "a\0b"}]}, r"Got 'a\x00b'."),
    "too long": ({"tensors": [{"name": NAME, "file": "a" * 5000}]}, "Got 'aaa"),
    "outside": (
        {"tensors": [{"name": NAME, "file": "../secret.npy"}]},
        "Got '../secret.npy'.",
    ),
    "outside and back": (
        {"tensors": [{"name": NAME, "file": "eval/../../secret.npy"}]},
        "Got 'eval/../../secret.npy'.",
    ),
}


@pytest.mark.parametrize(("changes", "told"), HOSTILE.values(), ids=HOSTILE)
def test_golden_folder_raises_for_a_hostile_index(other: Path, changes: dict[str, Any], told: str) -> None:
    np.save(other.parent / "secret.npy", np.zeros(3))
    rewrite(other, **changes)
    with pytest.raises(DataError, match=re.escape(told)) as raised:
        against(other)
    assert "\n" not in str(raised.value)


def test_golden_folder_raises_for_files_outside(other: Path) -> None:
    secret = other.parent / "secret.npy"
    np.save(secret, np.zeros(3))
    rewrite(other, tensors=[{"name": NAME, "file": str(secret)}])
    with pytest.raises(DataError, match=f"The file of {NAME} must be in "):
        against(other)
    try:
        (other / "link.npy").symlink_to(secret)
    except OSError:
        pytest.skip("links need a privilege here")
    rewrite(other, tensors=[{"name": NAME, "file": "link.npy"}])
    with pytest.raises(DataError, match=f"The file of {NAME} must be in "):
        against(other)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\ufeff{}", "[" * 100_000, '{"format": "1"}'])
def test_golden_folder_raises_for_an_index_that_is_none(other: Path, text: str) -> None:
    (other / "index.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"index\.json must be (JSON\. Got: |a JSON object of format 1)"):
        against(other)


def test_golden_folder_raises_for_an_index_that_is_no_text(other: Path) -> None:
    (other / "index.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"index\.json must be JSON\. Got: "):
        against(other)


def test_golden_folder_raises_for_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="A folder of golden numbers must have an index. Got no "):
        against(tmp_path / "nowhere")


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def npy(shape: str, descr: str = "<f8", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x09\x00",
        npy("(2, 16, 8, 8)"),  # no data
        npy("(2, 16, 8, 8)", data=b"12345678"),  # cut short
        npy("(1000000000000,)"),
        npy("(-1,)"),
        npy("(2, 16, 8"),
        npy("(" * 3000),
        npy("(2,)", descr="|O"),
        npy("(2,)", descr="no type"),
    ],
)
def test_golden_folder_raises_for_a_file_that_is_no_array(other: Path, content: bytes) -> None:
    (other / f"{NAME}.npy").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{NAME}.npy").replace("/", ".")) as raised:
        against(other)
    assert "must be a whole .npy file of numbers. Got: " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_golden_folder_opens_no_pickles(other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(other / f"{NAME}.npy", np.array([Bomb()], object), allow_pickle=True)
    with pytest.raises(DataError, match="must be a whole .npy file of numbers"):
        against(other)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 8, 8, 16)), f"{NAME} must have shape (2, 16, 8, 8). Got (2, 8, 8, 16) in "),
        (np.zeros(()), f"{NAME} must have shape (2, 16, 8, 8). Got () in "),
        (np.zeros((2, 16, 8, 8), np.float32), f"{NAME} must have dtype float64. Got float32 in "),
        (np.zeros((2, 16, 8, 8), ">f4"), f"{NAME} must have dtype float64. Got >f4 in "),
        (np.zeros((2, 16, 8, 8), int), f"{NAME} must have dtype float64. Got int64 in "),
        (np.zeros((2, 16, 8, 8), complex), f"{NAME} must have dtype float64. Got complex128 in "),
        (np.zeros((2, 16, 8, 8), "U3"), f"{NAME} must have dtype float64. Got <U3 in "),
        (np.zeros((2, 16, 8, 8), [("a", "f4"), ("b", "f4")]), f"{NAME} must have dtype float64. Got [('a', '<f4')"),
    ],
)
def test_golden_folder_raises_for_another_shape_or_dtype(other: Path, array: Any, told: str) -> None:
    np.save(other / f"{NAME}.npy", array)
    with pytest.raises(DataError, match=re.escape(told)):
        against(other)


WITHOUT_TORCH = f"""{BLOCK_TORCH}sys.argv[:] = ["glassnet", "check", "parity", "tiny-bn", "--steps", "1", *sys.argv[1:]]
from glassnet.cli import main
main()
"""


def test_golden_folder_needs_no_torch(dumped: Path, tmp_path: Path) -> None:
    def call(*words: str) -> Any:
        return subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, encoding="utf-8")

    compared = call("--against", str(dumped))
    assert (compared.returncode, compared.stderr) == (0, f"NumPy and {dumped}, in float64 on cpu\n")
    refused = call("--dump", str(tmp_path / "new"))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == "Error: The torch engine needs PyTorch: pip install 'glassnet[torch]'"
    assert not (tmp_path / "new").exists()  # numbers that nothing confirmed
