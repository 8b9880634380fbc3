"""The doctor's test bed: runs made on purpose, sick and healthy, and what the doctor says of each.

    python benchmarks/doctor_bed.py [FOLDER]

Every line of PLANTED at two strengths, and every line of HEALTHY, on two data sets and two seeds. FOLDER (by default
runs/doctor-bed) keeps each run and what was said of it, so that a bed that was stopped goes on; remove the `.json`
files to ask the doctor again. Limits were chosen on seed 0; the table tells the halves apart, and seed 1 is the result.
Fashion-MNIST is Debian's package dataset-fashion-mnist; without it, gratings of ten directions take its place.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

import glassnet as gn
from glassnet import nn
from glassnet.architecture import initial_state_dict
from glassnet.data import Normalization, Split
from glassnet.doctor import examine
from glassnet.engines.threads import usable_cores
from glassnet.errors import DataError, RunError
from glassnet.measures.significance import accuracy_interval
from glassnet.progress import Progress
from glassnet.training.run import spec_for_data
from glassnet.weights import save_tensors

DATA = ("digits", "fashion-mnist")
CHOOSING, REPORTED = SEEDS = (0, 1)
STRENGTHS = ("mild", "strong")
CORES = usable_cores()


@dataclass(frozen=True)
class Case:
    """One run to be made: on which images, with which seed, and where its files may lie."""

    data: gn.Dataset
    seed: int
    folder: Path
    rng: np.random.Generator


@dataclass(frozen=True)
class Setting:
    """What ``gn.train`` is given beyond the usual, and what holds while it and the doctor work."""

    data: Any
    fields: dict[str, Any] = field(default_factory=dict)
    during: AbstractContextManager[Any] = field(default_factory=nullcontext)


Plant = Callable[[Case], Setting]
USUAL: dict[str, Any] = {"model": "tiny", "epochs": 6}


# What is planted.


def with_fields(**fields: Any) -> Plant:
    return lambda case: Setting(case.data, fields)


def with_images(change: Callable[[Split, Case], Split], split: str = "train", **fields: Any) -> Plant:
    def plant(case: Case) -> Setting:
        parts = {"train": case.data.train, "test": case.data.test}
        parts[split] = change(parts[split], case)
        return Setting(dataset(parts["train"], parts["test"], case.data), fields)

    return plant


def dataset(train: Split, test: Split, like: gn.Dataset, classes: list[str] | None = None) -> gn.Dataset:
    made = gn.Dataset.from_splits(train, test, classes or like.classes, scale=like.scale)
    if like.scale == 16:
        made.normalization = like.normalization
    return made


def some(count: int, share: float, case: Case) -> np.ndarray:
    return case.rng.permutation(count)[: round(share * count)]


def mislabelled(split: Split, case: Case, share: float) -> Split:
    labels, chosen = split.labels.copy(), some(len(split), share, case)
    labels[chosen] = (labels[chosen] + case.rng.integers(1, len(case.data.classes), len(chosen))) % 10
    return Split(split.images, labels)


def shuffled(split: Split, case: Case, share: float) -> Split:
    labels, chosen = split.labels.copy(), some(len(split), share, case)
    labels[chosen] = case.rng.permutation(labels[chosen])
    return Split(split.images, labels)


def thinned(split: Split, case: Case, kept: float) -> Split:
    """Every second class keeps only a share of its images."""
    stays = (split.labels % 2 == 0) | (case.rng.random(len(split)) < kept)
    stays[np.unique(split.labels, return_index=True)[1]] = True  # no class may be empty
    return split.take(np.flatnonzero(stays))


def blanked(split: Split, case: Case, share: float) -> Split:
    images, chosen = split.images.copy(), some(len(split), share, case)
    images[chosen] = case.rng.integers(0, 2, (len(chosen), 1, 1, 1)) * images.max()
    return Split(images, split.labels)


def repeated(split: Split, case: Case, share: float) -> Split:
    return split.take(np.concatenate([np.arange(len(split)), some(len(split), share, case)]))


def few(split: Split, case: Case, each: int) -> Split:
    """So many images of each class."""
    order = case.rng.permutation(len(split))
    return split.take(np.concatenate([order[split.labels[order] == label][:each] for label in range(10)]))


def leaked(split: Split, case: Case, share: float) -> Split:
    """Training images take the place of a share of the test images."""
    train, chosen = case.data.train, some(len(split), share, case)
    images, labels = split.images.copy(), split.labels.copy()
    taken = case.rng.permutation(len(train))[: len(chosen)]
    images[chosen], labels[chosen] = train.images[taken], train.labels[taken]
    return Split(images, labels)


def copied_class(share: float, name: str | None = None) -> Plant:
    """A share of the first class's images, in both splits, once more in the second class, or in a new one."""

    def plant(case: Case) -> Setting:
        classes = case.data.classes if name is None else [*case.data.classes, name]
        parts = []
        for split in (case.data.train, case.data.test):
            own = np.flatnonzero(split.labels == 0)
            copy = split.images[own[: math.ceil(share * len(own))]]
            labels = np.full(len(copy), 1 if name is None else len(classes) - 1)
            parts.append(Split(np.concatenate([split.images, copy]), np.concatenate([split.labels, labels])))
        return Setting(dataset(*parts, case.data, classes))

    return plant


def normalized(choose: Callable[[float, float, float], tuple[float, float, float]]) -> Plant:
    """Another (scale, mean, std), made of the true ones."""

    def plant(case: Case) -> Setting:
        data = dataset(case.data.train, case.data.test, case.data)
        true = Normalization.measure(data.train.images, data.scale)
        scale, mean, std = choose(true.scale, true.mean[0], true.std[0])
        data.normalization = Normalization(scale, (mean,), (std,))
        return Setting(data, {"recipe": "tutorial"})

    return plant


def begun_with(change: Callable[[str, np.ndarray, np.random.Generator], None], **fields: Any) -> Plant:
    """Initial weights changed tensor by tensor, handed over as a file."""

    def plant(case: Case) -> Setting:
        of_model = {name: fields[name] for name in ("blocks", "skip", "norm") if name in fields}
        state = initial_state_dict(spec_for_data("tiny", case.data, **of_model), 100 + case.seed)
        for key, array in state.items():
            change(key, array, case.rng)
        path = case.folder / "begun.safetensors"
        save_tensors(path, {key: array.astype(np.float32) for key, array in state.items()})
        return Setting(case.data, {"init": path, **fields})

    return plant


def scaled(by: float, key: str, array: np.ndarray, rng: np.random.Generator) -> None:
    if key.endswith("weight"):
        array *= by


def silenced(share: float, key: str, array: np.ndarray, rng: np.random.Generator) -> None:
    """So many biases far below what can reach them."""
    if key.endswith("bias"):
        array[rng.permutation(len(array))[: round(share * len(array))]] = -50


def with_bug(layer: type, method: str, bug: Callable[..., Any]) -> Plant:
    """A layer's backward pass replaced; ``bug`` is given the right one first."""
    right = getattr(layer, method)
    return lambda case: Setting(case.data, during=patch.object(layer, method, lambda *given: bug(right, *given)))


def bias_too_large(right: Callable[..., Any], layer: nn.Linear, dy: np.ndarray) -> Any:
    dx = right(layer, dy)
    layer.bias.grad *= 1.1
    return dx


def mask_forgotten(right: Callable[..., Any], layer: nn.ReLU, dy: np.ndarray) -> np.ndarray:
    right(layer, dy)
    return dy.copy(order="K")


def large_files(side: int) -> Plant:
    """60 images as large JPEG files of noise and pixels, which the training brings back to 8×8."""

    def plant(case: Case) -> Setting:
        split, folder = case.data.train, case.folder / "images"
        noise = case.rng.integers(0, 60, (side, side)).astype(np.uint8)
        for index in np.concatenate([np.flatnonzero(split.labels == label)[:6] for label in range(10)]):
            pixels = (split.images[index, :, :, 0] * (190 / case.data.scale)).astype(np.uint8)
            path = folder / str(split.labels[index]) / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(Image.fromarray(pixels).resize((side, side))) + noise).save(
                path, compress_level=1
            )
        return Setting(folder, {"image_size": 8, "epochs": 2, "recipe": "tutorial"})

    return plant


TUTORIAL = {"recipe": "tutorial"}
NARROW = {"model": "tiny-bn", "head": "average", "recipe": "tutorial", "lr": 0.03, "epochs": 15}
RATE_HIGH, RATE_LOW = "learning rate too high", "learning rate too low"
INITIALIZATION, NORMALIZATION = "bad initialization", "normalization forgotten or doubled"
LABELS = "labels shuffled or partly wrong"

# What is planted: the diagnosis that must come first, then mild and strong.
PLANTED: dict[str, tuple[str, Plant, Plant]] = {
    "rate too high, diverging": (RATE_HIGH, with_fields(lr=5.0), with_fields(lr=1000.0)),
    "rate too high, oscillating": (
        RATE_HIGH,
        with_fields(model="tiny-bn", width=4, lr=10.0, schedule="constant"),
        with_fields(model="tiny-bn", width=4, lr=50.0, schedule="constant"),
    ),
    "rate too low": (RATE_LOW, with_fields(lr=3e-4, **TUTORIAL), with_fields(lr=1e-6, **TUTORIAL)),
    "vanishing initialization": (
        INITIALIZATION,
        begun_with(partial(scaled, 0.5), blocks=4, skip=False, **TUTORIAL),
        begun_with(partial(scaled, 0.1), blocks=4, skip=False, **TUTORIAL),
    ),
    "exploding initialization": (
        INITIALIZATION,
        begun_with(partial(scaled, 2.5), blocks=3, **TUTORIAL),
        begun_with(partial(scaled, 10.0), blocks=3, **TUTORIAL),
    ),
    "dead ReLUs": ("dead ReLUs", begun_with(partial(silenced, 0.5)), begun_with(partial(silenced, 0.9))),
    "wrong gradient": (
        "a wrong gradient",
        with_bug(nn.Linear, "backward", bias_too_large),
        with_bug(nn.ReLU, "backward", mask_forgotten),
    ),
    "too little capacity": (
        "too little capacity",
        with_fields(**NARROW, width=3),
        with_fields(**NARROW, width=2),
    ),
    "overfitting": (
        "overfitting",
        with_images(partial(few, each=4), epochs=40),
        with_images(partial(few, each=2), epochs=60),
    ),
    "labels partly wrong": (
        LABELS,
        with_images(partial(mislabelled, share=0.2)),
        with_images(partial(mislabelled, share=0.4)),
    ),
    "labels shuffled": (
        LABELS,
        with_images(partial(shuffled, share=0.9)),
        with_images(partial(shuffled, share=1.0)),
    ),
    "classes unbalanced": (
        "classes unbalanced",
        with_images(partial(thinned, kept=0.2)),
        with_images(partial(thinned, kept=0.05)),
    ),
    "class folder duplicated": ("a class folder duplicated", copied_class(0.4), copied_class(1.0, "copy")),
    "images in train and test": (
        "images in train and test both",
        with_images(partial(leaked, share=0.05), "test"),
        with_images(partial(leaked, share=0.5), "test"),
    ),
    "blank images": (
        "constant or blank images",
        with_images(partial(blanked, share=0.03)),
        with_images(partial(blanked, share=0.2)),
    ),
    "duplicate images": (
        "exact-duplicate images",
        with_images(partial(repeated, share=0.05)),
        with_images(partial(repeated, share=0.5)),
    ),
    "normalization forgotten": (
        NORMALIZATION,
        normalized(lambda scale, mean, std: (1.0, mean * scale, 1.0)),
        normalized(lambda scale, mean, std: (1.0, 0.0, 1.0)),
    ),
    "normalization doubled": (
        NORMALIZATION,
        normalized(lambda scale, mean, std: (scale, mean + mean * std, std * std)),
        normalized(lambda scale, mean, std: (scale * scale, 0.0, 1.0)),
    ),
    "slow: small batch": (
        "training slow: batch too small",
        with_fields(batch_size=4, lr=0.01, epochs=3),
        with_fields(batch_size=1, lr=0.003, epochs=3),
    ),
    "slow: float64": (
        "training slow: float64",
        with_fields(dtype="float64"),
        with_fields(model="tiny-bn", dtype="float64", epochs=4),
    ),
    "slow: threads": (
        "training slow: threads",
        with_images(partial(few, each=6), engine="torch", threads=2 * CORES, epochs=2),
        with_images(partial(few, each=6), engine="torch", threads=4 * CORES, epochs=2),
    ),
    "slow: decoding": ("training slow: data decoding", large_files(2000), large_files(3000)),
}

HEALTHY: dict[str, dict[str, Any]] = {
    "tiny": {},
    "tiny, tutorial": TUTORIAL,
    "tiny, PyTorch": {"engine": "torch", "threads": 1},
    "tiny, tutorial, PyTorch": {"engine": "torch", "threads": 1, **TUTORIAL},
    "tiny, batches of 16": {"batch_size": 16, "lr": 0.05},
    "tiny, batches of 128": {"batch_size": 128, "epochs": 10},
    "tiny, three epochs": {"epochs": 3},
    "tiny, dropout and validation": {"dropout": 0.2, "validation": 0.2},
    "tiny, average pool": {"pool": "avg", "epochs": 8},
    "tiny, two blocks": {"blocks": 2},
    "tiny, plain": {"skip": False},
    "tiny-bn": {"model": "tiny-bn", "width": 8},
    "tiny-bn, Adam": {"model": "tiny-bn", "recipe": "tutorial"},
    "tiny-bn, PyTorch": {"model": "tiny-bn", "width": 8, "engine": "torch", "threads": 1},
    "tiny-bn, pre-activation": {"model": "tiny-bn", "width": 8, "preactivation": True},
    "tiny-bn, stopped early": {"model": "tiny-bn", "width": 8, "stop_after_epoch": 3},
}


# The images.


@cache
def images(name: str, seed: int) -> gn.Dataset:
    """700 training images and 400 test images, other ones for each seed."""
    if name == "digits":
        data = gn.load_data("digits")
        return part(data, 700, 400, seed)
    try:
        data = gn.load_data("fashion-mnist")
    except DataError:
        return gratings(seed)
    chosen = part(data, 700, 400, seed)
    small = [Split(third(split.images), split.labels) for split in (chosen.train, chosen.test)]
    return gn.Dataset.from_splits(*small, data.classes)


def part(data: gn.Dataset, train: int, test: int, seed: int) -> gn.Dataset:
    rng = np.random.default_rng(seed)
    splits = (s.take(rng.permutation(len(s))[:count]) for s, count in ((data.train, train), (data.test, test)))
    return dataset(*splits, data)


def third(images: np.ndarray) -> np.ndarray:
    """28×28 to 9×9, by means of 3×3 pixels, so that a run takes no longer than on digits."""
    count, _, _, channels = images.shape
    blocks = images[:, :27, :27].reshape(count, 9, 3, 9, 3, channels)
    return blocks.mean(axis=(2, 4)).astype(np.uint8)


def gratings(seed: int) -> gn.Dataset:
    """Ten directions of stripes, 9×9, with random phase and noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(1100) % 10
    y, x = np.mgrid[:9, :9]
    along = np.cos(labels * np.pi / 10)[:, None, None] * x + np.sin(labels * np.pi / 10)[:, None, None] * y
    waves = 128 + 70 * np.sin(along + rng.uniform(0, 1, (1100, 1, 1))) + rng.normal(0, 15, (1100, 9, 9))
    images = waves.clip(0, 255).astype(np.uint8)[..., None]
    return gn.Dataset(images[:700], labels[:700], test_images=images[700:], test_labels=labels[700:])


# The bed.


@dataclass(frozen=True)
class Bedded:
    """One run of the bed: what it is, and what must come first; None where nothing may."""

    row: str
    strength: str
    data: str
    seed: int
    expected: str | None
    plant: Plant

    @property
    def name(self) -> str:
        words = f"{self.row}-{self.strength}-{self.data}-{self.seed}"
        return words.replace(" ", "_").replace(",", "").replace(":", "")


def bed() -> Iterator[Bedded]:
    """All runs, the choosing half first."""
    for seed, data in product(SEEDS, DATA):
        for row, (expected, *plants) in PLANTED.items():
            for strength, plant in zip(STRENGTHS, plants, strict=True):
                yield Bedded(row, strength, data, seed, expected, plant)
        for row, fields in HEALTHY.items():
            yield Bedded(row, "healthy", data, seed, None, with_fields(**fields))


def said_of(one: Bedded, folder: Path) -> dict[str, Any]:
    """Make the run if it is not there, ask the doctor if it was not asked, and return what was said."""
    answer, run = folder / f"{one.name}.json", folder / one.name
    if answer.is_file():
        return dict(json.loads(answer.read_text(encoding="utf-8")))
    run.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([one.seed, len(one.row), STRENGTHS.index(one.strength) if one.expected else 2])
    setting = one.plant(Case(images(one.data, one.seed), one.seed, run, rng))
    with ExitStack() as during:
        during.enter_context(setting.during)
        if not (run / "run" / "config.json").is_file():
            try:
                given = {**USUAL, **setting.fields}
                gn.train(
                    data=setting.data, run=run / "run", seed=one.seed, progress=Progress(), overwrite=True, **given
                )
            except RunError as error:  # diverged, as some must
                print(f"  {error}", file=sys.stderr)
        said = examine(run / "run", None if isinstance(setting.data, Path) else setting.data).plain()
    answer.write_text(json.dumps(said), encoding="utf-8")
    return said


def judged(one: Bedded, said: dict[str, Any]) -> bool:
    """Planted: the first diagnosis is the right one. Healthy: no finding of high sureness."""
    if one.expected is None:
        return not any(finding["sure"] == "high" for finding in said["findings"])
    return bool(said["findings"]) and said["findings"][0]["name"] == one.expected


def table(results: list[tuple[Bedded, bool]]) -> str:
    """Markdown: right of all for each row, strength and half."""
    lines = [
        "| planted | mild, choosing | strong, choosing | mild, reported | strong, reported |",
        "|---|---|---|---|---|",
    ]
    for row in PLANTED:
        cells = [
            counted([right for one, right in results if (one.row, one.strength, one.seed) == (row, strength, seed)])
            for seed, strength in product(SEEDS, STRENGTHS)
        ]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    for planted, title in ((True, "planted: first diagnosis right"), (False, "healthy: a warning of high sureness")):
        for seed, half in ((CHOOSING, "choosing"), (REPORTED, "reported")):
            rights = [right for one, right in results if (one.expected is not None) == planted and one.seed == seed]
            if rights:
                number = sum(rights) if planted else len(rights) - sum(rights)
                low, high = accuracy_interval(number, len(rights))
                lines.append(
                    f"\n{title}, {half} half: {number} of {len(rights)} ({number / len(rights):.1%}, 95% interval "
                    f"{low:.1%} to {high:.1%})"
                )
    return "\n".join(lines)


def counted(rights: list[bool]) -> str:
    return f"{sum(rights)}/{len(rights)}" if rights else "–"


def main(folder: str = "runs/doctor-bed") -> None:
    results = []
    for one in bed():
        said = said_of(one, Path(folder))
        right = judged(one, said)
        results.append((one, right))
        if not right:
            found = [f"{finding['name']} ({finding['sure']}: {finding['measured']})" for finding in said["findings"]]
            print(f"{one.name}: {'; '.join(found) or 'nothing found'}", flush=True)
    print(table(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
