import numpy as np
import pytest

from glassnet.data.cache.record_file import (
    RecordFile,
    TextFile,
    are_mostly_unused,
    find_keys,
    first_of_each,
)

DTYPE = np.dtype([("key", "u1", (16,)), ("value", "<u4")])


def records_of(*values):
    records = np.zeros(len(values), DTYPE)
    records["value"] = values
    records["key"] = keys_of(*values)
    return records


def keys_of(*values):
    return np.array([[value, *[7] * 15] for value in values], np.uint8).reshape(-1, 16)


@pytest.fixture
def file(tmp_path):
    file = RecordFile(tmp_path / "records", DTYPE)
    file.append(records_of(1, 2, 3))
    return file


def test_record_file_reads_what_was_added(file, tmp_path):
    file.append(records_of(4))
    file.append(records_of())
    records, valid = file.read()
    assert (records["value"].tolist(), valid.tolist(), file.count()) == ([1, 2, 3, 4], [True] * 4, 4)
    assert len(RecordFile(tmp_path / "none", DTYPE).read()[0]) == RecordFile(tmp_path / "none", DTYPE).count() == 0


def test_record_file_finds_every_flipped_bit(file):
    content = file.path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        file.path.write_bytes(damaged)
        expected = [True] * 3
        expected[position // (len(content) // 3)] = False
        assert file.read()[1].tolist() == expected
    file.path.write_bytes(bytes(len(content)))  # as of a block of the disk that was lost
    assert not file.read()[1].any()


def test_record_file_replaces_a_part_of_a_record(file):
    whole = file.path.read_bytes()
    for cut in (1, 5, 23):
        file.path.write_bytes(whole[:-cut])
        assert file.read()[0]["value"].tolist() == [1, 2]
        file.append(records_of(9))
        records, valid = file.read()
        assert (records["value"].tolist(), valid.all()) == ([1, 2, 9], True)


def test_record_file_erases_records(file):
    file.erase(np.array([0, 2]))
    assert file.read()[1].tolist() == [False, True, False]


def test_find_keys_finds_the_last_valid_record():
    stored = keys_of(5, 3, 5, 4, 3)
    assert find_keys(stored, np.ones(5, bool), keys_of(3, 4, 5, 6)).tolist() == [4, 3, 2, -1]
    assert find_keys(stored, np.array([1, 1, 0, 0, 0], bool), keys_of(3, 4, 5)).tolist() == [1, -1, 0]
    assert find_keys(stored, np.zeros(5, bool), keys_of(3)).tolist() == [-1]
    other = keys_of(3)
    other[0, 15] = 8  # equal in the half that is sorted by
    assert find_keys(stored, np.ones(5, bool), other).tolist() == [-1]


def test_first_of_each_leaves_out_equal_keys():
    assert first_of_each(keys_of(5, 3, 5, 4, 3)).tolist() == [0, 1, 3]
    assert first_of_each(keys_of(5)).tolist() == [0]


def test_are_mostly_unused_keeps_few_records():
    assert not are_mostly_unused(10_000, 0)
    assert are_mostly_unused(30_001, 10_000)


def test_text_file_reads_undamaged_lines(tmp_path):
    texts = TextFile(tmp_path / "texts")
    assert texts.read() == {}
    texts.append({})
    assert not texts.path.exists()
    first, second = bytes(16), bytes(range(16))
    texts.append({first: "empty\nfile é \udc80"})
    content = texts.path.read_bytes()
    texts.path.write_bytes(content + content[:20])  # of a process that was killed
    texts.append({second: "no image"})
    assert texts.read() == {first: "empty\nfile é \udc80", second: "no image"}
    texts.path.write_bytes(texts.path.read_bytes().replace(b"no image", b"no imagE"))
    assert texts.read() == {first: "empty\nfile é \udc80"}
