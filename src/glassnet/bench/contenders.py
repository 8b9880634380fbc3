"""Who computes: glassnet's engine, the plain yardstick, and the bare matrix products of a convolution.

A contender makes a ``Part`` of a task: its network or layer with the task's weights, its arrays in the memory order it
likes best, and a function that does the work once. PyTorch's is in ``torch_contender.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from glassnet import nn
from glassnet.bench.clock import Clock, Passes
from glassnet.bench.tasks import Inference, Layer, Task, Training
from glassnet.engines import build
from glassnet.engines.threads import one_blas_thread
from glassnet.nn.kernels import Kernels
from glassnet.nn.kernels.array_pool import ArrayPool
from glassnet.nn.kernels.layout import channels_last
from glassnet.recipe import Recipe
from glassnet.verify import yardstick

Array = NDArray[Any]

# So small a learning rate that thousands of steps on one batch neither learn it by heart nor diverge: numbers that
# shrink to denormals or grow to infinity take other times.
RECIPE = Recipe(lr=1e-5, momentum=0.9, weight_decay=1e-4)


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    with threadpool_limits(count, user_api="blas"):
        yield


@dataclass(frozen=True)
class Part:
    """A contender's part in a comparison."""

    at_work: Callable[[], AbstractContextManager[None]]
    once: Callable[[], Passes]
    results: Callable[[], dict[str, Array]]  # of the last run, to be compared with the others'


class Contender(ABC):
    """One way to compute, with so many threads.

    ``engine`` is who it is; of one engine with several settings the quickest is what counts.
    """

    engine: str

    def __init__(self, threads: int, layout: str | None = None) -> None:
        self.threads, self.layout = threads, layout

    @property
    def name(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return ", ".join([self.engine, *([self.layout] if self.layout else []), threads])

    def part(self, task: Task, dtype: str = "float32") -> Part | None:
        """Its part of a task; None where it has none."""
        if isinstance(task, Layer):
            return self.layer(task, dtype)
        return self.inference(task, dtype) if isinstance(task, Inference) else self.training(task, dtype)

    @abstractmethod
    def at_work(self) -> AbstractContextManager[None]:
        """Hold the threads to ``threads`` while the context lasts."""

    def training(self, task: Training, dtype: str) -> Part | None:
        return None

    def inference(self, task: Inference, dtype: str) -> Part | None:
        return None

    @abstractmethod
    def layer(self, task: Layer, dtype: str) -> Part | None: ...


def changes(before: dict[str, Array], after: dict[str, Array]) -> dict[str, Array]:
    """What a step did to each weight and buffer, in units of the learning rate: the size of a gradient."""
    return {key: (after[key] - before[key]) / RECIPE.lr for key in before}


class Glassnet(Contender):
    """The NumPy engine as anybody uses it."""

    engine = "glassnet"

    def at_work(self) -> AbstractContextManager[None]:
        return nullcontext()

    def training(self, task: Training, dtype: str) -> Part:
        network = build(task.spec, dtype=dtype, threads=self.threads)
        network.load_state_dict(task.state())
        trainer: Any = network.trainer(RECIPE)
        images, labels = task.batch(dtype)
        images = channels_last(images)
        clock = Clock()
        trainer.loss.forward = clock.ends("forward", trainer.loss.forward)
        trainer.optimizer.step = clock.ended("backward", trainer.optimizer.step)
        losses: list[float] = []

        def once() -> Passes:
            clock.start()
            losses.append(trainer.step(images, labels))
            clock.lap("update")
            return clock.total("step")

        def results() -> dict[str, Array]:
            return {"loss": np.array(losses[-1]), **changes(task.state(), network.state_dict())}

        return Part(self.at_work, once, results)

    def inference(self, task: Inference, dtype: str) -> Part:
        network = build(task.spec, dtype=dtype, threads=self.threads)
        network.load_state_dict(task.state())
        images = channels_last(task.batch(dtype)[0])
        return logits_part(self, lambda: network.logits(images))

    def layer(self, task: Layer, dtype: str) -> Part:
        layer: nn.Module = task.make(nn).to(dtype)
        layer.use_kernels(Kernels(self.threads, ArrayPool()))
        layer.load_state_dict(task.state())
        x, dy = map(channels_last, task.arrays(dtype))
        return module_part(layer, task, (x, dy), one_blas_thread)


class Yardstick(Contender):
    """The plain tutorial engine, with so many BLAS threads."""

    engine = "yardstick"

    def at_work(self) -> AbstractContextManager[None]:
        return blas_threads(self.threads)

    def _network(self, task: Training, dtype: str) -> yardstick.Yardstick:
        state = {key: value.astype(dtype) for key, value in task.state().items()}
        chosen = {"lr": RECIPE.lr, "momentum": RECIPE.momentum, "weight_decay": RECIPE.weight_decay}
        return yardstick.Yardstick(task.spec, state, **chosen)

    def training(self, task: Training, dtype: str) -> Part:
        trained = self._network(task, dtype)
        images, labels = task.batch(dtype)
        clock = Clock()
        losses: list[float] = []

        def once() -> Passes:
            clock.start()
            loss, dlogits = trained.forward(images, labels)
            clock.lap("forward")
            trained.backward(dlogits)
            clock.lap("backward")
            trained.update()
            clock.lap("update")
            losses.append(loss)
            return clock.total("step")

        def results() -> dict[str, Array]:
            return {"loss": np.array(losses[-1]), **changes(task.state(), trained.network.state_dict())}

        return Part(self.at_work, once, results)

    def inference(self, task: Inference, dtype: str) -> Part:
        network = self._network(task, dtype).network.eval()
        images, _ = task.batch(dtype)
        return logits_part(self, lambda: network(images))

    def layer(self, task: Layer, dtype: str) -> Part:
        layer: nn.Module = task.make(yardstick).to(dtype)
        layer.load_state_dict(task.state())
        return module_part(layer, task, task.arrays(dtype), self.at_work)


class Gemm(Contender):
    """A convolution's matrix products alone, on columns that are there already: no im2col engine can be quicker."""

    engine = "bare GEMM"

    def at_work(self) -> AbstractContextManager[None]:
        return blas_threads(self.threads)

    def layer(self, task: Layer, dtype: str) -> Part | None:
        if task.kind != "Conv2d":
            return None
        rng = np.random.default_rng(0)
        M, K, N = task.gemm
        columns, weight, dy = (rng.standard_normal(shape).astype(dtype) for shape in ((M, K), (K, N), (M, N)))
        y, dweight, dcolumns = np.empty_like(dy), np.empty((N, K), dtype), np.empty_like(columns)
        clock = Clock()

        def once() -> Passes:
            clock.start()
            np.matmul(columns, weight, out=y)
            clock.lap("forward")
            np.matmul(dy.T, columns, out=dweight)
            if not task.first:
                np.matmul(dy, weight.T, out=dcolumns)
            clock.lap("backward")
            return clock.seconds

        return Part(self.at_work, once, dict)


def logits_part(contender: Contender, compute: Callable[[], Any]) -> Part:
    clock = Clock()
    seen: list[Any] = []

    def once() -> Passes:
        seen.clear()
        clock.start()
        seen.append(compute())
        clock.lap("forward")
        return clock.seconds

    return Part(contender.at_work, once, lambda: {"logits": np.asarray(seen[0])})


def module_part(
    layer: nn.Module, task: Layer, arrays: tuple[Array, Array], at_work: Callable[[], AbstractContextManager[None]]
) -> Part:
    """The part of a layer in NumPy, forward and backward."""
    x, dy = arrays
    clock = Clock()
    seen: dict[str, Array] = {}

    def once() -> Passes:
        seen.clear()
        clock.start()
        y = layer(x)
        clock.lap("forward")
        if task.first:
            layer.backward_params(dy)
            clock.lap("backward")
        else:
            dx = layer.backward(dy)
            clock.lap("backward")
            seen["dx"] = dx
        seen["y"] = y
        return clock.seconds

    def results() -> dict[str, Array]:
        return {**seen, **{key: parameter.grad for key, parameter in layer.named_parameters()}}

    return Part(at_work, once, results)
