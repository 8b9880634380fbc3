"""A bench that compares different work is worthless: everybody computes the same, for the same weights."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from glassnet.architecture import spec
from glassnet.bench.contenders import Contender, Gemm, Glassnet, Part, Yardstick
from glassnet.bench.tasks import Inference, Layer, Task, Training, distinct_layers
from glassnet.bench.torch_contender import Torch
from tests.bench.small import SMALL, TINY, everybody, layers

TASKS: dict[str, Task] = {
    "tiny": TINY,
    "block": Training(SMALL.replace(blocks=1), 8),
    "resnet20, small": Training(SMALL, 8),
    "inference": Inference(SMALL, 8),
    **{layer.name: layer for layer in layers()},
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


def part_of(contender: Contender, task: Task, dtype: str = "float64") -> Part:
    part = contender.part(task, dtype)
    assert part is not None
    return part


@every_task
def test_everybody_computes_the_same(task: Task) -> None:
    results = {}
    for contender in everybody():
        if not isinstance(contender, Gemm):
            part = part_of(contender, task)
            with part.at_work():
                part.once()
            results[contender.name] = part.results()
    assert len(results) == 8
    expected = results.pop("glassnet, 1 thread")
    for name, found in results.items():
        assert found.keys() == expected.keys(), name
        for key, array in found.items():
            assert array.dtype in (np.float64, np.int64), (name, key)
            scale = max(np.abs(expected[key]).max(), 0.1)
            np.testing.assert_allclose(array, expected[key], rtol=0, atol=1e-9 * scale, err_msg=f"{name} {key}")


def test_a_step_changes_every_weight_and_buffer() -> None:
    part = part_of(Glassnet(1), TASKS["resnet20, small"])
    part.once()
    results = part.results()
    assert results.pop("loss") > 0
    assert set(results) == set(Training(SMALL, 8).state())
    assert all(np.abs(change).max() > 0 for change in results.values())


def test_a_layers_results_are_all_that_it_has() -> None:
    first, norm, *_ = layers()
    for layer, names in ((first, {"y", "weight"}), (norm, {"y", "dx", "weight", "bias"})):
        part = part_of(Yardstick(1), layer)
        part.once()
        assert set(part.results()) == names, layer.name


@every_task
@pytest.mark.parametrize("contender", everybody(), ids=lambda contender: contender.name)
def test_passes_are_timed_in_float32(task: Task, contender: Contender) -> None:
    part = contender.part(task)
    if part is None:
        assert isinstance(contender, Gemm)
        assert not (isinstance(task, Layer) and task.kind == "Conv2d")
        return
    seconds = part.once()
    assert set(task.work) <= set(seconds)
    assert task.main_pass in seconds
    assert all(value > 0 for value in seconds.values())
    if "step" in seconds:
        assert list(seconds) == ["forward", "backward", "update", "step"]
        assert seconds["step"] == pytest.approx(sum(seconds.values()) / 2)
    assert all(array.dtype != np.float64 for key, array in part.results().items() if key in ("y", "dx", "logits"))


def test_the_steps_on_one_batch_stay_finite() -> None:
    part = part_of(Glassnet(1), TINY, "float32")
    losses = []
    for _ in range(100):
        part.once()
        losses.append(float(part.results()["loss"]))
    assert np.isfinite(losses).all()
    assert losses[-1] > losses[0] / 2


def blas() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if "openblas" in library["filepath"]}


def test_the_yardsticks_blas_has_its_threads_and_gives_them_back() -> None:
    before = blas()
    for threads in (1, 2):
        for contender in (Yardstick(threads), Gemm(threads)):
            with contender.at_work():
                assert blas() == {threads}
    assert blas() == before


def test_names_say_who_and_with_what() -> None:
    assert Yardstick(1).name == "yardstick, 1 thread"
    assert Torch(2, "channels-last").name == "PyTorch, channels-last, 2 threads"
    assert len({contender.name for contender in everybody()}) == len(everybody())


def test_bare_products_are_those_of_the_convolution() -> None:
    convolution = distinct_layers(spec("resnet20"), 1)[0]
    part = part_of(Gemm(1), convolution)
    assert set(part.once()) == {"forward", "backward"}
    assert part.results() == {}
