"""Predictions of any number of image files, in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data.files.file_search import FoundFile
from glassnet.data.files.listing import N_NAMED, name_some
from glassnet.data.images.decode_processes import decode_in_order
from glassnet.data.images.file_decoder import FileDecoder, Readable
from glassnet.data.images.ink import Ink
from glassnet.engines import Network
from glassnet.nn.functional import softmax
from glassnet.progress import current_progress
from glassnet.resources import usable_cores
from glassnet.training.input_images import ImageReader


@dataclass(frozen=True)
class FilePrediction:
    """The prediction of one file, or the reason why there is none.

    Attributes: ``path``; ``label`` and ``probability`` of the predicted class; ``top``, the most probable classes with
    their probabilities, best first; ``error``, why the file cannot be read. Of a file that cannot be read, label and
    probability are None and top is empty; of the others error is None.

    Of runs on the built-in digits also ``pixels``, what the network read, float32 (H, W, C) from 0 to 1;
    ``preprocessing``, what was done to the file; ``unlike``, why the image looks unlike the training images, or None.
    They are None otherwise.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: Sequence[tuple[str, float]] = ()
    error: str | None = None
    pixels: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    preprocessing: str | None = None
    unlike: str | None = None


@dataclass(frozen=True)
class FilePredictor:
    """Predicts found files with the network of a run."""

    network: Network
    classes: Sequence[str]
    reader: ImageReader
    top: int
    batch_size: int

    def predict(self, files: Iterable[FoundFile]) -> Generator[FilePrediction]:
        """Yield a prediction for each file, in order, while the next files are decoded.

        Files in folders that are no images are left out; a log line counts them at the end.

        :raises GlassnetError: if a decoding process ends unexpectedly.
        """
        decoder = FileDecoder(self.reader.form, self.reader.ink)
        decoded = decode_in_order(files, decoder, usable_cores(), self.batch_size)
        skipped: list[str] = []
        n_skipped = 0
        while batch := list(islice(decoded, self.batch_size)):
            yield from self._predict_batch([(file, item) for file, item in batch if item is not None])
            names = [file.path for file, item in batch if item is None]
            skipped += names[: N_NAMED + 1 - len(skipped)]
            n_skipped += len(names)
        if n_skipped:
            current_progress().log(f"Files that are no images were left out: {n_skipped:,} ({name_some(skipped)}).")

    def _predict_batch(self, batch: Sequence[tuple[FoundFile, Readable | str]]) -> Iterator[FilePrediction]:
        readable = [decoded for _, decoded in batch if not isinstance(decoded, str)]
        images = [decoded.pixels if isinstance(decoded, Ink) else decoded for decoded in readable]
        ranked = iter(self._rank(images) if images else [])
        for file, decoded in batch:
            if isinstance(decoded, str):
                yield FilePrediction(file.path, error=decoded)
                continue
            best = next(ranked)
            ink = self.reader.describe(decoded) if isinstance(decoded, Ink) else (None, None, None)
            yield FilePrediction(file.path, *best[0], best, None, *ink)

    def _rank(self, images: Sequence[NDArray[np.uint8]]) -> list[list[tuple[str, float]]]:
        values = self.reader.of_files.apply(np.stack(images), self.network.dtype)
        return rank_classes(self.network.logits(values, self.batch_size), self.classes, self.top)


def rank_classes(logits: NDArray[Any], classes: Sequence[str], top: int) -> list[list[tuple[str, float]]]:
    """Return the ``top`` most probable classes of each row of logits (N, classes), best first, with probabilities."""
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    ranked = np.take_along_axis(probabilities, order, axis=1)
    return [
        [(classes[index], probability) for index, probability in zip(*row, strict=True)]
        for row in zip(order.tolist(), ranked.tolist(), strict=True)
    ]
