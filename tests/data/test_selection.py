import numpy as np
import pytest

from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.labeled_files import LabeledFiles
from glassnet.data.images.scan import ScannedImage, Scans
from glassnet.data.selection import find_classes, readable_images, sample_splits, select_splits
from glassnet.data.splitting import content_hash, is_test_image
from glassnet.errors import DataError


def labeled(labels, splits=None, classes=None):
    files = [ImageFile(str(number), bytes) for number in range(len(labels))]
    return LabeledFiles(files, labels, splits or [None] * len(labels), classes, [], ())


def scans_of(count, **options):
    return Scans.of(ScannedImage(content_hash(bytes([number])), (6, 6), **options) for number in range(count))


def images_of(labels):
    classes = sorted(set(labels))
    return readable_images(labeled(labels), scans_of(len(labels)), classes, "DATA", False)[0], classes


def test_find_classes_takes_those_with_training_images():
    scans = Scans.of([*scans_of(3), ScannedImage(b"", is_image=False)])
    assert find_classes(labeled(["b", "a", "b", "text"]), scans, "DATA", None) == ["a", "b"]
    assert find_classes(labeled(["b", "a", "b", "text"], classes=("b", "x", "a")), scans, "DATA", None) == ["b", "a"]
    splits = ["train", "Training", "test", "train"]
    assert find_classes(labeled(["b", "a", "c", "text"], splits), scans, "DATA", None) == ["a", "b"]
    assert find_classes(labeled(["b", "a", "c", "text"], ["test"] * 4), scans, "DATA", None) == ["a", "b", "c"]
    assert find_classes(labeled(["b"] * 4), scans, "DATA", ["x", "b"]) == ["x", "b"]
    with pytest.raises(DataError, match=r"^DATA must have images of at least 2 classes\. Got only 'b'\.$"):
        find_classes(labeled(["b", "b", "b", "text"]), scans, "DATA", None)


def test_readable_images_leaves_out_the_others():
    scans = Scans.of([*scans_of(2), ScannedImage(b"", problem="empty file"), ScannedImage(b"", is_image=False)])
    images, words = readable_images(labeled(["a", "B", "a", "b"], list("wxyz")), scans, ["b", "a"], "DATA", True)
    assert (images.labels.tolist(), words, len(images)) == ([1, 0], ["w", "x"], 2)
    assert [bytes(row) for row in images.hashes] == [content_hash(b"\0"), content_hash(b"\1")]
    with pytest.raises(DataError, match=r"^DATA must have an image that can be read\. Got none among 2 files\.$"):
        readable_images(labeled(["a", "b"]), scans[2:], ["a", "b"], "DATA", False)


def test_select_splits_by_words():
    images, classes = images_of(["a", "b"] * 6)
    words = ["train"] * 6 + ["Valid"] * 4 + ["test"] * 2
    splits = select_splits(images, words, "DATA", classes, 42, 0.25)
    assert (len(splits.train), len(splits.validation), len(splits.test), splits.test_name) == (6, 4, 2, "test")
    splits = select_splits(images, words[:6] + ["Valid"] * 6, "DATA", classes, 42, 0.25)
    assert (len(splits.train), splits.validation, len(splits.test), splits.test_name) == (6, None, 6, "Valid")
    splits = select_splits(images, ["val"] * 12, "DATA", classes, 42, 1)
    assert splits.train is splits.test
    assert splits.test_name == "val"
    for word in ("val", "test"):
        with pytest.raises(DataError, match=f"^DATA must have train beside {word}. Got images to evaluate only.$"):
            select_splits(images, [word] * 12, "DATA", classes, 42, 0.25)


def test_select_splits_by_the_hash_alone():
    images, classes = images_of(["a", "b"] * 20)
    is_test = is_test_image(images.hashes, 0.3, 7)
    for words in ([None] * 40, ["train"] * 40):
        splits = select_splits(images, words, "DATA", classes, 7, 0.3)
        np.testing.assert_array_equal(splits.test.hashes, images.hashes[is_test])
        np.testing.assert_array_equal(splits.train.hashes, images.hashes[~is_test])
        assert (splits.validation, splits.test_name) == (None, "test")
    splits = select_splits(images, [None] * 40, "DATA", classes, 7, 1)
    assert splits.train is splits.test is not None


def test_sample_splits_takes_parts_of_each():
    images, classes = images_of(["a", "b"] * 20)
    splits = select_splits(images, ["train"] * 20 + ["val"] * 10 + ["test"] * 10, "DATA", classes, 42, 0.25)
    part = sample_splits(splits, 6, 4, 42, classes)
    assert [len(each) for each in part.parts] == [6, 4, 4]
    assert np.bincount(part.train.labels).tolist() == [3, 3]
    assert sample_splits(splits, None, None, 42, classes) == splits
    whole = select_splits(images, [None] * 40, "DATA", classes, 42, 1)
    assert len(sample_splits(whole, 8, 8, 42, classes).parts) == 1
    assert len(sample_splits(whole, 8, 6, 42, classes).parts) == 2
