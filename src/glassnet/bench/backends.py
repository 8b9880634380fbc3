"""Backends: the NumPy engine with its fast kernels, and with the plain implementation that it is compared with.

A backend prepares a workload: a network with the workload's weights, the batch in the memory order that suits the
backend, and a function that runs it once. PyTorch is in ``torch_backend.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from threadpoolctl import threadpool_limits

from glassnet.bench.timing import TimedTask
from glassnet.bench.workloads import Workload
from glassnet.engines import build
from glassnet.formats import pluralize
from glassnet.nn.kernels.layout import channels_last
from glassnet.recipe import Recipe

FAST, PLAIN, PYTORCH = "NumPy fast", "NumPy plain", "PyTorch"

# The learning rate is so small that thousands of steps on one batch neither memorize it nor diverge: numbers that
# shrink to denormals or grow to infinity take other times.
RECIPE = Recipe(lr=1e-5, momentum=0.9, weight_decay=1e-4)


@dataclass(frozen=True)
class Backend(ABC):
    """An implementation with a number of threads and, where it has several, a memory layout."""

    threads: int
    layout: str | None = None
    implementation: ClassVar[str]

    @property
    def name(self) -> str:
        """The implementation, the layout and the threads: ``PyTorch, channels_last, 2 threads``."""
        return ", ".join(filter(None, (self.implementation, self.layout, pluralize(self.threads, "thread"))))

    @abstractmethod
    def prepare(self, workload: Workload, dtype: str = "float32") -> TimedTask:
        """Return the workload as a task that is ready to run."""

    @abstractmethod
    def thread_limits(self) -> AbstractContextManager[None]:
        """Limit the libraries to ``threads`` while the context lasts."""


class FastBackend(Backend):
    """The NumPy engine as ``gn.build`` makes it; it limits its threads itself."""

    implementation = FAST

    def thread_limits(self) -> AbstractContextManager[None]:
        return nullcontext()

    def prepare(self, workload: Workload, dtype: str = "float32") -> TimedTask:
        network = build(workload.spec, dtype=dtype, threads=self.threads)
        network.load_state_dict(workload.state())
        images, labels = workload.batch(dtype)
        images = channels_last(images)
        trainer = network.trainer(RECIPE)
        run = (lambda: trainer.step(images, labels)) if workload.is_training else (lambda: network.logits(images))
        return TimedTask(self.thread_limits, run, network.state_dict)


class PlainBackend(Backend):
    """The layers on the plain functions of ``nn.functional``, as tutorials write them.

    They are called directly, because the engine would limit BLAS to one thread.
    """

    implementation = PLAIN

    @contextmanager
    def thread_limits(self) -> Iterator[None]:
        with threadpool_limits(self.threads, user_api="blas"):
            yield

    def prepare(self, workload: Workload, dtype: str = "float32") -> TimedTask:
        network: Any = build(workload.spec, dtype=dtype, kernels="plain")
        network.load_state_dict(workload.state())
        trainer = network.trainer(RECIPE)
        images, labels = workload.batch(dtype)
        module = network.module.train(workload.is_training)

        def step() -> float:
            loss: float = trainer.loss(module(images), labels)
            module.backward_params(trainer.loss.backward())
            trainer.optimizer.step()
            return loss

        run = step if workload.is_training else (lambda: module(images))
        return TimedTask(self.thread_limits, run, network.state_dict)
