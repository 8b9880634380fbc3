"""The choice of the default recipes for the digits, and their test accuracies.

    python benchmarks/digits_recipes.py choose tiny      # on a validation fraction, seeds 100-109
    python benchmarks/digits_recipes.py table            # on the test set, seeds 0-9, once the recipes are chosen

Each line is the mean, the standard deviation and the worst over ten seeds.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile

import glassnet as gn
from glassnet.progress import Progress

CANDIDATES = {
    "lr": (0.05, 0.1),
    "batch_size": (32, 64),
    "label_smoothing": (0.0, 0.1),
    "weight_decay": (1e-4, 1e-3),
}


ROWS = (
    ("numpy", "tiny", "tutorial"),
    ("numpy", "tiny", "default"),
    ("numpy", "tiny-bn", "default"),
    ("torch", "tiny-bn", "default"),
    ("torch", "tiny-bn", "tutorial"),
)


def accuracies(model: str, seeds: range, measure: str, **fields: object) -> list[float]:
    data = gn.load_data("digits")
    results = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            run = gn.train(model, data, run=f"{folder}/run", seed=seed, progress=Progress(), report=False, **fields)
        results.append(run.metrics[measure])
    return results


def format_accuracies(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}, worst {min(values):.4f}"


def choose(model: str) -> None:
    for combination in itertools.product(*CANDIDATES.values()):
        fields = dict(zip(CANDIDATES, combination, strict=True))
        values = accuracies(
            model,
            range(100, 110),
            "validation_accuracy",
            validation_fraction=0.2,
            schedule="one-cycle",
            nesterov=True,
            **fields,
        )
        print(format_accuracies(values), fields, flush=True)


def table() -> None:
    for engine, model, recipe in ROWS:
        values = accuracies(model, range(10), "test_accuracy", recipe=recipe, engine=engine)
        print(engine, model, recipe, format_accuracies(values), flush=True)


if __name__ == "__main__":
    choose(sys.argv[2]) if sys.argv[1] == "choose" else table()
