"""Tests of glassnet.training.image_table."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.data import Dataset, Split
from glassnet.data.splitting import content_hash, pack_hashes
from glassnet.errors import DataError
from glassnet.training.image_table import ImageRow, ImageTable

CLASSES = ["cat", "dog"]


def split(*images: tuple[str, str, bytes], named: bool = True) -> Split:
    """Return a split of images, each with its class, name and content."""
    pixels = np.zeros((len(images), 2, 2, 1), np.uint8)
    labels = np.array([CLASSES.index(label) for label, _, _ in images])
    names = [name for _, name, _ in images] if named else None
    return Split(pixels, labels, names, pack_hashes([content_hash(content) for _, _, content in images]))


TRAIN = [("cat", f"cat/{number}.png", b"cat %d" % number) for number in range(5)]
TRAIN += [("dog", f"dog/{number}.png", b"dog %d" % number) for number in range(5)]
TEST = [("cat", "cat/test.png", b"cat"), ("dog", "dog/test.png", b"dog")]


def dataset(train=TRAIN, test=TEST, validation=None, named=True) -> Dataset:
    return Dataset.from_splits(
        split(*train, named=named),
        split(*test, named=named),
        CLASSES,
        validation=validation and split(*validation, named=named),
    )


def table(data: Dataset) -> ImageTable:
    return ImageTable.from_splits(data, data.train, data.validation, ImageTable())


rows = st.builds(
    ImageRow,
    st.sampled_from(["train", "validation", "test", "ancestor"]),
    st.text(max_size=4),
    st.text(st.characters(codec=None), max_size=6),  # lone surrogates, too: names that are not UTF-8
    st.binary(min_size=16, max_size=16).map(bytes.hex),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=8))
def test_parse_returns_what_to_bytes_wrote(content):
    written = ImageTable(tuple(content)).to_bytes()
    assert ImageTable.parse(written) == ImageTable(tuple(content))
    assert ImageTable.parse(written).to_bytes() == written


def test_to_bytes_is_csv_without_a_time():
    content = table(dataset(train=TRAIN[:1] + TRAIN[5:6])).to_bytes()
    assert content[4:8] == bytes(4)
    lines = gzip.decompress(content).decode().split("\r\n")
    assert lines[0] == "split,label,name,hash"
    assert lines[1] == f"train,cat,cat/0.png,{content_hash(b'cat 0').hex()}"
    assert lines[3] == f"test,cat,cat/test.png,{content_hash(b'cat').hex()}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        table(dataset()).to_bytes()[:-9],
        gzip.compress(b"name,hash\n", mtime=0),  # the same name in every test process
        gzip.compress(b"", mtime=0),
        gzip.compress(b"split,label,name,hash\ntrain,cat,a.png\n", mtime=0),
        gzip.compress(b"split,label,name,hash\ntrain,cat,a.png,abcd\n", mtime=0),
        gzip.compress(b"split,label,name,hash\ntrain,cat,a.png,nothexadecimal\n", mtime=0),
        gzip.compress(b"\xff\xfe", mtime=0),
    ],
)
def test_parse_raises_for_other_or_damaged_bytes(content):
    with pytest.raises(DataError):
        ImageTable.parse(content)


def test_count_trained_counts_images_of_training_and_validation_and_of_ancestors():
    old = table(dataset(TRAIN[:3] + TRAIN[5:], validation=[TRAIN[3]]))
    new = dataset([("cat", "", b"new"), ("dog", "", b"newer"), TRAIN[0]], [*TRAIN, *TEST])
    inherited = ImageTable.from_splits(new, new.train, None, old)
    assert old.count_trained(new.test) == 9  # all of TRAIN but the image that is in neither
    assert inherited.count_trained(new.test) == 9
    assert table(new).count_trained(new.test) == 1
    third = ImageTable.from_splits(dataset(TRAIN[4:6], TEST), split(*TRAIN[4:6]), None, inherited)
    assert third.count_trained(new.test) == 10
    assert [row.split for row in third.rows].count("ancestor") == 10  # 12 in all, but one has gone on training
    assert len({row.hash for row in third.rows}) == len(third.rows)


def changes(**now) -> str:
    return table(dataset()).describe_changes(dataset(**now))


def test_describe_changes_names_three_of_each_kind():
    renamed = [("cat", "cat/a.png", b"cat 0")]
    changed = [("cat", "cat/1.png", b"another")]
    relabelled = [("dog", "dog/from-cat.png", b"cat 2")]
    new = [("dog", f"dog/new{number}.png", b"new %d" % number) for number in range(4)]
    assert changes(train=[*renamed, *changed, *relabelled, *TRAIN[4:8], *TRAIN[9:], *new], test=[*TEST, TRAIN[8]]) == (
        "4 images added (dog/new0.png, dog/new1.png, dog/new2.png, ...), 1 removed (cat/3.png), 1 changed (cat/1.png), "
        "1 of another class (dog/from-cat.png: cat, now dog), 1 in another split (dog/3.png: train, now test), "
        "1 renamed (cat/0.png, now cat/a.png)"
    )


def test_describe_changes_names_one_kind_alone():
    assert changes(train=TRAIN[1:]) == "1 image removed (cat/0.png)"
    assert changes(train=[*TRAIN, ("cat", "b.png", b"b")]) == "1 image added (b.png)"
    table_of_labels = [("dog", "cat/0.png", b"cat 0"), *TRAIN[1:]]
    assert changes(train=table_of_labels) == "1 image of another class (cat/0.png: cat, now dog)"
    assert changes(train=[*TRAIN, TRAIN[0]]) == "1 image added (cat/0.png)"


def test_describe_changes_ignores_order_and_the_draw_of_validation_images():
    other = "the same images in another order, or with other pixels after decoding"
    assert changes(train=TRAIN[::-1]) == other
    drawn = ImageTable.from_splits(dataset(), split(*TRAIN[2:]), split(*TRAIN[:2]), table(dataset(TRAIN[:6])))
    assert drawn.describe_changes(dataset()) == other
    moved = dataset(TRAIN[1:], validation=TRAIN[:1])
    assert table(dataset()).describe_changes(moved) == "1 image in another split (cat/0.png: train, now validation)"


def test_describe_changes_counts_images_without_names():
    old = dataset(named=False)
    now = dataset([("dog", "", b"cat 0"), *TRAIN[2:], ("cat", "", b"x")], named=False)
    assert table(old).describe_changes(now) == ("1 image added, 1 removed, 1 of another class (one: cat, now dog)")


def test_describe_changes_is_quick_for_many_renamed_images():
    count = 20_000
    before = [("cat", f"a{number}", b"%d" % number) for number in range(count)]
    after = [("cat", f"b{number}", b"%d" % number) for number in reversed(range(count))]
    dog = [("dog", "dog", b"dog")]
    text = table(dataset(before + dog, TEST)).describe_changes(dataset(after + dog, TEST))
    assert text == "20,000 images renamed (a0, now b0, a1, now b1, a2, now b2, ...)"


def test_has_same_images_ignores_names_and_validation():
    own = table(dataset())
    assert own.has_same_images(table(dataset([(label, "x", content) for label, _, content in TRAIN])))
    assert own.has_same_images(table(dataset(TRAIN[1:], validation=TRAIN[:1])))
    assert not own.has_same_images(table(dataset(TRAIN[1:], [*TEST, TRAIN[0]])))
    assert not own.has_same_images(table(dataset([("dog", *TRAIN[0][1:]), *TRAIN[1:]])))
