"""Checkpoints of other projects: the spec that is found, and the logits beside the project's own forward pass.

    python benchmarks/recognition.py

Networks of torchvision, timm and Transformers are those of the installed packages, at their original size; a package
that is missing is left out, with a line that says so. The CIFAR projects are no packages: the stand-ins of the tests
have their keys, shapes and forward passes. Weights are drawn from seed 0, saved as the project saves them, read by
``gn.load_weights`` and computed by the NumPy engine. Prints a table in Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import glassnet as gn
from glassnet.architecture import PRESETS
from glassnet.progress import Progress
from glassnet.recognition import describe_spec
from glassnet.weights import load_weights

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.recognition.other_projects import akamaster, chenyaofo, kuangliu, randomize

Network = torch.nn.Module
Save = Callable[[dict[str, Any], Path], Path]
Row = tuple[str, Callable[[], Network], Save]
DEPTHS = (18, 34, 50, 101, 152)


def main() -> None:
    """Print the rows of the table."""
    print("| checkpoint | spec found | largest difference of logits, float64 | float32 |\n|---|---|---|---|")
    for name, make, save in [*torchvision_rows(), *timm_rows(), *transformers_rows(), *cifar_rows()]:
        network = randomize(make())
        with TemporaryDirectory() as folder:
            path = save(dict(network.state_dict()), Path(folder))
            spec, state = gn.recognize(path, Progress()), load_weights(path)
        differences = [f"{difference(network, spec, state, dtype):.0e}" for dtype in ("float64", "float32")]
        print(f"| {name} | {describe_spec(spec)} | {' | '.join(differences)} |", flush=True)


def difference(network: Network, spec: gn.ResNetSpec, state: dict[str, Any], dtype: Any) -> float:
    """Return the largest difference of the logits of two images, relative to the largest logit."""
    side = 64 if spec.stem == "7x7" else 32
    images = np.random.default_rng(0).normal(size=(2, spec.in_channels, side, side))
    ours = gn.build(spec, dtype=dtype)
    ours.load_state_dict(state)
    with torch.no_grad():
        output = network(torch.from_numpy(images))
    expected = getattr(output, "logits", output).numpy()
    return float(abs(ours.logits(images.astype(dtype)) - expected).max() / abs(expected).max())


def alone(state: dict[str, Any], folder: Path) -> Path:
    """Save the state dict itself."""
    return member(None, "", state, folder)


def member(name: str | None, prefix: str, state: dict[str, Any], folder: Path) -> Path:
    """Save the state dict as a member of a checkpoint, with a prefix before its keys."""
    prefixed = {prefix + key: tensor for key, tensor in state.items()}
    torch.save({name: prefixed, "epoch": 1, "acc": np.float64(1)} if name else prefixed, folder / "weights.pth")
    return folder / "weights.pth"


def torchvision_rows() -> Iterator[Row]:
    """Yield the networks of torchvision, and a Lightning module around one."""
    library = torch.library.Library("torchvision", "DEF")  # its compiled operators may be of another build of torch
    for operator in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",):
        try:
            library.define(operator)
            library.define(operator.replace("nms", "qnms"))
        except RuntimeError:  # it brings its own
            break
    if models := installed("torchvision", "torchvision.models"):
        for depth in DEPTHS:
            yield f"torchvision `resnet{depth}`", getattr(models, f"resnet{depth}"), alone
        yield "Lightning, `model.` around `resnet18`", models.resnet18, partial(member, "state_dict", "model.")
        yield "DataParallel, `{'model': …}`, `resnet18`", models.resnet18, partial(member, "model", "module.")


def timm_rows() -> Iterator[Row]:
    """Yield networks of timm."""
    if timm := installed("timm", "timm"):
        for name in ("resnet18", "resnet26", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200"):
            yield f"timm `{name}`", partial(timm.create_model, name), alone


def transformers_rows() -> Iterator[Row]:
    """Yield networks of Transformers, made from configurations."""
    if transformers := installed("transformers", "transformers"):
        for depth in DEPTHS:
            preset = PRESETS[f"resnet{depth}"]
            sizes = [channels * preset.expansion for channels in preset.channels]
            fields = {"depths": list(preset.blocks), "hidden_sizes": sizes, "layer_type": preset.block}
            config = transformers.ResNetConfig(**fields, num_labels=1000)
            make = partial(transformers.ResNetForImageClassification, config)
            yield f"Transformers `resnet-{depth}`", make, alone


def cifar_rows() -> Iterator[Row]:
    """Yield the networks of the CIFAR projects, as stand-ins."""
    for depth in (18, 50):
        preset = PRESETS[f"resnet{depth}"]
        save = partial(member, "net", "module.")
        yield f"pytorch-cifar `ResNet{depth}`", partial(kuangliu, preset.blocks, preset.block), save
    for depth in (20, 56, 110):
        save = partial(member, "state_dict", "module.")
        yield f"pytorch_resnet_cifar10 `resnet{depth}`", partial(akamaster, PRESETS[f"resnet{depth}"].blocks), save
    for name, depth, classes in (("cifar10_resnet20", 20, 10), ("cifar100_resnet56", 56, 100)):
        yield f"pytorch-cifar-models `{name}`", partial(chenyaofo, PRESETS[f"resnet{depth}"].blocks, classes), alone


def installed(package: str, module: str) -> Any:
    """Return a module of a package, or None, with a line on stderr: its version, or that it is missing."""
    try:
        print(f"{package} {version(package)}", file=sys.stderr)
    except PackageNotFoundError:
        print(f"{package} is not installed: its rows are left out", file=sys.stderr)
        return None
    __import__(module)
    return sys.modules[module]


if __name__ == "__main__":
    main()
