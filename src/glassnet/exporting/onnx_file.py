"""The ONNX file of a model: its graph, and metadata with all that turns an image file into a class name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from glassnet.data import Normalization
from glassnet.errors import ConfigError
from glassnet.exporting.onnx_graph import OPSET, onnx_graph
from glassnet.training import Model
from glassnet.training.config import RunConfig

MAX_WEIGHT_BYTES = 2_000_000_000  # Protocol Buffers, the form of the file, end at 2³¹ bytes


def onnx_file(model: Model, normalization: Normalization, input: str, weights_digest: str) -> bytes:
    """Return the content of the ONNX file of a model; the same model gives the same bytes.

    :param normalization: the model's, of the pixel values of image files.
    :param input: ``uint8`` or ``float32``, as in ``onnx_graph``.
    :param weights_digest: SHA-256 of the file of the weights, for the metadata.
    :raises ConfigError: if the weights are too large for one file.
    """
    spec, state = model.network.spec, model.network.state_dict()
    check_size(state)
    opsets = [helper.make_opsetid("", OPSET)]
    file = helper.make_model(
        onnx_graph(spec, state, normalization, input),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),  # the newest would lock out older runtimes
        producer_name="glassnet",
        producer_version=version("glassnet"),
    )
    helper.set_model_props(file, metadata(model, weights_digest))
    onnx.checker.check_model(file, full_check=True)
    return bytes(file.SerializeToString(deterministic=True))


def check_size(state: Mapping[str, NDArray[Any]]) -> None:
    """Check that the weights fit into one file.

    :raises ConfigError: if they do not.
    """
    size = sum(4 * array.size for array in state.values())  # as float32
    if size > MAX_WEIGHT_BYTES:
        raise ConfigError(f"The weights of an ONNX file must have at most 2 GB as float32. Got {size / 1e9:.1f} GB.")


def metadata(model: Model, weights_digest: str) -> dict[str, str]:
    """Return the file's metadata: every value is JSON.

    - ``classes``: the class names in the order of the outputs;
    - ``preprocessing``: the image's ``size`` [height, width] and ``channels``; ``fit``, how another aspect ratio is
      brought to it, and ``resize``, with which filter; ``value_range``, [low, high] of 16-bit and float pixels, or null
      for the type's own; ``background`` under transparent pixels; ``ink``, whether files are brought to the form of the
      built-in digits;
    - ``normalization``: ``mean`` and ``std`` by channel, in units of the largest pixel value, as in the graph;
    - ``fingerprints``: SHA-256 of the run's data set (null if it had none) and of its file of weights;
    - ``glassnet``: the version that wrote the file.
    """
    spec, normalization = model.network.spec, model.normalization
    data = RunConfig.parse(model.config, model.path / "config.json").data
    values = {
        "classes": model.classes,
        "preprocessing": {
            "size": list(spec.size),
            "channels": spec.in_channels,
            "fit": data.fit,
            "resize": "bilinear",
            "value_range": data.value_range,
            "background": "white",
            "ink": data.ink,
        },
        "normalization": {"mean": normalization.mean, "std": normalization.std},
        "fingerprints": {"data": data.fingerprint, "weights": weights_digest},
        "glassnet": version("glassnet"),
    }
    return {name: json.dumps(value) for name, value in values.items()}
