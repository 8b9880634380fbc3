"""ONNX Runtime's outputs beside the run's own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Dataset, Normalization, make_rng
from glassnet.engines import Network
from glassnet.errors import DataError, GlassnetError
from glassnet.formats import pluralize
from glassnet.nn.functional import softmax
from glassnet.progress import track

Array = NDArray[Any]

TOLERANCE = 1e-5  # of the largest |logit|; rounding reaches 1.2e-6 in resnet152 (benchmarks/README.md)
MAX_IMAGES = 500
DRAWN_IMAGES = 64
BATCH_SIZE = 32


@dataclass(frozen=True)
class Verification:
    """The comparison of ONNX Runtime's outputs with the run's.

    Attributes: ``images``, their number, and ``source``, ``test images``, ``drawn images`` or both; ``largest_logit``,
    the run's largest absolute logit; ``difference``, the largest absolute difference of two logits in units of it, and
    the ``tolerance`` of that; ``runtime``, the version of ONNX Runtime.
    """

    images: int
    source: str
    largest_logit: float
    difference: float
    tolerance: float
    runtime: str

    def __str__(self) -> str:
        return (
            f"ONNX Runtime {self.runtime} computes the same for {self.images:,} {self.source}: logits differ by at "
            f"most {self.difference:.1e} of the largest |logit|, {self.largest_logit:.4g} (allowed: {self.tolerance:g})"
        )


def import_runtime() -> Any:
    """Return the module ``onnxruntime``, which then reports nothing to its maker.

    :raises GlassnetError: if it cannot be imported.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it sends events of each session otherwise
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module("onnxruntime")
    except ImportError as error:
        remedy = "pip install 'glassnet[export]', or export without verification: verify=False, --no-verify"
        raise GlassnetError(f"Verifying an export needs ONNX Runtime ({error}): {remedy}.") from error


def verify(
    content: bytes, network: Network, normalization: Normalization, images: NDArray[np.uint8], source: str
) -> Verification:
    """Compare what ONNX Runtime computes from an ONNX file with what the network computes.

    :param content: the content of the file.
    :param images: uint8 (N, H, W, C), in the pixel values of the normalization's scale.
    :param source: what the images are, for the result.
    :raises GlassnetError: if a logit differs by more than TOLERANCE of the largest one, the predicted class of an
        image whose best two logits are farther apart differs, or the probabilities are not the softmax of the logits.
    """
    session = _session(content, network.threads)
    runtime = import_runtime().__version__
    expected, logits = [], []
    with track("verifying", len(images)) as advance:
        for batch in _batches(images):
            expected.append(network.logits(normalization.apply(batch, network.dtype)))
            outputs = _run(session, batch, normalization.scale)
            _check_probabilities(*outputs)
            logits.append(outputs[0])
            advance(len(batch))
    largest, difference = _compare(np.concatenate(expected), np.concatenate(logits), f"ONNX Runtime {runtime}")
    return Verification(len(images), source, largest, difference, TOLERANCE, runtime)


def verification_images(dataset: Dataset, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return up to MAX_IMAGES test images, evenly spaced, with 255 as the largest pixel value, as files have it.

    :param shape: (H, W, C) of the network's images.
    :raises DataError: if the images have another shape.
    """
    count = len(dataset.test)
    images = dataset.test.pixels(np.unique(np.linspace(0, count - 1, min(count, MAX_IMAGES)).astype(int)))
    if images.shape[1:] != shape:
        raise DataError(f"Images to verify an export with must be (H, W, C) = {shape}. Got {images.shape[1:]}.")
    return _to_pixels(images / dataset.scale)


def drawn_images(normalization: Normalization, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return DRAWN_IMAGES images of noise, uint8 (N, H, W, C), with the normalization's mean and std by channel."""
    noise = make_rng(0, "export").standard_normal((DRAWN_IMAGES, *size, len(normalization.mean)))
    return _to_pixels(np.array(normalization.mean) + np.array(normalization.std) * noise)


def _to_pixels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return numbers from 0 to 1 as pixel values from 0 to 255."""
    pixels: NDArray[np.uint8] = np.rint(255 * values).clip(0, 255).astype(np.uint8)
    return pixels


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield a batch of one image, then batches of BATCH_SIZE: the file takes any number."""
    yield images[:1]
    for start in range(1, len(images), BATCH_SIZE):
        yield images[start : start + BATCH_SIZE]


@contextmanager
def _runtime_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # onnxruntime's exceptions have no base class of their own
        version, reason = import_runtime().__version__, " ".join(str(error).split())
        raise GlassnetError(f"ONNX Runtime {version} cannot run the exported network: {reason}") from error


def _session(content: bytes, threads: int) -> Any:
    """Return a silent session of ONNX Runtime on an ONNX file."""
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # fatal errors only: others are raised as well
    options.intra_op_num_threads = threads
    with _runtime_errors():
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: Any, images: NDArray[np.uint8], scale: float) -> tuple[Array, Array]:
    """Return logits and probabilities, (N, classes) each."""
    (tensor,) = session.get_inputs()
    values: Array = images
    if tensor.type == "tensor(float)":
        values = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) / np.float32(scale)  # -> (N, C, H, W)
    with _runtime_errors():
        logits, probabilities = session.run(["logits", "probabilities"], {tensor.name: values})
    return logits, probabilities


def _check_probabilities(logits: Array, probabilities: Array) -> None:
    difference = abs(softmax(logits) - probabilities).max()
    if not difference <= TOLERANCE:  # a difference of NaN fails, too
        raise GlassnetError(
            f"The exported network computes other probabilities than the softmax of its logits: they differ by "
            f"{difference:.2g}, allowed is {TOLERANCE:g}. No file was written."
        )


def _compare(expected: Array, logits: Array, runtime: str) -> tuple[float, float]:
    """Return the largest absolute logit, and the largest absolute difference in units of it."""
    if not np.isfinite(expected).all():
        raise GlassnetError("The logits of the run must be finite to verify an export. Got an overflow.")
    largest = float(abs(expected).max())
    differences = abs(logits - expected).max(axis=1) / (largest or 1.0)
    worst = int(differences.argmax())  # the first NaN, if there is one
    if not differences[worst] <= TOLERANCE:
        raise GlassnetError(
            f"{runtime} computes other logits than the run for image {worst}: they differ by {differences[worst]:.2g} "
            f"of the largest |logit|, {largest:.4g}; allowed is {TOLERANCE:g}. No file was written."
        )
    second, best = np.sort(expected, axis=1)[:, -2:].T
    other = (logits.argmax(axis=1) != expected.argmax(axis=1)) & (best - second > TOLERANCE * largest)
    if other.any():
        raise GlassnetError(
            f"{runtime} predicts another class than the run for {other.sum()} of {pluralize(len(other), 'image')}, "
            f"first for image {other.argmax()}. No file was written."
        )
    return largest, float(differences[worst])
