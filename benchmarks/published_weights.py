"""Published ResNet-20 weights on CIFAR-10's test images, in NumPy: accuracy, confusion, and what each block adds.

    python benchmarks/published_weights.py [FOLDER]

FOLDER holds ``resnet20-cifar10.safetensors``, the weights that Yerlan Idelbayev trained and published (BSD-2), and
``cifar10-jpeg.tar.xz``, CIFAR-10's images as JPEG files in ``train|test/CLASS/``. Default: the environment variable
GLASSNET_SHARED, or ``../shared/data`` beside the checkout. Writes ``published_weights.json`` beside this script, which
chapter 9 of the course draws.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import glassnet as gn
from glassnet import measures
from glassnet.bench.machine import describe_machine
from glassnet.studies import ablation

HERE = Path(__file__).parent
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the weights' training
N_MEASURED = 500  # images whose activations are measured


def main(folder: Path) -> None:
    with TemporaryDirectory() as temporary:
        images = Path(temporary, "images")
        with tarfile.open(folder / "cifar10-jpeg.tar.xz") as archive:
            archive.extractall(images, [member for member in archive if member.name.startswith("test/")], filter="data")
        data = gn.load_data(images, test_size=1)  # all of them are test images
        weights = folder / "resnet20-cifar10.safetensors"
        run = Path(temporary, "resnet20")
        model = gn.import_weights(weights, "resnet20", classes=data.classes, mean=MEAN, std=STD, run=run)
    outcome = measures.outcome(model, data.test)
    pixels = np.linspace(0, len(data.test) - 1, N_MEASURED).astype(int)  # equally many of each class
    stored = {
        "command": "python benchmarks/published_weights.py",
        "machine": describe_machine(),
        "weights": "ResNet-20 of He et al. 2015, trained and published by Yerlan Idelbayev (BSD-2)",
        "images": "CIFAR-10's test images as lossy JPEG files",
        "classes": data.classes,
        "accuracy": outcome.accuracy,
        "loss": outcome.loss,
        "confusion": measures.confusion_matrix(outcome).tolist(),
        "responses": block_responses(model.network, model.normalization.apply(data.test.images[pixels])),
        "ablation": [dataclasses.asdict(block) for block in ablation.run_study(model, data).blocks],
    }
    path = HERE / "published_weights.json"
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    print(f"accuracy {outcome.accuracy:.4f}, loss {outcome.loss:.4f} on {len(data.test):,} images: {path}")


def block_responses(network: gn.Network, images: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Return the standard deviation of the body's output F(x), of the sum, and the sum's fraction below 0, by block.

    He et al. 2015, sec. 4.2 and fig. 7, measure F(x) like this: after BatchNorm, before the addition.
    """
    blocks = measures.residual_blocks(network.activation_names)
    outputs = network.activations(images, [f"{block}.{part}" for block in blocks for part in ("bn2", "sum")])
    return [
        {
            "block": block,
            "body_std": float(outputs[f"{block}.bn2"].std()),
            "sum_std": float(outputs[f"{block}.sum"].std()),
            "fraction_below_0": float((outputs[f"{block}.sum"] < 0).mean()),
        }
        for block in blocks
    ]


if __name__ == "__main__":
    shared = Path(os.environ.get("GLASSNET_SHARED", HERE.parent / "../shared/data"))
    main(Path(sys.argv[1]) if sys.argv[1:] else shared)
