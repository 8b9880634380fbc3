from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.data import Normalization
from glassnet.errors import ConfigError, DataError, GlassnetError, RunError
from glassnet.nn.functional import softmax
from glassnet.training import Model
from tests.training.runs import train
from tests.without_torch import BLOCK_TORCH

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

import onnxruntime

from tests.exporting.networks import read


def outputs(path: Path, images: Any) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["logits", "probabilities"], {"images": images})


def test_export_computes_what_the_run_predicts(trained: Model, tmp_path: Path) -> None:
    result = gn.export(trained.path, tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)
    logits, probabilities = outputs(result.path, images)
    own = trained.network.logits(Normalization(255.0, (0.0,), (1.0,)).apply(images))
    np.testing.assert_allclose(logits, own, rtol=0, atol=1e-5 * abs(own).max())
    np.testing.assert_allclose(probabilities, softmax(own), rtol=0, atol=1e-5)


def test_export_verifies_on_the_test_images(trained: Model, tmp_path: Path) -> None:
    result = gn.export(trained.path, tmp_path / "model.onnx")
    assert result.path.stat().st_size == result.size
    assert (result.opset, result.input) == (14, "uint8")
    verification = result.verification
    assert verification is not None
    assert (verification.images, verification.source) == (450, "test images")
    assert 0 < verification.difference < 2e-6 < verification.tolerance == 1e-5
    assert verification.runtime == onnxruntime.__version__
    assert repr(result) == (
        f"Export({str(result.path)!r}, opset 14, uint8 input, {result.size:,} bytes, verified on 450 images)"
    )


def test_export_takes_floats(trained: Model, tmp_path: Path, digits: gn.Dataset) -> None:
    path = gn.export(trained.path, tmp_path / "model.onnx", input="float32").path
    images = digits.test.images[:5]
    own = trained.network.logits(trained.normalization.apply(images))
    logits, _ = outputs(path, (images / np.float32(16)).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(logits, own, rtol=0, atol=1e-5 * abs(own).max())


def test_export_of_a_float64_run_has_float32_weights(tmp_path: Path, digits: gn.Dataset) -> None:
    run = train(digits, tmp_path / "run", epochs=1, dtype="float64", width=4)
    result = gn.export(run.path, tmp_path / "model.onnx", data=digits)
    assert {tensor.data_type for tensor in read(result.path.read_bytes())[0].graph.initializer} == {1}
    assert result.verification is not None
    assert 0 < result.verification.difference < 2e-6


def test_export_takes_best_or_last_weights(trained: Model, tmp_path: Path) -> None:
    run = train("digits", tmp_path / "run", samples=200, validation_fraction=0.2)
    (run.path / "best.safetensors").write_bytes((trained.path / "last.safetensors").read_bytes())
    files = {name: tmp_path / f"{name}.onnx" for name in ("best", "last")}
    for name, path in files.items():
        gn.export(run.path, path, weights=name, verify=False)
        digest = hashlib.sha256((run.path / f"{name}.safetensors").read_bytes()).hexdigest()
        assert read(path.read_bytes())[1]["fingerprints"]["weights"] == digest
    default = gn.export(run.path, tmp_path / "default.onnx", verify=False).path
    assert default.read_bytes() == files["best"].read_bytes()
    with pytest.raises(RunError, match=r"weights must be one of best, last\. Got 'bets'"):
        gn.export(run.path, tmp_path / "other.onnx", weights="bets")


def test_export_draws_images_for_runs_on_arrays(tmp_path: Path, digits: gn.Dataset) -> None:
    data = gn.Dataset(digits.train.images, digits.train.labels, scale=16.0)
    run = train(data, tmp_path / "run", epochs=1)
    result = gn.export(run.path, tmp_path / "model.onnx")
    assert result.verification is not None
    assert (result.verification.images, result.verification.source) == (64, "drawn images")
    given = gn.export(run.path, tmp_path / "model.onnx", data=digits)
    assert given.verification is not None
    assert (given.verification.images, given.verification.source) == (450, "test images")


def test_export_adds_drawn_images_to_few_test_images(trained: Model, tmp_path: Path, digits: gn.Dataset) -> None:
    part = digits.test.take(np.arange(10))
    few = gn.Dataset.from_splits(digits.train, part, digits.classes, scale=16.0)
    verification = gn.export(trained.path, tmp_path / "model.onnx", data=few).verification
    assert verification is not None
    assert (verification.images, verification.source) == (64, "test and drawn images")


def test_export_refuses_data_that_does_not_fit(trained: Model, tmp_path: Path) -> None:
    images, labels = np.zeros((8, 4, 4, 1), np.uint8), np.arange(8) % 2
    small = gn.Dataset(images, labels, test_images=images, test_labels=labels)
    with pytest.raises(DataError, match=r"must be \(H, W, C\) = \(8, 8, 1\)\. Got \(4, 4, 1\)"):
        gn.export(trained.path, tmp_path / "model.onnx", data=small)
    with pytest.raises(GlassnetError, match="nowhere"):
        gn.export(trained.path, tmp_path / "model.onnx", data=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_export_leaves_no_file_where_the_verification_fails(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassnet.exporting.onnx_graph._GraphWriter._ReLU", lambda writer, layer, x: x)
    with pytest.raises(GlassnetError, match=r"computes other logits than the run for image \d+: .*No file was written"):
        gn.export(trained.path, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_export_keeps_an_older_file_where_the_verification_fails(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = gn.export(trained.path, tmp_path / "model.onnx").path
    before = path.read_bytes()
    monkeypatch.setattr("glassnet.exporting.verification.TOLERANCE", 1e-12)
    with pytest.raises(GlassnetError, match="No file was written"):
        gn.export(trained.path, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"file": "model.pt"}, r"^The exported file must end in \.onnx\. Got model\.pt\.$"),
        ({"file": "nowhere/model.onnx"}, r"^The exported file must be in an existing folder\. Got nowhere/model\.onnx"),
        ({"file": 3}, r"^file must be a path\. Got 3\.$"),
        ({"input": "uint"}, r"^input must be one of uint8, float32\. Got 'uint'; did you mean 'uint8'\?$"),
    ],
)
def test_export_refuses_wrong_arguments(trained: Model, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gn.export(**{"run": trained.path, "file": "model.onnx", **arguments})


def test_export_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must be a run folder"):
        gn.export(tmp_path, tmp_path / "model.onnx")


def test_export_needs_onnx_runtime_unless_it_is_not_verified(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(GlassnetError) as caught:
        gn.export(trained.path, path)
    assert str(caught.value) == (
        "Verifying an export needs ONNX Runtime (import of onnxruntime halted; None in sys.modules): "
        "pip install 'glassnet[export]', or export without verification: verify=False, --no-verify."
    )
    assert not path.exists()
    assert "not verified" in repr(gn.export(trained.path, path, verify=False))
    assert path.is_file()


def test_export_needs_onnx(trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx_file", "onnx_graph"):
        monkeypatch.delitem(sys.modules, f"glassnet.exporting.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(GlassnetError, match=r"^An export needs ONNX \(.*\): pip install 'glassnet\[export\]'\.$"):
        gn.export(trained.path, tmp_path / "model.onnx")


WITHOUT_TORCH = f"""{BLOCK_TORCH}import glassnet as gn
print(gn.export(*sys.argv[1:]))
"""


def test_export_needs_no_torch_and_leaves_nothing_for_telemetry(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, trained.path, tmp_path / "model.onnx"]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    assert "verified on 450 images" in done.stdout
    assert done.stderr == ""
    assert list(home.rglob("*")) == []
