"""Cost of the training loop beyond its steps: an epoch of gn.train beside bare steps and one evaluation, on digits.

    python benchmarks/loop_cost.py [numpy|torch] [MODEL]

An epoch of `gn.train`, checkpoint and run folder included, and the same prepared batches through
`net.trainer(recipe).step` with one evaluation of the test images; in turn, medians of 15 epochs each. PyTorch
computes on one thread.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from time import perf_counter

import numpy as np

import glassnet as gn
from glassnet.data import make_rng, shuffled_batches
from glassnet.progress import Progress
from glassnet.recipe import get_recipe


class EpochTimer(Progress):
    """Times an epoch from its first step until its log line, after the checkpoint."""

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        self.started = perf_counter()

    def log(self, line: str) -> None:
        if "] epoch " in line:
            self.seconds = perf_counter() - self.started


def main(engine: str = "numpy", model: str = "tiny") -> None:
    data = gn.load_data("digits")
    recipe = get_recipe(model)
    network = gn.build(model, engine, threads=1)
    trainer = network.trainer(recipe)
    images = data.normalization.apply(data.train.images, np.float32)

    def bare(epoch: int) -> float:
        order = shuffled_batches(len(images), recipe.batch_size, make_rng(0, "shuffle", epoch))
        batches = [(images[indices], data.train.labels[indices]) for indices in order]
        start = perf_counter()
        for x, labels in batches:
            trainer.step(x, labels)
        network.evaluate(data.test, data.normalization)
        return perf_counter() - start

    timer = EpochTimer()
    epoch_seconds, bare_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(15):
            options = {
                "epochs": 15,
                "stop_after_epoch": epoch + 1,
                "resume": epoch > 0,
                "progress": timer,
                "report": False,
            }
            gn.train(model, data, engine, run=f"{folder}/run", threads=1, report=False, **options)
            epoch_seconds.append(timer.seconds)
            bare_seconds.append(bare(epoch))
    ratio = statistics.median(a / b for a, b in zip(epoch_seconds, bare_seconds, strict=True))
    print(
        f"{engine} {model}: an epoch of gn.train {statistics.median(epoch_seconds) * 1e3:.0f} ms, steps and evaluation "
        f"{statistics.median(bare_seconds) * 1e3:.0f} ms, ratio {ratio:.3f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
