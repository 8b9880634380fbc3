"""Speed and memory of the cache of decoded images.

    python benchmarks/decode_cache.py [FOLDER] [--images 200000 20000] [--rounds 3] [--memory]

JPEGs of noise over smooth colours are generated below FOLDER (a temporary folder by default): 64×64 and 224×224 pixels,
quality 85, in 10 classes, 2,000 different images of each size (seed: the size), each repeated with another comment, so
that no two files are equal. Decoding takes turns in this process:

- bare Pillow: a pool of as many processes as there are cores, each of which opens, drafts, converts and resizes (to
  the size they have) blocks of 32 files into an array;
- the first load: ``ImageCache.scan`` and ``decode`` into an empty cache, which scan, hash, decode, sum up and write.

A later epoch takes turns, too: ``BatchLoader`` on the cache, shuffled batches of 128, beside a torch DataLoader with
two workers that reads the same files into uint8 tensors. The ratio within a round counts.

With --memory: peak private memory (RssAnon, every 50 ms) of ``glassnet train`` with the network ``tiny`` (one epoch,
the first of which builds the cache), the same again, ``evaluate`` and ``predict``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
from PIL import Image

from glassnet.bench.machine import describe_machine
from glassnet.data import load_data
from glassnet.data.augmentation import Augmentation
from glassnet.data.batch_loader import BatchLoader
from glassnet.data.batches import shuffled_batches
from glassnet.data.cache.image_cache import ImageCache
from glassnet.data.files.folder import list_folder
from glassnet.data.images.image_form import MAX_PIXELS, ImageForm
from glassnet.resources import usable_cores

N_DIFFERENT, N_CLASSES, BLOCK, BATCH = 2_000, 10, 32, 128


def make_images(side: int, start: int, count: int) -> list[bytes]:
    """Return JPEGs of smooth colours with noise."""
    from io import BytesIO

    rng, contents = np.random.default_rng([side, start]), []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
        pixels = smooth + rng.integers(-12, 13, smooth.shape)
        stream = BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
        contents.append(stream.getvalue())
    return contents


def generate(folder: Path, side: int, count: int) -> Path:
    """Write the files, unless they are there."""
    if (folder / "complete").is_dir():
        return folder
    with Pool() as pool:
        parts = pool.map(partial(make_images, side, count=100), range(0, N_DIFFERENT, 100))
    contents = [content for part in parts for content in part]
    for label in range(N_CLASSES):
        (folder / f"images/class{label}").mkdir(parents=True)
    for index in range(count):
        content = contents[index % N_DIFFERENT]
        comment = b"\xff\xfe\x00\x0a%08d" % index
        (folder / f"images/class{index % N_CLASSES}/{index:06}.jpg").write_bytes(content[:2] + comment + content[2:])
    (folder / "complete").mkdir()
    return folder


def decode_bare(side: int, paths: Sequence[str]) -> int:
    images = np.empty((len(paths), side, side, 3), np.uint8)
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            image.draft("RGB", (side, side))
            images[index] = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
    return len(images)


def run_bare(side: int, paths: Sequence[str]) -> None:
    blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
    with Pool(usable_cores()) as pool:
        assert sum(pool.imap(partial(decode_bare, side), blocks)) == len(paths)


def run_cache(side: int, folder: Path) -> None:
    shutil.rmtree(os.environ["GLASSNET_CACHE"], ignore_errors=True)
    files, form = list_folder(folder).files, ImageForm((side, side), 3)
    cache = ImageCache(str(folder))
    scans = cache.scan(files, MAX_PIXELS, lambda: form)
    cache.decode(files, scans.hashes, scans.hashes, form, ink=False)


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


class Files:
    """What a torch DataLoader reads."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> object:
        import torch

        with Image.open(self.paths[index]) as image:
            return torch.from_numpy(np.array(image.convert("RGB")))


def time_in_turn(rounds: int, *works: Callable[[], object]) -> list[list[float]]:
    """Return the seconds of each in all rounds."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [list(column) for column in zip(*times, strict=True)]


def table_row(name: str, count: int, theirs: Sequence[float], ours: Sequence[float]) -> str:
    ratios = sorted(their / our for their, our in zip(theirs, ours, strict=True))
    rates = [f"{count / statistics.median(times):,.0f}" for times in (theirs, ours)]
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
    return f"| {name} | {count:,} | {rates[0]} | {rates[1]} | {spread} |"


def compare(folder: Path, side: int, rounds: int, epoch_count: int) -> Iterator[str]:
    images = folder / "images"
    paths = [str(images / file.name) for file in list_folder(images).files]
    times = time_in_turn(rounds, partial(run_bare, side, paths), partial(run_cache, side, images))
    yield table_row(f"{side}×{side}: first load beside bare Pillow", len(paths), *times)
    data = load_data(images, image_size=side, test_size=1)
    count = min(epoch_count, len(data.train))
    loader = BatchLoader(data.train, Augmentation())

    def read_cache() -> None:
        rng = np.random.default_rng(0)
        for batch, _ in loader.load(shuffled_batches(count, BATCH, rng), epoch=1):
            assert batch.nbytes

    def read_torch() -> None:
        from torch.utils.data import DataLoader

        for batch in DataLoader(Files(paths[:count]), BATCH, shuffle=True, num_workers=2):  # type: ignore[arg-type]
            assert len(batch)

    read_cache()  # the first epoch compares checksums
    times = time_in_turn(rounds, read_torch, read_cache)
    yield table_row(f"{side}×{side}: later epoch beside a DataLoader", count, *times)


def private_memory(pid: int) -> int:
    """Return the bytes of private memory of a process; 0 if it has ended."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return 0


def peak_memory(*arguments: object) -> int:
    """Return the peak of the private memory of a command."""
    process = subprocess.Popen([sys.executable, "-m", "glassnet", *map(str, arguments)], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, private_memory(process.pid))
        sleep(0.05)
    if process.returncode:
        raise SystemExit(f"glassnet {arguments[0]} ended with exit code {process.returncode}")
    return peak


def measure_memory(folder: Path, side: int, count: int) -> Iterator[str]:
    shutil.rmtree(os.environ["GLASSNET_CACHE"], ignore_errors=True)
    images, run = folder / "images", folder / "run"
    train = ("train", images, "--model", "tiny", "--image-size", side, "--epochs", 1, "--run", run, "--overwrite")
    commands = {
        "train, which builds the cache": train,
        "train": train,
        "evaluate": ("evaluate", run),
        "predict": ("predict", run, images, "--csv", folder / "predictions.csv"),
    }
    for name, arguments in commands.items():
        yield f"| {side}×{side}: {name} | {count:,} | {peak_memory(*arguments) / 2**20:,.0f} MiB |"


def report(folder: Path, counts: Sequence[int], rounds: int, with_memory: bool) -> Iterator[str]:
    os.environ["GLASSNET_CACHE"] = str(folder / "cache")
    yield f"{', '.join(f'{name} {value}' for name, value in describe_machine().items())}, pillow {Image.__version__}"
    folders = {side: generate(folder / f"{side}", side, count) for side, count in zip((64, 224), counts, strict=True)}
    yield f"load {os.getloadavg()[0]:.1f}"
    yield "| | files | other, a second | cache, a second | ratio |\n|---|---|---|---|---|"
    for side, images in folders.items():
        yield from compare(images, side, rounds, 20_000)
    if with_memory:
        yield "| | files | peak private memory |\n|---|---|---|"
        for (side, images), count in zip(folders.items(), counts, strict=True):
            yield from measure_memory(images, side, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", nargs=2, type=int, default=(200_000, 20_000))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for line in report(options.folder or Path(temporary), options.images, options.rounds, options.memory):
            print(line, flush=True)
