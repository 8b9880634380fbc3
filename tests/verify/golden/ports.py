"""Dumps of ports for tests: another engine's numbers on a bundle, and ports in which an operation is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import glassnet as gn
from glassnet.verify.golden.bundle import Bundle

Array = NDArray[Any]
Tensors = dict[str, Array]


def compute_dump(
    bundle: Bundle, engine: str = "numpy", dtype: str = "float64", plant: Callable[[Any], None] = lambda network: None
) -> Tensors:
    """Return what an engine computes on a bundle's inputs, under the bundle's names.

    :param plant: changes the network before it computes.
    """
    assert bundle.spec is not None
    network = gn.build(bundle.spec, engine, dtype=dtype)
    network.load_state_dict(bundle.tensors("inputs/state"))
    plant(network)
    images, labels = bundle.tensor("inputs/images").astype(dtype), bundle.tensor("inputs/labels")
    evaluated = network.activations(images, network.tensor_names)
    trained = network.trace(images, labels)
    groups = {
        "eval/activations": evaluated,
        "train/activations": trained.activations,
        "train/buffers": trained.buffers,
        "train/activation_gradients": trained.activation_gradients,
        "train/gradients": trained.gradients,
    }
    tensors = {f"{group}/{key}": array for group, arrays in groups.items() for key, array in arrays.items()}
    return {**tensors, "train/loss": np.array(trained.loss, dtype), "inputs/labels": labels, "inputs/images": images}


def save(path: Path, tensors: Tensors) -> Path:
    """Write a dump as an .npz file."""
    np.savez(path, **tensors)  # type: ignore[arg-type]  # names, not arguments
    return path
