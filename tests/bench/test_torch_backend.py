import pytest
import torch

from glassnet.bench.torch_backend import LAYOUTS, TorchBackend
from glassnet.bench.workloads import Workload
from tests.bench.small import SMALL


def test_thread_limits_hold_torch_and_restore_it() -> None:
    before = torch.get_num_threads()
    for threads in (1, 2):
        with TorchBackend(threads, "NCHW").thread_limits():
            assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_that_of_images_and_weights(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors: list[torch.Tensor] = []
    convolution = torch.nn.functional.conv2d

    def record(x: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
        tensors.extend((x, weight))
        return convolution(x, weight, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "conv2d", record)
    TorchBackend(1, layout).prepare(Workload("logits", SMALL, 4, is_training=False)).run_once()
    x, weight = tensors[-2:]  # of the last convolution: 1×1 layouts are ambiguous, these are not
    assert x.is_contiguous(memory_format=LAYOUTS[layout])
    assert weight.is_contiguous(memory_format=LAYOUTS[layout])
    other = LAYOUTS["NCHW" if layout == "channels-last" else "channels-last"]
    assert not x.is_contiguous(memory_format=other)


def test_biases_and_norms_do_not_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = []
    sgd = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda received, *rest: groups.extend(received) or sgd(received, *rest))
    TorchBackend(1, "NCHW").prepare(Workload("step", SMALL, 2))
    decaying, others = ([p.ndim for p in group["params"]] for group in groups)
    assert min(decaying) > 1 == max(others)
    assert groups[0]["weight_decay"] > 0 == groups[1]["weight_decay"]
