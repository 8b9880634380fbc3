"""Time of a whole training on the digits, beside the bare steps of plain NumPy.

    python benchmarks/digits_training.py

`tiny`, recipe "tutorial", 10 epochs: `gn.train` with run folder, evaluation and checkpoints, in turn with the 220 steps
of a network with plain kernels on the same batches, prepared before. Prints medians, the median ratio of times that
follow each other, and the peak memory. `glassnet bench digits` measures a single step.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable
from time import perf_counter

import numpy as np

import glassnet as gn
from glassnet.data import make_rng, shuffled_batches
from glassnet.progress import Progress
from glassnet.recipe import get_recipe


def seconds(action: Callable[..., object], *arguments: object) -> float:
    start = perf_counter()
    action(*arguments)
    return perf_counter() - start


def main() -> None:
    data = gn.load_data("digits")
    images = data.normalization.apply(data.train.images, np.float32)
    batches = [
        (np.ascontiguousarray(images[chosen]), data.train.labels[chosen])
        for epoch in range(10)
        for chosen in shuffled_batches(len(images), 64, make_rng(42, "shuffle", epoch))
    ]

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            gn.train("tiny", data, run=f"{folder}/run", recipe="tutorial", progress=Progress(), report=False)

    def steps() -> None:
        trainer = gn.build("tiny", kernels="plain").trainer(get_recipe("tiny", "tutorial"))
        for x, labels in batches:
            trainer.step(x, labels)

    pairs = [(seconds(train), seconds(steps)) for _ in range(5)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"10 epochs: gn.train {statistics.median(a for a, _ in pairs):.2f} s, "
        f"{len(batches)} bare steps of plain NumPy {statistics.median(b for _, b in pairs):.2f} s, ratio {ratio:.3f}"
    )
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
