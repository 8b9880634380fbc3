import gzip
import struct
import subprocess
import sys

import numpy as np
import pytest

from glassnet.data import Normalization, array_sources, load_data
from glassnet.errors import ConfigError, DataError


def write_idx(folder, name, count, labels=None, packed=False):
    """Images 4×5 whose first pixel is their number; labels 0, 1, 2, 0, ... unless given."""
    images = np.zeros((count, 4, 5), np.uint8)
    images[:, 0, 0] = np.arange(count)
    labels = np.arange(count) % 3 if labels is None else labels
    for kind, array in (("images-idx3", images), ("labels-idx1", np.asarray(labels, np.uint8))):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        data = header + array.tobytes()
        path = folder / f"{name}-{kind}-ubyte{'.gz' * packed}"
        path.write_bytes(gzip.compress(data) if packed else data)
    return folder / f"{name}-images-idx3-ubyte{'.gz' * packed}"


# --- digits


def test_load_data_reads_digits_as_scikit_learn_splits_them():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train, test, train_labels, test_labels = train_test_split(
        digits.images / 16, digits.target, test_size=0.25, random_state=42, stratify=digits.target
    )
    data = load_data("digits")
    assert (len(data.train), len(data.test)) == (1347, 450)
    assert data.train.images.shape == (1347, 8, 8, 1)
    assert data.train.images.max() == 16
    assert data.normalization == Normalization(16.0, (0.0,), (1.0,))
    assert (data.scale, data.classes) == (16.0, list("0123456789"))
    np.testing.assert_array_equal(data.normalization.apply(data.train.images, np.float64)[:, 0], train)
    np.testing.assert_array_equal(data.normalization.apply(data.test.images, np.float64)[:, 0], test)
    np.testing.assert_array_equal(data.train.labels, train_labels)
    np.testing.assert_array_equal(data.test.labels, test_labels)


def test_load_data_reads_digits_alike_for_every_seed_and_test_size():
    fingerprint = load_data("digits").fingerprint
    assert load_data("digits", seed=7, test_size=0.5).fingerprint == fingerprint
    assert fingerprint == "393951b484bb029be4934bccffa8e45a937d47d9a5a9a5702391dcb737d1463b"


def test_load_data_takes_samples_of_the_digits():
    data = load_data("digits", samples=200, seed=1)
    assert (len(data.train), len(data.test)) == (200, 200)
    assert np.ptp(np.bincount(data.train.labels)) <= 1
    in_proportion = np.bincount(load_data("digits").test.labels) * 200 / 450
    assert np.abs(np.bincount(data.test.labels) - in_proportion).max() < 1
    assert data.normalization == Normalization(16.0, (0.0,), (1.0,))
    assert data.scale == 16.0
    assert load_data("digits", samples=200, seed=2).fingerprint != data.fingerprint
    with pytest.raises(ConfigError, match=r"samples must be from 10, .* to 1337, or all 1347 images\. Got 1340\."):
        load_data("digits", samples=1340)


@pytest.mark.parametrize(
    ("options", "train", "test", "stored"),
    [
        ({}, 1347, 450, "all"),
        ({"samples": 200}, 200, 200, 200),
        ({"samples": 1000}, 1000, 450, 1000),
        ({"samples": 200, "test_samples": 50}, 200, 50, 50),
        ({"samples": 200, "test_samples": "all"}, 200, 450, "all"),
        ({"test_samples": 445}, 1347, 445, 445),
        ({"test_samples": 3}, 1347, 3, 3),
    ],
)
def test_load_data_caps_the_test_images(options, train, test, stored):
    data = load_data("digits", **options)
    assert (len(data.train), len(data.test), data.source["test_samples"]) == (train, test, stored)
    assert load_data(**data.source).fingerprint == data.fingerprint
    of_all = {image.tobytes() for image in load_data("digits").test.images}
    assert {image.tobytes() for image in data.test.images} <= of_all


# --- IDX


@pytest.mark.parametrize("packed", [False, True])
def test_load_data_reads_idx_folders_and_files(tmp_path, packed):
    path = write_idx(tmp_path, "train", 30, packed=packed)
    write_idx(tmp_path, "t10k", 6, packed=packed)
    for source in (tmp_path, path, str(path)):
        data = load_data(source)
        assert data.train.images[:, 0, 0, 0].tolist() == list(range(30))
        assert data.train.labels.tolist() == [0, 1, 2] * 10
        assert len(data.test) == 6
        assert (data.classes, data.image_size, data.channels, data.scale) == (["0", "1", "2"], (4, 5), 1, 255.0)
        assert data.normalization == Normalization.from_images(data.train.images, 255.0)
        assert load_data(**data.source).fingerprint == data.fingerprint


def test_load_data_holds_out_a_test_split_of_idx_files(tmp_path):
    write_idx(tmp_path, "train", 40)
    data = load_data(tmp_path, test_size=0.2)
    assert (len(data.train), len(data.test)) == (33, 7)  # by the hashes of the images
    assert load_data(tmp_path, test_size=0.2, seed=1).fingerprint != data.fingerprint


def test_load_data_makes_all_idx_images_test_images_with_test_size_1(tmp_path):
    write_idx(tmp_path, "train", 40)
    data = load_data(tmp_path, test_size=1)
    assert data.test.images[:, 0, 0, 0].tolist() == list(range(40))
    write_idx(tmp_path, "t10k", 6)
    data = load_data(tmp_path, test_size=1)
    assert (len(data.train), len(data.test)) == (40, 6)


def test_load_data_takes_idx_labels_from_any_number_on(tmp_path):
    path = write_idx(tmp_path, "train", 30, labels=np.arange(30) % 3 + 1)
    write_idx(tmp_path, "t10k", 3, labels=[3, 1, 2])
    data = load_data(path)
    assert data.classes == ["1", "2", "3"]
    assert data.test.labels.tolist() == [2, 0, 1]


def test_load_data_raises_for_idx_labels_out_of_range(tmp_path):
    write_idx(tmp_path, "train", 30, labels=[0, 1, 2] * 9 + [0, 1, 200])
    with pytest.raises(
        DataError, match=r"The labels of .*images-idx3-ubyte must be all numbers from 0 to 200\. Got no 3\."
    ):
        load_data(tmp_path)
    write_idx(tmp_path, "train", 30)
    write_idx(tmp_path, "t10k", 3, labels=[0, 3, 1])
    with pytest.raises(DataError, match=r"labels of .*t10k-images-idx3-ubyte must be from 0 to 2\. Got 3 at index 1\."):
        load_data(tmp_path)


def test_load_data_raises_for_idx_of_one_class(tmp_path):
    write_idx(tmp_path, "train", 9, labels=[5] * 9)
    write_idx(tmp_path, "t10k", 9, labels=[5] * 9)
    with pytest.raises(DataError, match=r"^classes must be at least 2\. Got \['5'\]\.$"):
        load_data(tmp_path)


def test_load_data_takes_samples_of_idx_files(tmp_path):
    write_idx(tmp_path, "train", 30)
    write_idx(tmp_path, "t10k", 6)
    data = load_data(tmp_path, samples=12)
    assert np.bincount(data.train.labels).tolist() == [4, 4, 4]
    assert len(data.test) == 6
    assert data.normalization == Normalization.from_images(data.train.images, 255.0)


# --- fashion-mnist


@pytest.mark.parametrize("below", [".", "fashion-mnist"])
def test_load_data_reads_fashion_mnist_from_glassnet_data(tmp_path, monkeypatch, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    write_idx(folder, "train", 60, labels=np.arange(60) % 10, packed=True)
    write_idx(folder, "t10k", 20, labels=np.arange(20) % 10)
    monkeypatch.setenv("GLASSNET_DATA", str(tmp_path))
    data = load_data("fashion-mnist")
    assert (len(data.train), len(data.test)) == (60, 20)
    assert data.classes[0] == "T-shirt/top"
    assert data.classes[9] == "Ankle boot"
    assert data.source["source"] == "fashion-mnist"
    write_idx(folder, "train", 60, labels=np.arange(60) % 11, packed=True)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz must be from 0 to 9\. Got 10 at index 10\."):
        load_data("fashion-mnist")


def test_load_data_raises_for_missing_fashion_mnist(tmp_path, monkeypatch):
    monkeypatch.setattr(array_sources, "_DEBIAN_FASHION", tmp_path / "none")
    monkeypatch.delenv("GLASSNET_DATA", raising=False)
    with pytest.raises(
        DataError, match=r"fashion-mnist must be in .*none or GLASSNET_DATA\. Got no IDX files there\. Install Debian's"
    ):
        load_data("fashion-mnist")
    monkeypatch.setenv("GLASSNET_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"fashion-mnist must be in GLASSNET_DATA=.* or .*none\. Got no IDX files"):
        load_data("fashion-mnist")


@pytest.mark.skipif(not array_sources._DEBIAN_FASHION.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_load_data_reads_debians_fashion_mnist(monkeypatch):
    monkeypatch.delenv("GLASSNET_DATA", raising=False)
    data = load_data("fashion-mnist")
    assert data.train.images.shape == (60000, 28, 28, 1)
    assert len(data.test) == 10000
    assert np.bincount(data.train.labels).tolist() == [6000] * 10
    assert data.normalization.mean == pytest.approx((0.2860,), abs=1e-4)  # as published beside the data set
    assert data.normalization.std == pytest.approx((0.3530,), abs=1e-4)


# --- imports


def test_load_data_imports_neither_scikit_learn_nor_pillow_for_digits_and_idx(tmp_path):
    write_idx(tmp_path, "train", 30)
    code = (
        "import sys; from glassnet.data import load_data, Normalization, Augmentation, decode_image; "
        f"load_data('digits', samples=100); load_data({str(tmp_path)!r}).normalization; "
        "print([name for name in ('sklearn', 'scipy', 'PIL') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_load_data_raises_for_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(array_sources, "find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"^digits must be installed, as part of scikit-learn\. Got no scikit-learn here\.$"
    ):
        load_data("digits")
