import gc
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from glassnet.data.files.shared_file import BoundedReader, SharedFile


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1024)
    return tmp_path / "file"


@pytest.mark.parametrize("has_pread", [True, False])
def test_read_at_returns_the_bytes_in_threads(path, monkeypatch, has_pread):
    if not has_pread:
        monkeypatch.delattr(os, "pread", raising=False)
    shared = SharedFile(path.open("rb"))
    places = [(random.Random(seed).randrange(250_000), seed % 900) for seed in range(2000)]
    with ThreadPoolExecutor(8) as executor:
        parts = list(executor.map(lambda place: shared.read_at(*place), places))
    content = path.read_bytes()
    assert parts == [content[offset : offset + size] for offset, size in places]


def test_read_at_returns_fewer_bytes_at_the_end(path):
    assert SharedFile(path.open("rb")).read_at((256 << 10) - 3, 10) == b"\xfd\xfe\xff"


def test_shared_file_closes_the_file_when_unused(path):
    file = path.open("rb")
    shared = SharedFile(file)
    assert not file.closed
    del shared
    gc.collect()
    assert file.closed


def test_bounded_reader_raises_for_a_longer_read(path):
    with path.open("rb") as file:
        reader = BoundedReader(file, 100)
        assert len(reader.read(100)) == 100
        reader.seek((256 << 10) - 100)
        assert len(reader.read()) == 100
        reader.seek(0)
        with pytest.raises(ValueError, match="a header of more than 100 bytes"):
            reader.read(101)
        reader.seek(0)
        with pytest.raises(ValueError, match="more than 100 bytes"):
            reader.read()
