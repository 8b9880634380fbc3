import numpy as np
import pytest

from glassnet.data.files.file_finder import FileFinder
from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.labeled_files import label_files, label_tables
from glassnet.data.files.listing import Listing, list_members
from glassnet.errors import DataError


def listing_of(*names, texts=None):
    texts = texts or {}
    return list_members([ImageFile(name, lambda name=name: texts.get(name, name).encode()) for name in names])


def label(*names, texts=None, known=None):
    listing = listing_of(*names, texts=texts)
    return label_files(listing, "DATA", FileFinder.among(listing.files), known)


def test_label_files_keeps_labels_and_splits_of_a_listing():
    files = [ImageFile("0", bytes), ImageFile("1", bytes)]
    found = label_files(Listing(files, ["b", "a"], ["train", "test"], ("b", "a"), ("A note.",)), "DATA", None)
    assert (found.files, found.labels, found.splits) == (files, ["b", "a"], ["train", "test"])
    assert (found.classes, found.notes) == (("b", "a"), ("A note.",))
    assert label_files(Listing(files, ["b", "a"]), "DATA", None).splits == [None, None]


def test_label_files_counts_what_is_outside_the_class_folders():
    found = label("a/1.jpg", "b/2.jpg", "b/2.txt", "3.jpg", "README", "Thumbs.db")
    assert [file.name for file in found.files] == ["a/1.jpg", "b/2.jpg", "b/2.txt"]
    assert found.notes == ("Images outside the class folders were left out: 1 (3.jpg).",)
    assert sorted(found.other_files) == ["README", "Thumbs.db"]


def test_label_files_reads_a_table_only_where_folders_are_no_classes():
    texts = {"t.csv": "path,label\nx/1.jpg,a\nx/2.jpg,b\n", "x/labels.tsv": "path\tlabel\n1.jpg\tc\n2.jpg\td\n"}
    assert label("x/1.jpg", "x/2.jpg", "t.csv", texts=texts).labels == ["a", "b"]
    assert label("x/1.jpg", "x/2.jpg", "x/labels.tsv", texts=texts).labels == ["c", "d"]
    found = label("x/1.jpg", "x/2.jpg", "y/1.jpg", "t.csv", texts=texts)
    assert found.labels == ["x", "x", "y"]
    assert found.notes == ("The folders give the classes, tables were not read: t.csv. To use one, give its path.",)


def test_label_files_ignores_texts_that_are_no_tables():
    with pytest.raises(DataError, match=r"or a table of paths and labels\. Got only 'x'\."):
        label("x/1.jpg", "x/readme.txt", "x/1.txt")
    with pytest.raises(DataError, match=r"Got 30 images in no class folder\."):
        label(*(f"{number}.{suffix}" for number in range(30) for suffix in ("jpg", "csv")))


def test_label_tables_looks_for_names_only_if_no_path_is_found():
    names = ("x/1.jpg", "x/2.jpg", "y/2.jpg", "t.csv")
    found = label(*names[:2], "t.csv", texts={"t.csv": "id,label\n1,a\n2,b\n"})
    assert [file.name for file in found.files] == ["x/1.jpg", "x/2.jpg"]
    assert found.notes[1:] == ("t.csv has no paths but names: the files are looked for in all folders (x/1.jpg, ...).",)
    listing = listing_of(*names, texts={"t.csv": "id,label\n1,a\n2,b\n"})
    with pytest.raises(DataError, match=r"t.csv must name files that exist.* Got 1 of 2 that do not \(2\)\.$"):
        label_tables([listing.files[0]], "DATA", FileFinder.among(listing.files))
    with pytest.raises(DataError, match=r"Got 1 of 2 that do not \(2\)\.$"):
        label(*names[:2], "t.csv", texts={"t.csv": "path,label\nx/1.jpg,a\n2,b\n"})


def test_label_tables_joins_tables_of_different_splits():
    texts = {"train.csv": "path,label\n1.jpg,a\n2.jpg,b\n", "val/metadata.csv": "path,label\n3.jpg,a\n"}
    found = label("1.jpg", "2.jpg", "val/3.jpg", *texts, texts=texts)
    assert found.splits == ["train", "train", "val"]
    assert [file.name for file in found.files] == ["1.jpg", "2.jpg", "val/3.jpg"]
    with pytest.raises(DataError, match=r"Got a.csv, train.csv\. Give the path of one"):
        label("1.jpg", "2.jpg", "a.csv", "train.csv", texts={**texts, "a.csv": texts["train.csv"]})
    texts["validation.csv"] = "path,label\n1.jpg,a\n"
    with pytest.raises(DataError, match=r"Got train.csv, val/metadata.csv, validation.csv\. Give the path of one"):
        label("1.jpg", "2.jpg", "val/3.jpg", *texts, texts=texts)


def test_label_tables_raises_for_a_table_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"^t.csv must be a table that can be read\. Got: no such file\.$"):
        label_tables([ImageFile.on_disk(tmp_path / "t.csv", "t.csv")], "DATA", FileFinder.on_disk(tmp_path))


def test_label_files_raises_data_errors_alone():
    generator = np.random.default_rng(0)
    parts = ["train", "Test", "val", "cats", "dogs", "a", "images", "Thumbs.db", ".x", "\udcff", "..", "é"]
    ends = ["1.jpg", "2.JPG", "3", "t.csv", "train.tsv", "test.csv", "list.txt", "x.parquet", "4.json"]
    texts = [
        "",
        "path,label\n1.jpg,a\n2.JPG,b\n",
        "3 a\n1.jpg b",
        "\0",
        "file;split\n3;test",
        "path,label,split\n1.jpg,a,",
    ]
    n_labelled, errors = 0, []
    for _ in range(800):
        names = {
            "/".join([*generator.choice(parts, generator.integers(0, 4)), generator.choice(ends)])
            for _ in range(generator.integers(0, 9))
        }
        contents = {name: str(generator.choice(texts)) for name in names}
        known = [None, ["cats", "dogs"]][generator.integers(2)]
        try:
            found = label(*names, texts=contents, known=known)
        except DataError as error:
            errors.append(str(error))
        else:
            assert len(found.files) == len(found.labels) == len(found.splits)
            n_labelled += 1
    assert min(n_labelled, len(errors)) > 100
    assert not [error for error in errors if len(error.splitlines()) != 1 or not error.endswith((".", "?"))]
