"""Dumps under the names of a bundle: what of them is read, and what is said of the rest."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassnet.errors import DataError
from glassnet.verify.golden.dump import MAX_SUGGESTIONS, Dump, Expected

EXPECTED = {
    "inputs/labels": Expected((2,), is_integer=True),
    "train/activations/conv1": Expected((2, 3, 4, 4)),
    "train/loss": Expected(()),
}
X = np.random.default_rng(0).standard_normal((2, 3, 4, 4))


def dump_of(tmp_path: Path, mapping: Any = None, **tensors: Any) -> Dump:
    np.savez(tmp_path / "dump.npz", **tensors)
    return Dump.read(tmp_path / "dump.npz", EXPECTED, mapping)


def test_dump_has_the_names_of_the_bundle_in_its_order(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, **{"train/loss": 1.0, "more": X, "train/activations/conv1": X})
    assert dump.names == ("train/activations/conv1", "train/loss")
    assert dump.unknown == ("more",)
    assert dump.get("inputs/labels") is None
    np.testing.assert_array_equal(dump.get("train/activations/conv1"), X)


def test_dump_notes_unknown_tensors_with_the_closest_name(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, **{"train/loss": 1.0, "train/activation/conv1": X, "zz": X})
    assert dump.notes() == (
        "train/activation/conv1 is none of the bundle's tensors; did you mean 'train/activations/conv1'?",
        "zz is none of the bundle's tensors.",
    )


def test_dump_counts_unknown_tensors_beyond_the_first(tmp_path: Path) -> None:
    many = {f"x{i}": X for i in range(MAX_SUGGESTIONS + 5)}
    notes = dump_of(tmp_path, **{"train/loss": 1.0}, **many).notes()
    assert len(notes) == MAX_SUGGESTIONS + 1
    assert notes[-1] == "5 more are none of the bundle's tensors, such as x20, x21, x22."


def test_dump_reads_nothing_of_unknown_tensors(tmp_path: Path) -> None:
    np.save(tmp_path / "train_loss.npy", np.array(1.0))
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("words", encoding="utf-8")
    dump = Dump.read(tmp_path, EXPECTED, {"train/loss": "train_loss"})
    assert (dump.names, dump.unknown) == (("train/loss",), ("broken",))


def test_dump_maps_names(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, {"train/activations/{name}": "fwd_{name}"}, **{"fwd_conv1": X, "train/loss": 2.0})
    assert dump.names == ("train/activations/conv1", "train/loss")
    assert dump.unknown == ()


def test_dump_keeps_a_mapped_tensor_from_its_own_name(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, {"train/activations/conv1": "train/loss"}, **{"train/loss": X})
    assert dump.names == ("train/activations/conv1",)


def test_dump_raises_if_it_has_no_tensor_of_the_bundle(tmp_path: Path) -> None:
    told = (
        "dump.npz must hold tensors under names of the bundle: train/activations/conv1, train/loss. "
        "Got others: a, b. Rename them, or map the bundle's names to them (--map)."
    )
    with pytest.raises(DataError, match=re.escape(told)):
        dump_of(tmp_path, a=X, b=X)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty must hold tensors .* Got no \.npy file\."):
        Dump.read(tmp_path / "empty", EXPECTED)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (X, "float64"),
        (X.astype(np.float32), "float32"),
        (X.astype(np.float16), "float16"),
        (X.astype(np.longdouble), "float64"),
        ((100 * X).astype(int), "float64"),
    ],
)
def test_dump_says_in_which_dtype_a_tensor_was_computed(tmp_path: Path, array: Any, dtype: str) -> None:
    dump = dump_of(tmp_path, **{"train/activations/conv1": array})
    assert dump.dtype("train/activations/conv1") == dtype
    loaded = dump.get("train/activations/conv1")
    assert loaded is not None
    assert loaded.dtype == dtype
    np.testing.assert_array_equal(loaded, array)


def test_dump_judges_a_single_number_by_the_coarsest_dtype(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, **{"train/activations/conv1": X.astype(np.float32), "train/loss": np.float64(2)})
    assert dump.dtype("train/loss") == "float32"
    assert dump_of(tmp_path, **{"train/loss": np.float64(2)}).dtype("train/loss") == "float64"


def test_dump_leaves_integers_as_they_are(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, **{"inputs/labels": np.array([3, 1], np.int32)})
    labels = dump.get("inputs/labels")
    assert labels is not None
    assert labels.dtype.kind == "i"


def test_dump_loads_no_numbers_of_larger_arrays(tmp_path: Path) -> None:
    path = tmp_path / "train" / "activations" / "conv1.npy"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 3)})
        file.truncate(file.tell() + 24 * 10**9)  # a sparse file
    wrong = Dump.read(tmp_path, EXPECTED).get("train/activations/conv1")
    assert wrong is not None
    assert wrong.shape == (10**9, 3)
