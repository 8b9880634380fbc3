"""A GPU's numbers: parity with NumPy, bfloat16, bits of repeated trainings, and images a second.

    python benchmarks/gpu.py [--device cuda] [--quick] [--json FILE]

Parity is ``check_parity`` of ResNet-20: each activation, gradient, and weight after two steps of SGD, beside the NumPy
engine; in float64, in float32, and in float32 with TensorFloat-32, in which PyTorch computes convolutions on newer
cards unless it is told otherwise. The step compares the first update of all weights, as one vector, in bf16-mixed
precision with float32's. Trainings are of ResNet-20, with flips and crops, on generated images of 32×32. Each is
repeated, and its weights are compared bit by bit, with PyTorch's default algorithms and with deterministic ones. Images
a second are those of the second epoch, its steps alone. ``--quick --device cpu`` tries the script itself: a smaller
network, a few images. Prints Markdown; the exit code is 1 if the parity of float64 or float32 fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic products; read when CUDA starts

import numpy as np
import torch

import glassnet as gn
from glassnet.data import Dataset, Split
from glassnet.training.epoch_batches import EpochBatches
from glassnet.verify import check_parity

PRECISIONS = "32-true", "bf16-mixed"
Row = dict[str, Any]


def environment(device: str) -> Row:
    """Return the card, its driver, and versions."""
    is_cuda = device.startswith("cuda")
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return {
        "device": torch.cuda.get_device_name(device) if is_cuda else platform.processor() or platform.machine(),
        "nvidia-smi": subprocess.run(query, capture_output=True, text=True).stdout.strip() if is_cuda else None,
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version() if is_cuda else None,
        "PyTorch": torch.__version__,
        "NumPy": np.__version__,
        "glassnet": gn.__version__,
        "Python": platform.python_version(),
    }


@contextmanager
def tensor_float(is_allowed: bool) -> Iterator[None]:
    """Allow TensorFloat-32 in convolutions and products, or not."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = is_allowed
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def parity(spec: gn.ResNetSpec, device: str) -> list[Row]:
    """Compare both engines tensor by tensor."""
    rows = []
    for dtype, has_tensor_float in (("float64", False), ("float32", False), ("float32", True)):
        with tensor_float(has_tensor_float):
            report = check_parity(spec, dtype=dtype, batch_size=8, device=device)
        kinds: dict[str, float] = {}
        for row in report.rows:
            kind = row.tensor.rpartition("/")[0]
            kinds[kind] = max(kinds.get(kind, 0.0), row.required_tolerance)
        title = f"{dtype}{', TensorFloat-32' * has_tensor_float}"
        logits = next(row.required_tolerance for row in report.rows if row.tensor == "eval/activations/fc")
        named = {"logits": logits, "gradients": kinds["train/gradients"], "weights": kinds["steps/state"]}
        rows.append({"parity": title, **named, "tensors": len(report.rows), "passed": report.passed})
    return rows


def make_data(spec: gn.ResNetSpec, n_train: int, n_test: int) -> Dataset:
    """Return images of classes that differ by a coarse pattern, under noise."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(60, 196, (spec.classes, 8, 8, spec.in_channels)).repeat(4, axis=1).repeat(4, axis=2)

    def split(count: int) -> Split:
        labels = np.arange(count) % spec.classes
        images = np.empty((count, *patterns.shape[1:]), np.uint8)
        for start in range(0, count, 1000):
            noise = rng.normal(0, 40, images[start : start + 1000].shape)
            images[start : start + 1000] = np.clip(patterns[labels[start : start + 1000]] + noise, 0, 255)
        return Split(images, labels)

    return Dataset.from_splits(split(n_train), split(n_test), [str(label) for label in range(spec.classes)])


class Training:
    """Epochs of a network on one device."""

    def __init__(self, spec: gn.ResNetSpec, data: Dataset, recipe: gn.Recipe, **compute: Any) -> None:
        self.network = gn.build(spec, "torch", recipe.seed, **compute)
        self.trainer = self.network.trainer(recipe)
        self.batches = EpochBatches(data.train, data.normalization, recipe)

    def epoch(self, number: int) -> float:
        """Take the steps of an epoch, and return their seconds."""
        start = perf_counter()
        for batch in self.batches.epoch(number):
            self.trainer.step(batch)
        self.trainer.pop_stats()  # waits for the device
        return perf_counter() - start

    def weights(self) -> np.ndarray[Any, Any]:
        """Return all weights and buffers in one array."""
        return np.concatenate([array.ravel() for array in self.network.state_dict().values()])


def compare_step(spec: gn.ResNetSpec, data: Dataset, recipe: gn.Recipe, device: str) -> Row:
    """Compare the first update of the weights in bf16-mixed precision with that in float32."""
    one = recipe.replace(schedule="constant", momentum=0.0, nesterov=False, weight_decay=0.0)
    updates = []
    for precision in ("32-true", "bf16-mixed"):
        training = Training(spec, data, one, device=device, precision=precision)
        before = training.network.state_dict()
        images = data.normalization.apply(data.train.pixels(np.arange(recipe.batch_size)), np.float32)
        with tensor_float(False):
            training.trainer.step(images, data.train.labels[: recipe.batch_size])
        after = training.network.state_dict()
        changes = [after[key] - before[key] for key in after if "running" not in key and "num_batches" not in key]
        updates.append(np.concatenate([change.ravel().astype(np.float64) for change in changes]))
    exact, short = updates
    cosine = exact @ short / np.linalg.norm(exact) / np.linalg.norm(short)
    return {"difference": np.linalg.norm(short - exact) / np.linalg.norm(exact), "cosine": cosine}


def repeat_training(
    spec: gn.ResNetSpec, data: Dataset, recipe: gn.Recipe, precision: str, deterministic: bool, device: str
) -> Row:
    """Train twice, and return speed and accuracy, and whether the weights have the same bits."""
    torch.use_deterministic_algorithms(deterministic)
    digests, rates = [], []
    for _ in range(2):
        training = Training(spec, data, recipe, device=device, precision=precision)
        training.epoch(1)
        rates.append(len(data.train) / training.epoch(2))
        digests.append(sha256(training.weights().tobytes()).hexdigest())
    torch.use_deterministic_algorithms(False)
    outcome = training.network.evaluate(data.test, data.normalization)
    return {
        "training": precision,
        "deterministic algorithms": deterministic,
        "images/s": max(rates),
        "test accuracy": outcome.accuracy,
        "same bits": len(set(digests)) == 1,
    }


def markdown(rows: list[Row]) -> str:
    """Return rows as a table."""

    def cell(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, float):
            return f"{value:,.0f}" if value >= 100 else f"{value:.2e}" if abs(value) < 0.01 else f"{value:.4f}"
        return str(value)

    lines = [list(rows[0]), ["---"] * len(rows[0]), *(map(cell, row.values()) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(device: str, quick: bool, path: Path | None = None) -> bool:
    """Measure everything, print it, and return whether the parity passed."""
    spec = gn.spec("resnet20", **({"width": 4, "blocks": 1} if quick else {}))
    data = make_data(spec, *((48, 20) if quick else (50_000, 10_000)))
    recipe = gn.Recipe(lr=0.05, nesterov=True, weight_decay=1e-4, augment="flip-crop", batch_size=24 if quick else 128)
    results: dict[str, Any] = {"environment": environment(device), "parity": parity(spec, device)}
    results["step"] = compare_step(spec, data, recipe, device)
    cases = [(precision, deterministic) for precision in PRECISIONS for deterministic in (False, True)]
    results["trainings"] = [repeat_training(spec, data, recipe, *case, device) for case in cases]
    for name, rows in results.items():
        print(f"## {name}\n\n{markdown(rows if isinstance(rows, list) else [rows])}", flush=True)
    if path is not None:
        path.write_text(json.dumps(results, indent=1, default=float) + "\n", encoding="utf-8")
    return all(row["passed"] for row in results["parity"][:2])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="a smaller network and a few images")
    parser.add_argument("--json", type=Path, help="file for the same results as JSON")
    options = parser.parse_args()
    sys.exit(0 if main(options.device, options.quick, options.json) else 1)
