import threading
from itertools import count

import numpy as np
import pytest

from glassnet.data import Augmentation, BatchLoader, Split, batch_loader


def make_split(number=40, shape=(6, 7, 3), seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (number, *shape), dtype=np.uint8)
    return Split(images, np.arange(number) % 5)


def batches_of(number=40, size=8):
    order = np.random.default_rng(1).permutation(number)
    return [order[start : start + size] for start in range(0, number, size)]


@pytest.fixture(params=["in line", "ahead"])
def mode(request, monkeypatch):
    monkeypatch.setattr(batch_loader, "_WORTH_A_THREAD", np.inf if request.param == "in line" else -1.0)
    return request.param


def test_load_yields_images_and_labels_in_order(mode):
    split, batches = make_split(), batches_of()
    loaded = list(BatchLoader(split, Augmentation()).load(batches, 1))
    assert len(loaded) == len(batches)
    for indices, (images, labels) in zip(batches, loaded, strict=True):
        np.testing.assert_array_equal(images, split.images[indices])
        np.testing.assert_array_equal(labels, split.labels[indices])


def test_load_augments_with_the_image_and_the_epoch(mode):
    split, batches = make_split(), batches_of()
    augmentation = Augmentation("flip-resized-crop", jitter=0.3)
    loader = BatchLoader(split, augmentation)
    for epoch in (1, 2):
        for indices, (images, _) in zip(batches, loader.load(batches, epoch), strict=True):
            expected = augmentation.draw(indices, epoch, (6, 7)).apply(split.images[indices])
            np.testing.assert_array_equal(images, expected)


@pytest.mark.parametrize("n_processes", [1, 2, 3, 5])
def test_load_reads_the_rows_of_a_process(mode, n_processes):
    split, batches = make_split(), batches_of(size=7)
    augmentation = Augmentation("flip-crop", rotate=20.0)
    whole = list(BatchLoader(split, augmentation).load(batches, 2))
    parts = [
        BatchLoader(
            split, augmentation, lambda total, r=rank: slice(total * r // n_processes, total * (r + 1) // n_processes)
        ).load(batches, 2)
        for rank in range(n_processes)
    ]
    for (images, labels), *pieces in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate([piece for piece, _ in pieces]), images)
        np.testing.assert_array_equal(np.concatenate([piece for _, piece in pieces]), labels)


def test_load_cuts_resized_crops_out_of_larger_images(mode):
    split = make_split()
    split.larger = make_split(shape=(9, 10, 3), seed=2)
    part = split.take(np.arange(40)[::-1])
    batches = [np.arange(4)]
    augmentation = Augmentation("resized-crop")
    ((images, _),) = BatchLoader(part, augmentation).load(batches, 1)
    expected = augmentation.draw(batches[0], 1, (6, 7), (9, 10)).apply(split.larger.images[[39, 38, 37, 36]])
    np.testing.assert_array_equal(images, expected)
    ((images, _),) = BatchLoader(part, Augmentation("flip")).load(batches, 1)
    assert images.shape == (4, 6, 7, 3)


def test_load_prepares_ahead_only_what_takes_long(monkeypatch):
    split, seen = make_split(), []
    monkeypatch.setattr(split, "pixels", lambda indices: seen.append(threading.current_thread().name))
    ticks = count()
    for seconds, n_in_line in ((1e-4, 5), (1.0, 3)):
        seen.clear()
        monkeypatch.setattr(batch_loader, "perf_counter", lambda step=seconds: next(ticks) * step)
        list(BatchLoader(split, Augmentation()).load(batches_of(), 1))
        assert sum(name == "MainThread" for name in seen) == n_in_line
        assert len(seen) == 5


def test_load_raises_what_preparing_raises_and_ends_its_threads(mode):
    batches = [*batches_of(), np.array([99]), *batches_of()]
    loader = BatchLoader(make_split(), Augmentation()).load(batches, 1)
    with pytest.raises(IndexError):
        list(loader)
    assert not [thread for thread in threading.enumerate() if "glassnet-batches" in thread.name]


def test_load_ends_its_threads_when_it_is_left(mode):
    loaded = BatchLoader(make_split(), Augmentation("flip")).load(batches_of(size=2), 1)
    for _ in range(6):
        next(loaded)
    loaded.close()
    assert not [thread for thread in threading.enumerate() if "glassnet-batches" in thread.name]
