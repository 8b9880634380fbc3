"""ResNet-20 in pure NumPy on real images: the loss over some hundred steps.

    python benchmarks/resnet20_steps.py FOLDER [STEPS [BATCH_SIZE]]

FOLDER holds train/ and test/ with one folder per class, such as CIFAR-10 as files. Seed 42, the default recipe's
optimizer with a one-cycle schedule over the steps. Prints the mean loss of every 50 steps and the time.
"""

from __future__ import annotations

import platform
import resource
import sys
from time import perf_counter

import numpy as np

import glassnet as gn
from glassnet.recipe import get_recipe
from glassnet.training.epoch_batches import EpochBatches
from glassnet.training.schedule import learning_rates


def main(folder: str, steps: int = 300, batch_size: int = 64) -> None:
    data = gn.load_data(folder)
    recipe = get_recipe("resnet20", batch_size=batch_size)
    network = gn.build(gn.spec("resnet20", classes=len(data.classes)), seed=recipe.seed)
    trainer = network.trainer(recipe)
    batches = EpochBatches(data.train, data.normalization, recipe).epoch(1)
    start = perf_counter()
    for step, (lr, batch) in enumerate(zip(learning_rates(recipe, steps), batches, strict=False), start=1):
        trainer.step(batch, lr=float(lr))
        if step % 50 == 0:
            totals = trainer.pop_stats()
            print(f"steps {step - 49:3}-{step:3}: loss {totals.loss:.3f}, accuracy {totals.accuracy:.3f}", flush=True)
    seconds = perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.0f} s, {seconds / steps:.3f} s a step; peak memory {memory:.0f} MiB, data included")
    print(
        f"glassnet {gn.__version__}, NumPy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
