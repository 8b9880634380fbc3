"""The cost of adding gradients along a tree, beside PyTorch's all-reduce: time of a step on several processes.

    torchrun --standalone --nproc-per-node 2 benchmarks/shards.py [SECONDS]

tiny-bn with batches of 32 digits, and resnet20 with batches of 128 images of 32×32, on the CPU, one thread a process,
as many shards as processes. Rounds of steps of both sums take turns for SECONDS (default 20) a network; rank 0 prints
the medians, and the time of one process that computes the same batch in one part. In brackets: the processor's time in
rank 0, which other work on the machine changes less.
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter, process_time
from typing import Any, Literal

import numpy as np

import glassnet as gn
from glassnet.compute import Compute
from glassnet.data import Normalization
from glassnet.engines import Batch, ProcessGroup, build_network
from glassnet.engines.process_group import joined
from glassnet.recipe import Recipe

# Images of a batch, their shape, and the steps of a round.
CASES = {"tiny-bn": (32, (8, 8, 1), 20), "resnet20": (128, (32, 32, 3), 2)}


def make_step(preset: str, group: ProcessGroup, all_reduce: Literal["tree", "torch"]) -> Any:
    """Return a function that takes one step on this process's rows of a batch."""
    size, shape, _ = CASES[preset]
    compute = Compute(engine="torch", device="cpu", threads=1, all_reduce=all_reduce)
    network = build_network(gn.spec(preset, image_size=shape[:2], in_channels=shape[2]), compute, 42, group)
    trainer = network.trainer(Recipe(shards=group.world_size, lr=0.01))
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (size, *shape), dtype=np.uint8), rng.integers(0, 10, size)
    rows = group.rows(size, group.world_size)
    normalization = Normalization(1.0, (127.0,) * shape[2], (60.0,) * shape[2])
    batch = Batch(images[rows], labels[rows], normalization, rows, labels)
    return lambda: trainer.step(batch)


def main(seconds: float = 20.0) -> None:
    """Measure both networks."""
    group = ProcessGroup.from_environment()
    with joined(group, print):
        for preset, (_, _, n_steps) in CASES.items():
            steps = {
                "tree": make_step(preset, group, "tree"),
                "all-reduce": make_step(preset, group, "torch"),
                "alone": make_step(preset, ProcessGroup(), "tree"),
            }
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
            start = perf_counter()
            while group.from_first(lambda started=start: perf_counter() - started < seconds):
                for name, step in steps.items():
                    if name == "alone" and not group.is_first:
                        continue
                    begun, computed = perf_counter(), process_time()
                    for _ in range(n_steps):
                        step()
                    times[name].append(((perf_counter() - begun) / n_steps, (process_time() - computed) / n_steps))
            if group.is_first:
                medians = {
                    name: [1e3 * median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()
                }
                texts = ", ".join(f"{name} {wall:.2f} ms ({cpu:.2f})" for name, (wall, cpu) in medians.items())
                print(f"{preset}, {group.world_size} processes: {texts} a step", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
