"""ImageNet's presets beside torchvision's own networks: the same keys, shapes and logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import glassnet as gn

torch = pytest.importorskip("torch")


@pytest.mark.filterwarnings("ignore:Failed to load image Python extension")
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_keys_and_shapes(torchvision_models: Any, name: str) -> None:
    with torch.device("meta"):
        theirs = {key: tuple(value.shape) for key, value in getattr(torchvision_models, name)().state_dict().items()}
    ours = {key: tuple(value.shape) for key, value in gn.build(name).state_dict().items()}
    assert list(ours.items()) == list(theirs.items())


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_logits(torchvision_models: Any, name: str, engine: str) -> None:
    network = gn.build(name, engine=engine, dtype="float64")
    theirs = getattr(torchvision_models, name)().double().eval()
    state = network.state_dict()
    rng = np.random.default_rng(0)
    for key in state:
        if key.endswith("running_mean"):
            state[key] += rng.normal(size=state[key].shape)
        if key.endswith("running_var"):
            state[key] *= rng.uniform(0.5, 2, size=state[key].shape)
    network.load_state_dict(state)
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    images = rng.normal(size=(2, 3, 64, 64))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(network.logits(images), expected, rtol=0, atol=1e-10 * abs(expected).max())
