"""glassnet golden check: the text, the JSON object, the page and the exit code."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glassnet.verify.golden import Bundle, write
from tests.calls import Call, caller
from tests.without_torch import BLOCK_TORCH


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write("tiny", tmp_path_factory.mktemp("golden") / "bundle", steps=0)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, bundle: Bundle) -> Call:
    """``glassnet golden check BUNDLE ...`` in this process, inside ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    return caller(monkeypatch, capsys, "golden", "check", str(bundle.folder))


@pytest.fixture
def right(bundle: Bundle) -> dict[str, np.ndarray]:
    return {name: bundle.tensor(name) for name in bundle.names if name.startswith("train/activations/")}


@pytest.fixture
def wrong(right: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    changed = right["train/activations/layer1.0.conv2"].copy()
    changed[:, 3] *= 2
    return right | {"train/activations/layer1.0.conv2": changed}


def test_golden_check_passes(judge: Call, right: dict[str, np.ndarray]) -> None:
    np.savez("dump.npz", **right)
    code, out, err = judge("dump.npz")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"Passed: {len(right)} tensors agree with the reference."
    assert lines[1].startswith("Not judged: ")
    assert "33 tensors, not in the dump: eval/activations 12, train/loss" in lines[1]


def test_golden_check_exits_with_1_for_a_fault(judge: Call, wrong: dict[str, np.ndarray]) -> None:
    np.savez("dump.npz", **wrong)
    code, out, err = judge("dump.npz")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith("FAILED: ")
    assert lines[1].startswith("layer1.0.conv2 returned a wrong output (train/activations/layer1.0.conv2: error ")
    assert "channel 3" in lines[2]
    assert any(line.startswith("train/activations/layer1.0.conv2  layer1.0.conv2  forward") for line in lines)
    assert f"{len(wrong) - 2} tensors agree with the reference." in lines


def test_golden_check_lists_all_tensors(judge: Call, wrong: dict[str, np.ndarray], bundle: Bundle) -> None:
    np.savez("dump.npz", **wrong)
    out = judge("dump.npz", "--all")[1].splitlines()
    for name in wrong:
        (line,) = [line for line in out if line.startswith(f"{name}  ")]
        assert line.endswith("NO" if name.endswith(("layer1.0.conv2", "layer1.0.sum")) else "yes")
    assert "Not judged: train/loss: not in the dump." in out


def test_golden_check_prints_one_json_object(judge: Call, wrong: dict[str, np.ndarray]) -> None:
    wrong["train/activations/conv1"] = wrong["train/activations/conv1"] * np.nan
    np.savez("dump.npz", **wrong)
    code, out, err = judge("dump.npz", "--json")
    assert (code, err) == (1, "")
    found = json.loads(out, parse_constant=pytest.fail)  # no Infinity, no NaN
    assert not found["passed"]
    assert found["first"]["operation"] == "conv1"
    assert found["first"]["error"] is None
    assert len(found["rows"]) == len(wrong)


def test_golden_check_maps_names_and_notes_others(judge: Call, right: dict[str, np.ndarray]) -> None:
    renamed = {name.removeprefix("train/activations/"): array for name, array in right.items()}
    np.savez("dump.npz", **renamed, other=np.zeros(3))
    Path("map.json").write_text('{"train/activations/{name}": "{name}"}', encoding="utf-8")
    code, out, _ = judge("dump.npz", "--map", "map.json")
    assert code == 0
    assert out.splitlines()[-1] == "other is none of the bundle's tensors."
    code, _, err = judge("dump.npz")
    assert code == 1
    assert err.startswith(
        "Error: dump.npz must hold tensors under names of the bundle, such as eval/activations/conv1, "
    )
    assert "(--map)" in err


def test_golden_check_takes_a_dtype(judge: Call, right: dict[str, np.ndarray]) -> None:
    np.savez("dump.npz", **{name: array.astype(np.float32).astype(np.float64) for name, array in right.items()})
    assert judge("dump.npz", "--dtype", "float32")[0] == 0
    assert judge("dump.npz")[0] == 1
    code, _, err = judge("dump.npz", "--dtype", "float23")
    assert (code, err.splitlines()[0][:60]) == (1, "Error: dtype must be one of float64, float32, float16, bfloa")


def test_golden_check_writes_a_page(judge: Call, wrong: dict[str, np.ndarray]) -> None:
    np.savez("dump.npz", **wrong)
    code, out, _ = judge("dump.npz", "--page", "page.html")
    assert code == 1
    assert out.splitlines()[-1] == "Page page.html"
    page = Path("page.html").read_text(encoding="utf-8")
    assert "layer1.0.conv2 returned a wrong output" in page
    assert "dump.npz" in page


def test_golden_check_needs_no_torch(bundle: Bundle) -> None:
    program = f"{BLOCK_TORCH}from glassnet.cli import main; main()"
    words = [sys.executable, "-c", program, "golden", "check", str(bundle.folder), str(bundle.folder)]
    checked = subprocess.run(words, capture_output=True, encoding="utf-8")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("Passed: ")
