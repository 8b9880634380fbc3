import numpy as np
import pytest
from PIL import Image

from glassnet.data import Augmentation, BatchLoader, Split, decoding, load_data, load_larger
from glassnet.progress import Progress, show_progress


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(12):
            pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


@pytest.fixture
def log():
    """The lines that are logged."""
    lines = []

    class Log(Progress):
        def log(self, line):
            lines.append(line)

    with show_progress(Log()):
        yield lines


def test_load_larger_returns_the_training_images_in_a_larger_size(folder):
    data = load_data(folder, image_size=(14, 20), samples=10, seed=3)
    larger = load_larger(data)
    assert (len(larger), larger.shape) == (10, (16, 23, 3))  # 8/7 of it, rounded up
    assert larger.names == data.train.names
    expected = load_data(folder, image_size=(16, 23), samples=10, seed=3).train
    np.testing.assert_array_equal(larger.images, expected.images)


def test_load_larger_returns_none_without_files(folder, log):
    assert load_larger(load_data("digits")) is None
    assert load_larger(load_data(folder, image_size=8, channels=1, ink=True)) is None
    assert log == []


def test_load_larger_says_that_files_have_changed_or_are_gone(folder, log):
    data = load_data(folder, image_size=14)
    (folder / "cat/0.png").unlink()
    assert load_larger(data) is None
    end = "Random crops are cut from the images of 14×14 pixels, and are less sharp."
    assert log == [f"The images of {folder} have changed since they were loaded. {end}"]
    folder.rename(folder.with_name("gone"))
    assert load_larger(data) is None
    assert log[1].startswith("source must be digits, ")
    assert log[1].endswith(end)


def test_splits_keep_their_larger_images_together():
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    split = Split(images, np.arange(10))
    split.larger = Split(np.repeat(images, 2, axis=1), np.arange(10))
    part = split.take(np.array([7, 2]))
    np.testing.assert_array_equal(part.larger.images[:, ::2], part.images)
    for same in (split.copy(), split.checked("")):
        assert same.larger is split.larger


def test_load_larger_maps_the_images_of_a_cached_source(folder, tmp_path_factory, monkeypatch):
    augmentation, batches = Augmentation("flip-resized-crop"), [np.arange(10)]
    plain = load_data(folder, image_size=14, samples=10, seed=3)
    plain.train.larger = load_larger(plain)
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(decoding, "CACHED_FILES", 0)
    cached = load_data(folder, image_size=14, samples=10, seed=3)
    cached.train.larger = load_larger(cached)
    assert (cached.train.is_mapped, cached.train.larger.is_mapped) == (True, True)
    ((one, _),), ((other, _),) = (BatchLoader(data.train, augmentation).load(batches, 1) for data in (plain, cached))
    np.testing.assert_array_equal(one, other)
    assert cached.fingerprint == plain.fingerprint
