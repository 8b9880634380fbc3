import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from PIL import Image

from glassnet.data.files import image_rows
from glassnet.data.files.image_rows import Part, is_image_table, list_rows
from glassnet.data.images.scan import scan_images
from glassnet.errors import DataError

pa = pytest.importorskip("pyarrow")
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def png(level):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), level).save(buffer, "png")
    return buffer.getvalue()


def part(columns, name="x", split=None, class_names=None, **types):
    """A part with the columns, read two rows at a time."""
    table = pa.table({key: pa.array(values, types.get(key)) for key, values in columns.items()})
    if class_names:
        features = {"label": {"_type": "ClassLabel", "names": class_names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    return Part(name, 1000, 0, split, table.schema, lambda names: table.select(names).to_batches(2))


def images(count):
    return [{"bytes": png(level), "path": f"folder/{level}.png"} for level in range(count)]


def test_list_rows_returns_names_labels_and_bytes():
    listing = list_rows("x", [part({"image": images(5), "label": [0, 1, 1, 0, 1]}, class_names=["cat", "dog"])])
    assert [file.name for file in listing.files] == [f"row/{i}.png" for i in range(5)]
    assert listing.labels == ["cat", "dog", "dog", "cat", "dog"]
    assert (listing.classes, listing.splits, listing.notes) == (["cat", "dog"], None, ())
    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(lambda file: file.read(), listing.files)) == [png(level) for level in range(5)]


def test_list_rows_takes_splits_from_the_parts_or_a_column():
    columns = {"image": images(2), "label": ["a", "b"]}
    listing = list_rows("x", [part(columns, split="train"), part(columns, split="test")])
    assert listing.splits == ["train", "train", "test", "test"]
    assert [file.name for file in listing.files] == ["train/0.png", "train/1.png", "test/0.png", "test/1.png"]
    assert list_rows("x", [part({**columns, "split": ["val", "train"]})]).splits == ["val", "train"]


@pytest.mark.parametrize(
    ("columns", "labels", "classes"),
    [
        ({"label": ["b", "a", "b"]}, ["b", "a", "b"], None),
        ({"label": [10, 9, 10]}, ["10", "9", "10"], ["9", "10"]),
        ({"caption": ["x", "y", "z"], "class": ["b", "a", "b"]}, ["b", "a", "b"], None),
        ({"animal": ["b", "a", "b"]}, ["b", "a", "b"], None),
        ({"target": ["c", "c", "c"], "label": ["b", "a", "b"]}, ["b", "a", "b"], None),
    ],
)
def test_list_rows_finds_the_labels(columns, labels, classes):
    listing = list_rows("x", [part({"img": images(3), **columns})])
    assert (listing.labels, listing.classes) == (labels, classes)


def test_list_rows_reads_a_column_of_bytes():
    listing = list_rows("x", [part({"picture": [png(1), png(2)], "label": ["a", "b"]}, picture=pa.large_binary())])
    assert [file.read() for file in listing.files] == [png(1), png(2)]


def test_list_rows_leaves_out_rows_without_image_or_label():
    values = [*images(4), None, {"bytes": None, "path": "/etc/hostname"}]
    listing = list_rows("x", [part({"image": values, "label": [0, -1, None, 2, 0, 0]}, class_names=["a", "b", "c"])])
    assert [file.name for file in listing.files] == ["row/0.png", "row/3.png"]
    assert listing.classes == ["a", "c"]
    assert listing.notes == (
        "Rows without a label were left out: 2.",
        "Rows without an image were left out: 2.",
    )


def test_list_rows_reads_files_of_one_folder_alone(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/1.png").write_bytes(png(1))
    (tmp_path / "secret.png").write_bytes(png(2))
    paths = [tmp_path / "cache/1.png", tmp_path / "secret.png", tmp_path / "cache/../secret.png"]
    (tmp_path / "cache/link.png").symlink_to(tmp_path / "secret.png")
    values = [{"bytes": None, "path": str(path)} for path in [*paths, tmp_path / "cache/link.png"]]
    monkeypatch.setattr("glassnet.data.files.archive_member.MIN_UNPACKED_LIMIT", 0)
    parts = [replace(part({"image": values, "label": list("abcd")}, image=IMAGE), n_bytes=0)]
    listing = list_rows("x", parts, tmp_path / "cache")
    assert [file.read() for file in listing.files] == [png(1)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"caption": ["a"], "label": [1]}, "must have a column of images (as bytes). Got the columns caption, label."),
        (
            {"image": images(1), "a": [1], "b": [2]},
            "must have a column of labels, named label. Got the columns image, a, b",
        ),
        ({"image": images(1)}, "must have a column of labels, named label. Got the columns image."),
        (
            {"image": [None], "label": [1]},
            "must have rows with the bytes of an image and a label. Got 1 without",
        ),
    ],
)
def test_list_rows_raises_without_images_or_labels(columns, message):
    with pytest.raises(DataError) as info:
        list_rows("x", [part(columns, image=IMAGE)])
    assert f"x {message}" in str(info.value)


def test_list_rows_raises_for_a_class_index_without_a_name():
    with pytest.raises(DataError, match="x must have labels below 2, the number of classes. Got 2."):
        list_rows("x", [part({"image": images(2), "label": [0, 2]}, class_names=["a", "b"])])


def test_list_rows_raises_for_parts_with_other_columns():
    parts = [part({"image": images(1), "label": [1]}, "train"), part({"image": images(1), "class": [1]}, "test")]
    with pytest.raises(DataError, match="test must have the column 'label', as train has. Got none."):
        list_rows("x", parts)


def test_list_rows_raises_for_a_bomb(monkeypatch):
    """One value that a dictionary repeats: few bytes on disk, many when unpacked."""
    monkeypatch.setattr("glassnet.data.files.archive_member.MIN_UNPACKED_LIMIT", 1000)
    image = pa.DictionaryArray.from_arrays(pa.array([0] * 11), pa.array([bytes(10_000)])).cast(pa.binary())
    table = pa.table({"image": image, "label": [1] * 11})
    with pytest.raises(DataError, match="x must unpack to at most 100 times its 1,000 bytes, or 0 GB. Got more"):
        list_rows("x", [Part("x", 1000, 0, None, table.schema, lambda names: table.select(names).to_batches())])


def test_list_rows_raises_for_too_many_rows(monkeypatch):
    monkeypatch.setattr(image_rows, "MAX_MEMBERS", 3)
    with pytest.raises(DataError, match="x must have at most 3 rows. Got more."):
        list_rows("x", [part({"image": images(4), "label": [1] * 4})])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"image": ["a.png"], "label": [1]}, False),
        ({"image": [{"path": "a.png"}], "label": ["a"]}, False),
        ({"image": images(1), "label": ["a"]}, True),
        ({"image": [[[1, 2], [3, 4]]], "label": [1]}, True),
        ({"image": [{"bytes": {"bytes": b"x"}}], "label": ["a"]}, False),
    ],
)
def test_is_image_table_returns_false_for_a_table_of_paths(columns, expected):
    assert is_image_table(part(columns).schema) == expected


def test_list_rows_numbers_the_rows_of_a_split_in_all_its_parts():
    parts = [part({"image": images(2), "label": ["a", "b"]}, split=split) for split in ("train", "test", "train")]
    names = [file.name for file in list_rows("x", parts).files]
    assert names == ["train/0.png", "train/1.png", "test/0.png", "test/1.png", "train/2.png", "train/3.png"]


def test_list_rows_notes_which_of_several_columns_has_the_labels():
    table = pa.table({"img": images(2), "fine": [0, 1], "coarse": [0, 0]})
    features = {name: {"names": ["a", "b"]} for name in ("fine", "coarse")}
    schema = table.schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    listing = list_rows("x", [Part("x", 1000, 0, None, schema, lambda names: table.select(names).to_batches())])
    assert listing.labels == ["a", "b"]
    assert listing.notes == ("The labels are those of the column fine, and not of coarse.",)


@pytest.mark.parametrize("label", [[[1, 2]], [{"a": 1}], [1.5], [b"a"]])
def test_list_rows_raises_for_labels_of_other_types(label):
    with pytest.raises(DataError, match="x must have a column of labels, named label. Got the columns image, label."):
        list_rows("x", [part({"image": images(1), "label": label})])


def test_list_rows_counts_a_damaged_image_without_a_name_as_an_image():
    listing = list_rows("x", [part({"image": [b"damaged"], "label": ["a"]})])
    assert [scan.problem for scan in scan_images(listing.files)] == ["not an image"]
