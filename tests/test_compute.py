"""Tests of glassnet.compute."""

from __future__ import annotations

import re
from typing import Any

import pytest

from glassnet.compute import Compute
from glassnet.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"engine": "jax"}, "engine must be one of 'numpy', 'torch'. Got 'jax'."),
        ({"engine": "torhc"}, "engine must be one of 'numpy', 'torch'. Got 'torhc'; did you mean 'torch'?"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'float64'. Got 'float16'; did you mean 'float64'?"),
        ({"kernels": "slow"}, "kernels must be one of 'fast', 'plain'. Got 'slow'."),
        (
            {"engine": "torch", "kernels": "plain"},
            "kernels must be 'fast' for engine='torch'. Got 'plain'. Add --engine numpy.",
        ),
        ({"device": "cuda"}, "device must be 'auto' or 'cpu' for engine='numpy'. Got 'cuda'. Add --engine torch."),
        ({"device": 5}, "device must be text. Got 5."),
        ({"devices": 2}, "devices must be 1 for engine='numpy'. Got 2. Add --engine torch."),
        ({"devices": 0}, "devices must be an integer of at least 1. Got 0."),
        (
            {"precision": "bf16-mixed"},
            "precision must be None for engine='numpy'. Got 'bf16-mixed'. Add --engine torch.",
        ),
        (
            {"engine": "torch", "dtype": "float64", "precision": "16-mixed"},
            "precision must be None or '32-true' for dtype='float64'. Got '16-mixed'.",
        ),
        ({"compile": True}, "compile must be False for engine='numpy'. Got True. Add --engine torch."),
        (
            {"channels_last": False},
            "channels_last must be None or True for engine='numpy'. Got False. Add --engine torch.",
        ),
        ({"threads": 0}, "threads must be an integer of at least 1 or None. Got 0."),
    ],
)
def test_compute_refuses_what_the_engine_does_not_have(values: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(error)}$"):
        Compute(**values)


def test_compute_accepts_both_engines() -> None:
    assert Compute(kernels="plain", threads=2, channels_last=True).engine == "numpy"
    assert Compute(engine="torch", device="cuda:1", precision="bf16-mixed", compile=True, devices=2).kernels == "fast"
