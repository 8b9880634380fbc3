"""Fingerprints of every preset: a few numbers of each tensor of a small case, committed beside this file.

The two engines are compared with each other; these numbers show when both change together. A change that is meant to
change numbers writes them anew, in the root of the repository::

    python -m tests.verify.golden.fingerprints
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import glassnet as gn
from glassnet.architecture import PRESETS
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.listing import listed_tensors
from glassnet.verify.golden.recording import CaseRun, inputs_of
from glassnet.verify.golden.request import RECIPE, golden_batch_size, with_golden_size

Array = NDArray[Any]

FOLDER = Path(__file__).parent / "fingerprints"
ELEMENTS = 8


def case_of(preset: str, **fields: Any) -> GoldenCase:
    """Return the case of a preset: those for ImageNet have 8 channels in the first stage, and 10 classes."""
    spec = gn.spec(preset, **({"width": 8, "classes": 10} if preset in IMAGENET else {}) | fields)
    spec = with_golden_size(spec)
    return GoldenCase(spec, "float64", golden_batch_size(spec), steps=1, recipe=RECIPE)


IMAGENET = [name for name, spec in PRESETS.items() if spec.stem == "7x7"]


def fingerprints(case: GoldenCase) -> dict[str, Array]:
    """Return the fingerprint of every tensor that the case computes, float64 (10,), by name; copies have none."""
    run = CaseRun(case, inputs_of(case), "float64")
    copies = {operation.name for operation in run.operations if operation.kind in ("Block", "Identity")}
    return {
        tensor.name: fingerprint(run.tensor(tensor.name).astype(np.float64))
        for tensor in listed_tensors(case)
        if not (
            tensor.operation in copies
            or tensor.name.startswith("steps/1/gradients/")
            or tensor.name.endswith("num_batches_tracked")
        )
    }


def fingerprint(array: Array) -> Array:
    """Return sum, L2 norm and eight elements, from the first to the last."""
    flat = array.ravel()
    elements = flat[np.linspace(0, flat.size - 1, ELEMENTS).astype(int)]
    return np.array([flat.sum(), np.linalg.norm(flat), *elements])


def main() -> None:
    """Write the fingerprints of all presets."""
    for preset in PRESETS:
        computed = fingerprints(case_of(preset))
        np.save(FOLDER / f"{preset}.npy", np.array(list(computed.values())))
        print(f"{preset}: {len(computed)} tensors")


if __name__ == "__main__":
    main()
