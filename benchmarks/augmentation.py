"""Images a second of a training's data path: read, cropped, resized and flipped, in line, in threads, in processes.

    python benchmarks/augmentation.py [ROUNDS]

Images of noise in memory (seed 0), 8/7 of the size as `Split.larger` has them. First the processor time of augmenting
an image. Then, with flip-resized-crop, the data path alone, in every way in turn, and a training's epoch with and
without preparing ahead: beside a device that computes as long as a batch takes to prepare (the CPU waits), and beside
PyTorch steps of resnet20 on one core. Medians of the rounds, 5 by default.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from time import perf_counter, process_time

import numpy as np
import PIL
from numpy.typing import NDArray

import glassnet as gn
from glassnet.data import Augmentation, BatchLoader, Normalization, Split, batch_loader
from glassnet.engines import Batch

AUGMENTATION = Augmentation("flip-resized-crop")
NORMALIZATION = Normalization(255.0, (0.5,) * 3, (0.29,) * 3)

Step = Callable[[NDArray[np.uint8], NDArray[np.int64]], object]


def make_split(size: int, count: int) -> Split:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 10
    split = Split(rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8), labels)
    larger = -(-size * 8 // 7)
    split.larger = Split(rng.integers(0, 256, (count, larger, larger, 3), dtype=np.uint8), labels)
    return split


class Worker:
    """A loader in a process that was forked with the images in memory, as a mapped file would be shared."""

    loader: BatchLoader

    @classmethod
    def prepare(cls, indices: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return cls.loader._prepare(indices, 1)


def prepare_all(loader: BatchLoader, batches: list[NDArray[np.int64]], pool: Executor | None) -> float:
    start = perf_counter()
    if pool is None:
        for indices in batches:
            loader._prepare(indices, 1)
    else:
        Worker.loader = loader
        for _ in pool.map(Worker.prepare, batches):
            pass
    return perf_counter() - start


def pools() -> Iterator[tuple[str, Executor | None]]:
    yield "in line", None
    for count in (1, 2):
        yield f"{count} thread{'s' * (count > 1)}", ThreadPoolExecutor(count)
    yield "2 processes", ProcessPoolExecutor(2, mp_context=get_context("fork"))


def measure_path(split: Split, batches: list[NDArray[np.int64]], rounds: int) -> float:
    """Print the images a second of each way, and return the seconds of a batch in line."""
    loader = BatchLoader(split, AUGMENTATION)
    Worker.loader = loader
    ways = dict(pools())
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for pool in ways.values():
        prepare_all(loader, batches[:4], pool)  # starts threads and processes
    for _ in range(rounds):
        for name, pool in ways.items():
            seconds[name].append(prepare_all(loader, batches, pool))
    for pool in ways.values():
        if pool is not None:
            pool.shutdown()
    count = sum(map(len, batches))
    for name, values in seconds.items():
        print(f"  data path, {name:12} {count / statistics.median(values):8,.0f} images/s", flush=True)
    return statistics.median(seconds["in line"]) / len(batches)


def measure_training(title: str, split: Split, batches: list[NDArray[np.int64]], rounds: int, step: Step) -> None:
    """Print the images a second of steps, with the batches in line and prepared ahead, in turn."""
    limits = {"in line": np.inf, "prepared ahead": 0.0}
    seconds: dict[str, list[float]] = {name: [] for name in limits}
    for _ in range(rounds):
        for name, limit in limits.items():
            batch_loader._WORTH_A_THREAD = limit  # type: ignore[assignment]
            start = perf_counter()
            for images, labels in BatchLoader(split, AUGMENTATION).load(batches, 1):
                step(images, labels)
            seconds[name].append(perf_counter() - start)
    count = sum(map(len, batches))
    rates = {name: count / statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(a / b for a, b in zip(*seconds.values(), strict=True))
    texts = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    print(f"  {title}: {texts} images/s, ratio {ratio:.2f}", flush=True)


def measure_cost(augmentation: Augmentation, size: int, count: int) -> None:
    """Print the processor time of an image, best of 7 batches."""
    split = make_split(size, count)
    loader, batch = BatchLoader(split, augmentation), np.arange(count)
    seconds = []
    for epoch in range(7):
        start = process_time()
        loader._prepare(batch, epoch)
        seconds.append(process_time() - start)
    changing = ", ".join(f"{name} {value}" for name, value in vars(augmentation).items() if value and name != "seed")
    print(f"{size}×{size}, {changing}: {min(seconds) / count * 1e3:.3f} ms an image")


def main(rounds: int = 5) -> None:
    for size, count in ((32, 128), (224, 32)):
        measure_cost(Augmentation("flip-crop"), size, count)
        measure_cost(Augmentation("flip-resized-crop"), size, count)
        measure_cost(Augmentation("flip-resized-crop", jitter=0.4), size, count)
        measure_cost(Augmentation("flip-crop", rotate=15.0), size, count)
    for size, batch_size, n_batches in ((64, 64, 24), (224, 32, 12)):
        split = make_split(size, batch_size * n_batches)
        order = np.random.default_rng(0).permutation(len(split))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        print(f"{size}×{size}, batches of {batch_size}:")
        pause = measure_path(split, batches, rounds)
        measure_training(
            f"a device that takes {pause * 1e3:.0f} ms a step",
            split,
            batches,
            rounds,
            lambda *_, pause=pause: time.sleep(pause),
        )
    split = make_split(64, 96)
    trainer = gn.build(gn.spec("resnet20", image_size=64), "torch", threads=1).trainer(gn.Recipe(lr=1e-3))
    measure_training(
        "64×64, batches of 8, resnet20 in PyTorch on one core",
        split,
        list(np.arange(96).reshape(12, 8)),
        rounds,
        lambda images, labels: trainer.step(Batch(images, labels, NORMALIZATION)),
    )
    print(
        f"glassnet {gn.__version__}, NumPy {np.__version__}, Pillow {PIL.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
