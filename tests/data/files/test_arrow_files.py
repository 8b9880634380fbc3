import random
import sys

import pytest

from glassnet.data.files.arrow_files import find_arrow_files, list_arrow_files
from glassnet.data.files.folder import list_folder
from glassnet.errors import DataError
from tests.data.files.test_image_rows import images, png

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(path, count=150, labels=("cat", "dog"), **options):
    """A file of the kind that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": images(count), "label": [labels[i % len(labels)] for i in range(count)]})
    if path.suffix == ".parquet":
        parquet.write_table(table, path, **options)
        return path
    make = pa.ipc.new_file if path.suffix == ".feather" else pa.ipc.new_stream
    with make(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=70)
    return path


def find(path):
    return find_arrow_files(path, list_folder(path) if path.is_dir() else None)


def read(path):
    return list_arrow_files(path, find(path))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.parquet", {"row_group_size": 40}),
        ("x.parquet", {"compression": "zstd"}),
        ("x.arrow", {}),
        ("x.arrow", {"compression": "zstd"}),
        ("x.feather", {}),
        ("x.feather", {"compression": "lz4"}),
    ],
)
def test_list_arrow_files_reads_one_file(tmp_path, name, options):
    listing = read(write(tmp_path / name, **options))
    assert [file.read() for file in listing.files] == [png(level) for level in range(150)]
    assert listing.labels == ["cat", "dog"] * 75
    assert listing.splits is None


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"], ["train", "train"]),
        (["data/test-00000-of-00001-4b2f.parquet", "data/train-00000-of-00001.parquet"], ["test", "train"]),
        (["mnist-test.arrow", "mnist-train.arrow"], ["test", "train"]),
        (["train/0.parquet", "validation/0.parquet"], ["train", "validation"]),
        (["a.parquet", "b.parquet"], None),
    ],
)
def test_list_arrow_files_takes_splits_from_the_names(tmp_path, names, splits):
    for name in names:
        write(tmp_path / name, 1)
    (tmp_path / "README.md").write_text("A data set.")
    assert read(tmp_path).splits == splits


def test_list_arrow_files_takes_no_split_from_the_name_of_a_single_file(tmp_path):
    assert read(write(tmp_path / "test.parquet")).splits is None


def test_find_arrow_files_returns_nothing_for_tables_of_paths(tmp_path):
    parquet.write_table(pa.table({"path": ["a.png"], "label": ["a"]}), tmp_path / "x.parquet")
    (tmp_path / "a.png").write_bytes(png(1))
    assert find(tmp_path) == find(tmp_path / "x.parquet") == find(tmp_path / "a.png") == []


def test_find_arrow_files_returns_nothing_beside_image_files(tmp_path):
    write(tmp_path / "x.parquet")
    (tmp_path / "a.png").write_bytes(png(1))
    assert find(tmp_path) == []


def test_find_arrow_files_raises_without_pyarrow(tmp_path, monkeypatch):
    path = write(tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"must be read by pyarrow. Got none. Use pip install 'glassnet\[hub\]'"):
        find(path)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_list_arrow_files_raises_data_errors_alone_for_damaged_files(tmp_path, suffix):
    content = write(tmp_path / f"x{suffix}", 6).read_bytes()
    lines = []
    for seed in range(150):
        rng = random.Random(seed)
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path = tmp_path / f"{seed}{suffix}"
        path.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            if files := find(path):
                [file.read() for file in list_arrow_files(path, files).files]
        except DataError as error:
            lines.append(str(error))
    assert 40 < len(lines) < 150
    assert not any("\n" in line for line in lines)
