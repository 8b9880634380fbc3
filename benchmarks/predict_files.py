"""Speed and memory of ``predict_files``, beside bare Pillow on the same files.

    python benchmarks/predict_files.py ARCHIVE [ROUNDS]

ARCHIVE is a tar of train/ and test/ with one folder of images per class, such as cifar10-jpeg.tar.xz; it is unpacked
into a temporary folder. Bare Pillow is what a short script does with each file, one after the other: open, convert,
resize, array. Three networks are trained for one epoch on 2,000 images (seed 42): an untrained one has no run folder.
Bare Pillow and ``predict_files`` take turns in this process, and the ratio within a
round counts. Threads and processes are compared with the same decoder, on these files and on large JPEGs that are made
of them. Memory is that of ``glassnet predict FOLDER --csv FILE``: private memory (RssAnon), read every 10 ms.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import glassnet as gn
from glassnet.bench.machine import describe_machine
from glassnet.data.files.file_search import FoundFile
from glassnet.data.images.decode_processes import FILES_PER_TASK, decode_in_order
from glassnet.data.images.file_decoder import FileDecoder
from glassnet.data.images.image_form import ImageForm
from glassnet.progress import Progress
from glassnet.resources import usable_cores

NETWORKS: dict[str, dict[str, Any]] = {
    "tiny, 8×8 gray": {"model": "tiny", "image_size": 8, "channels": 1},
    "tiny, 32×32 colour": {"model": "tiny", "image_size": 32, "channels": 3},
    "resnet20": {"model": "resnet20", "image_size": 32, "channels": 3},
}
FEWER_FILES = {"tiny, 32×32 colour": 20_000, "resnet20": 3_000}  # than all: their networks take most of the time
MOSAICS = {(7, 7): 4_000, (24, 32): 500}  # rows and columns of 32×32 images, and how often they are decoded
N_MOSAICS = 100
MEMORY_COUNTS = (6_000, 60_000)


class Speed(NamedTuple):
    """Files a second, and microseconds of processor time for each, in this process and those that it started."""

    rate: float
    processor: float


def measure(count: int, work: Callable[[], object]) -> Speed:
    start, before = perf_counter(), os.times()
    work()
    seconds, after = perf_counter() - start, os.times()
    return Speed(count / seconds, sum(b - a for a, b in zip(before[:4], after[:4], strict=True)) / count * 1e6)


def decode_bare(paths: Iterable[str], size: tuple[int, int], channels: int) -> None:
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("L" if channels == 1 else "RGB").resize((size[1], size[0])))


def train_run(folder: Path, run: Path, model: str, image_size: int, channels: int) -> gn.Model:
    data = gn.load_data(str(folder), image_size=image_size, channels=channels, samples=2000)
    gn.train(model, data, epochs=1, seed=42, run=run, report=False, progress=Progress())
    return gn.load(run)


def compare_with_bare(model: gn.Model, paths: Sequence[str], rounds: int) -> str:
    """Return a table row: medians of bare Pillow and of predict_files, and the ratio of the rates with its range."""
    spec = model.network.spec
    pairs = [
        (
            measure(len(paths), lambda: decode_bare(paths, spec.size, spec.in_channels)),
            measure(len(paths), lambda: [None for _ in model.predict_files(paths, top=1)]),
        )
        for _ in range(rounds)
    ]
    cells = [f"{len(paths):,}"]
    for speeds in zip(*pairs, strict=True):
        rate, processor = (statistics.median(values) for values in zip(*speeds, strict=True))
        cells += [f"{rate:,.0f}", f"{processor:.0f}"]
    ratios = sorted(predicted.rate / bare.rate for bare, predicted in pairs)
    return " | ".join([*cells, f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"])


def make_mosaics(paths: Sequence[str], tiles: tuple[int, int], folder: Path) -> list[str]:
    """Write large JPEGs, mosaics of the files in their order."""
    rows, columns = tiles
    folder.mkdir()
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths[: rows * columns]])
    made = [str(folder / f"{index}.jpg") for index in range(N_MOSAICS)]
    for index, path in enumerate(made):
        grid = np.roll(images, index, axis=0).reshape(rows, columns, 32, 32, 3)
        mosaic = grid.transpose(0, 2, 1, 3, 4).reshape(rows * 32, columns * 32, 3)
        Image.fromarray(mosaic).save(path, quality=90)
    return made


def decode_in_threads(files: Sequence[FoundFile], decoder: FileDecoder, threads: int) -> None:
    blocks = [list(files[start : start + FILES_PER_TASK]) for start in range(0, len(files), FILES_PER_TASK)]
    with ThreadPoolExecutor(threads) as executor:
        for _ in executor.map(decoder, blocks):
            pass


def compare_decoding(paths: Sequence[str], size: int, rounds: int) -> str:
    """Return a table row: files a second of one thread, of threads and of processes on all cores."""
    files, decoder = [FoundFile(path) for path in paths], FileDecoder(ImageForm((size, size), 3), ink=False)
    cores = usable_cores()
    ways: list[Callable[[], object]] = [
        lambda: decode_in_threads(files, decoder, 1),
        lambda: decode_in_threads(files, decoder, cores),
        lambda: [None for _ in decode_in_order(files, decoder, cores, ahead=256)],
    ]
    rates = [[measure(len(paths), way).rate for way in ways] for _ in range(rounds)]
    return " | ".join(f"{statistics.median(column):,.0f}" for column in zip(*rates, strict=True))


def private_memory(pid: str | int) -> int:
    """Return the bytes of private memory of a process; 0 if it has ended."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return 0


def peak_memory(run: Path, folder: Path, output: Path) -> tuple[int, int]:
    """Return the peak of the private memory of ``glassnet predict``, and that of its largest decoding process."""
    command = [sys.executable, "-m", "glassnet", "predict", str(run), str(folder), "--csv", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    peak = child_peak = 0
    while process.poll() is None:
        peak = max(peak, private_memory(process.pid))
        with suppress(OSError):
            child_peak = max([child_peak, *map(private_memory, children.read_text(encoding="ascii").split())])
        sleep(0.01)
    if process.returncode:
        raise SystemExit(f"glassnet predict ended with exit code {process.returncode}")
    return peak, child_peak


def link(paths: Sequence[str], folder: Path, n_folders: int) -> Path:
    """Return a new folder with links to the files, spread over some folders."""
    for index, path in enumerate(paths):
        below = folder / f"{index % n_folders:02}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"image-{index:06}.jpg").symlink_to(path)
    return folder


def report(archive: Path, temporary: Path, rounds: int) -> Iterator[str]:
    with tarfile.open(archive) as tar:
        tar.extractall(temporary / "data", filter="data")
    paths = sorted(map(str, (temporary / "data").rglob("*.jpg")))
    machine = ", ".join(f"{name} {value}" for name, value in describe_machine().items())
    yield f"{machine}, pillow {Image.__version__}; load {os.getloadavg()[0]:.1f}"
    yield "| network | files | bare Pillow, a second | µs | predict_files, a second | µs | ratio |"
    yield "|---|---|---|---|---|---|---|"
    for name, settings in NETWORKS.items():
        model = train_run(temporary / "data" / "test", temporary / name, **settings)
        yield f"| {name} | {compare_with_bare(model, paths[: FEWER_FILES.get(name)], rounds)} |"
    yield "| JPEGs | 1 thread | threads | processes |\n|---|---|---|---|"
    yield f"| 32×32, 1 KB | {compare_decoding(paths[:10_000], 32, rounds)} |"
    for tiles, count in MOSAICS.items():
        mosaics = make_mosaics(paths, tiles, temporary / f"mosaics-{tiles[0]}")
        title = f"{32 * tiles[1]}×{32 * tiles[0]}, {Path(mosaics[0]).stat().st_size / 1000:.0f} KB"
        yield f"| {title} | {compare_decoding(count // N_MOSAICS * mosaics, 224, rounds)} |"
    yield "| files | folders | peak private memory | of a decoding process |\n|---|---|---|---|"
    for n_folders in (20, 1):
        for count in MEMORY_COUNTS:
            folder = link(paths[:count], temporary / f"{count}-{n_folders}", n_folders)
            peak, child = peak_memory(temporary / "tiny, 8×8 gray", folder, temporary / "out.csv")
            yield f"| {count:,} | {n_folders} | {peak / 2**20:.1f} MiB | {child / 2**20:.1f} MiB |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for line in report(Path(sys.argv[1]), Path(folder), int(sys.argv[2]) if len(sys.argv) > 2 else 3):
            print(line, flush=True)
