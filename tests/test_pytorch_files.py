import argparse
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassnet.errors import DataError
from glassnet.progress import show_progress
from glassnet.pytorch_files import load_state_dict
from tests.recorded_log import Log

torch = pytest.importorskip("torch")
STATE = {"conv1.weight": torch.arange(3.0)}


def read(path: Path, content: Any, **options: Any) -> dict[str, Any]:
    torch.save(content, path, **options)
    return load_state_dict(path)


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"net": STATE, "acc": 93.2, "epoch": 3},
        {"model": STATE},
        {
            "model_state_dict": STATE,
            "optimizer_state_dict": {"state": {0: {"step": torch.ones(1)}}, "param_groups": []},
        },
        {"state_dict": STATE, "best_prec1": torch.tensor(91.0)},
        {"epoch": 1, "state_dict": STATE, "pytorch-lightning_version": "2.5", "hyper_parameters": {"lr": 0.1}},
        {"some_other_name": STATE},
    ],
    ids=lambda checkpoint: next(name for name in checkpoint if checkpoint[name] is STATE),
)
def test_load_state_dict_finds_the_weights_of_a_checkpoint(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    loaded = read(tmp_path / "a.ckpt", checkpoint)
    assert list(loaded) == list(STATE)
    np.testing.assert_array_equal(loaded["conv1.weight"], [0, 1, 2])


def test_load_state_dict_logs_which_of_several_it_takes(tmp_path: Path) -> None:
    log, path = Log(), tmp_path / "a.pth"
    with show_progress(log):
        loaded = read(path, {"state_dict_ema": {"x": torch.zeros(1)}, "state_dict": STATE})
    assert list(loaded) == list(STATE)
    assert log.lines == [f"{path}: the weights are those under state_dict; those under state_dict_ema are left out"]


def test_load_state_dict_raises_where_no_name_decides(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    told = f"{path} must hold a state dict, from names to tensors. Got several: 'student', 'teacher'."
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        read(path, {"student": STATE, "teacher": STATE})


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "value",
    [np.float64(93.2), np.float32(1), np.int64(3), np.bool_(True), np.array([1.0, 2.0]), np.array(["a", None])],
    ids=lambda value: f"{type(value).__name__}-{value.dtype}",
)
def test_load_state_dict_ignores_numbers_of_numpy(value: Any, zipped: bool, tmp_path: Path) -> None:
    checkpoint = {"net": STATE, "acc": value}
    assert list(read(tmp_path / "a.pth", checkpoint, _use_new_zipfile_serialization=zipped)) == list(STATE)


@pytest.mark.parametrize("value", [np.float64(93.2), np.array([1.0, 2.0])], ids=["scalar", "array"])
def test_load_state_dict_ignores_numbers_of_numpy_1(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"net": STATE, "acc": value}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"cnumpy._core.multiarray\n" in content
    path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert list(load_state_dict(path)) == list(STATE)


def test_load_state_dict_leaves_the_globals_of_torch_as_they_are(tmp_path: Path) -> None:
    before = torch.serialization.get_safe_globals()
    read(tmp_path / "a.pth", {"net": STATE, "acc": np.float64(1)})
    assert torch.serialization.get_safe_globals() == before


def test_load_state_dict_raises_for_the_arguments_of_a_program(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    told = (
        f"{path} must hold tensors only. Got a pickle that could run code (argparse.Namespace). If you trust its "
        "source, read it with torch.load(..., weights_only=False) and save the state dict alone."
    )
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        read(path, {"state_dict": STATE, "hyper_parameters": argparse.Namespace(lr=0.1)})


class WritesFile:
    """Content of a pickle that creates a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["state_dict", "hyper_parameters"])
def test_load_state_dict_runs_no_code(name: str, tmp_path: Path) -> None:
    path, trace = tmp_path / "a.pth", tmp_path / "trace"
    content = {"state_dict": STATE, name: WritesFile(trace)}
    with pytest.raises(DataError, match="Got a pickle that could run code"):
        read(path, content)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # the pickle is as dangerous as it should be


@pytest.mark.parametrize(
    ("tensor", "received"),
    [
        (lambda: torch.zeros(1).expand(2**20, 2**20), "a of 1048576×1048576 in 1 number."),
        (lambda: torch.zeros(2).to_sparse(), ""),
        (lambda: torch.empty(2, device="meta"), ""),
    ],
    ids=["repeated", "sparse", "meta"],
)
def test_load_state_dict_raises_for_tensors_that_are_no_plain_arrays(
    tensor: Any, received: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    with pytest.raises(DataError, match=f"^{re.escape(f'{path} must hold plain arrays. Got')}:? {received}"):
        read(path, {"a": tensor()})


def test_load_state_dict_leaves_out_torchs_advice_to_run_code(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "test.py")
    reason = "Cannot use ``weights_only=True`` with files saved in the legacy .tar format"
    with pytest.raises(DataError, match=f"^{re.escape(f'{path} must be a whole PyTorch file. Got: {reason}.')}$"):
        load_state_dict(path)


def test_load_state_dict_raises_for_a_whole_module(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Got a pickle that could run code \(torch\.nn\.modules\.linear\.Linear\)\."):
        read(tmp_path / "a.pth", torch.nn.Linear(2, 2))
