"""Small tasks and made-up measurements for the tests of the bench."""

from typing import Any

from glassnet.architecture import ResNetSpec, spec
from glassnet.bench import BenchReport, Contest, Machine
from glassnet.bench.contenders import Contender, Gemm, Glassnet, Yardstick
from glassnet.bench.tasks import Layer, Training, distinct_layers
from glassnet.bench.torch_contender import LAYOUTS, Torch

SMALL = ResNetSpec("resnet20", width=4, image_size=8, blocks=(1, 1))
TINY = Training(spec("tiny"), 8)

MACHINE = Machine(
    "A processor",
    2,
    "An OS",
    {"python": "3.11", "numpy": "2.0", "blas": "a BLAS", "torch": None, "glassnet": "0.1"},
    1e9,
    2e9,
    1e9,
)


def everybody() -> list[Contender]:
    plain: list[Contender] = [Glassnet(1), Glassnet(2), Yardstick(1), Yardstick(2), Gemm(1)]
    return [*plain, *(Torch(threads, layout) for layout in LAYOUTS for threads in (1, 2))]


def layers() -> list[Layer]:
    return distinct_layers(SMALL, 4)


def contest(task: Any = TINY, *, ours: Any = (2.0, 3.0, 4.0), memory: bool = True) -> Contest:
    """Rounds that take whole seconds: ours as given, the yardstick 10 on one thread and 5 on two, PyTorch 2, 1, 2."""
    contenders: list[Contender] = [Glassnet(1), Yardstick(1), Yardstick(2), Torch(1, "NCHW"), Torch(2, "channels-last")]
    rounds = [ours, (10.0,) * 3, (5.0,) * 3, (2.0, 1.0, 2.0), (9.0, 9.0, 9.0)]
    passes = ["forward", "backward"] if isinstance(task, Layer) else ["forward", "backward", "update", "step"]
    seconds = {one.name: dict.fromkeys(passes, values) for one, values in zip(contenders, rounds, strict=True)}
    sizes = {one.name: size for one, size in zip(contenders, (40, 100, 80, 20, 10), strict=True)} if memory else {}
    return Contest(task, contenders, seconds, sizes)


def report(**workloads: Any) -> BenchReport:
    contests = workloads or {"digits": [contest()], "layers": [contest(layer, memory=False) for layer in layers()]}
    return BenchReport(MACHINE, 3, {name: f"Title of {name}" for name in contests}, contests, [])
