"""Checks with made-up times, so that other load on the machine changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.doctor import speed_checks
from glassnet.doctor.check import CheckSkippedError
from glassnet.doctor.context import CheckContext
from glassnet.progress import Progress


@pytest.fixture
def set_seconds(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets the seconds per image by network and batch size."""

    def set_seconds(seconds: Any) -> None:
        monkeypatch.setattr(speed_checks, "seconds_per_image", lambda network, context, batch: seconds(network, batch))

    return set_seconds


@pytest.mark.parametrize(
    ("batch", "ratio", "confidence"), [(4, 3, "high"), (4, 1.7, "medium"), (4, 1.2, None), (16, 9, None)]
)
def test_small_batch(make_context: Any, set_seconds: Any, batch: int, ratio: float, confidence: str | None) -> None:
    set_seconds(lambda network, size: ratio if size == batch else 1)
    result = speed_checks.SmallBatch().run(make_context(recipe__batch_size=batch))
    assert result.confidence == confidence
    if confidence:
        assert result.message == f"Batches of 4 take {ratio:.1f} times the time per image of batches of 64."


@pytest.mark.parametrize(
    ("dtype", "ratio", "confidence"), [("float64", 1.7, "high"), ("float64", 1, None), ("float32", 2, None)]
)
def test_float64(make_context: Any, set_seconds: Any, dtype: str, ratio: float, confidence: str | None) -> None:
    set_seconds(lambda network, size: ratio if network.dtype == np.float64 else 1)
    assert speed_checks.Float64().run(make_context(dtype=dtype)).confidence == confidence


def test_small_batch_raises_the_rate_in_proportion(make_context: Any, set_seconds: Any, set_short_runs: Any) -> None:
    set_seconds(lambda network, size: 3 if size == 4 else 1)
    check, losses = speed_checks.SmallBatch(), {0.01: 5.0, 0.0033: 1.2}
    set_short_runs(losses)
    for history, lr, end in (
        ([2.0], 0.001, " --lr 0.016"),
        ([2.0], 0.01, " --lr 0.1"),  # no more than the preset's
        ([2.0], 0.1, ""),
        ([2.3, 9.0], 0.01, ""),  # smaller rates are better
    ):
        records = [{"loss": loss, "train_accuracy": 0.5, "test_accuracy": 0.5} for loss in history]
        context = make_context(records, recipe__batch_size=4, recipe__lr=lr)
        (remedy,) = check.remedies(context, check.run(context))
        assert str(remedy).endswith(f": --batch-size 64{end}")


def test_bad_thread_count_is_skipped_on_numpy(healthy_context: CheckContext) -> None:
    with pytest.raises(CheckSkippedError, match=r"^PyTorch on a CPU alone has threads to choose$"):
        speed_checks.BadThreadCount().run(healthy_context)


@pytest.mark.parametrize(("ratio", "confidence"), [(3, "high"), (1.1, None)])
def test_bad_thread_count_restores_the_count(
    make_context: Any, set_seconds: Any, ratio: float, confidence: str | None
) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    set_seconds(lambda network, size: ratio if network.threads == 3 else 1)
    check, context = speed_checks.BadThreadCount(), make_context(engine="torch", threads=3)
    result = check.run(context)
    assert result.confidence == confidence
    if confidence:
        assert result.message == "A step takes 3.0 times as long on 3 threads as on 1."
        assert [str(remedy).rpartition(": ")[2] for remedy in check.remedies(context, result)] == ["--threads 1"]
    assert torch.get_num_threads() == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(8):
            image = np.full((16, 16), 10 * number + ord(label) % 2, np.uint8)
            Image.fromarray(image).save(tmp_path / "images" / label / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.parametrize(("seconds", "confidence"), [(1.0, "high"), (0.01, None)])
def test_slow_decoding_compares_with_the_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, confidence: str | None
) -> None:
    (folder / "b/7.png").write_bytes(b"an unreadable file, which the training leaves out")
    gn.train("tiny", folder, run=tmp_path / "run", image_size=8, epochs=1, progress=Progress(), report=False)
    times = iter((0.0, 16 * seconds))
    monkeypatch.setattr(speed_checks, "thread_time", lambda: next(times))
    result = speed_checks.SlowDecoding().run(CheckContext(tmp_path / "run"))
    assert result.confidence == confidence
    assert result.message.startswith(f"Decoding 16 image files takes {16 * seconds:.1f} s, training on them 0.")


def test_slow_decoding_is_skipped_without_image_files(healthy_context: CheckContext) -> None:
    with pytest.raises(CheckSkippedError, match=r"^the run's images are not image files in a folder$"):
        speed_checks.SlowDecoding().run(healthy_context)
