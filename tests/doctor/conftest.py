import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet.doctor import learning_rate_checks, training_checks
from glassnet.doctor.context import CheckContext
from glassnet.doctor.short_runs import ShortRun
from glassnet.progress import Progress

MakeContext = Callable[..., CheckContext]


@pytest.fixture(scope="session")
def healthy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without faults: three epochs of 400 digits. Tests must not write into it."""
    path = tmp_path_factory.mktemp("doctor") / "healthy"
    gn.train("tiny", "digits", samples=400, epochs=3, seed=1, run=path, progress=Progress(), report=False)
    return path


@pytest.fixture(scope="session")
def healthy_context(healthy_run: Path) -> CheckContext:
    return CheckContext(healthy_run)


@pytest.fixture
def make_context(healthy_run: Path, tmp_path: Path) -> MakeContext:
    """A function that returns the context of the healthy run with another history, failure or config values.

    ``recipe__lr=5`` sets ``config["recipe"]["lr"]``.
    """

    def make(history: list[dict[str, Any]] | None = None, failure: dict[str, Any] | None = None, **changes: Any):
        path = tmp_path / "altered"
        shutil.copytree(healthy_run, path, dirs_exist_ok=True)
        config = json.loads((path / "config.json").read_text())
        for name, value in changes.items():
            *outer, last = name.split("__")
            part = config
            for key in outer:
                part = part[key]
            part[last] = value
        (path / "config.json").write_text(json.dumps(config))
        if history is not None:
            lines = [json.dumps({"epoch": number, **record}) for number, record in enumerate(history, start=1)]
            (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
        if failure is not None:
            (path / "state" / "failure.json").write_text(json.dumps(failure))
        return CheckContext(path)

    return make


@pytest.fixture
def set_short_runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets the loss of short runs by learning rate (of two digits), and returns the rates tried."""

    def set_short_runs(losses: dict[float, float], accuracy: float = 0.5, test_accuracy: float = 0.5) -> list[float]:
        tried: list[float] = []

        def run_short_training(context: CheckContext, steps: int, max_seconds: float, **changes: Any) -> ShortRun:
            lr = float(f"{changes.get('lr') or context.recipe.lr:.2g}")
            tried.append(lr)
            return ShortRun((losses.get(lr, math.inf),) * steps, accuracy, test_accuracy)

        for module in (learning_rate_checks, training_checks):
            monkeypatch.setattr(module, "run_short_training", run_short_training)
        return tried

    return set_short_runs


def epochs(*losses: float, train: float = 0.5, test: float = 0.5) -> list[dict[str, Any]]:
    return [{"loss": loss, "train_accuracy": train, "test_accuracy": test} for loss in losses]
