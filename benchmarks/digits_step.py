"""How long a digits step takes, beside the usual NCHW im2col implementation (glassnet.verify.yardstick).

    python benchmarks/digits_step.py

`tiny`, batch 64, float32, the recipe "tutorial"; the two in turn in one process, BLAS on one thread for both and then
on all for the yardstick. Prints medians and the median ratio of neighbours; then a whole 10-epoch `gn.train`
(run folder, evaluation and checkpoints included) beside the yardstick's 220 bare steps, and its peak memory.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from time import perf_counter

import numpy as np

import glassnet as gn
from glassnet.data import epoch_batches, random_stream
from glassnet.engines.threads import one_blas_thread
from glassnet.recipe import recipe
from glassnet.training import Progress
from glassnet.verify.yardstick import Yardstick


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
        for chosen in epoch_batches(len(images), 64, random_stream(42, "shuffle", epoch))
    ]
    full = [batch for batch in batches if len(batch[1]) == 64]
    for threads, context in (("one BLAS thread each", one_blas_thread), ("the yardstick on all", nullcontext)):
        network = gn.build("tiny")
        trainer, yardstick = network.trainer(recipe("tiny", "tutorial")), Yardstick(network.spec, network.state_dict())
        ours, theirs = [], []
        for x, labels in full:
            ours.append(seconds(trainer.step, x, labels))
            with context():
                theirs.append(seconds(yardstick.step, x, labels))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(
            f"step, {threads}: glassnet {statistics.median(ours) * 1e3:.2f} ms, yardstick "
            f"{statistics.median(theirs) * 1e3:.2f} ms, ratio {ratio:.3f}"
        )

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            gn.train("tiny", data, run=f"{folder}/run", recipe="tutorial", progress=Progress())

    def steps() -> None:
        network = gn.build("tiny")
        yardstick = Yardstick(network.spec, network.state_dict())
        for x, labels in batches:
            yardstick.step(x, labels)

    pairs = [(seconds(train), seconds(steps)) for _ in range(5)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"10 epochs: gn.train {statistics.median(a for a, _ in pairs):.2f} s, "
        f"the yardstick's {len(batches)} bare steps {statistics.median(b for _, b in pairs):.2f} s, ratio {ratio:.3f}"
    )
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
