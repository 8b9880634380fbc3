"""A run as an ONNX file that needs no glassnet, compared with the run before it is written."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Dataset, Normalization
from glassnet.errors import ConfigError, GlassnetError, as_path, choice_error
from glassnet.exporting.verification import Verification, drawn_images, import_runtime, verification_images
from glassnet.exporting.verification import verify as verify_file
from glassnet.files import write_atomically
from glassnet.formats import pluralize
from glassnet.progress import current_progress
from glassnet.training import Model, RunFolder, load
from glassnet.training.evaluation_data import evaluation_data

INPUTS = ("uint8", "float32")
FILE_SCALE = 255.0  # the largest pixel value of decoded image files


@dataclass(frozen=True, repr=False)
class Export:
    """An exported run.

    Attributes: ``path`` of the file; ``opset``, the version of ONNX's operators; ``input``, uint8 or float32; ``size``
    in bytes; ``verification``, or None if the file was not verified.
    """

    path: Path
    opset: int
    input: str
    size: int
    verification: Verification | None

    def __repr__(self) -> str:
        verified = (
            f"verified on {pluralize(self.verification.images, 'image')}" if self.verification else "not verified"
        )
        return f"Export({str(self.path)!r}, opset {self.opset}, {self.input} input, {self.size:,} bytes, {verified})"

    def to_dict(self) -> dict[str, Any]:
        """Return the export as JSON holds it."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def export(
    run: str | PathLike[str],
    file: str | PathLike[str],
    *,
    input: str = "uint8",
    weights: str | None = None,
    data: str | PathLike[str] | Dataset | None = None,
    verify: bool = True,
) -> Export:
    """Write the network of a run as an ONNX file (opset 14), which normalizes images and takes any number of them.

    The outputs are ``logits`` and ``probabilities``, float32 (N, classes). The file's metadata has the class names,
    how image files are read, and fingerprints of data and weights. Weights of a float64 run are rounded to float32.
    The file is written after ONNX Runtime computed the run's logits for test images, within 1e-5 of the largest
    absolute logit, and the same class wherever the best two logits are farther apart than that.

    :param run: a run folder.
    :param file: the file to write, which ends in .onnx.
    :param input: ``uint8`` for images (N, H, W, C) from 0 to 255, as ``numpy.asarray`` makes them of Pillow's;
        ``float32`` for images (N, C, H, W) from 0 to 1.
    :param weights: ``best`` or ``last``; None means the best weights if validation selected some, otherwise the last.
    :param data: a Dataset or a source with the test images; by default the run's. Drawn images are added up to 64, or
        take their place if the run has no data or it cannot be loaded again.
    :param verify: False writes the file without ONNX Runtime.
    :returns: the export, with its ``path`` and ``verification``.
    :raises ConfigError: if an argument is out of its range, or the weights are larger than 2 GB.
    :raises DataError: if ``data`` cannot be used.
    :raises RunError: if the folder holds no run.
    :raises GlassnetError: if ONNX Runtime computes something else, or a library of the extra ``export`` is missing.
    """
    path = _check_file(file)
    if input not in INPUTS:
        raise choice_error("input", INPUTS, input)
    if verify:
        import_runtime()  # refuse before the work
    try:
        from glassnet.exporting.onnx_file import onnx_file
        from glassnet.exporting.onnx_graph import OPSET
    except ImportError as error:
        raise GlassnetError(f"An export needs ONNX ({error}): pip install 'glassnet[export]'.") from error
    model = load(run, weights)
    normalization = dataclasses.replace(model.normalization, scale=FILE_SCALE)
    digest = hashlib.sha256(RunFolder(run).weights_path(weights).read_bytes()).hexdigest()
    content = onnx_file(model, normalization, input, digest)
    verification = None
    if verify:
        images, source = _images(model, normalization, data)
        verification = verify_file(content, model.network, normalization, images, source)
    write_atomically(path, content)
    return Export(path, OPSET, input, len(content), verification)


def _check_file(file: str | PathLike[str]) -> Path:
    path = as_path("file", file)
    if path.suffix != ".onnx" or path.is_dir():
        raise ConfigError(f"The exported file must end in .onnx. Got {path}.")
    if not path.parent.is_dir():
        raise ConfigError(f"The exported file must be in an existing folder. Got {path}.")
    return path


def _images(
    model: Model, normalization: Normalization, data: str | PathLike[str] | Dataset | None
) -> tuple[NDArray[Any], str]:
    """Return the images to verify with, uint8 (N, H, W, C) from 0 to 255, and what they are."""
    spec = model.network.spec
    drawn = drawn_images(normalization, spec.size)
    try:
        dataset = data if isinstance(data, Dataset) else evaluation_data(model, None if data is None else str(data))
    except GlassnetError as error:
        if data is not None:
            raise
        current_progress().log(f"{error} Drawn images take their place.")
        return drawn, "drawn images"
    images = verification_images(dataset, (*spec.size, spec.in_channels))
    if len(images) >= len(drawn):
        return images, "test images"
    return np.concatenate([images, drawn[len(images) :]]), "test and drawn images"
