"""What ``glassnet bench`` measures, as a table: each workload has its tasks, and who takes part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from glassnet.architecture import ResNetSpec, spec
from glassnet.bench.contenders import Contender, Gemm, Glassnet, Yardstick
from glassnet.bench.path import steps
from glassnet.bench.tasks import Inference, Layer, Task, Training, distinct_layers
from glassnet.engines.threads import usable_cores

Contenders = tuple[list[Contender], str | None]  # and why PyTorch is not among them


@dataclass(frozen=True)
class Workload:
    title: str
    tasks: Callable[[], Sequence[Task]]
    contenders: Callable[[], Contenders]
    has_memory: bool = False  # one task, whose peak memory is measured


def _thread_counts() -> list[int]:
    return sorted({1, usable_cores()})


def pytorch() -> Contenders:
    """In both memory orders, on one thread and on all; none, and why, where PyTorch cannot be imported."""
    try:
        from glassnet.bench.torch_contender import LAYOUTS, Torch
    except Exception as error:  # whatever a broken installation ends in
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return [], f"PyTorch takes no part: {reason}"
    return [Torch(threads, layout) for layout in LAYOUTS for threads in _thread_counts()], None


def numpy_contenders() -> list[Contender]:
    return [kind(threads) for kind in (Glassnet, Yardstick, Gemm) for threads in _thread_counts()]


def engines() -> Contenders:
    """Everybody who computes whole networks and layers."""
    others, missing = pytorch()
    return [*numpy_contenders(), *others], missing


def engine_named(name: str) -> Contender:
    """One of ``engines``; PyTorch is imported only where it is the one.

    :raises StopIteration: there is none.
    """
    known = (one for list_of in (numpy_contenders, lambda: pytorch()[0]) for one in list_of())
    return next(one for one in known if one.name == name)


def path_steps() -> Contenders:
    """The steps of the teaching path, and what they lead to."""
    others, missing = pytorch()
    return [Glassnet(usable_cores()), *steps(usable_cores()), *others], missing


BLOCK = ResNetSpec(blocks=(1,))  # 3×32×32: a convolution to 16 channels, one residual block, and the head


def _path_convolution() -> list[Layer]:
    """The second convolution of resnet20, 16→16 on 32×32, of which it has six more."""
    return [layer for layer in distinct_layers(spec("resnet20"), 128) if layer.kind == "Conv2d"][1:2]


WORKLOADS: dict[str, Workload] = {
    "digits": Workload(
        "Training step of tiny on 1×8×8, batch 64", lambda: [Training(spec("tiny"), 64)], engines, has_memory=True
    ),
    "block": Workload(
        "Training step of one residual block of 16 channels on 3×32×32, batch 64",
        lambda: [Training(BLOCK, 64)],
        engines,
        has_memory=True,
    ),
    "resnet20": Workload(
        "Training step of ResNet-20 on 3×32×32, batch 128",
        lambda: [Training(spec("resnet20"), 128)],
        engines,
        has_memory=True,
    ),
    "resnet20-inference": Workload(
        "Logits of ResNet-20 on 3×32×32, batch 128",
        lambda: [Inference(spec("resnet20"), 128)],
        engines,
        has_memory=True,
    ),
    "layers": Workload("Each layer of ResNet-20, batch 128", partial(distinct_layers, spec("resnet20"), 128), engines),
    "path": Workload("The way to a fast convolution, batch 128", _path_convolution, path_steps),
}
