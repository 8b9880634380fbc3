import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import glassnet as gn
from glassnet.engines.threads import limit_blas_threads
from glassnet.errors import ConfigError
from glassnet.nn.kernels import parallel
from glassnet.resources import usable_cores

IMAGES, LABELS = np.zeros((2, 1, 8, 8)), np.zeros(2, int)


def numpys_threads() -> int:
    (blas,) = [library for library in threadpool_info() if "numpy" in library["filepath"]]
    return int(blas["num_threads"])


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    with threadpool_limits(2, user_api="blas"):
        if numpys_threads() != 2:
            pytest.skip("this BLAS has no two threads to hold back")
        yield


def test_one_thread_inside_and_as_many_as_before_outside() -> None:
    with limit_blas_threads():
        assert numpys_threads() == 1
        with limit_blas_threads():
            assert numpys_threads() == 1
        assert numpys_threads() == 1
    assert numpys_threads() == 2


def test_every_thread_of_python_can_hold_it_and_the_last_lets_go() -> None:
    entered, left = threading.Barrier(3, timeout=60), threading.Event()
    seen = []

    def stay(until: threading.Event | None) -> None:
        with limit_blas_threads():
            seen.append(numpys_threads())
            entered.wait()
            if until is not None:
                until.wait(60)
                seen.append(numpys_threads())

    short, long = (threading.Thread(target=stay, args=(until,)) for until in (None, left))
    with limit_blas_threads():
        pass  # the first thread that sets a number is not the only one that can
    short.start(), long.start()
    entered.wait()
    short.join()
    assert numpys_threads() == 1
    left.set()
    long.join()
    assert seen == [1, 1, 1]
    assert numpys_threads() == 2


def test_the_threads_come_back_after_a_failure() -> None:
    with pytest.raises(KeyboardInterrupt), limit_blas_threads():
        raise KeyboardInterrupt
    assert numpys_threads() == 2


@pytest.mark.parametrize(
    "work",
    [
        lambda network: network.logits(IMAGES),
        lambda network: network.activations(IMAGES),
        lambda network: network.gradients(IMAGES, LABELS),
        lambda network: network.trainer(gn.Recipe()).step(IMAGES, LABELS),
    ],
    ids=["logits", "activations", "gradients", "step"],
)
def test_the_engine_computes_on_one_thread(work: Callable[[gn.Network], object]) -> None:
    network = gn.build("tiny")
    seen = []
    plain = network.module.conv1.forward
    network.module.conv1.forward = lambda x: (seen.append(numpys_threads()), plain(x))[1]
    work(network)
    assert seen == [1]
    assert numpys_threads() == 2


def test_the_numpy_engine_takes_all_cores_or_as_many_as_asked() -> None:
    assert gn.build("tiny").threads == usable_cores() >= 1
    network = gn.build("tiny", threads=3)
    assert network.threads == 3
    assert {len(module.kernels.workspaces) for module in network.module.modules()} == {3}  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="threads must be an integer of at least 1 or None. Got 0."):
        gn.build("tiny", threads=0)


def test_a_training_has_the_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 20_000)  # several blocks even of these few images
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((12, 3, 16, 16)).astype(np.float32), rng.integers(0, 10, 12)
    states = []
    for threads in (1, 2, 3):
        network = gn.build("resnet20", threads=threads)
        trainer = network.trainer(gn.Recipe())
        for _ in range(3):
            trainer.step(images, labels)
        states.append(network.state_dict())
    for key, value in states[0].items():
        np.testing.assert_array_equal(states[1][key], value)
        np.testing.assert_array_equal(states[2][key], value)
