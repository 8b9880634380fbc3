import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet.doctor.context import Evidence
from glassnet.progress import Progress

Retold = Callable[..., Evidence]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with which nothing is wrong: three epochs of 400 digits; not to be written into."""
    path = tmp_path_factory.mktemp("doctor") / "sound"
    gn.train("tiny", "digits", samples=400, epochs=3, seed=1, run=path, progress=Progress())
    return path


@pytest.fixture
def retold(sound: Path, tmp_path: Path) -> Retold:
    """The evidence of that run, with another history, other settings (``recipe__lr=5``) or a failure made up."""

    def make(history: list[dict[str, Any]] | None = None, failure: dict[str, Any] | None = None, **changes: Any):
        path = tmp_path / "retold"
        shutil.copytree(sound, path, dirs_exist_ok=True)
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
        return Evidence(path)

    return make


@pytest.fixture(scope="session")
def seen(sound: Path) -> Evidence:
    """The sound run as it is."""
    return Evidence(sound)
