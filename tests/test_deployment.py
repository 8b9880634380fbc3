"""Tests of docs/deployment.md: its script predicts as glassnet does, and its snippets load runs into PyTorch."""

from __future__ import annotations

import itertools
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.data import decode_image, decode_ink
from glassnet.data.images.image_form import ImageForm
from glassnet.verify.golden.cases import GoldenCase
from glassnet.weights import save_tensors
from tests.data.images.drawn_digits import STROKES, write
from tests.training.runs import train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
SCRIPT = ROOT / "docs" / "examples" / "classify.py"


def snippet(text: str) -> str:
    """Return the page's Python that contains a text."""
    (code,) = [code for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if text in code]
    return str(code)


def noise(height: int, width: int, channels: int = 3) -> Any:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels)).astype(np.uint8)


def save_odd_images(folder: Path) -> list[Path]:
    """Write one image of each kind that a decoder may get wrong."""
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = noise(40, 50, 1)[..., 0].astype(np.uint16)
    palette = Image.fromarray(noise(33, 47)).quantize(16)
    images: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "16-bit.png": (Image.fromarray(deep * 200 + 300), {}),
        "12-bit.tif": (Image.fromarray(deep * 16), {}),
        "float.tif": (Image.fromarray(deep.astype(np.float32) / 255), {}),
        "cmyk.jpg": (Image.fromarray(noise(61, 40)).convert("CMYK"), {}),
        "rotated.jpg": (Image.fromarray(noise(200, 300)), {"exif": exif}),
        "palette.png": (palette, {"transparency": 3}),
        "transparent.png": (Image.fromarray(noise(31, 30, 4)), {}),
        "bilevel.png": (Image.fromarray(noise(30, 31)).convert("1"), {}),
        "wide.png": (Image.fromarray(noise(20, 300)), {}),
        "tall.png": (Image.fromarray(noise(301, 17)), {}),
        "thin.png": (Image.fromarray(noise(1, 90)), {}),
    }
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    return [folder / name for name in images]


@pytest.fixture
def read_image() -> Callable[..., Any]:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return runpy.run_path(str(SCRIPT))["read_image"]  # type: ignore[no-any-return]


def test_page_shows_the_script() -> None:
    assert snippet("read_image") == SCRIPT.read_text(encoding="utf-8")


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_script_decodes_odd_images_to_the_bit(read_image: Callable[..., Any], tmp_path: Path, fit: Any) -> None:
    ranges, sizes = (None, (291.0, 694.5)), ((32, 32), (20, 9))
    for path in save_odd_images(tmp_path):
        for channels, value_range, size in itertools.product((1, 3), ranges, sizes):
            expected = decode_image(path, ImageForm(size, channels, fit, value_range))
            read = read_image(path, list(size), channels, fit, "bilinear", value_range, "white", False)
            np.testing.assert_array_equal(read, expected, err_msg=f"{path.name} {channels} {value_range} {size}")


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_script_predicts_as_glassnet_does(tmp_path: Path, fit: str) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for name, mean in (("dark", 60), ("light", 190)):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).normal(mean, 40, (24, 24 + number, 3)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
            deep = (300 + 4 * pixels[..., 0]).astype(np.uint16)  # of which few use the 16 bits
            Image.fromarray(deep).save(folder / f"{number}.tif")
    run = train(tmp_path / "data", tmp_path / "run", image_size=16, fit=fit)
    assert gn.load(run.path).config["data"]["value_range"] is not None
    model = gn.export(run.path, tmp_path / "model.onnx").path
    paths = save_odd_images(tmp_path)
    done = subprocess.run([sys.executable, SCRIPT, model, *paths], capture_output=True, encoding="utf-8", check=True)
    predictions = gn.load(run.path).predict(paths)
    expected = [f"{path}: {p.label} {p.probability:.1%}" for path, p in zip(paths, predictions, strict=True)]
    assert done.stdout.splitlines() == expected
    assert done.stderr == ""
    assert len({line.split(": ")[1] for line in expected}) > 2


def test_script_refuses_networks_of_drawn_digits(trained: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = gn.export(trained.path, tmp_path / "model.onnx", verify=False).path
    done = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "This network reads drawn digits that glassnet.data.decode_ink found.\n",
    )


def test_decoded_ink_is_the_input_of_networks_of_drawn_digits(trained: gn.Model, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    file = gn.export(trained.path, tmp_path / "model.onnx", verify=False).path
    paths = [tmp_path / f"{digit}.png" for digit in STROKES]
    for digit, path in zip(STROKES, paths, strict=True):
        write(digit).save(path)
    images = np.stack([decode_ink(path).pixels for path in paths])
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"images": images})
    expected = [prediction.probability for prediction in trained.predict(paths)]
    np.testing.assert_allclose(probabilities.max(axis=1), expected, rtol=0, atol=1e-5)


def random_run(spec: gn.ResNetSpec, path: Path) -> gn.Model:
    """Write a run of random weights and statistics, and return its model."""
    weights = path.with_suffix(".safetensors")
    path.parent.mkdir()
    save_tensors(weights, GoldenCase(spec, "float32").state())
    names = [str(number) for number in range(spec.classes)]
    statistics = {"mean": spec.in_channels * [0.25], "std": spec.in_channels * [0.5]}
    return gn.import_weights(weights, spec, classes=names, **statistics, run=path)


def assert_same_logits(network: Any, model: gn.Model) -> None:
    torch = pytest.importorskip("torch")
    spec = model.network.spec
    images = np.random.default_rng(0).integers(0, 256, (3, *spec.size, spec.in_channels)).astype(np.uint8)
    x = model.normalization.apply(images)
    with torch.no_grad():
        logits = network(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    expected = model.network.logits(x)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * abs(expected).max())


@pytest.mark.filterwarnings("ignore:Failed to load image Python extension")
def test_snippet_loads_resnet18_into_torchvision(
    torchvision_models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = gn.spec("resnet18", classes=5, image_size=40)
    model = random_run(spec, tmp_path / "runs" / "resnet18")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(snippet("torchvision.models"), names)
    assert names["data"]["mean"] == [0.25] * 3
    assert_same_logits(names["network"], model)


def test_snippet_loads_tiny_bn_into_a_module_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    model = random_run(gn.spec("tiny-bn"), tmp_path / "runs" / "tiny-bn")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(snippet("class TinyBN"), names)
    assert_same_logits(names["network"], model)
