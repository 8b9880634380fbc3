"""The images of one batch after another, augmented, and prepared ahead of the network where that pays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from glassnet.data.augmentation import Augmentation
from glassnet.data.split import Split

Indices = NDArray[np.int64]
Loaded = tuple[NDArray[np.uint8], NDArray[np.int64]]

_TIMED_BATCHES = 3
_WORTH_A_THREAD = 2e-3  # seconds for a batch
_AHEAD = 3  # number of batches that are prepared while the network computes
_THREADS = 2


class BatchLoader:
    """Reads and augments the images of batches; the images and their order do not depend on how."""

    def __init__(self, split: Split, augmentation: Augmentation, rows: Callable[[int], slice] | None = None) -> None:
        """Make a loader of the images of a split.

        :param rows: returns those of a batch of n images that this process computes; by default all of them.
        """
        self.split, self.augmentation, self.rows = split, augmentation, rows
        self._seconds: list[float] = []  # of the first batches

    def load(self, batches: Iterable[Indices], epoch: int) -> Iterator[Loaded]:
        """Yield the augmented images, uint8 (n, H, W, C), and the labels, int64 (n,), of each batch in turn.

        The first batches are timed. If one takes _WORTH_A_THREAD, threads prepare the following ones while the
        network computes.

        :param batches: the indices, in the split, of each batch's images.
        :param epoch: counts from 1; the augmentation of an image follows from it.
        """
        waiting = iter(batches)
        for indices in islice(waiting, _TIMED_BATCHES - len(self._seconds)):
            start = perf_counter()
            loaded = self._prepare(indices, epoch)
            self._seconds.append(perf_counter() - start)
            yield loaded
        if self._seconds and min(self._seconds) > _WORTH_A_THREAD:
            yield from self._load_ahead(waiting, epoch)
        else:
            yield from (self._prepare(indices, epoch) for indices in waiting)

    def _load_ahead(self, batches: Iterator[Indices], epoch: int) -> Iterator[Loaded]:
        pool = ThreadPoolExecutor(_THREADS, "glassnet-batches")
        pending: deque[Future[Loaded]] = deque()
        try:
            for indices in batches:
                pending.append(pool.submit(self._prepare, indices, epoch))
                if len(pending) > _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(self, indices: Indices, epoch: int) -> Loaded:
        if self.rows is not None:
            indices = indices[self.rows(len(indices))]
        split, augmentation = self.split, self.augmentation
        labels = split.labels[indices]
        if not augmentation:
            return split.pixels(indices), labels
        source = split.larger if augmentation.has_resized_crops and split.larger else split
        changes = augmentation.draw(indices, epoch, split.shape[:2], source.shape[:2])
        return changes.apply(source.pixels(indices)), labels
