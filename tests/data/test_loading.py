import os
import sys
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image

from glassnet.data import decode_image, load_data
from glassnet.errors import ConfigError, DataError


def fill(folder, count=8, value=0, size=(6, 6), mode="RGB", suffix="png"):
    """A class folder of flat images whose red (or gray) is value, value + 1, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        shade = value + index
        colour = shade if mode == "L" else (shade, 0, 0)
        Image.new(mode, (size[1], size[0]), colour).save(folder / f"{index:03}.{suffix}")
    return folder


@pytest.fixture
def animals(tmp_path):
    for label, name in enumerate(("dog", "cat", "bird")):
        fill(tmp_path / name, value=10 * label)
    return tmp_path


@pytest.fixture
def split_animals(tmp_path):
    for label, name in enumerate(("dog", "cat")):
        fill(tmp_path / "train" / name, value=10 * label)
        fill(tmp_path / "test" / name, count=3, value=100 + 10 * label)
    return tmp_path


def reds(split):
    return split.images[:, 0, 0, 0].tolist()


def test_load_data_reads_one_folder_for_each_class(animals):
    data = load_data(animals)
    assert data.classes == ["bird", "cat", "dog"]  # by name, whatever order they were made in
    assert len(data.train) + len(data.test) == 24
    assert (data.image_size, data.channels, data.scale) == ((6, 6), 3, 255.0)
    first = {"bird": 20, "cat": 10, "dog": 0}
    for split in (data.train, data.test):
        for red, label in zip(reds(split), split.labels, strict=True):
            assert 0 <= red - first[data.classes[label]] < 8
    assert sorted(reds(data.train) + reds(data.test)) == [*range(8), *range(10, 18), *range(20, 28)]


def test_load_data_reads_train_and_test(split_animals):
    data = load_data(split_animals)
    assert data.classes == ["cat", "dog"]
    assert reds(data.train) == [*range(10, 18), *range(8)]
    assert reds(data.test) == [110, 111, 112, 100, 101, 102]
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_load_data_holds_out_a_test_split_of_train_alone(split_animals):
    for path in sorted((split_animals / "test").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (split_animals / "test").rmdir()
    data = load_data(split_animals)
    assert sorted(reds(data.train) + reds(data.test)) == [*range(8), *range(10, 18)]
    assert 0 < len(data.test) < 16


def test_load_data_makes_all_images_test_images_with_test_size_1(animals):
    (animals / "cat/000.png").write_bytes(b"hello")
    data = load_data(animals, test_size=1, max_unreadable=0.1)
    assert sorted(reds(data.test)) == [*range(8), *range(11, 18), *range(20, 28)]
    assert data.train.images is data.test.images
    assert data.unreadable_files == ["cat/000.png: not an image"]
    assert load_data(**data.source).fingerprint == data.fingerprint


def test_load_data_keeps_train_and_test_with_test_size_1(split_animals):
    assert load_data(split_animals, test_size=1).fingerprint == load_data(split_animals).fingerprint


def test_load_data_reads_test_alone_only_with_test_size_1(split_animals):
    (split_animals / "train").rename(split_animals.parent / f"{split_animals.name}-train")
    assert reds(load_data(split_animals, test_size=1).test) == [110, 111, 112, 100, 101, 102]
    with pytest.raises(DataError, match="must have train beside test. Got images to evaluate only."):
        load_data(split_animals)


def test_load_data_takes_train_as_a_class_if_it_has_no_folders(tmp_path):
    for name in ("train", "test", "plane"):
        fill(tmp_path / name)
    assert load_data(tmp_path).classes == ["plane", "test", "train"]


def test_load_data_splits_by_the_seed(animals):
    same, again, other = load_data(animals, seed=1), load_data(animals, seed=1), load_data(animals, seed=2)
    assert same.fingerprint == again.fingerprint != other.fingerprint
    half, quarter = (load_data(animals, test_size=size).test for size in (0.5, 0.25))
    assert {*map(bytes, quarter.hashes)} < {*map(bytes, half.hashes)}


def test_load_data_loads_the_same_from_its_source(animals, monkeypatch):
    monkeypatch.chdir(animals.parent)
    data = load_data(animals.name, samples=9, seed=3, test_size=0.3)
    monkeypatch.chdir("/")
    assert load_data(**data.source).fingerprint == data.fingerprint


def test_load_data_takes_samples_of_the_training_images(split_animals):
    data = load_data(split_animals / "train", samples=4)
    assert np.bincount(data.train.labels).tolist() == [2, 2]
    assert len(data.test) == 4
    data = load_data(split_animals, samples=6)
    assert np.bincount(data.train.labels).tolist() == [3, 3]
    assert len(data.test) == 6
    data = load_data(split_animals, samples=6, test_samples=2)
    assert (len(data.train), np.bincount(data.test.labels).tolist()) == (6, [1, 1])
    data = load_data(split_animals, samples=2)
    assert (len(data.train), len(data.test)) == (2, 2)
    with pytest.raises(ConfigError, match="samples must be from 2, .* Got 17."):
        load_data(split_animals, samples=17)


@pytest.mark.parametrize(("test_samples", "is_same"), [(None, True), (5, False), ("all", False)])
def test_load_data_caps_images_that_are_all_test_images(animals, test_samples, is_same):
    data = load_data(animals, samples=8, test_samples=test_samples, test_size=1)
    assert len(data.test) == {None: 8, 5: 5, "all": 24}[test_samples]
    assert (data.train.images is data.test.images) == is_same


def test_load_data_ignores_hidden_and_system_files(animals):
    visible = load_data(animals).fingerprint
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "cat/desktop.ini", "README.md"):
        (animals / name).write_bytes(b"no image")
    for name in (".git", "__MACOSX", "cat/.thumbnails"):
        (animals / name).mkdir()
    assert load_data(animals).fingerprint == visible


@pytest.mark.parametrize("names", [["été", "zèbre", "猫"], ["a b", "A", "ünder"]])
def test_load_data_composes_the_unicode_of_class_names(tmp_path, names):
    for name in names:
        fill(tmp_path / unicodedata.normalize("NFD", name))
    assert load_data(tmp_path).classes == sorted(names)


@pytest.mark.skipif(sys.platform == "win32", reason="making symbolic links takes a privilege on Windows")
def test_load_data_follows_symbolic_links(animals, tmp_path_factory):
    linked = tmp_path_factory.mktemp("linked")
    (linked / "bird").symlink_to(animals / "bird")
    fill(linked / "cat", value=10)
    (linked / "cat" / "000.png").unlink()
    (linked / "cat" / "000.png").symlink_to(animals / "cat" / "000.png")
    fill(linked / "dog")
    assert load_data(linked).fingerprint == load_data(animals).fingerprint
    (linked / "cat" / "gone.png").symlink_to(linked / "nothing")
    assert load_data(linked, max_unreadable=0.1).unreadable_files == ["cat/gone.png: no such file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_load_data_lists_a_named_pipe_as_unreadable(animals):
    os.mkfifo(animals / "cat" / "pipe.png")
    assert load_data(animals, max_unreadable=0.1).unreadable_files == ["cat/pipe.png: not a file"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file systems there allow Unicode names only")
def test_load_data_replaces_or_refuses_names_that_are_not_unicode(animals):
    os.close(os.open(os.fsencode(animals / "cat") + b"/\xff.png", os.O_CREAT))
    assert load_data(animals, max_unreadable=0.1).unreadable_files == ["cat/?.png: empty file"]
    os.mkdir(os.fsencode(animals) + b"/\xff")  # noqa: PTH102
    os.close(os.open(os.fsencode(animals) + b"/\xff/a.png", os.O_CREAT))
    with pytest.raises(DataError, match=r"The name of a class folder must be valid UTF-8\. Got '.*udcff'\."):
        load_data(animals)


# --- channels and size


def test_load_data_has_one_channel_if_all_images_are_gray(tmp_path):
    fill(tmp_path / "a", mode="L")
    fill(tmp_path / "b", mode="L", value=100)
    data = load_data(tmp_path)
    assert data.channels == 1
    assert data.train.images.shape[1:] == (6, 6, 1)
    Image.new("RGB", (6, 6), "red").save(tmp_path / "b" / "z.png")
    for options in ({}, {"image_size": 6}):
        data = load_data(tmp_path, **options)
        assert data.channels == 3
        assert len(data.normalization.mean) == 3


@pytest.mark.parametrize("options", [{}, {"image_size": 6}])
def test_load_data_converts_images_to_the_requested_channels(animals, options):
    for folder in animals.iterdir():
        fill(folder, mode="L", count=4)
    for channels in (1, 3):
        data = load_data(animals, channels=channels, **options)
        assert data.channels == channels
        assert load_data(**data.source).fingerprint == data.fingerprint
    with pytest.raises(ConfigError, match="channels must be one of 1, 3. Got 2."):
        load_data(animals, channels=2, **options)


def test_load_data_resizes_images_to_the_requested_size(animals):
    fill(animals / "cat", size=(9, 30))
    for image_size, expected in ((4, (4, 4)), ((5, 3), (5, 3)), ([5, 3], (5, 3))):
        assert load_data(animals, image_size=image_size).image_size == expected


def test_load_data_decodes_as_decode_image_does(tmp_path):
    generator = np.random.default_rng(0)
    for name in "ab":
        fill(tmp_path / "train" / name)
        (tmp_path / "test" / name).mkdir(parents=True)
        pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "test" / name / "a.jpg")
    data = load_data(tmp_path, image_size=8)
    path = tmp_path / "test" / "a" / "a.jpg"
    np.testing.assert_array_equal(decode_image(path, (8, 8), 3), data.test.images[0])


def test_load_data_raises_for_images_of_different_sizes(animals):
    Image.new("RGB", (9, 5)).save(animals / "dog" / "large.png")
    with pytest.raises(ConfigError, match=r"the same size\. Got .*png of 6×6 and .*large.png of 5×9\. Set image_size "):
        load_data(animals)


def test_load_data_keeps_the_size_of_equal_images(tmp_path):
    fill(tmp_path / "a", size=(5, 7))
    fill(tmp_path / "b", size=(5, 7))
    assert load_data(tmp_path).image_size == (5, 7)


def test_load_data_raises_for_large_images_without_a_size(tmp_path):
    fill(tmp_path / "a", size=(257, 10))
    fill(tmp_path / "b", size=(257, 10), value=100)
    with pytest.raises(ConfigError, match=r"at most 256 pixels high and wide\. Got .*00.\.png of 257×10\. Set"):
        load_data(tmp_path, test_size=0.5)
    assert load_data(tmp_path, test_size=0.5, image_size=16).image_size == (16, 16)


def test_load_data_reads_drawn_digits_in_their_own_form(tmp_path):
    for name, low in (("3", 0), ("8", 100)):
        (tmp_path / name).mkdir()
        for number in range(8):
            paper = np.full((30, 20, 3), (250, 240, 255), np.uint8)
            paper[5 + number : 25, 8:12] = low
            Image.fromarray(paper).save(tmp_path / name / f"{number}.png")
            Image.fromarray(paper[..., 0].astype(np.uint16) * 20).save(tmp_path / name / f"{number}.tif")
    data = load_data(tmp_path, ink=True)
    assert (data.image_size, data.channels) == ((8, 8), 1)
    assert data.source["value_range"] is None
    assert not data.notes


# --- unreadable images


def test_load_data_lists_unreadable_files(split_animals):
    (split_animals / "train/cat/003.png").write_bytes(b"hello")
    whole = (split_animals / "test/dog/001.png").read_bytes()
    (split_animals / "test/dog/001.png").write_bytes(whole[: len(whole) // 2])
    data = load_data(split_animals, max_unreadable=0.1)
    assert data.unreadable_files[0].startswith("test/dog/001.png: ")
    assert data.unreadable_files[1] == "train/cat/003.png: not an image"
    assert len(data.unreadable_files) == 2
    assert reds(data.train) == [10, 11, 12, 14, 15, 16, 17, *range(8)]
    assert data.train.labels.tolist() == [0] * 7 + [1] * 8
    assert reds(data.test) == [110, 111, 112, 100, 102]
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1]


def test_load_data_raises_for_too_many_unreadable_images(split_animals):
    for number in range(3):
        (split_animals / f"train/cat/00{number}.png").write_bytes(b"hello")
    assert len(load_data(split_animals).unreadable_files) == 3  # however few images there are
    (split_animals / "test/cat/000.png").write_bytes(b"hello")
    message = (
        r"must have at most 3 unreadable images \(1\.00% or 3 of 22\)\. Got 4: test/cat/000\.png: not an image; "
        r"train/cat/000\.png: not an image; train/cat/001\.png: not an image; \.\.\.\. "
        r"Remove them or raise max_unreadable \(--max-unreadable\)\.$"
    )
    with pytest.raises(DataError, match=message):
        load_data(split_animals)
    assert len(load_data(split_animals, max_unreadable=4 / 22).unreadable_files) == 4  # the fraction itself is allowed
    with pytest.raises(DataError, match=r"at most 0 unreadable images \(0\.00% of 22\)\. Got 4: "):
        load_data(split_animals, max_unreadable=0)


def test_load_data_allows_no_unreadable_image_with_max_unreadable_0(split_animals):
    (split_animals / "train/cat/003.png").write_bytes(b"hello")
    with pytest.raises(DataError, match="Got 1: train"):
        load_data(split_animals, max_unreadable=0)


def test_load_data_counts_images_that_cannot_be_decoded(split_animals):
    generator = np.random.default_rng(0)
    for number in range(4):
        path = split_animals / f"train/cat/00{number}.png"
        Image.fromarray(generator.integers(0, 256, (6, 6, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:80])  # the header is whole
    with pytest.raises(DataError, match="Got 4: "):
        load_data(split_animals)


def test_load_data_raises_for_a_split_of_images_that_cannot_be_decoded(split_animals):
    for path in split_animals.glob("test/*/*.png"):
        noise = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(
        DataError, match=r"^Each split of .* must have an image that can be read\. Got a split of none\.$"
    ):
        load_data(split_animals, max_unreadable=1)


def test_load_data_raises_for_a_class_of_unreadable_images(split_animals):
    for path in (split_animals / "train/cat").iterdir():
        path.write_bytes(b"hello")
    with pytest.raises(DataError, match=r"^Class 'cat' must have a readable training image\. Got none\.$"):
        load_data(split_animals, max_unreadable=1)


def test_load_data_raises_if_no_image_is_readable(animals):
    for path in animals.rglob("*.png"):
        path.write_bytes(b"hello")
    with pytest.raises(DataError, match="must have an image that can be read. Got none among 24 files."):
        load_data(animals, max_unreadable=1)


def test_load_data_lists_an_image_that_declares_to_be_huge(animals):
    whole = bytearray((animals / "cat" / "000.png").read_bytes())
    whole[16:24] = (100_000).to_bytes(4, "big") * 2
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    (animals / "cat" / "000.png").write_bytes(whole)
    (line,) = load_data(animals, max_unreadable=0.1).unreadable_files
    assert line.startswith("cat/000.png: more pixels than max_pixels (--max-pixels) allows")


# --- folders that cannot be used


def test_load_data_raises_for_an_empty_class_folder(animals):
    (animals / "fish").mkdir()
    with pytest.raises(DataError, match="fish must hold images, as a class folder. Got none. Add some or remove it."):
        load_data(animals)


def test_load_data_raises_for_different_classes_in_train_and_test(split_animals):
    (split_animals / "test" / "dog").rename(split_animals / "test" / "fox")
    with pytest.raises(DataError, match=r"^Class 'fox' must have a training image\. Got none in .*\.$"):
        load_data(split_animals)


def test_load_data_joins_two_spellings_of_one_class(tmp_path):
    for value, form in enumerate(("NFC", "NFD")):
        fill(tmp_path / unicodedata.normalize(form, "é"), value=10 * value)
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes both spellings for one")
    fill(tmp_path / "a", value=100)
    data = load_data(tmp_path, test_size=1)
    assert data.classes == ["a", "é"]
    assert np.bincount(data.test.labels).tolist() == [8, 16]
