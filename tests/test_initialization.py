"""Tests of glassnet.initialization."""

from __future__ import annotations

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn
from glassnet.architecture import assemble, spec
from glassnet.initialization import initial_state_dict


def test_initial_weights_are_he_normal() -> None:
    network = assemble(spec("resnet20"), nn)
    state = initial_state_dict(spec("resnet20"), seed=0)
    deviations = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = state[f"{name}.weight"]
            expected = np.sqrt(2 / np.prod(weight.shape[1:]))
            assert weight.std() == pytest.approx(expected, rel=0.15), name
            deviations.append(weight.ravel() / expected)
    z = np.concatenate(deviations)
    assert abs(z.mean()) < 0.01
    assert z.std() == pytest.approx(1, abs=0.01)
    assert (np.abs(z) > 2).mean() == pytest.approx(0.0455, abs=0.003)  # a uniform draw has none
    assert (np.abs(z) > 3).mean() == pytest.approx(0.0027, abs=0.001)


def test_all_else_starts_at_its_neutral_value() -> None:
    state = initial_state_dict(spec("resnet20"), seed=0)
    neutral = {"bias": 0, "running_mean": 0, "running_var": 1, "num_batches_tracked": 0}
    for key, array in state.items():
        kind = key.rsplit(".", 1)[1]
        if kind in neutral or ("bn" in key and kind == "weight"):
            assert (array == neutral.get(kind, 1)).all(), key
        assert array.dtype == (np.int64 if kind == "num_batches_tracked" else np.float64), key


def test_a_seed_is_a_network() -> None:
    first, again, other = (initial_state_dict(spec("tiny-bn"), seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["conv1.weight"], other["conv1.weight"])
    assert len({first[key].ravel()[0] for key in first if "conv" in key}) == 3  # no two layers start alike


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_weights_do_not_depend_on_the_engines_dtype(dtype: str) -> None:
    drawn = initial_state_dict(spec("tiny-bn"), seed=5)
    for key, array in gn.build("tiny-bn", seed=5, dtype=dtype).state_dict().items():
        np.testing.assert_array_equal(array, drawn[key].astype(array.dtype), err_msg=key)
        assert array.dtype == (np.int64 if key.endswith("tracked") else dtype)
