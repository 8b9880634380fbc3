import json
import pickle
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

import glassnet as gn
from glassnet.errors import DataError
from glassnet.nn.kernels import layout
from glassnet.progress import Progress, show_progress
from glassnet.weights import load_tensors, load_weights, save_tensors

Array = NDArray[Any]
RNG = np.random.default_rng(0)
CUBE = RNG.standard_normal((3, 4, 5))
IMAGES = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
ARRAYS: dict[str, Array] = {
    "contiguous": CUBE,
    "channels-last": layout.channels_last(IMAGES),
    "fortran": np.asfortranarray(CUBE),
    "transposed": CUBE.T,
    "sliced": CUBE[:, ::2, 1:],
    "reversed": CUBE[::-1],
    "broadcast": np.broadcast_to(np.float32(3), (2, 3)),
    "scalar": np.array(3.5, np.float32),
    "counter": np.array(7, np.int64),
    "integers": np.arange(6, dtype=np.int64).reshape(2, 3),
    "bytes": np.arange(4, dtype=np.uint8),
    "empty": np.zeros((0, 3)),
    "not numbers": np.array([np.nan, np.inf, -0.0]),
}


def assert_same(read: Array, written: Array) -> None:
    assert read.dtype == written.dtype
    assert read.shape == written.shape
    assert read.tobytes() == np.array(written, order="C").tobytes()


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_load_tensors_returns_the_saved_array(array: Array, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": array})
    tensors, about = load_tensors(path)
    assert_same(tensors["x"], array)
    assert about == {}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    order=st.permutations(range(4)),
    steps=st.lists(st.sampled_from([-2, -1, 1, 2]), min_size=4, max_size=4),
    dtype=st.sampled_from(["float32", "float64", "int64"]),
)
def test_load_tensors_returns_the_saved_array_in_any_memory_order(
    shape: list[int], order: list[int], steps: list[int], dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    array = array.transpose([axis for axis in order if axis < array.ndim])
    array = array[tuple(slice(None, None, step) for step in steps[: array.ndim])]
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save_tensors(path, {"x": array})
    assert_same(load_tensors(path)[0]["x"], array)


def test_save_tensors_writes_what_torch_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"weight": ARRAYS["channels-last"], "count": ARRAYS["counter"]})
    read = safetensors.torch.load_file(path)
    assert torch.equal(read["weight"], torch.from_numpy(IMAGES))
    assert read["count"].shape == ()


def test_load_weights_returns_the_saved_network(tmp_path: Path) -> None:
    first, second = gn.build("tiny-bn", seed=1), gn.build("tiny-bn", seed=2)
    save_tensors(tmp_path / "w.safetensors", first.state_dict())
    second.load_state_dict(load_weights(tmp_path / "w.safetensors"))
    for key, array in first.state_dict().items():
        assert_same(second.state_dict()[key], array)


def test_save_tensors_writes_equal_bytes_for_equal_content(tmp_path: Path) -> None:
    about = {"format": 1, "epoch": 3, "best_epoch": None, "a": [1, 2], "b": {"d": 1, "c": 2}}
    for number, (array, told) in enumerate(
        [(IMAGES, about), (ARRAYS["channels-last"], dict(reversed(about.items()))), (IMAGES.copy(), about)]
    ):
        save_tensors(tmp_path / str(number), {"x": array, "y": CUBE}, told)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(3)}) == 1
    assert load_tensors(tmp_path / "1")[1] == about


def test_save_tensors_leaves_its_arguments_unchanged(tmp_path: Path) -> None:
    array = ARRAYS["channels-last"].copy(order="K")
    save_tensors(tmp_path / "x", {"x": array})
    assert layout.is_channels_last(array)
    np.testing.assert_array_equal(array, IMAGES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "whole.safetensors"
    save_tensors(path, {"conv1.weight": IMAGES, "fc.bias": np.ones(3)}, {"format": 1})
    return path.read_bytes()


def test_load_tensors_raises_for_a_file_cut_at_any_length(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "torn.safetensors"
    for length in [*range(0, len(whole), 3), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=re.escape(f"{path} must be a whole safetensors file. Got: ")) as caught:
            load_tensors(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    assert list(load_tensors(path)[0]) == ["conv1.weight", "fc.bias"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_load_tensors_raises_or_returns_for_any_wrong_byte(
    place: int, value: int, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    changed = bytearray(whole)
    changed[place % 250 % len(whole)] = value  # the header, where a byte means something
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(changed)
    with suppress(DataError):
        load_tensors(path)


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage that is no header",
        b"PK\x03\x04" + bytes(100),  # torch.save's
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{}",
        header(x={"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}),
        header(x={"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}) + bytes(4),
        header(x={"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}) + bytes(4),
        header(__metadata__={"glassnet": "{not json"}),
        header(__metadata__={"glassnet": "[" * 100_000}),
        np.random.default_rng(0).bytes(500),
    ],
    ids=[
        *("empty", "garbage", "zip", "absurd header", "huge header", "huge tensor", "wrong size", "unknown type"),
        *("broken metadata", "deep metadata", "random"),
    ],
)
def test_load_tensors_raises_for_other_content(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path} must be a whole safetensors file. Got: ")) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


def test_load_weights_raises_for_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(DataError, match=re.escape(f"{path} must be an existing file. Got nothing there.")):
            load_tensors(path)


def test_load_weights_raises_for_another_suffix(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    path.touch()
    told = f"A weights file must end in .safetensors, .pth, .pt, .th, .ckpt, .bin, .tar. Got {path}."
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        load_weights(path)


def test_save_tensors_raises_for_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_tensors(tmp_path / "none" / "x.safetensors", {})


def test_load_weights_renames_keys_of_other_projects(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    foreign = ["module.conv1.weight", "module.linear.weight", "linear.bias", "layer1.0.linear.weight", "fc2.bias"]
    foreign += ["_orig_mod.bn1.bias", "layer2.0.shortcut.0.weight", "layer3.module.weight"]
    save_file({key: np.full(1, number, np.float32) for number, key in enumerate(foreign)}, path)
    read = load_weights(str(path))
    ours = ["conv1.weight", "fc.weight", "fc.bias", "layer1.0.linear.weight", "fc2.bias"]
    ours += ["bn1.bias", "layer2.0.downsample.0.weight", "layer3.module.weight"]
    assert {key: int(array[0]) for key, array in read.items()} == {key: number for number, key in enumerate(ours)}


def test_load_weights_logs_what_it_leaves_out(tmp_path: Path) -> None:
    path, lines = tmp_path / "lightning.safetensors", []
    keys = ["net.layer1.0.conv1.weight", "net.fc.bias", "criterion.weight", "accuracy.tp"]
    save_file({key: np.ones(1, np.float32) for key in keys}, path)

    class Log(Progress):
        def log(self, line: str) -> None:
            lines.append(line)

    with show_progress(Log()):
        assert sorted(load_weights(path)) == ["fc.bias", "layer1.0.conv1.weight"]
    expected = f"{path}: 2 of 4 tensors are beside the network and left out: accuracy.tp, criterion.weight"
    assert lines == [expected]


def test_load_weights_cuts_names_of_any_length(tmp_path: Path) -> None:
    path, name = tmp_path / "hostile.safetensors", "a\n" * 5000
    for state in ({name: np.array([np.nan])}, {name: np.ones(1), f"module.{name}": np.ones(1)}):
        save_file(state, path)
        with pytest.raises(DataError) as caught:
            load_weights(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600 + len(str(path))


@pytest.mark.parametrize("key", ["linear.weight", "module.fc.weight", "_orig_mod.linear.weight"])
def test_load_weights_raises_for_two_tensors_of_one_name(key: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.ones(1), key: torch.zeros(1)}, path)
    told = f"{path} must hold one tensor for fc.weight. Got fc.weight and {key}."
    with pytest.raises(DataError, match=re.escape(told)):
        load_weights(path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th"])
def test_load_weights_reads_pytorch_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    tensors = {"conv1.weight": torch.from_numpy(IMAGES), "bn1.num_batches_tracked": torch.tensor(3)}
    tensors["fc.bias"] = torch.ones(2, dtype=torch.bfloat16) / 3
    for saved in (tensors, {"state_dict": tensors, "epoch": 3}):
        torch.save(saved, path)
        read = load_weights(path)
        assert list(read) == list(tensors)
        assert_same(read["conv1.weight"], IMAGES)
        assert_same(read["bn1.num_batches_tracked"], np.array(3))
        np.testing.assert_array_equal(read["fc.bias"], tensors["fc.bias"].float().numpy())


def test_load_weights_raises_for_other_content_of_a_pytorch_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.ones(3)}, path)
    whole = path.read_bytes()
    for content in (b"", b"garbage", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(str(path))) as caught:
            load_weights(path)
        assert "\n" not in str(caught.value)
    for other in ([torch.ones(1)], {"conv1.weight": 3}, {1: torch.ones(1)}, torch.ones(1)):
        torch.save(other, path)
        with pytest.raises(
            DataError, match=re.escape(f"{path} must hold a state dict, from names to tensors. Got something else.")
        ):
            load_weights(path)


@pytest.mark.parametrize(
    "content",
    [
        b"hello",  # KeyError
        pickle.PROTO + b"\x02}}K\x01s.",  # TypeError: a dict as a key
        b"",  # EOFError
    ],
    ids=["text", "unhashable", "empty"],
)
def test_load_weights_raises_for_a_damaged_pickle(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    told = f"{path} must be a whole PyTorch file. Got content that torch.save does not write."
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        load_weights(path)


@pytest.mark.parametrize("error", [TypeError, AttributeError, KeyError, AssertionError])
def test_load_weights_raises_for_any_error_of_the_unpickler(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pth"
    path.touch()

    def load(*_: Any, **__: Any) -> None:
        raise error("of the unpickler")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(DataError, match="Got content that torch.save does not write"):
        load_weights(path)


class Evil:
    """What a pickle may ask for: it would run a program."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('the pickle ran')",)


def test_load_weights_runs_no_code_of_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"conv1.weight": Evil()}, path)
    with pytest.raises(
        DataError, match=re.escape(f"{path} must hold tensors only. Got a pickle that could run code (exec).")
    ):
        load_weights(path)


def test_load_tensors_ignores_the_metadata_of_other_projects(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"x": np.ones(1)}, path, {"format": "pt"})
    assert load_tensors(path)[1] == {}


HALVES = torch.tensor([1.0, -0.15625, 3.0e38, 2.0**-126, 0.0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_load_weights_widens_floats_of_16_bits(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    short = (HALVES if dtype == torch.bfloat16 else HALVES.clamp(max=6e4)).to(dtype).reshape(1, 5)
    state = {"fc.weight": short, "fc.bias": torch.ones(2), "bn1.num_batches_tracked": torch.tensor(3)}
    (safetensors.torch.save_file if suffix == "safetensors" else torch.save)(state, path)
    loaded = load_weights(path)
    assert list(loaded) == sorted(state) if suffix == "safetensors" else list(state)
    assert_same(loaded["fc.weight"], short.float().numpy())
    assert_same(loaded["bn1.num_batches_tracked"], np.array(3))


def test_load_weights_raises_for_floats_of_8_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"conv1.weight": torch.ones(2).to(torch.float8_e4m3fn), "fc.bias": torch.ones(1)}, path)
    told = f"{path} must hold tensors of F64, F32, F16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL or BF16. "
    with pytest.raises(DataError, match=re.escape(told)):
        load_weights(path)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_load_weights_raises_for_numbers_that_are_not_finite(tmp_path: Path, suffix: str, value: float) -> None:
    path = tmp_path / f"weights.{suffix}"
    state = {"conv1.weight": torch.ones(3), "fc.weight": torch.tensor([[1.0, value], [value, 2.0]])}
    (safetensors.torch.save_file if suffix == "safetensors" else torch.save)(state, path)
    told = f"fc.weight in {path} must be finite. Got {value}, 2 of 4 numbers."
    with pytest.raises(DataError, match=re.escape(told)):
        load_weights(path)


@pytest.mark.parametrize("value", [1j, complex(1, np.nan)])
def test_load_weights_raises_for_complex_numbers(tmp_path: Path, value: complex) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.ones(3), "fc.bias": torch.full((2,), value)}, path)
    with pytest.raises(DataError, match=re.escape(f"{path} must hold real numbers. Got fc.bias of complex64.")):
        load_weights(path)


def test_load_weights_raises_for_a_variance_below_zero(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {"bn1.running_mean": np.full(2, -1.0), "bn1.running_var": np.array([0.0, -0.0, -2.0])})
    told = f"bn1.running_var in {path} must be at least 0, as a variance is. Got -2.0, 1 of 3 numbers."
    with pytest.raises(DataError, match=re.escape(told)):
        load_weights(path)
