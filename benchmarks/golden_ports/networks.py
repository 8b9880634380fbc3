"""The networks and recipes of the bed: every block, stem, shortcut, pool, head and optimizer, small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import glassnet as gn
from glassnet.verify.golden.operations import operations

STEPS = 3


@dataclass(frozen=True)
class BedNetwork:
    """A network, its recipe and the batch size of its bundle."""

    spec: gn.ResNetSpec
    recipe: gn.Recipe
    batch_size: int = 5


def _recipe(**fields: object) -> gn.Recipe:
    return gn.Recipe(schedule="cosine", epochs=STEPS, **fields)  # type: ignore[arg-type]


_MOMENTUM = {"momentum": 0.9, "weight_decay": 1e-2}
NETWORKS = {
    "tiny-bn": BedNetwork(
        gn.spec("tiny-bn"),
        _recipe(lr=0.05, nesterov=True, weight_decay_scope="weights", label_smoothing=0.1, **_MOMENTUM),
    ),
    "no norm": BedNetwork(
        gn.spec("tiny", in_channels=3, image_size=(10, 8), pool="avg", dropout=0.25, classes=7),
        _recipe(lr=0.1, momentum=0.0, weight_decay=1e-2, class_weights="balanced"),
        4,
    ),
    "option A": BedNetwork(
        gn.spec("resnet20", blocks=1, width=4, image_size=(12, 10), classes=7),
        _recipe(lr=0.1, clip_grad_norm=0.05, **_MOMENTUM),
    ),
    "projection": BedNetwork(
        gn.spec("resnet20", blocks=1, width=4, image_size=(16, 12), classes=7, shortcut="projection"),
        _recipe(lr=0.01, optimizer="adam", weight_decay=1e-2, label_smoothing=0.1),
    ),
    "pre-activation": BedNetwork(
        gn.spec("resnet20", blocks=1, width=4, image_size=(12, 10), classes=7, preactivation=True),
        _recipe(lr=0.01, optimizer="adamw", weight_decay=0.1),
    ),
    "bottleneck": BedNetwork(
        gn.spec("resnet50", blocks=1, width=4, image_size=(48, 40), classes=6, bn_eps=1e-3),
        _recipe(lr=0.05, momentum=0.9, weight_decay=1e-2, weight_decay_scope="all"),
    ),
    "average stem": BedNetwork(
        gn.spec("resnet18", blocks=1, width=4, image_size=(40, 32), classes=6, pool="avg", bn_momentum=0.2),
        _recipe(lr=0.05, momentum=0.8, label_smoothing=0.2, body_lr=0.5),
        6,
    ),
}


def write_bundle(network: str, folder: Path, dtype: str = "float64", steps: int = STEPS) -> Path:
    """Write the bundle of a network to a folder, and return the folder."""
    of = NETWORKS[network]
    settings = {"image_size": of.spec.image_size, "batch_size": of.batch_size, "recipe": of.recipe}
    return gn.golden.write(of.spec, folder, steps=steps, dtype=dtype, **settings).folder


OPERATIONS = {name: operations(network.spec) for name, network in NETWORKS.items()}
