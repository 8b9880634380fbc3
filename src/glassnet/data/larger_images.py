"""The training images of a data set in a larger size, from which random crops are resized."""

from __future__ import annotations

import math

import numpy as np

from glassnet.data.dataset import Dataset
from glassnet.data.sources import load_data
from glassnet.data.split import Split
from glassnet.errors import DataError
from glassnet.progress import current_progress

LARGER = 8 / 7  # times height and width: 256 pixels for images of 224 (He et al. 2015, section 3.4)


def load_larger(dataset: Dataset) -> Split | None:
    """Return the training images of a data set of files, decoded in LARGER times their height and width.

    They are the same images in the same order. None if the data has no files, or, with a line in the log, if they are
    no longer there or the same.
    """
    source = dataset.source
    if dataset.train.names is None or "fit" not in source or source["ink"]:
        return None
    size = tuple(math.ceil(length * LARGER) for length in dataset.image_size)
    try:
        larger = load_data(**{**source, "image_size": size}).train
        if np.array_equal(larger.hashes, dataset.train.hashes):
            return larger
        reason = f"The images of {source['source']} have changed since they were loaded."
    except DataError as error:
        reason = str(error)
    shape = "×".join(map(str, dataset.image_size))
    current_progress().log(f"{reason} Random crops are cut from the images of {shape} pixels, and are less sharp.")
    return None
