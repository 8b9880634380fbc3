from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from glassnet import cli
from glassnet.training import Model

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["glassnet", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_export_prints_file_and_verification(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    assert call(monkeypatch, trained.path, path) == 0
    out, err = capfd.readouterr()
    assert err == ""
    file, verification = out.splitlines()
    assert file == f"ONNX file {path}: opset 14, uint8 input, {path.stat().st_size:,} bytes"
    assert re.fullmatch(
        r"ONNX Runtime [\d.]+ computes the same for 450 test images: logits differ by at most \d\.\de-\d\d "
        r"of the largest \|logit\|, [\d.]+ \(allowed: 1e-05\)",
        verification,
    )


def test_export_prints_one_json_object(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    assert call(monkeypatch, trained.path, path, "--input", "float32", "--no-verify", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "run": str(trained.path),
        "path": str(path),
        "opset": 14,
        "input": "float32",
        "size": path.stat().st_size,
        "verification": None,
    }


def test_export_logs_why_images_are_drawn(
    run: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run.path / "config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('"source": "digits"', '"source": "/nowhere"'), encoding="utf-8")
    assert call(monkeypatch, run.path, tmp_path / "model.onnx") == 0
    out, err = capsys.readouterr()
    assert "for 64 drawn images" in out
    assert "/nowhere" in err
    assert err.endswith("Drawn images take their place.\n")


def test_export_fails_in_one_line(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, trained.path, tmp_path / "model.bin") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"Error: The exported file must end in .onnx. Got {tmp_path / 'model.bin'}.\n"
