"""The whole house in a few seconds: what to run after every change (``pytest tests/test_tiny.py``)."""

from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn


def test_a_convolution_by_hand() -> None:
    """One 2×2 kernel over one 2×2 image, with everything worked out in the comments."""
    layer = nn.Conv2d(1, 1, 2)
    layer.weight.data[...] = [[[[1, 2], [3, 4]]]]
    layer.bias.data[...] = 10
    x = np.array([[[[1, 0], [2, 1]]]], np.float32)
    assert layer(x).item() == 21  # 1·1 + 2·0 + 3·2 + 4·1 + 10
    dx = layer.backward(np.full((1, 1, 1, 1), 2, np.float32))
    assert layer.weight.grad.ravel().tolist() == [2, 0, 4, 2]  # 2·x
    assert layer.bias.grad.tolist() == [2]
    assert dx.ravel().tolist() == [2, 4, 6, 8]  # 2·w


@pytest.mark.parametrize("preset", ["tiny", "tiny-bn"])
def test_a_gradient_is_the_slope_of_the_loss(preset: str) -> None:
    network = gn.build(preset, dtype="float64")
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((8, 1, 8, 8)), rng.integers(10, size=8)
    _, gradients = network.gradients(images, labels)
    state = network.state_dict()
    for key, gradient in gradients.items():
        step = rng.standard_normal(gradient.shape)
        step *= 1e-6 / np.linalg.norm(step)
        losses = []
        for sign in (1, -1):
            network.load_state_dict({**state, key: state[key] + sign * step})
            losses.append(network.gradients(images, labels)[0])
        assert (losses[0] - losses[1]) / 2 == pytest.approx(float((gradient * step).sum()), rel=1e-4, abs=1e-14), key


def test_train_load_predict(digits: gn.Dataset, tmp_path: Path) -> None:
    run = gn.train("tiny", digits, run=tmp_path / "run", recipe="tutorial", epochs=8, report=False)
    model = gn.load(tmp_path / "run")
    assert model.history == run.history
    assert model.evaluate(digits)["accuracy"] == run.metrics["test_accuracy"] > 0.75
    labels = [int(prediction.label) for prediction in model.predict(digits.test.images)]
    assert np.mean(labels == digits.test.labels) == run.metrics["test_accuracy"]


def test_a_resumed_run_is_the_uninterrupted_one(digits: gn.Dataset, tmp_path: Path) -> None:
    for name, parts in (("whole", [None]), ("parts", [1, None])):
        for stop in parts:
            gn.train(
                "tiny-bn",
                digits,
                run=tmp_path / name,
                epochs=2,
                dropout=0.5,
                stop_after_epoch=stop,
                resume=True,
                report=False,
            )
    first, second = ((tmp_path / name / "last.safetensors").read_bytes() for name in ("whole", "parts"))
    assert first == second
