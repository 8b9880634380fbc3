from collections.abc import Callable

import numpy as np
import pytest

import glassnet as gn
from glassnet import initialization
from glassnet.explorer.payload import build_payload
from glassnet.explorer.variants import count_normals
from glassnet.training import Model

from .payloads import Contents, read_payload


@pytest.fixture(scope="module")
def contents(trained: Model) -> Contents:
    return read_payload(build_payload(trained, trained.load_dataset()))


def test_payload_describes_the_run(contents: Contents, trained: Model) -> None:
    config, _ = contents
    assert config["run"]["name"] == "digits"
    assert (config["run"]["engine"], config["run"]["dtype"]) == ("numpy", "float32")
    assert config["classes"] == trained.classes
    assert gn.ResNetSpec.from_dict(config["spec"]) == trained.network.spec
    assert config["recipe"] == trained.config["recipe"]
    assert config["history"] == trained.history
    assert config["seeds"] == [3, 0, 1, 2, 4]
    assert config["data"] == {"complete": True, "n_train": 1347, "n_test": 450, "source": "digits"}
    assert config["input"] == {"kind": "digits", "size": [8, 8], "channels": 1, "fit": "crop"}
    assert config["variants"][0]["graph"] == gn.graph(trained.network.spec)


def test_payload_has_all_digits_and_the_weights(contents: Contents, trained: Model, digits_data: gn.Dataset) -> None:
    config, tensors = contents
    for name, split in (("train", digits_data.train), ("test", digits_data.test)):
        np.testing.assert_array_equal(tensors[f"images.{name}"], split.images.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(tensors[f"labels.{name}"], split.labels)
    state = trained.network.state_dict()
    for key, array in state.items():
        assert tensors[f"weights.{key}"].dtype == np.float64
        np.testing.assert_array_equal(tensors[f"weights.{key}"], array)
    assert config["normalization"] == {"scale": 16.0, "mean": [0.0], "std": [1.0]}
    others = {"images.train", "images.test", "labels.train", "labels.test"}
    others |= {f"{kind}.{seed}" for kind in ("normals", "order") for seed in config["seeds"]}
    assert tensors.keys() == others | {f"weights.{key}" for key in state}


class _Stored:
    """Gives stored normal numbers in order, in place of NumPy's generator."""

    def __init__(self, normals: np.ndarray) -> None:
        self.normals, self.used = normals, 0

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        self.used += int(np.prod(shape))
        assert self.used <= len(self.normals)
        return self.normals[self.used - int(np.prod(shape)) : self.used].reshape(shape)


def test_payload_normals_give_the_initial_weights_of_every_network_and_seed(
    contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tensors = contents
    generator: Callable[[int], object] = np.random.default_rng
    compared = 0
    for variant in config["variants"]:
        spec = gn.ResNetSpec.from_dict(variant["graph"]["spec"])
        for seed in variant["seeds"]:
            expected = initialization.initial_state_dict(spec, seed)
            stored = _Stored(tensors[f"normals.{seed}"])
            monkeypatch.setattr(np.random, "default_rng", lambda _, stored=stored: stored)
            state = initialization.initial_state_dict(spec, seed)
            monkeypatch.setattr(np.random, "default_rng", generator)
            assert all(np.array_equal(state[key], expected[key]) for key in expected)
            compared += 1
    assert compared >= 5 * 16
    assert all(variant["seeds"][0] == 3 for variant in config["variants"])


def test_payload_is_the_same_bytes_for_the_same_run(trained: Model) -> None:
    first, second = (build_payload(trained, trained.load_dataset()) for _ in range(2))
    assert first == second


def test_payload_lists_the_seeds_whose_normals_suffice(trained: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassnet.explorer.seeds.MAX_BYTES", 250_000)
    config, tensors = read_payload(build_payload(trained, trained.load_dataset()))
    numbers = {seed: len(tensors[f"normals.{seed}"]) for seed in config["seeds"]}
    for variant in config["variants"]:
        needed = count_normals(variant["graph"])
        assert variant["seeds"] == [seed for seed, number in numbers.items() if number >= needed]
    assert [len(variant["seeds"]) for variant in (config["variants"][0], config["variants"][-1])] == [5, 1]
