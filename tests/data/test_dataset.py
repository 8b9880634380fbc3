import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.data import Dataset, Split
from glassnet.data.splitting import hash_images, is_test_image
from glassnet.errors import ConfigError, DataError, GlassnetError


def arrays(count=40, classes=4, shape=(5, 6, 3), seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, np.arange(count) % classes


def test_dataset_holds_out_test_images_by_content_and_seed():
    images, labels = arrays()
    data = Dataset(images, labels)
    is_test = is_test_image(hash_images(images), 0.25, 42)
    np.testing.assert_array_equal(data.test.images, images[is_test])
    np.testing.assert_array_equal(data.test.labels, labels[is_test])
    np.testing.assert_array_equal(data.train.images, images[~is_test])
    assert data.classes == ["0", "1", "2", "3"]
    assert (data.image_size, data.channels, data.scale) == ((5, 6), 3, 255.0)
    assert data.source == {"source": "arrays"}
    assert data.unreadable_files == []
    for split in (data.train, data.test):
        assert split.images.flags.c_contiguous
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
    assert Dataset(images, labels, seed=43).fingerprint != data.fingerprint
    assert len(Dataset(images, labels, test_size=0.5).test) > len(data.test)


def test_dataset_moves_no_image_when_others_are_added_or_removed():
    images, labels = arrays(80)
    old = Dataset(images[:60], labels[:60])
    new = Dataset(images[20:], labels[20:])
    common = {image.tobytes() for image in images[20:60]}
    for split in ("train", "test"):
        before, after = ({image.tobytes() for image in getattr(data, split).images} & common for data in (old, new))
        assert before == after


def test_dataset_keeps_equal_images_in_one_split():
    images, labels = arrays()
    data = Dataset(np.tile(images, (3, 1, 1, 1)), np.tile(labels, 3))
    np.testing.assert_array_equal(np.unique(data.test.hashes, axis=0, return_counts=True)[1], 3)


def test_dataset_notes_classes_without_a_test_image():
    images, labels = arrays()
    assert Dataset(images, labels, test_images=images, test_labels=labels).notes == []
    one = Dataset(images, labels, test_images=images[:3], test_labels=labels[:3])
    assert one.notes == ["1 of 4 classes has no test image and is not measured: '3'"]
    images, labels = arrays(classes=8)
    split = Split(images, labels)
    many = Dataset.from_splits(split, split.take(np.arange(2)), list("abcdefgh"), test_name="val")
    assert many.notes == ["6 of 8 classes have no val image and are not measured: 'c', 'd', 'e', ..."]


def test_from_splits_keeps_validation_names_and_test_name():
    images, labels = arrays()
    train, validation = Split(images, labels, map(str, range(40))), Split(images[:8], labels[:8])
    data = Dataset.from_splits(train, Split(images[:4], labels[:4]), list("abcd"), validation=validation)
    assert data.train.names == train.names
    assert (len(data.validation), data.test_name) == (8, "test")
    assert repr(data).startswith("Dataset(40 training, 8 validation and 4 test images, 4 classes")
    other = Dataset.from_splits(train, Split(images[:4], labels[:4]), list("abcd"), test_name="val")
    assert other.validation is None
    assert repr(other).startswith("Dataset(40 training and 4 val images")
    assert data.fingerprint != other.fingerprint


def test_from_splits_takes_a_part_of_the_classes_for_evaluation_alone():
    images, labels = arrays()
    some = Split(images, labels % 2)
    data = Dataset.from_splits(some, some, list("abcd"))
    assert data.train is data.test
    assert data.notes == []
    with pytest.raises(DataError, match=r"Class 'c' \(label 2\) must have a training image"):
        Dataset.from_splits(some, Split(images, labels), list("abcd"))


def test_from_splits_raises_for_a_wrong_validation_split_names_or_hashes():
    images, labels = arrays()
    train = Split(images, labels)
    for validation, message in (
        (Split(images[:, 1:], labels), r"validation_images must be \(H, W, C\) = \(5, 6, 3\)"),
        (Split(images, labels + 1), "validation_labels must be 0 to 3"),
        (Split(images, labels, ["a"]), r"validation_names must be 40, one for each image\. Got 1\."),
        (Split(images, labels, hashes=hash_images(images[:3])), r"validation_hashes must .* Got \(3, 16\)\."),
    ):
        with pytest.raises(DataError, match=message):
            Dataset.from_splits(train, train, list("abcd"), validation=validation)


def test_dataset_keeps_images_and_labels_together():
    images, labels = arrays()
    images[:, 0, 0, 0] = labels
    data = Dataset(images, labels)
    np.testing.assert_array_equal(data.train.images[:, 0, 0, 0], data.train.labels)
    np.testing.assert_array_equal(data.test.images[:, 0, 0, 0], data.test.labels)


def test_dataset_takes_test_arrays_as_they_are():
    images, labels = arrays()
    data = Dataset(images, labels, list("abcd"), test_images=images[:3], test_labels=labels[:3].tolist(), scale=16)
    np.testing.assert_array_equal(data.train.images, images)
    np.testing.assert_array_equal(data.test.labels, [0, 1, 2])
    assert data.classes == ["a", "b", "c", "d"]
    assert data.scale == 16.0


def test_fingerprint_of_files_changes_with_how_they_are_decoded_and_that_of_arrays_does_not():
    images, labels = arrays()
    for names, n_fingerprints in ((None, 1), (list(map(str, range(40))), 3)):
        fingerprints = set()
        for settings_of_files in ({"fit": "crop"}, {"fit": "pad"}, {"fit": "crop", "value_range": [0, 9]}):
            split = Split(images, labels, names)
            data = Dataset.from_splits(split, split, list("abcd"))
            data.source |= settings_of_files
            fingerprints.add(data.fingerprint)
        assert len(fingerprints) == n_fingerprints


def test_dataset_of_a_mapped_file_equals_that_of_its_array(tmp_path):
    images, labels = arrays()
    np.save(tmp_path / "images.npy", np.concatenate([images[::-1], images[:1]]))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.arange(40)[::-1].copy()
    ours = Dataset.from_splits(Split(mapped, labels, rows=rows), Split(images, labels), list("abcd"))
    theirs = Dataset.from_splits(Split(images, labels), Split(images, labels), list("abcd"))
    assert ours.train.is_mapped
    assert (ours.fingerprint, ours.normalization) == (theirs.fingerprint, theirs.normalization)


def test_dataset_copies_the_arrays():
    images, labels = arrays()
    for data in (Dataset(images, labels, test_images=images, test_labels=labels), Dataset(images, labels)):
        assert not np.shares_memory(data.train.images, images)
        assert not np.shares_memory(data.test.images, images)
        assert not np.shares_memory(data.train.labels, labels)


def test_from_splits_copies_nothing():
    images, labels = arrays()
    data = Dataset.from_splits(Split(images, labels), Split(images, labels), list("abcd"))
    assert np.shares_memory(data.train.images, images)


def test_dataset_adds_a_channel_axis_to_gray_images():
    images, labels = arrays(shape=(5, 6))
    data = Dataset(images, labels)
    assert data.train.images.shape[1:] == (5, 6, 1)


def test_normalization_is_of_the_training_split_and_can_be_set():
    images, labels = arrays()
    data = Dataset(images, labels, test_images=images // 2, test_labels=labels)
    np.testing.assert_allclose(data.normalization.mean, (images / 255).mean(axis=(0, 1, 2)))
    data.normalization = "another"
    assert data.normalization == "another"


def test_fingerprint_changes_with_everything_that_training_reads():
    images, labels = arrays()

    def fingerprint(images=images, labels=labels, classes="abcd", test_images=images[:4], scale=255.0):
        return Dataset(
            images, labels, list(classes), test_images=test_images, test_labels=labels[:4], scale=scale
        ).fingerprint

    changed = images.copy()
    changed[3, 2, 1, 0] ^= 1
    fingerprints = [
        fingerprint(),
        fingerprint(images=changed),
        fingerprint(labels=np.roll(labels, 1)),
        fingerprint(classes="abdc"),
        fingerprint(test_images=changed[:4]),
        fingerprint(scale=16.0),
        fingerprint(images=images.reshape(40, 6, 5, 3), test_images=images[:4].reshape(4, 6, 5, 3)),
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    assert fingerprint() == fingerprints[0]
    assert fingerprint(labels=labels.astype(np.uint8)) == fingerprints[0]
    assert re.fullmatch("[0-9a-f]{64}", fingerprints[0])


def test_dataset_prints_its_counts_and_size():
    images, labels = arrays()
    data = Dataset(images[:30], labels[:30], test_images=images[30:], test_labels=labels[30:])
    assert repr(data) == "Dataset(30 training and 10 test images, 4 classes, 5×6, 3 channels)"


IMAGES, LABELS = arrays()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            IMAGES / 255,
            LABELS,
            r"images must be uint8\. Got float64\. Use \(images \* 255\).round\(\)",
        ),
        (IMAGES.astype(int), LABELS, r"images must be uint8\. Got int64\. Use images.astype\('uint8'\)"),
        (np.full(IMAGES.shape, np.nan), LABELS, "images must be uint8. Got float64."),
        (
            IMAGES[0, 0],
            LABELS,
            r"images must have shape \(N, H, W, C\) or \(N, H, W\), .* Got \(6, 3\)\.",
        ),
        (IMAGES[:0], LABELS[:0], r"none of them 0\. Got \(0, 5, 6, 3\)\."),
        (IMAGES.transpose(0, 3, 1, 2), LABELS, r"looks like \(N, C, H, W\)\. Use images\.transpose\(0, 2, 3, 1\)\."),
        (IMAGES, LABELS[:-1], r"labels must have shape \(40,\), one for each image\. Got \(39,\)\."),
        (IMAGES, LABELS[:, np.newaxis], r"Got \(40, 1\)\."),
        (IMAGES, LABELS.astype(float), "labels must be integers. Got float64."),
        (IMAGES, LABELS.astype(str), "labels must be integers. Got <U21. .*return_inverse"),
        (IMAGES, LABELS - 1, "labels must be 0 or more, one number for each class. Got -1."),
        (IMAGES, LABELS.astype(np.uint64) + 2**63, "Got 9223372036854775808."),
        (IMAGES, LABELS * 2**29, "labels must be 0 to classes - 1, each in use. Got 1610612736 among 40 labels."),
        (IMAGES, LABELS * 2, r"Class '1' \(label 1\) must have a training image\. Got none\."),
        (IMAGES, LABELS * 0, r"classes must be at least 2\. Got \['0'\]\."),
    ],
)
def test_dataset_raises_for_arrays_that_cannot_be_trained_on(images, labels, message):
    with pytest.raises(DataError, match=message):
        Dataset(images, labels)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classes": ["a", "b"]}, DataError, "labels must be 0 to 1, for 2 classes. Got 3 at index 3."),
        ({"classes": ["a", "b", "c", "b"]}, DataError, "classes must be unique. Got 'b' twice."),
        ({"classes": list("abcde")}, DataError, r"Class 'e' \(label 4\) must have a training image\."),
        ({"classes": "abcd"}, DataError, "classes must be a sequence of names. Got 'abcd'."),
        ({"scale": 0}, ConfigError, "scale must be a finite number above 0. Got 0."),
        ({"scale": float("nan")}, ConfigError, "scale must be a finite number above 0. Got nan."),
        ({"test_images": IMAGES}, ConfigError, "given together. Got test_images alone."),
        ({"test_labels": LABELS}, ConfigError, "given together. Got test_labels alone."),
        (
            {"test_images": IMAGES[:, 1:], "test_labels": LABELS},
            DataError,
            r"test_images must .* \(5, 6, 3\), .* Got \(4, 6, 3\)\.",
        ),
        (
            {"test_images": IMAGES, "test_labels": LABELS + 1},
            DataError,
            "test_labels must be 0 to 3, for 4 classes. Got 4 at index 3.",
        ),
        ({"test_images": IMAGES / 2, "test_labels": LABELS}, DataError, "test_images must be uint8. Got float64."),
        ({"test_size": 0}, ConfigError, "test_size must be a number above 0 and below 1. Got 0."),
        ({"seed": -3}, ConfigError, "seed must be .* Got -3."),
    ],
)
def test_dataset_raises_for_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        Dataset(IMAGES, LABELS, **options)


def test_dataset_raises_for_a_class_without_a_training_image():
    images, labels = arrays()
    labels[np.flatnonzero(is_test_image(hash_images(images), 0.25, 42))[0]] = 4
    with pytest.raises(DataError, match=r"Class '4' must have a training image\. Got none: its only image is a test"):
        Dataset(images, labels)
    assert len(Dataset(images, labels, test_images=images, test_labels=labels).train) == 40


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 6), min_size=0, max_size=5),
    dtype=st.sampled_from(["uint8", "float32", "int64", "bool", "U1", "object"]),
    labels=st.lists(st.integers(-1, 5), max_size=8),
)
def test_dataset_raises_one_line_or_is_valid_for_any_arrays(shape, dtype, labels):
    try:
        data = Dataset(np.zeros(shape).astype(dtype), np.array(labels, dtype=int))
    except GlassnetError as error:
        message = str(error)
        assert "\n" not in message
    else:
        assert set(data.train.labels.tolist()) == set(range(len(data.classes)))


def test_remarks_and_description_say_what_there_is():
    images, labels = np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2), np.arange(12) % 4
    train, test = Split(images[:8, ..., np.newaxis], labels[:8]), Split(images[8:, ..., np.newaxis], labels[8:])
    dataset = Dataset.from_splits(train, test, ["a", "b", "c", "d"], validation=test, test_name="val")
    expected = "8 training, 4 validation and 4 val images, 2×2, gray, of 4 classes (a, b, c, ...)"
    assert (dataset.describe(), dataset.remarks) == (expected, [])
    dataset.unreadable_files, dataset.notes = ["x: no image"], ["a note"]
    assert dataset.remarks == ["1 of 17 images could not be read and were left out: x: no image", "a note"]
    alone = Dataset.from_splits(test, test, ["a", "b", "c", "d"])
    alone.unreadable_files = ["x: no image"]
    assert alone.remarks[0].startswith("1 of 5 images ")
