from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import ConfigError
from glassnet.training import Model

pytest.importorskip("onnx", reason="onnx is not installed")

import onnx

from glassnet.exporting.onnx_file import check_size, onnx_file
from tests.exporting.networks import normalization, read


def test_onnx_file_is_valid_for_old_runtimes(trained: Model) -> None:
    file, _ = read(onnx_file(trained, normalization(1), "uint8", ""))
    onnx.checker.check_model(file, full_check=True)
    assert [opset.version for opset in file.opset_import] == [14]
    assert file.ir_version == 7  # of the release that brought opset 14
    assert (file.producer_name, file.producer_version) == ("glassnet", version("glassnet"))


def test_onnx_file_is_the_same_every_time(trained: Model) -> None:
    first, second = (onnx_file(trained, normalization(1), "uint8", "") for _ in range(2))
    assert first == second


def test_onnx_file_has_the_metadata_of_a_run(trained: Model) -> None:
    _, metadata = read(onnx_file(trained, trained.normalization, "uint8", "abc"))
    assert metadata == {
        "classes": [str(digit) for digit in range(10)],
        "preprocessing": {
            "size": [8, 8],
            "channels": 1,
            "fit": "crop",
            "resize": "bilinear",
            "value_range": None,
            "background": "white",
            "ink": True,
        },
        "normalization": {"mean": list(trained.normalization.mean), "std": list(trained.normalization.std)},
        "fingerprints": {"data": trained.config["data"]["fingerprint"], "weights": "abc"},
        "glassnet": version("glassnet"),
    }


def test_check_size_refuses_weights_above_two_gigabytes() -> None:
    check_size({"weight": np.broadcast_to(np.float64(0), (500_000_000,))})
    # Wide enough for 2 GB; the numbers take no memory.
    with pytest.raises(
        ConfigError, match=r"^The weights of an ONNX file must have at most 2 GB as float32\. Got 3\.7 GB"
    ):
        check_size(state_of_zeros(gn.spec("resnet152", width=256)))


def state_of_zeros(spec: gn.ResNetSpec) -> dict[str, Any]:
    from glassnet.layer_graph import walk

    shapes = [node[kind] for node in walk(gn.graph(spec)) for kind in ("parameters", "buffers")]
    return {key: np.broadcast_to(np.float32(0), shape) for part in shapes for key, shape in part.items()}
