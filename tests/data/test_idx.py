import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.data.idx import find_idx, read_idx, read_idx_pair
from glassnet.errors import DataError


def idx_bytes(array):
    array = np.asarray(array, np.uint8)
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(path, array, packed=False):
    data = idx_bytes(array)
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@settings(max_examples=40, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), packed=st.booleans(), seed=st.integers(0, 99))
def test_read_idx_returns_the_written_array(scratch, shape, packed, seed):
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    read = read_idx(write(scratch, array, packed), len(shape))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8
    assert read.flags.writeable


@pytest.mark.parametrize("packed", [False, True])
def test_read_idx_raises_for_a_file_cut_at_any_byte(tmp_path, packed):
    whole = idx_bytes(np.arange(24).reshape(2, 3, 4))
    whole = gzip.compress(whole) if packed else whole
    path = tmp_path / "cut"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"Damaged gzip data in .*cut: |cut must (hold|have|begin)"):
            read_idx(path, 3)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 60), value=st.integers(0, 255))
def test_read_idx_raises_or_returns_the_same_for_a_wrong_byte_of_gzip(scratch, position, value):
    array = np.random.default_rng(0).integers(0, 256, (2, 3, 4), dtype=np.uint8)
    data = bytearray(gzip.compress(idx_bytes(array), mtime=0))
    data[position % len(data)] = value
    scratch.write_bytes(data)
    try:
        read = read_idx(scratch, 3)
    except DataError as error:
        message = str(error)
        assert "\n" not in message
    else:  # the bytes of gzip's header that mean nothing here, such as the time
        np.testing.assert_array_equal(read, array)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=60))
def test_read_idx_raises_one_line_or_returns_for_any_bytes(scratch, data):
    scratch.write_bytes(data)
    try:
        assert read_idx(scratch, 1).size == len(data) - 8
    except DataError as error:
        message = str(error)
        assert "\n" not in message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must have a header of 16 bytes. Got 0 bytes."),
        (idx_bytes([1, 2]), r"must begin with 0x00000803, as unsigned bytes in 3 dimension\(s\) do\. Got 0x00000801\."),
        (b"\0\0\r\3" + bytes(12), "must begin with 0x00000803, .* Got 0x00000d03."),
        (b"\x89PNG" + bytes(20), "Got 0x89504e47."),
        (idx_bytes(np.zeros((0, 3, 3))), r"must have dimensions of at least 1\. Got \(0, 3, 3\)\."),
        (
            idx_bytes(np.zeros((2, 3, 4)))[:-1],
            r"must hold 24 bytes of data, 2 × 3 × 4, .* Got a file too small",
        ),
        (idx_bytes(np.zeros((2, 3, 4))) + b"x", r"must hold 24 bytes of data, .*\. Got more\."),
        (gzip.compress(idx_bytes(np.zeros((2, 3, 4)))[:-1], mtime=0), "24 bytes of data, .* Got 23."),
        (gzip.compress(idx_bytes(np.zeros((2, 3, 4))) + b"x", mtime=0), "24 bytes of data, .* Got more."),
        (
            gzip.compress(idx_bytes(np.ones((2, 3, 4))), mtime=0)[:-6] + bytes(6),
            r": CRC check fail",
        ),
    ],
)
def test_read_idx_raises_for_wrong_content(tmp_path, data, message):
    path = tmp_path / "images"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"images.*{message}"):
        read_idx(path, 3)


@pytest.mark.parametrize("packed", [False, True])
def test_read_idx_takes_no_memory_for_a_huge_header(tmp_path, packed):
    header = struct.pack(">4I", 0x0803, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    path = tmp_path / "hostile"
    path.write_bytes(gzip.compress(header + bytes(100)) if packed else header + bytes(100))
    tracemalloc.start()
    with pytest.raises(DataError, match="4294967295 × 4294967295 × 4294967295, .* Got a file too small"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_read_idx_raises_for_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="must be a file that can be read. Got: "):
        read_idx(tmp_path / "none", 3)
    with pytest.raises(DataError, match="must be a file that can be read. Got: "):
        read_idx(tmp_path, 3)


IMAGES = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("images", "labels"), [("images-idx3", "labels-idx1"), ("images.idx3", "labels.idx1")])
def test_read_idx_pair_returns_images_and_labels(tmp_path, packed, images, labels):
    path = write(tmp_path / (f"train-{images}-ubyte" + ".gz" * packed), IMAGES, packed)
    write(tmp_path / f"train-{labels}-ubyte", [7, 8])
    read_images, numbers = read_idx_pair(path)
    np.testing.assert_array_equal(read_images, IMAGES[..., np.newaxis])
    assert numbers.tolist() == [7, 8]
    assert numbers.dtype == np.int64


def test_read_idx_pair_raises_for_missing_or_too_many_labels(tmp_path):
    path = write(tmp_path / "train-images-idx3-ubyte", IMAGES)
    with pytest.raises(
        DataError,
        match=r"must have its labels beside it\. Got no .*train-labels-idx1-ubyte\[.gz\]\.",
    ):
        read_idx_pair(path)
    write(tmp_path / "train-labels-idx1-ubyte", [1, 2, 3])
    with pytest.raises(DataError, match="train-labels-idx1-ubyte must hold 2 labels, one for each image. Got 3."):
        read_idx_pair(path)


def test_find_idx_returns_training_and_test_images(tmp_path):
    assert find_idx(tmp_path) is None
    train = write(tmp_path / "train-images-idx3-ubyte.gz", IMAGES, packed=True)
    assert find_idx(tmp_path) == find_idx(train) == (train, None)
    test = write(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    assert find_idx(tmp_path) == find_idx(train) == (train, test)
    assert find_idx(test) == (test, None)
    unpacked = write(tmp_path / "train-images-idx3-ubyte", IMAGES)  # the same once more is no second choice
    assert find_idx(tmp_path)[0] in (train, unpacked)


def test_find_idx_raises_for_no_or_several_training_files(tmp_path):
    write(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    with pytest.raises(DataError, match="must hold one IDX file of training images. Got t10k-images-idx3-ubyte. Give"):
        find_idx(tmp_path)
    for name in ("emnist-letters", "emnist-digits"):
        write(tmp_path / f"{name}-train-images-idx3-ubyte", IMAGES)
    with pytest.raises(DataError, match=r"Got .*emnist-digits-train.*emnist-letters-train.*\. Give the path"):
        find_idx(tmp_path)
    chosen = tmp_path / "emnist-digits-train-images-idx3-ubyte"
    test = write(tmp_path / "emnist-digits-test-images-idx3-ubyte", IMAGES)
    assert find_idx(chosen) == (chosen, test)
    other = tmp_path / "image.png"
    other.touch()
    assert find_idx(other) is None


def test_find_idx_raises_for_a_folder_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"gone must be a folder that can be read\. Got: No such file or directory\.$"):
        find_idx(tmp_path / "gone")
