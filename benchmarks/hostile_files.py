"""Image files of every format and mode that Pillow writes, whole and damaged at random, read by glassnet.

    python benchmarks/hostile_files.py [FILES] [--seed SEED]

Writes one file of each format and mode (and of compressions, interlacing and animations where a format has them),
copies that are damaged at random (FILES of both in all; default: 2,000), and bombs: small files that claim to be huge.
A child process scans each of them, measures its value range and decodes it in three forms, each of them by both
functions. Its standard error is a pipe, so that lines that C libraries write are seen, too. Prints the counts, and
exits with 1 if a file ends the process, raises anything but an error of glassnet's of one line, prints a line, takes
more than 20 s of the processor for all of that or 3 GB, or if a whole file cannot be read.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import platform
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode import decode_image, decode_images
from glassnet.data.images.image_form import MAX_PIXELS, ImageForm
from glassnet.data.images.image_opening import quiet_pillow
from glassnet.data.images.scan import scan_images
from glassnet.data.images.value_range import choose_value_range
from glassnet.errors import DataError

MAX_SECONDS, MAX_BYTES = 20, 3 * 2**30  # of one file; of the process
MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"),
    *("I", "I;16", "I;16L", "I;16B", "I;16N", "F"),
)
NOT_WRITTEN = ("BUFR", "GRIB", "HDF5", "WMF")  # stubs that raise
NOT_READ = ("EPS", "PALM", "PDF")  # Pillow starts a program for EPS and cannot open the others
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "TIFF": [
        {"compression": name}
        for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group3", "group4", "lzma", "zstd", "webp")
    ],
    "JPEG": [{"progressive": True}, {"subsampling": 0, "quality": 95}],
    "GIF": [{"save_all": True}, {"interlace": 0}],
    "PNG": [{"save_all": True}, {"bits": 4}],
    "WEBP": [{"lossless": True}, {"save_all": True}],
    "AVIF": [{"save_all": True}],
    "JPEG2000": [{"irreversible": True}, {"tile_size": (16, 16)}],
    "TGA": [{"compression": "tga_rle"}],
    "DDS": [{"pixel_format": name} for name in ("DXT1", "DXT3", "DXT5", "BC2", "BC3", "BC5")],
}


def draw_image(mode: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return an image of smooth noise in a mode."""
    height, width = size
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 4), np.uint8), "RGBA")
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    gray = np.asarray(image.convert("L"))
    if mode.startswith("I;16"):
        order = {"I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}[mode]
        return Image.frombytes(mode, (width, height), (gray.astype(np.uint16) * 257).astype(order).tobytes())
    if mode in ("I", "F"):
        return Image.fromarray(gray.astype(np.int32 if mode == "I" else np.float32))
    by_way_of = {**dict.fromkeys(("LAB", "HSV", "YCbCr", "CMYK"), "RGB"), "La": "LA"}
    return image.convert(by_way_of.get(mode, "RGBA")).convert(mode)


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return the bytes of an image's file."""
    content = io.BytesIO()
    image.save(content, image_format, **options)
    return content.getvalue()


def whole_files(seed: int, step: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of a file of each format, mode and option that Pillow writes, or of each ``step``-th."""
    Image.init()
    rng = np.random.default_rng(seed)
    formats = sorted(set(Image.SAVE) - {*NOT_WRITTEN, *NOT_READ})
    kinds = [(name, mode, options) for name in formats for mode in MODES for options in ({}, *OPTIONS.get(name, ()))]
    for number, (name, mode, options) in enumerate(kinds[::step]):
        suffix = next((end for end, known in Image.EXTENSION.items() if known == name), "")
        image = draw_image(mode, (32, 48) if name != "ICNS" else (64, 64), rng)
        if "save_all" in options:
            options = {**options, "append_images": [image.copy(), image.rotate(90)]}
        try:
            with quiet_pillow(MAX_PIXELS):
                content = saved(image, name, **options)
        except Exception:  # this format does not write this mode or option
            continue
        yield f"{number:03}-{name}-{mode.replace(';', '_')}{suffix}", content


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one to three random damages; headers are hit as often as the rest."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        end = rng.choice((min(64, len(data)), min(512, len(data)), len(data)))
        at = rng.randrange(max(1, end))
        length = rng.choice((1, 2, 4, 16, 256))
        kind = rng.choice(("flip", "flip", "random", "zeros", "ones", "cut", "remove", "repeat", "insert", "number"))
        if kind == "flip" and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind in ("random", "zeros", "ones"):
            block = {"random": rng.randbytes(length), "zeros": bytes(length), "ones": b"\xff" * length}[kind]
            data[at : at + length] = block[: len(data) - at]
        elif kind == "cut":
            del data[at:]
        elif kind == "remove":
            del data[at : at + length]
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * rng.choice((1, 10, 1000))
        elif kind == "insert":
            data[at:at] = rng.randbytes(length)
        elif kind == "number":  # a size, a count or an offset
            value = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 100_000))
            data[at : at + 4] = struct.pack(rng.choice("<>") + "I", value)[: len(data) - at]
    return bytes(data)


def png(width: int, height: int, pixels: bytes = bytes(1000), extra: bytes = b"") -> bytes:
    """Return a gray PNG of a size, whose data may be too short for it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def patched(content: bytes, at: int, layout: str, *values: int) -> bytes:
    """Return the bytes with numbers written over those from a position."""
    data = bytearray(content)
    struct.pack_into(layout, data, at, *values)
    return bytes(data)


def repeat_scans(jpeg: bytes, count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * count + jpeg[-2:]


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of small files that claim to be huge, or that take long to read."""
    gray, colour = Image.new("L", (16, 16), 100), Image.new("RGB", (16, 16), (1, 2, 3))
    text = zlib.compress(bytes(50_000_000), 9)
    comment = b"Comment\0\0" + text
    ztxt = struct.pack(">I", len(comment)) + b"zTXt" + comment + struct.pack(">I", zlib.crc32(b"zTXt" + comment))
    frames = [Image.new("L", (4, 4), index % 256) for index in range(5000)]
    jpeg, jp2, qoi = saved(gray, "JPEG"), saved(colour, "JPEG2000"), saved(colour, "QOI")
    sof, ihdr = jpeg.index(b"\xff\xc0"), jp2.index(b"ihdr")
    yield "bomb-size.png", png(100_000, 100_000)
    yield "bomb-largest.png", png(13_377, 13_377, bytes(13_377 * 13_378))
    yield "bomb-truncated.png", png(13_377, 13_377)
    yield "bomb-wide.png", png(178_956_970, 1, bytes(178_956_971))
    yield "bomb-text.png", png(4, 4, extra=ztxt * 40)
    yield "bomb-size.jpg", patched(jpeg, sof + 5, ">HH", 65500, 65500)
    yield "bomb-scans.jpg", repeat_scans(saved(Image.new("L", (13_000, 13_000), 128), "JPEG", progressive=True), 2000)
    yield "bomb-frames.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield "bomb-size.gif", patched(saved(gray, "GIF"), 6, "<HH", 65535, 65535)
    yield "bomb-frames.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:500])
    yield "bomb-frames.avif", saved(colour, "AVIF", save_all=True, append_images=[colour] * 200)
    yield "bomb-frames.tif", saved(gray, "TIFF", save_all=True, append_images=[gray] * 300)
    yield "bomb-size.bmp", patched(saved(gray, "BMP"), 18, "<II", 2_000_000, 2_000_000)
    yield "bomb-size.jp2", patched(jp2, ihdr + 4, ">II", 100_000, 100_000)
    yield "bomb-code.jp2", patched(jp2, jp2.index(b"\xff\x51") + 6, ">IIIIIIII", 10_000, 10_000, 0, 0, 1, 1, 0, 0)
    yield "bomb-size.qoi", patched(qoi, 4, ">II", 10_000, 10_000)
    yield "bomb-run.qoi", patched(qoi, 4, ">II", 8_000, 8_000)[:14] + b"\xfd" * (64_000_000 // 62)
    yield "bomb-size.tga", patched(saved(gray, "TGA"), 12, "<HH", 65535, 65535)
    yield "bomb-size.ppm", b"P6 99999999 99999999 255\n" + bytes(100)
    yield "bomb-maxval.pgm", b"P5 13000 13000 200\n" + bytes(100)
    yield "bomb-plain.pbm", b"P1 13000 13000\n" + b"1 " * 1_000_000
    yield "bomb-size.xbm", b"#define a_width 99999\n#define a_height 99999\nstatic char a_bits[] = {\n0x00};"
    yield "bomb-size.ico", b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0" + struct.pack("<II", 1100, 22) + png(100_000, 100_000)
    yield "bomb-count.ico", b"\0\0\1\0\xff\xff" + bytes(16) * 65535
    yield "bomb-size.dds", patched(saved(colour, "DDS"), 12, "<II", 65535, 65535)
    yield "bomb-size.sgi", patched(saved(gray, "SGI"), 6, ">HH", 65535, 65535)
    yield "bomb-size.webp", patched(saved(colour, "WEBP", lossless=True), 21, "<I", 0x0FFFFFFF)


def read_file(path: Path) -> tuple[str, str]:
    """Scan a file and decode it in several forms.

    :returns: "read", "refused", "no image" or "foreign", and the reason.
    """
    content = path.read_bytes()
    file = ImageFile(path.name, lambda: content)
    try:
        (scanned,) = scans = scan_images([file])
        forms = (
            ImageForm((24, 24), 3, value_range=choose_value_range(scans.quantiles())),
            ImageForm((16, 40), 1, "pad", (100, 40_000)),
            ImageForm((24, 24), 3, "squash"),
        )
        reasons = [scanned.problem, *(decode_images([file], form)[1].get(0) for form in forms)]
        reasons += [_reason(content, form) for form in forms]
    except Exception as error:  # the scan and decode_images list their failures, whatever a file does
        return "foreign", f"{type(error).__name__}: {error}"
    if any("\n" in reason for reason in reasons if reason):
        return "foreign", "a reason of several lines"
    if not scanned.is_image:
        return "no image", ""
    reason = reasons[0] or reasons[1]  # in the range of its own values
    return ("refused", reason) if reason else ("read", "")


def _reason(content: bytes, form: ImageForm) -> str | None:
    try:
        decode_image(content, form)
    except DataError as error:
        return str(error)
    return None


def read_files(paths: list[Path]) -> None:
    """Read files and print a line of JSON for each; the child process."""
    import signal

    resource.setrlimit(resource.RLIMIT_AS, (2 * MAX_BYTES, 2 * MAX_BYTES))
    for path in paths:
        signal.alarm(10 * MAX_SECONDS)  # its default action ends the process, even inside of C code
        start = time.process_time()
        kind, reason = read_file(path)
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"name": path.name, "kind": kind, "reason": reason, "seconds": seconds, "peak": peak}))
        sys.stdout.flush()


def run_child(paths: list[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """Read files in child processes, a new one after each file that ends one.

    :returns: what became of each file, and the lines on standard error.
    """
    results: list[dict[str, Any]] = []
    lines: list[str] = []
    while len(results) < len(paths):
        left = paths[len(results) :]
        command = [sys.executable, __file__, "--read", str(left[0].parent), str(len(results))]
        child = subprocess.run(command, capture_output=True, text=True)
        found = [json.loads(line) for line in child.stdout.splitlines()]
        results += found
        lines += child.stderr.splitlines()
        if len(found) < len(left):
            ended = {"name": left[len(found)].name, "kind": "ended", "reason": f"exit code {child.returncode}"}
            results.append({**ended, "seconds": 0.0, "peak": 0})
    return results, lines


def write_files(folder: Path, count: int, seed: int, step: int = 1) -> None:
    """Write each ``step``-th whole file and so many damaged copies that there are ``count`` files."""
    whole = list(whole_files(seed, step))
    rng = random.Random(seed)
    for name, content in whole:
        (folder / f"whole-{name}").write_bytes(content)
    for index in range(count - len(whole)):
        name, content = whole[index % len(whole)]
        (folder / f"damaged-{index:05}-{name}").write_bytes(damage(content, rng))


def report(results: list[dict[str, Any]], lines: list[str]) -> bool:
    """Print the counts, and return whether nothing happened that must not."""
    counts = collections.Counter((result["name"].partition("-")[0], result["kind"]) for result in results)
    for (group, kind), number in sorted(counts.items()):
        print(f"{group:8} {kind:9} {number:6,}")
    unread = [result for result in results if result["name"].startswith("whole") and result["kind"] != "read"]
    bad = [result for result in results if result["kind"] in ("foreign", "ended")]
    slow = [result for result in results if result["seconds"] > MAX_SECONDS]
    for result in (*unread, *bad, *slow):
        print(f"  {result['name']}: {result['kind']} {result['reason']} {result['seconds']:.1f} s")
    print(f"lines on standard error: {len(lines)}", *lines[:10], sep="\n  ")
    slowest = max(results, key=lambda result: result["seconds"])
    peak = max(result["peak"] for result in results)
    print(f"slowest file: {slowest['name']}, {slowest['seconds']:.1f} s; peak memory {peak / 2**20:,.0f} MB")
    return not (unread or bad or slow or lines or peak > MAX_BYTES)


def main() -> None:
    """Run the benchmark, or the child process of one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", type=int, nargs="?", default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        folder, start = arguments.read
        read_files(sorted(Path(folder).iterdir())[int(start) :])
        return
    print(f"Pillow {version('Pillow')}, Python {platform.python_version()}, seed {arguments.seed}")
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), arguments.files, arguments.seed)
        for name, content in bombs():
            (Path(folder) / name).write_bytes(content)
        is_sound = report(*run_child(sorted(Path(folder).iterdir())))
    sys.exit(not is_sound)


if __name__ == "__main__":
    main()
