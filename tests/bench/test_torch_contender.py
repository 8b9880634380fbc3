import pytest
import torch

from glassnet.bench.torch_contender import LAYOUTS, Torch
from tests.bench.small import SMALL, layers


def test_its_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with Torch(2, "NCHW").at_work():
        assert torch.get_num_threads() == 2
    with Torch(1, "NCHW").at_work():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_and_kernels_lie_in_its_layout(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    convolution = torch.nn.functional.conv2d

    def look(x: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.extend((x, weight))
        return convolution(x, weight, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "conv2d", look)
    part = Torch(1, layout).layer(layers()[3], "float32")
    part.once()
    assert [tensor.is_contiguous(memory_format=LAYOUTS[layout]) for tensor in seen] == [True, True]
    other = LAYOUTS["NCHW" if layout == "channels-last" else "channels-last"]
    assert not seen[0].is_contiguous(memory_format=other)


def test_biases_and_norms_do_not_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    from glassnet.bench.tasks import Training

    groups = []
    sgd = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda given, *rest: groups.extend(given) or sgd(given, *rest))
    Torch(1, "NCHW").training(Training(SMALL, 2), "float32")
    decaying, others = ([p.ndim for p in group["params"]] for group in groups)
    assert min(decaying) > 1 == max(others)
    assert groups[0]["weight_decay"] > 0
    assert "weight_decay" not in groups[1] or groups[1]["weight_decay"] == 0
