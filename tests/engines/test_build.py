import re
from typing import Any

import numpy as np
import pytest
import torch

import glassnet as gn
from glassnet.engines import clone_network
from glassnet.errors import ConfigError, GlassnetError


def test_a_name_and_its_spec_build_the_same() -> None:
    by_name, by_spec = gn.build("tiny"), gn.build(gn.spec("tiny"))
    assert by_name.spec == by_spec.spec
    for key, array in by_name.state_dict().items():
        np.testing.assert_array_equal(array, by_spec.state_dict()[key])


def test_how_many_numbers_are_trained() -> None:
    assert gn.build("tiny").parameter_count == 2538
    assert gn.build("resnet20").parameter_count == 269_722  # buffers are not counted


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.float64, np.dtype("float64")])
def test_dtypes(dtype: Any) -> None:
    network = gn.build("tiny-bn", dtype=dtype)
    assert network.dtype == np.dtype(dtype)
    assert network.logits(np.zeros((1, 1, 8, 8))).dtype == np.dtype(dtype)
    assert network.gradients(np.zeros((1, 1, 8, 8)), np.zeros(1, int))[1]["conv1.weight"].dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"spec": "tniy"}, "Got 'tniy'; did you mean 'tiny'?"),
        ({"engine": "jax"}, "engine must be one of 'numpy'"),
        ({"engine": None}, "engine must be one of 'numpy'"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'float64'. Got 'float16'"),
        ({"dtype": np.int64}, "dtype must be one of 'float32', 'float64'. Got <class 'numpy.int64'>."),
        ({"dtype": None}, "dtype must be one of 'float32', 'float64'. Got None."),
        ({"device": "cuda"}, "device must be 'auto' or 'cpu' for engine='numpy'. Got 'cuda'."),
        ({"kernels": "slow"}, "kernels must be one of 'fast', 'plain'. Got 'slow'."),
        ({"kernels": "plain", "engine": "torch"}, "kernels must be 'fast' for engine='torch'. Got 'plain'."),
        ({"seed": -1}, "seed must be an integer from 0 to 4294967295. Got -1."),
        ({"seed": 2**32}, "Got 4294967296."),
        ({"seed": 1.5}, "Got 1.5."),
        ({"seed": True}, "Got True."),
    ],
)
def test_a_bad_argument(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        gn.build(**{"spec": "tiny", **arguments})


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_build_takes_weights_and_draws_none(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = gn.build("tiny-bn", seed=1).state_dict()
    monkeypatch.delattr("glassnet.engines.initial_state_dict")
    network = gn.build("tiny-bn", engine, state=state)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, state[key])
    with pytest.raises(GlassnetError, match="state must fit this network"):
        gn.build("tiny", engine, state=state)


def test_dropout_follows_from_the_seed() -> None:
    spec = gn.spec("tiny", dropout=0.5)
    images, labels = np.ones((4, 1, 8, 8)), np.arange(4)
    states = [gn.build("tiny").state_dict()] * 3

    def loss(seed: int, state: dict[str, Any]) -> float:
        network = gn.build(spec, seed=seed)
        network.load_state_dict(state)
        return network.gradients(images, labels)[0]

    first, again, other = (loss(seed, state) for seed, state in zip((1, 1, 2), states, strict=True))
    assert first == again != other


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    network = gn.build("tiny")
    before = network.state_dict()
    state = {key: array + 1 for key, array in before.items() if key != "fc.bias"}
    state |= {"fc.wieght": np.ones(1), "conv1.bias": np.ones(9)}
    told = "1 missing: fc.bias; 1 unexpected: fc.wieght; 1 wrongly shaped: conv1.bias (9,) instead of (8,)"
    with pytest.raises(GlassnetError, match=re.escape(told)):
        network.load_state_dict(state)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("wrong", [np.array(["x"] * 10), np.full(10, None), np.full(10, 1j)], ids=lambda a: a.dtype)
def test_values_that_are_no_real_numbers_change_nothing(engine: str, wrong: Any) -> None:
    network = gn.build("tiny-bn", engine=engine)
    before = network.state_dict()
    state = {key: array + 1 for key, array in before.items()} | {"fc.bias": wrong}
    told = f"fc.bias of the state must hold real numbers. Got an array of {wrong.dtype}."
    with pytest.raises(GlassnetError, match=re.escape(told)):
        network.load_state_dict(state)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_float64_numbers_too_large_for_float32_become_infinite(engine: str) -> None:
    network = gn.build("tiny-bn", engine=engine)
    network.load_state_dict({**network.state_dict(), "fc.bias": np.full(10, 1e300)})
    assert np.isposinf(network.state_dict()["fc.bias"]).all()


def test_the_keys_have_the_networks_order_and_its_dtype() -> None:
    network = gn.build("tiny-bn")
    given = {key: array.astype(np.float64) for key, array in reversed(network.state_dict().items())}
    del given["bn1.num_batches_tracked"]  # files older than torch 0.4.1 lack it
    network.load_state_dict(given)
    assert list(network.state_dict()) == list(gn.build("tiny-bn").state_dict())
    assert network.state_dict()["bn1.weight"].dtype == np.float32


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_copy_is_equal_and_shares_nothing(engine: str) -> None:
    network = gn.build(gn.spec("tiny-bn", dropout=0.5), engine, seed=3, dtype="float64")
    copy = clone_network(network)
    state = network.state_dict()
    assert (copy.engine, copy.spec, copy.dtype, copy.device) == (engine, network.spec, network.dtype, network.device)
    for key, array in copy.state_dict().items():
        np.testing.assert_array_equal(array, state[key])
    copy.trainer(gn.Recipe(lr=1.0)).step(np.random.default_rng(0).standard_normal((4, 1, 8, 8)), np.arange(4))
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, state[key])
    assert not np.array_equal(copy.state_dict()["conv1.weight"], state["conv1.weight"])


def test_a_copy_computes_on_as_many_threads() -> None:
    assert clone_network(gn.build("tiny", threads=2)).threads == 2


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_copy_in_another_dtype(engine: str) -> None:
    network = gn.build("tiny", engine, seed=4)
    copy = clone_network(network, dtype="float64")
    assert copy.dtype == np.float64
    np.testing.assert_array_equal(copy.state_dict()["fc.weight"], network.state_dict()["fc.weight"])


def test_copying_draws_nothing_from_torchs_own_generator() -> None:
    network = gn.build("tiny", "torch")
    before = torch.get_rng_state()
    clone_network(network)
    assert torch.equal(torch.get_rng_state(), before)
