"""Arrays in files of others: every format, memory order and type, and files that would do harm."""

import io
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from glassnet.errors import DataError
from glassnet.verify.golden.array_files import list_arrays

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4))


def npy(array: NDArray[Any], allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def header(shape: str, descr: str = "<f8", data: bytes = b"") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def write(path: Path, name: str, content: bytes) -> Path:
    """Write a .npy file into a folder, or into an archive if the path is that of one."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}.npy", content)
    else:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / f"{name}.npy").write_bytes(content)
    return path


@pytest.fixture(params=["folder", "archive.npz"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of .npy files, or an archive, in which nothing is."""
    path = tmp_path / str(request.param)
    if path.suffix != ".npz":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    "array",
    [
        X,
        X.astype(np.float32),
        X.astype(np.float16),
        X.astype(">f8"),
        np.asfortranarray(X),
        X[:, ::2],
        np.array(3.5),
        np.zeros((0, 3)),
        np.arange(6).astype(">i4"),
        np.array([True, False]),
        X.astype(np.longdouble),
    ],
    ids=lambda array: f"{array.dtype.str} {array.shape}",
)
def test_list_arrays_reads_every_type_and_memory_order(place: Path, array: NDArray[Any]) -> None:
    stored = list_arrays(write(place, "train/activations/a.b", npy(array)))["train/activations/a.b"]()
    assert stored.shape == array.shape
    assert stored.dtype == array.dtype.newbyteorder("=").name
    loaded = stored.load()
    assert loaded.dtype.isnative
    np.testing.assert_array_equal(loaded, array)


def test_list_arrays_reads_bfloat16_as_ml_dtypes_stores_it(place: Path) -> None:
    upper_halves = (X.astype("<f4").view("<u4") >> 16).astype("<u2")
    stored = list_arrays(write(place, "a", npy(upper_halves.view("V2"))))["a"]()
    assert stored.dtype == "bfloat16"
    np.testing.assert_allclose(stored.load(), X, rtol=2**-7)


def test_list_arrays_reads_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"train/loss": np.array(2.5), "b": X.astype(np.float16)}, path)
    found = list_arrays(path)
    assert {name: (read().shape, read().dtype) for name, read in found.items()} == {
        "train/loss": ((), "float64"),
        "b": ((2, 3, 4), "float16"),
    }
    assert found["train/loss"]().load() == 2.5


def test_list_arrays_reads_bfloat16_of_safetensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    save_torch({"a": torch.from_numpy(X).bfloat16()}, tmp_path / "a.safetensors")
    stored = list_arrays(tmp_path / "a.safetensors")["a"]()
    assert (stored.dtype, stored.load().dtype) == ("bfloat16", np.float32)
    np.testing.assert_allclose(stored.load(), X, rtol=2**-7)


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x09\x00" + bytes(100),
        npy(X)[:-1],
        npy(X) + b"more",
        header("(2, 16, 8, 8)"),
        header("(1000000000000,)"),
        header("(-1,)", data=b"12345678"),
        header("(-1, -1)", data=b"12345678"),
        header("(2, 16, 8"),
        header("(" * 3000),
        header("(2,)", descr="|O", data=bytes(16)),
        header("(2,)", descr="no type"),
        header("(2,)", descr="<U2", data=bytes(16)),
        header("(2,)", descr="<c8", data=bytes(16)),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 100,
        npy(np.array([Bomb()], object), allow_pickle=True),
        npy(np.zeros(2, [("a", "f4"), ("b", "f4")])),
    ],
)
def test_list_arrays_raises_for_a_file_that_is_no_array_of_numbers(
    place: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    read = list_arrays(write(place, "bad", content))["bad"]
    with pytest.raises(DataError, match=r"bad\.npy.* must be a whole \.npy file of numbers\. Got: .*\.$") as raised:
        read()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300 + len(str(tmp_path))
    assert not Path("exploded").exists()


def test_list_arrays_unpacks_no_numbers_before_they_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = 0

    def counted(self: zipfile.ZipExtFile, *size: int) -> bytes:
        nonlocal unpacked
        content = read(self, *size)
        unpacked += len(content)
        return content

    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    path = write(tmp_path / "bomb.npz", "a", npy(np.zeros(1_000_000)))
    assert path.stat().st_size < 100_000
    stored = list_arrays(path)["a"]()
    assert stored.shape == (1_000_000,)
    assert unpacked < 1000
    assert stored.load().size == 1_000_000
    assert unpacked > 8_000_000


def test_list_arrays_raises_for_an_archive_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", "a", npy(np.zeros(1000)))
    content = bytearray(path.read_bytes())
    size = len(npy(np.zeros(1000))).to_bytes(4, "little")
    told = len(npy(np.zeros(500))).to_bytes(4, "little")
    path.write_bytes(bytes(content).replace(size, told))
    with pytest.raises(DataError, match=r"a\.npy in .* must be a whole \.npy file"):
        list_arrays(path)["a"]().load()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.npz", b"", "must be a whole .npz file. Got: "),
        ("a.npz", b"PK\x05\x06", "must be a whole .npz file. Got: "),
        ("a.safetensors", b"\xff" * 20, "must be a whole safetensors file. Got: "),
        ("a.safetensors", (10**9).to_bytes(8, "little") + b"{}", "must be a whole safetensors file. Got: "),
        ("a.pt", b"pickle", "A dump must be a folder of .npy files, or end in .npz or .safetensors. Got "),
        ("a.npy", npy(X), "A dump must be a folder of .npy files, or end in .npz or .safetensors. Got "),
    ],
)
def test_list_arrays_raises_for_other_files(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(told)) as raised:
        list_arrays(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_list_arrays_raises_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A dump must be a folder, an \.npz or a \.safetensors file\. Got .*nowhere"):
        list_arrays(tmp_path / "nowhere")


def test_list_arrays_raises_for_an_array_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", "a", npy(X))
    with pytest.warns(UserWarning, match="Duplicate"):
        write(path, "a", npy(X))
    with pytest.raises(DataError, match=r"must hold each array once\. Got a twice\."):
        list_arrays(path)


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("links need a privilege here")


def test_list_arrays_follows_links_to_files_inside_alone(tmp_path: Path) -> None:
    folder = write(tmp_path / "dump", "a", npy(X))
    link(folder / "b.npy", folder / "a.npy")
    assert set(list_arrays(folder)) == {"a", "b"}
    (tmp_path / "secret.npy").write_bytes(npy(X))
    link(folder / "c.npy", tmp_path / "secret.npy")
    with pytest.raises(DataError, match=r"c\.npy must be a file in "):
        list_arrays(folder)


@pytest.mark.parametrize("target", [".", "..", "c.npy"])
def test_list_arrays_raises_for_links_in_a_circle(tmp_path: Path, target: str) -> None:
    folder = write(tmp_path / "dump", "a", npy(X))
    link(folder / "c.npy", Path(target))
    with pytest.raises(DataError, match=r"c\.npy"):
        list_arrays(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on POSIX systems alone")
def test_list_arrays_raises_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"a\.npy must be a file in "):
        list_arrays(tmp_path)
