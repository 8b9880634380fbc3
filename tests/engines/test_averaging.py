"""Averaged weights, against torch's own averages."""

import re
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

import glassnet as gn
from glassnet.engines import Network
from glassnet.errors import GlassnetError
from glassnet.recipe import Recipe
from tests.engines.oracle import Array, batch, build64, tensor, twin

ENGINES = pytest.mark.parametrize("engine", ["numpy", "torch"])


def build(engine: str, **changes: Any) -> Network:
    network = gn.build(gn.spec("tiny-bn", **changes), engine, dtype="float64")
    network.load_state_dict(build64("tiny-bn", **changes).state_dict())
    return network


def train(network: Network, trainer: Any, numbers: range) -> None:
    for number in numbers:
        trainer.step(*batch(network.spec, 8, seed=number))


def averaged(network: Network, trainer: Any) -> dict[str, Array]:
    with trainer.averaged_weights():
        return network.state_dict()


@ENGINES
@pytest.mark.parametrize("decay", [0.3, 0.9, 0.9999])
def test_averages_are_torchs(engine: str, decay: float) -> None:
    network = build(engine)
    module, trainer = twin(network), network.trainer(Recipe(ema=decay))

    def average(own: Any, current: Any, step: Any) -> Any:  # torch takes the first model whole, and counts from 1
        d = min(decay, (1 + int(step)) / (10 + int(step)))
        return d * own + (1 - d) * current if own.is_floating_point() else current

    expected = AveragedModel(module, avg_fn=average, use_buffers=True)
    expected.update_parameters(module)  # the initial weights
    optimizer = torch.optim.SGD(module.parameters(), 0.05, 0.9)
    for number in range(20):
        images, labels = batch(network.spec, 8, seed=number)
        trainer.step(images, labels)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(tensor(images)), tensor(labels)).backward()
        optimizer.step()
        expected.update_parameters(module)
    averages = averaged(network, trainer)
    for key, theirs in expected.module.state_dict().items():
        np.testing.assert_allclose(averages[key], theirs.numpy(), rtol=1e-9, atol=1e-12, err_msg=key)


@ENGINES
def test_averaged_weights_are_the_networks_only_inside_the_context(engine: str) -> None:
    network = build(engine)
    trainer = network.trainer(Recipe(ema=0.9))
    train(network, trainer, range(3))
    own = network.state_dict()
    inside = []
    with suppress(KeyError), trainer.averaged_weights():
        inside.append(network.state_dict()["fc.weight"])
        raise KeyError
    assert not np.array_equal(inside[0], own["fc.weight"])
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, own[key], err_msg=key)


@ENGINES
def test_averaged_weights_without_ema_are_the_networks(engine: str) -> None:
    network = build(engine)
    trainer = network.trainer(Recipe())
    train(network, trainer, range(2))
    own = network.state_dict()
    assert trainer.average is None
    for key, array in averaged(network, trainer).items():
        np.testing.assert_array_equal(array, own[key])
    assert not [path for path in trainer.state() if "average" in path]


@ENGINES
def test_ema_does_not_change_the_steps(engine: str) -> None:
    states = []
    for ema in (0.0, 0.9):
        network = build(engine)
        train(network, network.trainer(Recipe(ema=ema)), range(4))
        states.append(network.state_dict())
    for key, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][key], err_msg=key)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("back", [False, True], ids=["to torch", "to NumPy"])
def test_a_state_with_averages_goes_on_in_the_other_engine(optimizer: str, back: bool) -> None:
    first, second = (build(engine) for engine in (("torch", "numpy") if back else ("numpy", "torch")))
    recipe = Recipe(optimizer=optimizer, lr=1e-2, ema=0.8)
    trainer, other = first.trainer(recipe), second.trainer(recipe)
    train(first, trainer, range(3))
    train(second, other, range(5, 6))  # averages that must be gone after loading
    second.load_state_dict(first.state_dict())
    other.load_state(trainer.state())
    for key, array in averaged(first, trainer).items():
        np.testing.assert_array_equal(averaged(second, other)[key], array, err_msg=key)
    train(first, trainer, range(3, 6))
    train(second, other, range(3, 6))
    for key, array in averaged(first, trainer).items():
        np.testing.assert_allclose(averaged(second, other)[key], array, rtol=1e-9, atol=1e-12, err_msg=key)


@ENGINES
def test_a_loaded_state_continues_to_the_same_bits(engine: str) -> None:
    whole, part = build(engine), build(engine)
    recipe = Recipe(ema=0.9)
    trainer, begun = whole.trainer(recipe), part.trainer(recipe)
    train(whole, trainer, range(6))
    train(part, begun, range(3))
    resumed = build(engine)
    resumed.load_state_dict(part.state_dict())
    other = resumed.trainer(recipe)
    other.load_state(begun.state())
    train(resumed, other, range(3, 6))
    assert trainer.state().keys() == other.state().keys()
    for key, array in trainer.state().items():
        np.testing.assert_array_equal(other.state()[key], array, err_msg=key)


@ENGINES
def test_averages_of_a_frozen_network_are_those_of_the_head(engine: str) -> None:
    network = build(engine)
    trainer = network.trainer(Recipe(ema=0.9), freeze="backbone")
    train(network, trainer, range(2))
    kept = {path for path in trainer.state() if path.endswith("/average")}
    assert kept == {"fc.weight/average", "fc.bias/average", "steps/average"}


BAD_STATES: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"fc.bias/average": None}, "Got fc.bias/average in one alone."),
    "another": ({"fc.gain/average": np.zeros(3)}, "Got fc.gain/average in one alone."),
    "no steps": ({"steps/average": None}, "Got steps/average in one alone."),
    "shape": ({"fc.bias/average": np.zeros(3)}, "fc.bias/average must be finite numbers of shape (10,). Got float64"),
    "nan": ({"fc.bias/average": np.full(10, np.nan)}, "fc.bias/average must be finite numbers of shape (10,)."),
    "text": ({"fc.bias/average": np.array(["a"] * 10)}, "fc.bias/average must be finite numbers of shape (10,)."),
    "steps": ({"steps/average": np.array(-1)}, "steps/average must be finite numbers of shape ()."),
}


@ENGINES
@pytest.mark.parametrize("name", BAD_STATES)
def test_load_state_raises_for_averages_that_are_none_and_changes_nothing(engine: str, name: str) -> None:
    change, message = BAD_STATES[name]
    network = build(engine)
    trainer = network.trainer(Recipe(ema=0.9))
    train(network, trainer, range(2))
    before = trainer.state()
    state = {path: array + 1 for path, array in before.items()} | change
    with pytest.raises(GlassnetError, match=re.escape(message)):
        trainer.load_state({path: array for path, array in state.items() if array is not None})
    for path, array in trainer.state().items():
        np.testing.assert_array_equal(array, before[path], err_msg=path)


@ENGINES
def test_load_state_raises_for_averages_without_ema(engine: str) -> None:
    network = build(engine)
    trainer = network.trainer(Recipe(ema=0.9))
    train(network, trainer, range(1))
    with pytest.raises(GlassnetError, match="average"):
        network.trainer(Recipe()).load_state(trainer.state())


@ENGINES
def test_an_empty_state_restarts_the_averages(engine: str) -> None:
    network = build(engine)
    trainer = network.trainer(Recipe(ema=0.9))
    train(network, trainer, range(2))
    trainer.load_state({})
    assert trainer.state()["steps/average"] == 0
    for key, array in averaged(network, trainer).items():
        np.testing.assert_array_equal(array, network.state_dict()[key])


def test_every_setting_works_in_bf16() -> None:
    """The steps are in bfloat16; weights, averages and the loss are float32, and follow those of a float32 training."""
    recipe = Recipe(ema=0.9, label_smoothing=0.1, class_weights="balanced", clip_grad_norm=0.5, body_lr=0.5)
    labels = np.repeat(np.arange(10), np.arange(1, 11))
    images = np.random.default_rng(0).standard_normal((len(labels), 1, 8, 8)).astype("float32")
    images[:, 0, 0] += labels[:, None]
    results = []
    for precision in (None, "bf16-mixed"):
        network = gn.build("tiny-bn", "torch", dtype="float32", precision=precision, device="cpu")
        trainer = network.trainer(recipe, labels=labels)
        losses = [float(trainer.step(images, labels, lr=0.1)) for _ in range(30)]
        assert trainer.state()["conv1.weight/average"].dtype == np.float32
        assert losses[-1] < 0.7 * losses[0]
        results.append((losses, averaged(network, trainer)))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=0.05)
    assert results[0][0] != results[1][0]
    for key, array in results[0][1].items():
        assert np.abs(results[1][1][key] - array).max() < 0.1 * np.abs(array).max(), key
