"""The rows of docs/image-folders.md: files that people have, and what ``load_data`` makes of them.

``python tests/data/test_layouts.py`` writes the rows into the page, to be read before they are committed.
"""

import io
import re
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glassnet.data import Dataset, Split, load_data
from glassnet.data.dataset import TEST_SIZE
from glassnet.data.load_options import DATA_SEED
from glassnet.data.splitting import content_hash, is_test_image, pack_hashes
from glassnet.errors import GlassnetError
from glassnet.formats import pluralize

PAGE = Path(__file__).parents[2] / "docs/image-folders.md"
COUNT = 8  # images that * stands for, the fourth and the eighth of which are test images by their hash
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF"}
TEXT_SUFFIXES = {".txt", ".md", ".json", ".xml", ".csv", ".tsv", ".pdf", ".db", ".ini", ".xlsx"}


@dataclass
class Case:
    """A row of the page: files, and how they differ from plain images and texts."""

    files: list[str]  # "cats/*.jpg" are eight images
    remark: str = ""
    texts: dict[str, str | bytes] = field(default_factory=dict)  # contents of files
    source: str = ""  # what is given, below the folder
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None

    @property
    def cell(self) -> str:
        """The files as the page shows them."""
        lines = []
        for name in self.files:
            text = self.texts.get(name, b"")
            shown = text.splitlines()[:2] if isinstance(text, str) and "," not in name else []
            lines += [
                f"`{name}`:" if shown else f"`{name}`",
                *(f"`{line}`" for line in shown),
                *(["..."] if shown else []),
            ]
        return "<br>".join([*lines, *([self.remark] if self.remark else [])]).replace("|", "\\|").replace("\t", "⇥")


@cache
def image_bytes(number: int, suffix: str = ".png", is_test: bool = False, size: tuple[int, int] = (8, 8)) -> bytes:
    """Return the file of an image that is, or is not, a test image by its hash, whatever Pillow's encoders write."""
    for attempt in count():
        pixels = np.random.default_rng([number, attempt]).integers(0, 256, (*size, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, FORMATS.get(suffix.lower(), "PNG"))
        if is_in_test(buffer.getvalue()) == is_test:
            return buffer.getvalue()
    raise AssertionError


def is_in_test(content: bytes) -> bool:
    return bool(is_test_image(pack_hashes([content_hash(content)]), TEST_SIZE, DATA_SEED)[0])


def write_files(case: Case, folder: Path) -> None:
    for number, pattern in enumerate(case.files):
        for index in range(COUNT if "*" in pattern else 1):
            path = folder / pattern.replace("*", str(index + 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            if pattern.endswith("/"):
                path.mkdir()
                continue
            is_text, unique = path.suffix in TEXT_SUFFIXES, COUNT * number + index
            usual = f"text {unique}" if is_text else image_bytes(unique, path.suffix, index % 4 == 3)
            content = case.texts.get(pattern, usual)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if case.prepare:
        case.prepare(folder)


def describe(data: Dataset) -> str:
    """Return what was loaded, as the page says it."""
    if data.test is data.train:
        counts = f"{pluralize(len(data.test), 'image')} to evaluate"
    else:
        validation = f", {len(data.validation)} validation" if data.validation is not None else ""
        counts = f"{len(data.train)} training{validation} and {pluralize(len(data.test), f'{data.test_name} image')}"
        hashes = np.concatenate([data.train.hashes, data.test.hashes])
        is_by_hash = is_test_image(hashes, TEST_SIZE, DATA_SEED) == (np.arange(len(hashes)) >= len(data.train))
        counts += " by hash" if is_by_hash.all() else ""
    unreadable = [f"Unreadable: {line}." for line in data.unreadable_files]
    return " ".join([f"{', '.join(data.classes)}: {counts}.", *unreadable, *data.notes])


def outcome(case: Case, folder: Path) -> str:
    """Return what load_data makes of a case's files, or the error."""
    write_files(case, folder)
    try:
        return describe(load_data(folder / case.source, **{"image_size": 8, **case.options}))
    except GlassnetError as error:
        return f"Error: {error}".replace(str(folder), "FOLDER")


# --- the cases


def rows(pattern: str, classes: str = "cat,dog", header: str | None = "path,label") -> str:
    """Return a table of images 1 to 8, the first four of which are of the first class."""
    names = classes.split(",")
    lines = [pattern.format(n=n, c=names[(n - 1) // 4]) for n in range(1, COUNT + 1)]
    return "\n".join([*([header] if header else []), *lines, ""])


def copy(source: str, target: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / target).write_bytes((folder / source).read_bytes())

    return write


def save(pattern: str, make: Callable[[int], Image.Image]) -> Callable[[Path], None]:
    """Return a function that replaces the eight images of a pattern; make has the number of the image."""

    def write(folder: Path) -> None:
        for index in range(COUNT):
            path = folder / pattern.replace("*", str(index + 1))
            for attempt in count(index, COUNT):
                make(attempt).save(path)
                if is_in_test(path.read_bytes()) == (index % 4 == 3):
                    break

    return write


def both(first: Callable[[Path], None], second: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        first(folder)
        second(folder)

    return write


def deep(number: int) -> Image.Image:
    values = np.random.default_rng(number).integers(291, 695, (8, 8), np.uint16)
    values[0, 0], values[-1, -1] = 291, 694
    return Image.fromarray(values)


def wide(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 32, 3), np.uint8))


def pack(name: str, rename: Callable[[str], str] = str) -> Callable[[Path], None]:
    """Return a function that packs the folder "data" into an archive."""

    def write(folder: Path) -> None:
        data = folder / "data"
        files = [path for path in sorted(data.rglob("*")) if path.is_file() or path.is_symlink()]
        members = [(path, rename(path.relative_to(data).as_posix())) for path in files]
        if name.endswith(".zip"):
            with zipfile.ZipFile(folder / name, "w") as archive:
                for path, member in members:
                    archive.write(path, member)
        else:
            with tarfile.open(folder / name, f"w:{name.partition('.tar')[2].removeprefix('.')}") as archive:
                for path, member in members:
                    archive.add(path, member)

    return write


def encrypt(name: str) -> Callable[[Path], None]:
    """Return a function that sets the flag of encrypted members in the directory of a zip archive."""

    def write(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        for match in re.finditer(b"PK\1\2", bytes(content)):
            content[match.start() + 8] |= 1
        (folder / name).write_bytes(content)

    return write


def truncate(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-100])

    return write


def write_bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        archive.writestr("cats/1.bmp", b"1")
        archive.infolist()[0].file_size = 20 << 30


def write_parquet(folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra hub has it")
    from pyarrow import parquet

    columns = {
        "image": [f"images/{n}.jpg" for n in range(1, 9)],
        "label": ["cat"] * 4 + ["dog"] * 4,
        "split": ["train", "train", "train", "test"] * 2,
    }
    parquet.write_table(pyarrow.table(columns), folder / "t.parquet")


def image_rows(damaged: int = 0, unlabelled: int = 0, label: str = "label", has_bytes: bool = True) -> dict[str, Any]:
    """Return the columns of 16 images of cats and dogs, of which a quarter are test images by their hash."""
    contents = [image_bytes(100 + index, is_test=index % 4 == 3) for index in range(2 * COUNT)]
    contents[:damaged] = [b"damaged"] * damaged
    images = [{"bytes": content if has_bytes else None, "path": f"{n}.png"} for n, content in enumerate(contents)]
    labels = [None] * unlabelled + ["cat"] * (COUNT - unlabelled) + ["dog"] * COUNT
    return {"image": images, label: labels if label == "label" else [0.5] * len(labels)}


def save_rows(name: str = "images.parquet", **options: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow", reason="the extra hub has it")
        from pyarrow import parquet

        (folder / name).parent.mkdir(exist_ok=True)
        kinds = {"image": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})}
        columns = {key: pyarrow.array(values, kinds.get(key)) for key, values in image_rows(**options).items()}
        parquet.write_table(pyarrow.table(columns), folder / name)

    return write


def save_feather(folder: Path) -> None:
    feather = pytest.importorskip("pyarrow.feather", reason="the extra hub has it")
    from pyarrow import table

    rows = image_rows()
    columns = {"img": [image["bytes"] for image in rows["image"]], "class": rows["label"]}
    feather.write_feather(table(columns), str(folder / "images.feather"))


def save_splits(folder: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hub has it")
    data = datasets.Dataset.from_dict(image_rows())
    datasets.disable_progress_bars()
    datasets.DatasetDict(train=data, validation=data, extra=data).save_to_disk(folder)
    datasets.enable_progress_bars()


def replace_columns(folder: Path) -> None:
    table = folder / "t.csv"
    table.write_text(table.read_text().replace("ABSOLUTE", str(folder / "images")))


CAT_DOG = ["cats/*.jpg", "dogs/*.jpg"]
IMAGES = ["images/*.jpg"]
TRAIN = ["train/cats/*.jpg", "train/dogs/*.jpg"]
TEST = ["test/cats/*.jpg", "test/dogs/*.jpg"]

CASES = {
    "Class folders": [
        Case(CAT_DOG),
        Case(["animals/cats/*.jpg", "animals/dogs/*.jpg"]),
        Case(["a/b/cats/*.jpg", "a/b/dogs/*.jpg", "a/README.md"]),
        Case(["cats/2023/*.jpg", "dogs/2023/*.jpg", "dogs/2024/summer/*.jpg"]),
        Case([*CAT_DOG, "sample.jpg"]),
        Case([*CAT_DOG, "papers/manual.pdf", "papers/notes.txt"]),
        Case(["Cats/*.jpg", "CATS/*.jpg", "dogs/*.jpg"]),
        Case(["große Katzen/ein Bild *.jpg", "猫/*.jpg"]),
        Case([unicodedata.normalize("NFD", "été/*.jpg"), "hiver/*.jpg"], "é in two characters, as macOS writes it"),
        Case([f"{number}/*.jpg" for number in (1, 2, 10)]),
        Case(["seg_train/cats/*.jpg", "seg_train/dogs/*.jpg", "seg_test/cats/*.jpg", "seg_test/dogs/*.jpg"]),
        Case(
            CAT_DOG,
            "to evaluate a run with the classes birds, cats, dogs",
            options={"test_size": 1, "classes": ("birds", "cats", "dogs")},
        ),
        Case(
            ["Cats/*.jpg"],
            "to evaluate a run with the classes cats, dogs",
            options={"test_size": 1, "classes": ("cats", "dogs")},
        ),
        Case(
            ["cats/*.jpg", "foxes/*.jpg"],
            "to evaluate a run with the classes cats, dogs",
            options={"test_size": 1, "classes": ("cats", "dogs")},
        ),
        Case(["cats/*.jpg"]),
        Case(["*.jpg"]),
        Case([*CAT_DOG, "fish/"]),
        Case(["cats/*.txt", "dogs/*.txt"]),
        Case([], "an empty folder"),
        Case(
            CAT_DOG,
            "and dogs/all, a link to the folder itself",
            prepare=lambda folder: (folder / "dogs/all").symlink_to(folder),
        ),
    ],
    "Files": [
        Case(["cats/*.JPG", "dogs/*.Jpeg"]),
        Case(["cats/*.png", "cats/a.webp", "dogs/*.tif", "dogs/a.bmp", "dogs/b.gif"]),
        Case(["cats/*.jpg", "dogs/*"], "images without a suffix"),
        Case(["cats/*.jpg", "dogs/*.dat"], "images whatever their suffix"),
        Case(["cats/*.jpg", "cats/*.json", "dogs/*.jpg", "dogs/*.json"]),
        Case([*CAT_DOG, "labels.txt", "annotations/*.xml"]),
        Case([*CAT_DOG, "cats/Thumbs.db", "dogs/desktop.ini", "$RECYCLE.BIN/$R1.jpg"]),
        Case([*CAT_DOG, "cats/.DS_Store", "cats/._1.jpg", "__MACOSX/cats/._1.jpg"]),
        Case([*CAT_DOG, "cats/@eaDir/1.jpg", "dogs/.ipynb_checkpoints/1-checkpoint.jpg"]),
        Case([*CAT_DOG, "cats/broken.jpg", "cats/empty.jpg"], texts={"cats/broken.jpg": "hello", "cats/empty.jpg": ""}),
        Case([*CAT_DOG, *(f"cats/{n}.jpg" for n in "abcd")], texts={f"cats/{n}.jpg": "hello" for n in "abcd"}),
        Case([*CAT_DOG, "cats/phone.heic"], texts={"cats/phone.heic": b"\0\0\0\x18ftypheic" + bytes(20)}),
        Case(CAT_DOG, "and dogs/same.jpg, a copy of cats/1.jpg", prepare=copy("cats/1.jpg", "dogs/same.jpg")),
        Case(
            CAT_DOG,
            "and cats/same.jpg, a copy of cats/4.jpg, a test image",
            prepare=copy("cats/4.jpg", "cats/same.jpg"),
        ),
        Case(
            ["cats/*.tif", "dogs/*.tif"],
            "16-bit images with values from 291 to 694",
            prepare=both(save("cats/*.tif", deep), save("dogs/*.tif", lambda number: deep(1000 + number))),
        ),
        Case(["cats/*.png", "dogs/*.png"], "cats of 32×8 pixels", prepare=save("cats/*.png", wide)),
        Case(
            ["cats/*.png", "dogs/*.png"],
            "cats of 32×8 pixels, with `--fit pad`",
            options={"fit": "pad"},
            prepare=save("cats/*.png", wide),
        ),
        Case(
            ["cats/*.png", "dogs/*.png"],
            "cats of 32×8 pixels, without `--image-size`",
            options={"image_size": None},
            prepare=save("cats/*.png", wide),
        ),
    ],
    "Training, validation and test folders": [
        Case(TRAIN + TEST),
        Case([*TRAIN, "val/cats/*.jpg", "val/dogs/*.jpg", *TEST]),
        Case(["Training/cats/*.jpg", "Training/dogs/*.jpg", "Validation/cats/*.jpg", "Validation/dogs/*.jpg"]),
        Case(["DATA/TRAIN/cats/*.jpg", "DATA/TRAIN/dogs/*.jpg", "DATA/Test/cats/*.jpg", "DATA/Test/dogs/*.jpg"]),
        Case(["training_set/cats/*.jpg", "training_set/dogs/*.jpg", "test_set/cats/*.jpg", "test_set/dogs/*.jpg"]),
        Case(TRAIN),
        Case([*TRAIN, "test/*.jpg"]),
        Case(["train/train/cats/*.jpg", "train/train/dogs/*.jpg", "test/test/cats/*.jpg", "test/test/dogs/*.jpg"]),
        Case([*TRAIN, "test/Cats/*.jpg", "test/DOGS/*.jpg"]),
        Case([*TRAIN, "valid/cats/*.jpg", "test/dogs/*.jpg"]),
        Case(["cats/train/*.jpg", "cats/test/*.jpg", "dogs/train/*.jpg", "dogs/test/*.jpg"]),
        Case([*TRAIN, "papers/manual.pdf"]),
        Case(["train/*.jpg", "plane/*.jpg", "car/*.jpg"]),
        Case(["cats/*.jpg", "dogs/*.jpg", "test/*.jpg"]),
        Case(
            ["train_images/cats/*.jpg", "train_images/dogs/*.jpg", "test_images/cats/*.jpg", "test_images/dogs/*.jpg"]
        ),
        Case(["testdata/cats/*.jpg", "testdata/dogs/*.jpg"]),
        Case(TEST, "to evaluate a run", options={"test_size": 1}),
        Case(TEST, "to train"),
        Case([*TRAIN, "test/cats/*.jpg", "test/foxes/*.jpg"]),
        Case([*TRAIN, "more/cats/*.jpg"]),
        Case([*TRAIN, "Training/cats/*.jpg"]),
        Case(["train/*.jpg", "test/*.jpg"]),
        Case(["cats/train/*.jpg", "cats/test/*.jpg", "dogs/*.jpg"]),
    ],
    "Tables": [
        Case([*IMAGES, "labels.csv"], "the table is given", {"labels.csv": rows("images/{n}.jpg,{c}")}, "labels.csv"),
        Case([*IMAGES, "labels.csv"], "the folder is given", {"labels.csv": rows("images/{n}.jpg,{c}")}),
        Case(
            [*IMAGES, "t.csv"], "", {"t.csv": rows("{c};images/{n}.jpg;x", header="Category;File Name;Remark")}, "t.csv"
        ),
        Case(
            [*IMAGES, "t.csv"], "", {"t.csv": rows('"images/{n}.jpg","{c}"', header='"id_code","diagnosis"')}, "t.csv"
        ),
        Case([*IMAGES, "t.txt"], "", {"t.txt": rows("images/{n}.jpg\t{c}", header="path\tlabel")}, "t.txt"),
        Case([*IMAGES, "list.txt"], "", {"list.txt": rows("images/{n}.jpg {c}", "0,1", None)}, "list.txt"),
        Case([*IMAGES, "t.csv"], "", {"t.csv": rows("images/{n}.jpg,{c}", "10,9", "image,class")}, "t.csv"),
        Case(
            [*IMAGES, "t.csv"],
            "as Excel writes UTF-8: with a byte order mark and CRLF",
            {"t.csv": ("\ufeff" + rows("images/{n}.jpg,{c}", "über,älter")).replace("\n", "\r\n").encode()},
            "t.csv",
        ),
        Case(
            [*IMAGES, "t.txt"],
            "as Excel writes Unicode text: UTF-16 with tabs",
            {"t.txt": rows("images/{n}.jpg\t{c}", "über,älter", "path\tlabel").encode("utf-16")},
            "t.txt",
        ),
        Case(
            [*IMAGES, "t.csv"],
            "as Windows writes it: code page 1252, and paths with backslashes",
            {"t.csv": rows("images\\{n}.jpg;{c}", "süß,sauer", "path;label").encode("cp1252")},
            "t.csv",
        ),
        Case([*IMAGES, "sets/t.csv"], "", {"sets/t.csv": rows("../images/{n}.jpg,{c}")}, "sets/t.csv"),
        Case(
            [*IMAGES, "t.csv"],
            "absolute paths",
            {"t.csv": rows("ABSOLUTE/{n}.jpg,{c}").encode()},
            "t.csv",
            prepare=replace_columns,
        ),
        Case(
            [*IMAGES, "t.csv"],
            "",
            {"t.csv": rows("images/{n}.jpg,{c},train", header="path,label,split") + "images/8.jpg,dog,val\n"},
            "t.csv",
        ),
        Case(
            [*IMAGES, "t.parquet"],
            "with the columns image, label and split",
            {"t.parquet": b""},
            "t.parquet",
            prepare=write_parquet,
        ),
        Case(
            ["images/*.jpg", "more/*.jpg", "train.csv", "test.csv"],
            "",
            {"train.csv": rows("images/{n}.jpg,{c}"), "test.csv": rows("more/{n}.jpg,{c}")},
        ),
        Case(
            ["train/*.jpg", "train/metadata.csv", "test/*.jpg", "test/metadata.csv"],
            "",
            dict.fromkeys(("train/metadata.csv", "test/metadata.csv"), rows("{n}.jpg,{c}", header="file_name,label")),
        ),
        Case(
            ["train_images/*.jpg", "test_images/a.jpg", "train.csv", "submission.csv"],
            "",
            {"train.csv": rows("{n},{c}", header="id,class"), "submission.csv": "id,class\na,?\n"},
            "train.csv",
        ),
        Case(
            ["train_images/*.jpg", "test_images/a.jpg", "train.csv", "test.csv"],
            "",
            {"train.csv": rows("{n}.jpg,{c}", header="id,class"), "test.csv": "id\na\n"},
        ),
        Case([*IMAGES, "t.csv"], "", {"t.csv": rows("photos/{n}0.jpg,{c}")}, "t.csv"),
        Case([*IMAGES, "t.csv"], "", {"t.csv": "path,label\nimages/1.jpg,\nimages/2.jpg,cat\n,dog\n"}, "t.csv"),
        Case(
            [*IMAGES, "t.csv"],
            "",
            {"t.csv": "path,label,split\nimages/1.jpg,cat,train\nimages/2.jpg,dog,later\n"},
            "t.csv",
        ),
        Case([*IMAGES, "t.csv"], "", {"t.csv": "path\nimages/1.jpg\n"}, "t.csv"),
        Case([*IMAGES, "t.csv"], "", {"t.csv": rows("images/{n}.jpg,{c}", "cat,cat")}, "t.csv"),
        Case([*IMAGES, "a.csv", "b.csv"], "", {name: rows("images/{n}.jpg,{c}") for name in ("a.csv", "b.csv")}),
        Case(
            [*IMAGES, "t.csv"],
            "the first four images under two labels",
            {"t.csv": rows("images/{n}.jpg,{c}") + rows("images/{n}.jpg,dog", header=None)},
            "t.csv",
        ),
        Case([*IMAGES, "labels.xlsx"], "", source="labels.xlsx"),
    ],
    "Archives": [
        Case(["data/cats/*.jpg", "data/dogs/*.jpg"], "packed as data.zip", source="data.zip", prepare=pack("data.zip")),
        Case(
            ["data/animals/cats/*.jpg", "data/animals/dogs/*.jpg", "data/__MACOSX/animals/cats/._1.jpg"],
            "packed as data.zip",
            source="data.zip",
            prepare=pack("data.zip"),
        ),
        *(
            Case(["data/cats/*.jpg", "data/dogs/*.jpg"], f"packed as {name}", source=name, prepare=pack(name))
            for name in ("data.tar", "data.tar.gz", "data.tar.bz2", "data.tar.xz")
        ),
        Case(
            [f"data/{name}" for name in TRAIN + TEST],
            "packed as data.tar.gz",
            source="data.tar.gz",
            prepare=pack("data.tar.gz"),
        ),
        Case(
            ["data/images/*.jpg", "data/labels.csv"],
            "packed as data.zip",
            {"data/labels.csv": rows("images/{n}.jpg,{c}")},
            "data.zip",
            prepare=pack("data.zip"),
        ),
        Case(
            ["data/images/*.jpg", "data/labels.csv"],
            "packed as data.zip",
            {"data/labels.csv": rows("../data/images/{n}.jpg,{c}")},
            "data.zip",
            prepare=pack("data.zip"),
        ),
        Case(
            ["data/cats/*.jpg", "data/dogs/*.jpg"],
            "packed as data.zip, and named photo.jpg",
            source="photo.jpg",
            prepare=both(pack("data.zip"), copy("data.zip", "photo.jpg")),
        ),
        Case(
            ["data/cats/*.jpg", "data/dogs/*.jpg"],
            "packed as data.zip on Windows, with backslashes in the names",
            source="data.zip",
            prepare=pack("data.zip", lambda name: name.replace("/", "\\")),
        ),
        Case(
            ["data/cats/*.jpg", "data/dogs/*.jpg", "data/etc/1.jpg"],
            "packed as data.tar, etc/1.jpg as ../etc/1.jpg",
            source="data.tar",
            prepare=pack("data.tar", lambda name: name.replace("etc/", "../etc/")),
        ),
        Case(
            ["data/cats/*.jpg", "data/dogs/*.jpg"],
            "packed as data.tar, after a link data/dogs/all to the folder",
            source="data.tar",
            prepare=both(lambda folder: (folder / "data/dogs/all").symlink_to(folder), pack("data.tar")),
        ),
        Case(
            ["data/cats/*.jpg", "data/dogs/*.jpg"],
            "packed as data.zip with a password",
            source="data.zip",
            prepare=both(pack("data.zip"), encrypt("data.zip")),
        ),
        Case(
            ["data/cats/*.jpg", "data/dogs/*.jpg"],
            "packed as data.tar.gz, of which the end is missing",
            source="data.tar.gz",
            prepare=both(pack("data.tar.gz"), truncate("data.tar.gz")),
        ),
        Case(
            [],
            "data.zip, which says that it unpacks to 20 GB",
            source="data.zip",
            prepare=write_bomb,
        ),
        Case(["train.zip", "test.zip"], "two archives in a folder"),
        Case(["data.zip"], "damaged", {"data.zip": b"PK\3\4" + bytes(100)}, "data.zip"),
        Case(["data.rar"], "", {"data.rar": b"Rar!\x1a\x07\x01\x00" + bytes(100)}, "data.rar"),
        Case(["data.zip"], "the page of an error, saved as an archive", {"data.zip": b"<!DOCTYPE html>"}, "data.zip"),
    ],
    "Hugging Face data sets, Arrow and Parquet": [
        Case([], "images.parquet, with the columns image and label", source="images.parquet", prepare=save_rows()),
        Case([], "images.feather, with the columns img and class", source="images.feather", prepare=save_feather),
        Case(
            [],
            "`data/train-00000-of-00001.parquet`<br>`data/test-00000-of-00001.parquet`<br>`README.md`",
            prepare=both(save_rows("data/train-00000-of-00001.parquet"), save_rows("data/test-00000-of-00001.parquet")),
        ),
        Case([], "a folder of `save_to_disk`, with the splits train, validation and extra", prepare=save_splits),
        Case([], "images.parquet, with a damaged image", source="images.parquet", prepare=save_rows(damaged=1)),
        Case([], "images.parquet, two rows without a label", source="images.parquet", prepare=save_rows(unlabelled=2)),
        Case(
            [],
            "images.parquet, with the columns image and score, of fractions",
            source="images.parquet",
            prepare=save_rows(label="score"),
        ),
        Case(
            [],
            "images.parquet, with paths to images in the column image alone",
            source="images.parquet",
            prepare=save_rows(has_bytes=False),
        ),
        Case(["images.parquet"], "damaged", {"images.parquet": b"PAR1" + bytes(100)}, "images.parquet"),
    ],
}


# --- a data set that grows


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    return grow(tmp_path_factory.mktemp("grown"))


def grow(folder: Path) -> dict[str, Dataset]:
    """Return the dataset of 3 × 400 images, and that of each change to them."""
    generator = np.random.default_rng(0)

    def write(name: str, count: int, start: int = 0) -> None:
        (folder / name).mkdir(exist_ok=True)
        for number in range(start, start + count):
            pixels = generator.integers(0, 256, (6, 6, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.bmp")  # whose bytes no library version changes

    def rename_all() -> None:
        for number, path in enumerate(sorted(folder.glob("*/*.bmp"))):
            path.rename(path.with_name(f"renamed {7919 * number % 100_003}.bmp"))

    def remove(path: Path) -> None:
        path.unlink()

    changes = {
        "none": lambda: [write(name, 400) for name in ("cats", "dogs", "foxes")],
        "one image more": lambda: write("cats", 1, 400),
        "one image less": lambda: remove(folder / "dogs/0.bmp"),
        "10% more": lambda: [write(name, 40, 500) for name in ("cats", "dogs", "foxes")],
        "a new class": lambda: write("hares", 400),
        "every file renamed": rename_all,
    }
    datasets = {}
    for name, change in changes.items():
        change()
        datasets[name] = load_data(folder)
    return datasets


def growth_rows(datasets: dict[str, Dataset]) -> list[str]:
    old = {*map(bytes, datasets["none"].train.hashes)}
    lines = []
    for name, data in datasets.items():
        leaks = sum(bytes(digest) in old for digest in data.test.hashes)
        fractions = class_counts(data.test) / (class_counts(data.train) + class_counts(data.test))
        shown = ", ".join(
            f"{label} {100 * fraction:.1f}%" for label, fraction in zip(data.classes, fractions, strict=True)
        )
        lines.append(f"| {name} | {len(data.train):,} | {len(data.test):,} | {leaks} | {shown} |")
    return lines


def class_counts(split: Split) -> np.ndarray:
    return np.bincount(split.labels)


def test_load_data_keeps_images_of_a_growing_folder_on_their_side(grown):
    train, test = ({*map(bytes, split.hashes)} for split in (grown["none"].train, grown["none"].test))
    assert (len(train), len(train) + len(test)) == (len(grown["none"].train), 1200)
    for data in grown.values():
        assert not train & {*map(bytes, data.test.hashes)}
        assert not test & {*map(bytes, data.train.hashes)}


def test_load_data_holds_out_fractions_of_each_class_that_chance_allows(grown):
    from scipy.stats import binomtest

    for data in grown.values():
        for n_train, n_test in zip(class_counts(data.train), class_counts(data.test), strict=True):
            assert binomtest(int(n_test), int(n_train + n_test), TEST_SIZE).pvalue > 0.001


def test_growth_is_what_the_page_says(grown):
    assert lines_of("A data set that grows") == growth_rows(grown)


# --- the page

HEADS = {
    "A data set that grows": (
        "change",
        "training images",
        "test images",
        "old training images in test",
        "fraction of test images in each class",
    ),
    **dict.fromkeys(CASES, ("files", "result")),
}


def lines_of(group: str) -> list[str]:
    """Return the rows below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {group}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def row(case: Case, folder: Path) -> str:
    return f"| {case.cell} | {outcome(case, folder).replace('|', '&#124;')} |"


def page_with(rows_by_group: dict[str, list[str]]) -> str:
    """Return the page with these rows under the headings of the groups."""
    text = PAGE.read_text(encoding="utf-8")
    for group, lines in rows_by_group.items():
        table = "\n".join([f"| {' | '.join(HEADS[group])} |", "|---" * len(HEADS[group]) + "|", *lines, ""])
        text, n_replaced = re.subn(
            rf"(## {group}\n.*?\n)\|.*?\n(?=\n|\Z)",
            lambda match, table=table: match[1] + table,
            text,
            count=1,
            flags=re.S,
        )
        assert n_replaced == 1, group
    return text


@pytest.mark.parametrize(("group", "index"), [(group, index) for group in CASES for index in range(len(CASES[group]))])
def test_load_data_reads_what_the_page_says(group, index, tmp_path):
    lines = lines_of(group)
    assert len(lines) == len(CASES[group])
    assert row(CASES[group][index], tmp_path) == lines[index]


if __name__ == "__main__":
    written: dict[str, list[str]] = {group: [] for group in CASES}
    for group, cases in CASES.items():
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                written[group].append(row(case, Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        written["A data set that grows"] = growth_rows(grow(Path(folder)))
    PAGE.write_text(page_with(written), encoding="utf-8")
    sys.exit(0)
