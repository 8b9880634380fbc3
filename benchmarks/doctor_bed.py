"""The doctor's test bed: runs with planted faults and healthy runs, and the doctor's findings for each.

    python benchmarks/doctor_bed.py [FOLDER]

The bed has every line of PLANTED at two strengths, and every line of HEALTHY, on two data sets and with two seeds.
FOLDER (default: runs/doctor-bed) keeps each run and its report, so that a second call resumes the bed; remove the
`.json` files to diagnose the runs again. Limits were chosen on seed 0; seed 1 is the result.
Fashion-MNIST is Debian's package dataset-fashion-mnist; without it, gratings in ten directions replace it.
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
from glassnet.classification import accuracy_interval
from glassnet.data import Normalization, Split
from glassnet.doctor.checkup import CONTRADICTIONS
from glassnet.errors import DataError, RunError
from glassnet.initialization import initial_state_dict
from glassnet.progress import Progress
from glassnet.resources import usable_cores
from glassnet.training.run import spec_for_data
from glassnet.weights import save_tensors

DATA = ("digits", "fashion-mnist")
CHOOSING, REPORTED = SEEDS = (0, 1)
STRENGTHS = ("mild", "strong")
CORES = usable_cores()


@dataclass(frozen=True)
class Case:
    """A run to make: its images, its seed and a folder for its files."""

    data: gn.Dataset
    seed: int
    folder: Path
    rng: np.random.Generator


@dataclass(frozen=True)
class Setting:
    """Arguments of ``gn.train`` beside the usual ones, and a context in which to train and to diagnose."""

    data: Any
    fields: dict[str, Any] = field(default_factory=dict)
    during: AbstractContextManager[Any] = field(default_factory=nullcontext)


Plant = Callable[[Case], Setting]
USUAL: dict[str, Any] = {"model": "tiny", "epochs": 6}


# Faults.


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


def sample(count: int, fraction: float, case: Case) -> np.ndarray:
    return case.rng.permutation(count)[: round(fraction * count)]


def mislabelled(split: Split, case: Case, fraction: float) -> Split:
    labels, indices = split.labels.copy(), sample(len(split), fraction, case)
    labels[indices] = (labels[indices] + case.rng.integers(1, len(case.data.classes), len(indices))) % 10
    return Split(split.images, labels)


def shuffled(split: Split, case: Case, fraction: float) -> Split:
    labels, indices = split.labels.copy(), sample(len(split), fraction, case)
    labels[indices] = case.rng.permutation(labels[indices])
    return Split(split.images, labels)


def thinned(split: Split, case: Case, kept: float) -> Split:
    """Every second class keeps only a fraction of its images."""
    kept_images = (split.labels % 2 == 0) | (case.rng.random(len(split)) < kept)
    kept_images[np.unique(split.labels, return_index=True)[1]] = True  # no class may be empty
    return split.take(np.flatnonzero(kept_images))


def blanked(split: Split, case: Case, fraction: float) -> Split:
    images, indices = split.images.copy(), sample(len(split), fraction, case)
    images[indices] = case.rng.integers(0, 2, (len(indices), 1, 1, 1)) * images.max()
    return Split(images, split.labels)


def repeated(split: Split, case: Case, fraction: float) -> Split:
    return split.take(np.concatenate([np.arange(len(split)), sample(len(split), fraction, case)]))


def few(split: Split, case: Case, each: int) -> Split:
    """The first images of each class in a random order."""
    order = case.rng.permutation(len(split))
    return split.take(np.concatenate([order[split.labels[order] == label][:each] for label in range(10)]))


def leaked(split: Split, case: Case, fraction: float) -> Split:
    """Training images replace a fraction of the test images."""
    train, indices = case.data.train, sample(len(split), fraction, case)
    images, labels = split.images.copy(), split.labels.copy()
    leaks = case.rng.permutation(len(train))[: len(indices)]
    images[indices], labels[indices] = train.images[leaks], train.labels[leaks]
    return Split(images, labels)


def copied_class(fraction: float, name: str | None = None) -> Plant:
    """A fraction of the first class's images, in both splits, again in the second class or in a new one."""

    def plant(case: Case) -> Setting:
        classes = case.data.classes if name is None else [*case.data.classes, name]
        parts = []
        for split in (case.data.train, case.data.test):
            own = np.flatnonzero(split.labels == 0)
            copy = split.images[own[: math.ceil(fraction * len(own))]]
            labels = np.full(len(copy), 1 if name is None else len(classes) - 1)
            parts.append(Split(np.concatenate([split.images, copy]), np.concatenate([split.labels, labels])))
        return Setting(dataset(*parts, case.data, classes))

    return plant


def normalized(choose: Callable[[float, float, float], tuple[float, float, float]]) -> Plant:
    """Another (scale, mean, std), computed from the true ones."""

    def plant(case: Case) -> Setting:
        data = dataset(case.data.train, case.data.test, case.data)
        true = Normalization.from_images(data.train.images, data.scale)
        scale, mean, std = choose(true.scale, true.mean[0], true.std[0])
        data.normalization = Normalization(scale, (mean,), (std,))
        return Setting(data, {"recipe": "tutorial"})

    return plant


def initialized(change: Callable[[str, np.ndarray, np.random.Generator], None], **fields: Any) -> Plant:
    """Initial weights changed tensor by tensor, passed as a file."""

    def plant(case: Case) -> Setting:
        spec_fields = {name: fields[name] for name in ("blocks", "skip", "norm") if name in fields}
        state = initial_state_dict(spec_for_data("tiny", case.data, **spec_fields), 100 + case.seed)
        for key, array in state.items():
            change(key, array, case.rng)
        path = case.folder / "initial.safetensors"
        save_tensors(path, {key: array.astype(np.float32) for key, array in state.items()})
        return Setting(case.data, {"init": path, **fields})

    return plant


def scaled(by: float, key: str, array: np.ndarray, rng: np.random.Generator) -> None:
    if key.endswith("weight"):
        array *= by


def silenced(fraction: float, key: str, array: np.ndarray, rng: np.random.Generator) -> None:
    """A fraction of the biases far below every input."""
    if key.endswith("bias"):
        array[rng.permutation(len(array))[: round(fraction * len(array))]] = -50


def with_bug(layer: type, method: str, bug: Callable[..., Any]) -> Plant:
    """A layer's backward pass replaced by ``bug``, whose first argument is the original."""
    backward = getattr(layer, method)
    return lambda case: Setting(case.data, during=patch.object(layer, method, lambda *args: bug(backward, *args)))


def bias_too_large(backward: Callable[..., Any], layer: nn.Linear, dy: np.ndarray) -> Any:
    dx = backward(layer, dy)
    layer.bias.grad *= 1.1
    return dx


def mask_forgotten(backward: Callable[..., Any], layer: nn.ReLU, dy: np.ndarray) -> np.ndarray:
    backward(layer, dy)
    return dy.copy(order="K")


def large_files(side: int) -> Plant:
    """60 images as large JPEG files with noise, which the training resizes to 8×8."""

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


def flattened(levels: int) -> Plant:
    """Images of ``levels`` gray levels among 256, as 16-bit files decoded in the natural range of their type."""

    def plant(case: Case) -> Setting:
        splits = (case.data.train, case.data.test)
        factor = levels / (case.data.scale + 1)
        return Setting(
            gn.Dataset.from_splits(
                *(Split((split.images * factor).astype(np.uint8), split.labels) for split in splits), case.data.classes
            )
        )

    return plant


TUTORIAL = {"recipe": "tutorial"}
NARROW = {"model": "tiny-bn", "head": "average", "recipe": "tutorial", "lr": 0.03, "epochs": 15}
RATE_HIGH, RATE_LOW = "learning rate too high", "learning rate too low"
INITIALIZATION, NORMALIZATION, LABELS = "bad initialization", "wrong normalization", "wrong labels"

# The name of each fault, the check that must be the first finding, and the fault in its mild and strong form.
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
        initialized(partial(scaled, 0.5), blocks=4, skip=False, **TUTORIAL),
        initialized(partial(scaled, 0.1), blocks=4, skip=False, **TUTORIAL),
    ),
    "exploding initialization": (
        INITIALIZATION,
        initialized(partial(scaled, 2.5), blocks=3, **TUTORIAL),
        initialized(partial(scaled, 10.0), blocks=3, **TUTORIAL),
    ),
    "dead ReLUs": (
        "dead ReLUs before training",
        initialized(partial(silenced, 0.5)),
        initialized(partial(silenced, 0.9)),
    ),
    "wrong gradient": (
        "wrong gradient",
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
        with_images(partial(mislabelled, fraction=0.2)),
        with_images(partial(mislabelled, fraction=0.4)),
    ),
    "labels shuffled": (
        LABELS,
        with_images(partial(shuffled, fraction=0.9)),
        with_images(partial(shuffled, fraction=1.0)),
    ),
    "classes unbalanced": (
        "class imbalance",
        with_images(partial(thinned, kept=0.2)),
        with_images(partial(thinned, kept=0.05)),
    ),
    "class folder duplicated": ("duplicated class", copied_class(0.4), copied_class(1.0, "copy")),
    "images in train and test": (
        "test images in the training set",
        with_images(partial(leaked, fraction=0.05), "test"),
        with_images(partial(leaked, fraction=0.5), "test"),
    ),
    "blank images": (
        "blank images",
        with_images(partial(blanked, fraction=0.03)),
        with_images(partial(blanked, fraction=0.2)),
    ),
    "few gray levels": ("few gray levels", flattened(12), flattened(4)),
    "duplicate images": (
        "duplicate images",
        with_images(partial(repeated, fraction=0.05)),
        with_images(partial(repeated, fraction=0.5)),
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
        "slow training: small batches",
        with_fields(batch_size=4, lr=0.01, epochs=3),
        with_fields(batch_size=1, lr=0.003, epochs=3),
    ),
    "slow: float64": (
        "slow training: float64",
        with_fields(dtype="float64"),
        with_fields(model="tiny-bn", dtype="float64", epochs=4),
    ),
    "slow: threads": (
        "slow training: number of threads",
        with_images(partial(few, each=6), engine="torch", threads=2 * CORES, epochs=2),
        with_images(partial(few, each=6), engine="torch", threads=4 * CORES, epochs=2),
    ),
    "slow: decoding": ("slow training: image decoding", large_files(2000), large_files(3000)),
}

HEALTHY: dict[str, dict[str, Any]] = {
    "tiny": {},
    "tiny, tutorial": TUTORIAL,
    "tiny, PyTorch": {"engine": "torch", "threads": 1},
    "tiny, tutorial, PyTorch": {"engine": "torch", "threads": 1, **TUTORIAL},
    "tiny, batches of 16": {"batch_size": 16, "lr": 0.05},
    "tiny, batches of 128": {"batch_size": 128, "epochs": 10},
    "tiny, three epochs": {"epochs": 3},
    "tiny, dropout and validation": {"dropout": 0.2, "validation_fraction": 0.2},
    "tiny, average pool": {"pool": "avg", "epochs": 8},
    "tiny, two blocks": {"blocks": 2},
    "tiny, plain": {"skip": False},
    "tiny-bn": {"model": "tiny-bn", "width": 8},
    "tiny-bn, Adam": {"model": "tiny-bn", "recipe": "tutorial"},
    "tiny-bn, PyTorch": {"model": "tiny-bn", "width": 8, "engine": "torch", "threads": 1},
    "tiny-bn, pre-activation": {"model": "tiny-bn", "width": 8, "preactivation": True},
    "tiny-bn, stopped early": {"model": "tiny-bn", "width": 8, "stop_after_epoch": 3},
}


# Images.


@cache
def images(name: str, seed: int) -> gn.Dataset:
    """700 training and 400 test images, different ones for each seed."""
    if name == "digits":
        data = gn.load_data("digits")
        return part(data, 700, 400, seed)
    try:
        data = gn.load_data("fashion-mnist")
    except DataError:
        return gratings(seed)
    large = part(data, 700, 400, seed)
    small = [Split(third(split.images), split.labels) for split in (large.train, large.test)]
    return gn.Dataset.from_splits(*small, data.classes)


def part(data: gn.Dataset, train: int, test: int, seed: int) -> gn.Dataset:
    rng = np.random.default_rng(seed)
    splits = (s.take(rng.permutation(len(s))[:count]) for s, count in ((data.train, train), (data.test, test)))
    return dataset(*splits, data)


def third(images: np.ndarray) -> np.ndarray:
    """Return means of 3×3 pixels, 9×9 of 28×28, so that a run takes no longer than on digits."""
    count, _, _, channels = images.shape
    blocks = images[:, :27, :27].reshape(count, 9, 3, 9, 3, channels)
    return blocks.mean(axis=(2, 4)).astype(np.uint8)


def gratings(seed: int) -> gn.Dataset:
    """Return images 9×9 of stripes in ten directions, with random phase and noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(1100) % 10
    y, x = np.mgrid[:9, :9]
    along = np.cos(labels * np.pi / 10)[:, None, None] * x + np.sin(labels * np.pi / 10)[:, None, None] * y
    waves = 128 + 70 * np.sin(along + rng.uniform(0, 1, (1100, 1, 1))) + rng.normal(0, 15, (1100, 9, 9))
    images = waves.clip(0, 255).astype(np.uint8)[..., None]
    return gn.Dataset(images[:700], labels[:700], test_images=images[700:], test_labels=labels[700:])


# The bed.


@dataclass(frozen=True)
class BedRun:
    """A run of the bed, and the check that must be its first finding; None for a healthy run."""

    row: str
    strength: str
    data: str
    seed: int
    expected: str | None
    plant: Plant

    @property
    def name(self) -> str:
        name = f"{self.row}-{self.strength}-{self.data}-{self.seed}"
        return name.replace(" ", "_").replace(",", "").replace(":", "")


def bed() -> Iterator[BedRun]:
    """Yield all runs, those of the choosing half first."""
    for seed, data in product(SEEDS, DATA):
        for row, (expected, *plants) in PLANTED.items():
            for strength, plant in zip(STRENGTHS, plants, strict=True):
                yield BedRun(row, strength, data, seed, expected, plant)
        for row, fields in HEALTHY.items():
            yield BedRun(row, "healthy", data, seed, None, with_fields(**fields))


def diagnose_run(bed_run: BedRun, folder: Path) -> dict[str, Any]:
    """Return the report of a run as JSON; train and diagnose it first if the folder has no report of it."""
    path, run = folder / f"{bed_run.name}.json", folder / bed_run.name
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    run.mkdir(parents=True, exist_ok=True)
    strength = STRENGTHS.index(bed_run.strength) if bed_run.expected else 2
    rng = np.random.default_rng([bed_run.seed, len(bed_run.row), strength])
    setting = bed_run.plant(Case(images(bed_run.data, bed_run.seed), bed_run.seed, run, rng))
    with ExitStack() as during:
        during.enter_context(setting.during)
        if not (run / "run" / "config.json").is_file():
            options = {**USUAL, **setting.fields, "run": run / "run", "seed": bed_run.seed}
            try:
                gn.train(data=setting.data, progress=Progress(), report=False, overwrite=True, **options)
            except RunError as error:  # some runs must diverge
                print(f"  {error}", file=sys.stderr)
        report = gn.diagnose(run / "run", None if isinstance(setting.data, Path) else setting.data).to_dict()
    path.write_text(json.dumps(report), encoding="utf-8")
    return report


def is_right(bed_run: BedRun, report: dict[str, Any]) -> bool:
    """Return whether the first finding is the planted fault; of a healthy run, that none has high confidence."""
    if bed_run.expected is None:
        return not any(finding["confidence"] == "high" for finding in report["findings"])
    return bool(report["findings"]) and report["findings"][0]["name"] == bed_run.expected


def contradicts_itself(report: dict[str, Any]) -> bool:
    """Return whether two findings of a report exclude each other."""
    found = {finding["name"] for finding in report["findings"]}
    return any(found >= set(pair) for pair in CONTRADICTIONS)


def table(results: list[tuple[BedRun, bool]]) -> str:
    """Return, as Markdown, how many reports are right for each row, strength and half."""
    lines = [
        "| planted | mild, choosing | strong, choosing | mild, reported | strong, reported |",
        "|---|---|---|---|---|",
    ]
    for row in PLANTED:
        cells = [
            fraction_right(
                [right for run, right in results if (run.row, run.strength, run.seed) == (row, strength, seed)]
            )
            for seed, strength in product(SEEDS, STRENGTHS)
        ]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    for planted, title in ((True, "planted: first finding right"), (False, "healthy: a finding of high confidence")):
        for seed, half in ((CHOOSING, "choosing"), (REPORTED, "reported")):
            rights = [right for run, right in results if (run.expected is not None) == planted and run.seed == seed]
            if rights:
                count = sum(rights) if planted else len(rights) - sum(rights)
                low, high = accuracy_interval(count, len(rights))
                lines.append(
                    f"\n{title}, {half} half: {count} of {len(rights)} ({count / len(rights):.1%}, 95% interval "
                    f"{low:.1%} to {high:.1%})"
                )
    return "\n".join(lines)


def fraction_right(rights: list[bool]) -> str:
    return f"{sum(rights)}/{len(rights)}" if rights else "–"


def main(folder: str = "runs/doctor-bed") -> None:
    results, n_contradictions = [], 0
    for bed_run in bed():
        report = diagnose_run(bed_run, Path(folder))
        right = is_right(bed_run, report)
        results.append((bed_run, right))
        n_contradictions += contradicts_itself(report)
        if not right:
            findings = [f"{one['name']} ({one['confidence']}: {one['measured']})" for one in report["findings"]]
            print(f"{bed_run.name}: {'; '.join(findings) or 'no findings'}", flush=True)
    print(table(results))
    print(f"\nreports with two findings that exclude each other: {n_contradictions} of {len(results)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
