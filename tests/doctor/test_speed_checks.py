"""Made-up clocks: what is found must not depend on what else this machine does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.doctor import speed_checks
from glassnet.doctor.context import Evidence
from glassnet.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Seconds an image, by what the told function makes of network and batch."""

    def told(seconds: Any) -> None:
        monkeypatch.setattr(speed_checks, "seconds_per_image", lambda network, evidence, batch: seconds(network, batch))

    return told


@pytest.mark.parametrize(("batch", "gain", "sure"), [(4, 3, "high"), (4, 1.7, "medium"), (4, 1.2, None), (16, 9, None)])
def test_a_small_batch(retold: Any, clock: Any, batch: int, gain: float, sure: str | None) -> None:
    clock(lambda network, size: gain if size == batch else 1)
    reading = speed_checks.SmallBatch().read(retold(recipe__batch_size=batch))
    assert reading.sure == sure
    assert sure is None or reading.says == f"A batch of 4 takes {gain:.1f} times as long for an image as one of 64."


@pytest.mark.parametrize(
    ("dtype", "gain", "sure"), [("float64", 1.7, "high"), ("float64", 1, None), ("float32", 2, None)]
)
def test_float64(retold: Any, clock: Any, dtype: str, gain: float, sure: str | None) -> None:
    clock(lambda network, size: gain if network.dtype == np.float64 else 1)
    assert speed_checks.Float64().read(retold(dtype=dtype)).sure == sure


def test_threads_of_numpy_are_one(seen: Evidence) -> None:
    assert speed_checks.Threads().read(seen).measured == "numpy on cpu"


@pytest.mark.parametrize(("gain", "sure"), [(3, "high"), (1.1, None)])
def test_threads(retold: Any, clock: Any, gain: float, sure: str | None) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    clock(lambda network, size: gain if network.threads == 3 else 1)
    reading = speed_checks.Threads().read(retold(engine="torch", threads=3))
    assert reading.sure == sure
    assert sure is None or reading.says == "A step takes 3.0 times as long on 3 threads as on 1."
    assert torch.get_num_threads() == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(8):
            image = np.full((16, 16), 10 * number + ord(label) % 2, np.uint8)
            Image.fromarray(image).save(tmp_path / "images" / label / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.parametrize(("seconds", "sure"), [(1.0, "high"), (0.01, None)])
def test_decoding(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, sure: str | None
) -> None:
    given = {"run": tmp_path / "run", "image_size": 8, "epochs": 1, "progress": Progress()}
    gn.train("tiny", folder, **given)
    ticks = iter((0.0, 16 * seconds))
    monkeypatch.setattr(speed_checks, "thread_time", lambda: next(ticks))
    reading = speed_checks.SlowDecoding().read(Evidence(tmp_path / "run"))
    assert reading.sure == sure
    assert reading.says.startswith(f"Decoding 16 image files takes {16 * seconds:.1f} s, training on them 0.")


def test_nothing_to_decode(seen: Evidence) -> None:
    assert speed_checks.SlowDecoding().read(seen).measured == "no image files to decode"
