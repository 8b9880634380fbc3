import math
from typing import Any

import numpy as np
import pytest
import torch

from glassnet.errors import ConfigError
from glassnet.studies.gradient_flow import block_gradients
from tests.studies.gradient_flow.networks import batch, built

BLOCKS: list[dict[str, Any]] = [
    {},  # identity, and zero-pad where the shape changes
    {"shortcut": "projection"},
    {"norm": "none"},
    {"norm": "none", "shortcut": "projection", "pool": "max"},
    {"preactivation": True},
    {"preactivation": True, "shortcut": "projection", "pool": "stride"},
    {"block": "bottleneck", "shortcut": "projection", "dropout": 0.5},
    {"stem": "7x7", "pool": "max", "shortcut": "projection"},
    {"zero_init": True},
]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("changes", BLOCKS, ids=str)
def test_block_gradients_parts_add_up_to_the_total(changes: dict[str, Any], engine: str) -> None:
    """The parts come from NumPy's layers alone; with torch the whole is autograd's."""
    blocks = block_gradients(built(engine, **changes), *batch())
    assert [block.block for block in blocks] == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    for block in blocks:
        assert block.error <= 1e-12
        assert block.total > 0
        assert block.maps.shape[0] == 3
        np.testing.assert_allclose(block.maps[0] + block.maps[1], block.maps[2], rtol=0, atol=1e-12 * block.total)
        # |a + b|² = |a|² + |b|² + 2 |a| |b| cos
        expected = block.skip**2 + block.body**2 + 2 * block.skip * block.body * block.cosine
        assert block.total == pytest.approx(math.sqrt(expected), rel=1e-9)
    changed = "projection" if changes.get("shortcut") else "zero-pad"
    first = "projection" if changes.get("block") else "identity"
    assert [block.shortcut for block in blocks] == [first, "identity", changed, "identity"]


def test_block_gradients_are_the_skips_where_f_is_0() -> None:
    """Where F is 0 at the start, as with zero_init, all of the gradient comes through the skip."""
    blocks = block_gradients(built(zero_init=True), *batch())
    assert [block.body for block in blocks if block.shortcut == "identity"] == [0, 0, 0]
    assert all(block.skip == block.total for block in blocks if block.shortcut == "identity")


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_block_gradients_leave_the_network_as_it_is(engine: str) -> None:
    network = built(engine, dropout=0.5)
    before = network.state_dict()
    generators = [dropout.generator.bit_generator.state for dropout in network._dropouts()]
    drawn = torch.get_rng_state()
    block_gradients(network, *batch())
    assert torch.equal(torch.get_rng_state(), drawn)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    assert generators == [dropout.generator.bit_generator.state for dropout in network._dropouts()]


def test_block_gradients_refuse_a_plain_network() -> None:
    with pytest.raises(ConfigError, match="network must be a Network with shortcuts. Got skip=False."):
        block_gradients(built(skip=False), *batch())
