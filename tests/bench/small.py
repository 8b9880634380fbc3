"""Small workloads and made-up measurements for the tests of the bench."""

from typing import Any

from glassnet.architecture import ResNetSpec, spec
from glassnet.bench import BenchReport, TaskTimings, Workload
from glassnet.bench.backends import Backend, FastBackend, PlainBackend
from glassnet.bench.torch_backend import LAYOUTS, TorchBackend

SMALL = ResNetSpec("resnet20", width=4, image_size=8, blocks=(1, 1))
TINY = Workload("Step of tiny", spec("tiny"), 8)

MACHINE = {"processor": "A processor", "cores": 2, "system": "An OS", "python": "3.11", "torch": None}


def all_backends() -> list[Backend]:
    numpy: list[Backend] = [FastBackend(1), FastBackend(2), PlainBackend(1), PlainBackend(2)]
    return [*numpy, *(TorchBackend(threads, layout) for layout in LAYOUTS for threads in (1, 2))]


def timings(*, fast: Any = (2.0, 3.0, 4.0), memory: bool = True) -> TaskTimings:
    """Return rounds of whole seconds: fast as given, plain 10 on one thread and 5 on two, PyTorch 2, 1, 2."""
    backends: list[Backend] = [
        FastBackend(1),
        PlainBackend(1),
        PlainBackend(2),
        TorchBackend(1, "NCHW"),
        TorchBackend(2, "channels-last"),
    ]
    names = [backend.name for backend in backends]
    rounds = [fast, (10.0,) * 3, (5.0,) * 3, (2.0, 1.0, 2.0), (9.0, 9.0, 9.0)]
    values: dict[str, Any] = {"time": dict(zip(names, rounds, strict=True))}
    if memory:
        values["peak_memory"] = dict(zip(names, ([40], [100], [80], [20], [10]), strict=True))
    return TaskTimings(TINY, backends, values)


def report(**workloads: TaskTimings) -> BenchReport:
    return BenchReport(MACHINE, 3, workloads or {"digits": timings(), "block": timings(memory=False)})
