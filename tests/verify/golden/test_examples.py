"""The examples of docs/examples, and ports in other languages and libraries, on golden bundles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.verify import golden

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
STRICT = ("-std=c11", "-Wall", "-Werror")
ARRAYS = {
    "scalar": np.float64(0.5),
    "vector": np.arange(5, dtype=np.float32),
    "matrix": np.arange(6.0).reshape(2, 3),
    "images": np.arange(240, dtype=np.uint8).reshape(2, 3, 5, 8),
    "labels": np.array([3, 0, 9], np.int64),
    "empty": np.zeros((0, 4)),
}
COPY_IN_C = """
#include "golden_npy.h"
int main(int count, char **arguments) {
    for (int i = 3; i < count; i++) {
        Array array = npy_read(arguments[1], arguments[i]);
        npy_write(arguments[2], arguments[i], array.data, array.ndim, array.shape);
    }
}
"""
COPY_IN_JAVASCRIPT = """
import {readNpy, writeNpy} from "MODULE";
const [from, to, ...names] = process.argv.slice(2);
for (const name of names) {
  const {shape, data} = readNpy(`${from}/${name}.npy`);
  writeNpy(`${to}/${name}.npy`, shape, data);
}
"""


def needs(program: str, purpose: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is missing; it {purpose}")
    return path


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    for name, array in ARRAYS.items():
        np.save(tmp_path / f"{name}.npy", array)
    with (tmp_path / "version2.npy").open("wb") as file:
        np.lib.format.write_array(file, ARRAYS["matrix"], version=(2, 0))
    return tmp_path


def assert_copied(folder: Path, float_dtype: str) -> None:
    for name, array in (ARRAYS | {"version2": ARRAYS["matrix"]}).items():
        copy = np.load(folder / "copy" / "of" / f"{name}.npy")
        assert copy.dtype == (float_dtype or copy.dtype)
        np.testing.assert_array_equal(copy, array, strict=False)
        assert copy.shape == array.shape


def compile_c(source: Path, program: Path, *options: str) -> Path:
    gcc = needs("gcc", "compiles the examples in C")
    subprocess.run([gcc, *STRICT, *options, source, "-I", EXAMPLES, "-lm", "-o", program], check=True)
    return program


@pytest.mark.parametrize(("options", "dtype"), [((), "<f8"), (("-DREAL=float",), "<f4")])
def test_npy_files_are_read_and_written_in_c(stored: Path, options: tuple[str, ...], dtype: str) -> None:
    source = stored / "copy.c"
    source.write_text(COPY_IN_C, encoding="utf-8")
    program = compile_c(source, stored / "copier", *options)
    subprocess.run([program, stored, stored / "copy" / "of", *ARRAYS, "version2"], check=True)
    assert_copied(stored, dtype)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no array", b"\x93NUMPY\x01\x00\xff\x00{'descr'"])
def test_npy_read_in_c_refuses_broken_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.npy").write_bytes(content)
    (tmp_path / "copy.c").write_text(COPY_IN_C, encoding="utf-8")
    program = compile_c(tmp_path / "copy.c", tmp_path / "copier")
    result = subprocess.run([program, tmp_path, tmp_path / "copy", "broken"], capture_output=True, text=True)
    assert (result.returncode, "broken.npy" in result.stderr) == (1, True)


def test_npy_files_are_read_and_written_in_javascript(stored: Path) -> None:
    node = needs("node", "runs the examples in JavaScript")
    script = stored / "copy.mjs"
    script.write_text(COPY_IN_JAVASCRIPT.replace("MODULE", (EXAMPLES / "golden_npy.mjs").as_uri()), encoding="utf-8")
    subprocess.run([node, script, stored, stored / "copy" / "of", *ARRAYS, "version2"], check=True)
    assert_copied(stored, "")


@pytest.mark.parametrize("name", ["golden_npy.h", "golden_npy.mjs"])
def test_readers_and_writers_are_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= 80


@pytest.mark.parametrize(("options", "dtype"), [((), "float64"), (("-DREAL=float",), "float32")])
def test_c_port_passes(tmp_path: Path, options: tuple[str, ...], dtype: str) -> None:
    program = compile_c(EXAMPLES / "golden_tiny_bn.c", tmp_path / "port", "-O2", *options)
    recipe = gn.Recipe(nesterov=True, weight_decay=0.01, label_smoothing=0.1, schedule="cosine", epochs=2)
    golden.write("tiny-bn", tmp_path / "bundle", recipe=recipe, dtype=dtype)
    subprocess.run([program, tmp_path / "bundle", tmp_path / "dump"], check=True)
    report = golden.check(tmp_path / "bundle", tmp_path / "dump")
    assert report.passed, report.sentences
    assert report.judged > 60
    assert not report.notes


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from golden_ports import source_ports  # type: ignore[import-not-found]

    return source_ports  # type: ignore[no-any-return]


@pytest.mark.parametrize("network", ["tiny-bn", "pre-activation"])
def test_page_engine_passes(ports: Any, tmp_path: Path, network: str) -> None:
    needs("node", "runs the page's engine")
    from golden_ports.networks import write_bundle  # type: ignore[import-not-found]

    bundle = write_bundle(network, tmp_path / "bundle", steps=2)
    report = golden.check(bundle, ports.run_page(bundle, tmp_path, network))
    assert report.passed, report.sentences
    assert report.judged > 60


@pytest.mark.filterwarnings("ignore:Failed to load image Python extension")
def test_torchvision_resnet_passes(ports: Any, torchvision_models: Any, tmp_path: Path) -> None:
    from golden_ports.torch_port import Case  # type: ignore[import-not-found]
    from golden_ports.torchvision_port import run  # type: ignore[import-not-found]

    bundle = golden.write("resnet18", tmp_path / "bundle", steps=0, dtype="float32", blocks=(1, 1), classes=5).folder
    theirs = torchvision_models.resnet.ResNet(torchvision_models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)
    theirs.layer3 = theirs.layer4 = torch.nn.Identity()  # two of four stages are quicker
    theirs.fc = torch.nn.Linear(128, 5)
    np.savez(tmp_path / "dump.npz", **run(Case.read(bundle), theirs))
    report = golden.check(bundle, tmp_path / "dump.npz")
    assert report.passed, report.sentences
    assert report.judged > 60
    assert not report.notes
