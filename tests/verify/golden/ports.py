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


def layer(network: Any, name: str) -> Any:
    return dict(network.module.named_modules())[name]


def wrong_output(name: str) -> Callable[[Any], None]:
    def plant(network: Any) -> None:
        right = layer(network, name).forward
        layer(network, name).forward = lambda x: right(x) * np.linspace(1, 1.5, x.shape[-1], dtype=x.dtype)

    return plant


def wrong_backward(name: str, dx: float = 1.0, parameters: float = 1.0) -> Callable[[Any], None]:
    def plant(network: Any) -> None:
        faulty = layer(network, name)
        right = faulty.backward

        def backward(dy: Array) -> Array:
            gradient = right(dy)
            for parameter in faulty.parameters():
                parameter.grad *= parameters
            return gradient * dx

        faulty.backward = backward

    return plant


def wrong_buffer(network: Any) -> None:
    layer(network, "layer1.0.bn1").momentum = 0.3
