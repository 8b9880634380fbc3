"""The checker on healthy ports, on ports with a fault in every direction, and on dumps that cannot be judged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassnet.errors import ConfigError, DataError, GlassnetError
from glassnet.verify.golden import Bundle, GoldenReport, check
from glassnet.verify.golden.check import evaluate_pass
from glassnet.verify.golden.judging import PassTensors
from glassnet.verify.golden.operation_bundles import write_layers
from tests.verify.golden.ports import Array, Tensors, compute_dump, save, wrong_backward, wrong_buffer, wrong_output

# Healthy ports.


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_check_passes_healthy_ports(
    bundle: Bundle, judge: Callable[..., GoldenReport], engine: str, dtype: str
) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    tensors = compute_dump(bundle, engine, dtype)
    report = judge(tensors)
    assert report.passed, report.sentences
    assert (report.first, report.cause, report.explanation, report.statistics) == (None, None, "", None)
    assert sorted(row.tensor for row in report.rows) == sorted(tensors)
    assert report.judged == len(tensors)
    assert not report.notes
    report.raise_if_failed()


def test_check_passes_the_bundle_itself(bundle: Bundle) -> None:
    report = check(bundle.folder, bundle.folder)
    assert report.passed, report.sentences
    assert report.judged + len(report.not_judged) == len(bundle.names)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_check_passes_any_part_of_a_healthy_port(
    data: st.DataObject, bundle: Bundle, healthy: Tensors, judge: Callable[..., GoldenReport]
) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(healthy)), min_size=1))
    part = {name: healthy[name] for name in kept}
    if all(name.startswith("inputs/") for name in kept):
        with pytest.raises(DataError, match="must have a tensor that can be judged"):
            judge(part)
        return
    report = judge(part)
    assert report.passed, report.sentences
    assert {row.tensor for row in report.rows} == kept
    assert {(tensor.tensor, tensor.reason) for tensor in report.not_judged} == {
        (name, "not in the dump") for name in bundle.names if name not in kept and not name.startswith("inputs/")
    }


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_check_passes_ports_of_16_bits(bundle: Bundle, tmp_path: Path, dtype: str) -> None:
    """Each operation is computed on the rounded numbers before it, and rounded."""

    def rounded(array: Array) -> Array:
        if dtype == "float16":
            return array.astype(np.float16)
        bits = array.astype("<f4").view("<u4")
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")

    def widened(array: Array) -> Array:
        return array if dtype == "float16" else (array.astype("<u4") << 16).view("<f4")

    stored: Tensors = {}
    outputs: Tensors = {}
    for operation in bundle.operations[:-1]:
        port = PassTensors("eval", outputs, {}, {}, {})
        exact = evaluate_pass(bundle.operations, bundle.pass_inputs("eval"), port).expected(operation.name)
        array = rounded(exact)
        stored[f"eval/activations/{operation.name}"] = array if dtype == "float16" else array.view("V2")
        outputs = {**outputs, operation.name: widened(array)}
    report = check(bundle.folder, save(tmp_path / "dump.npz", stored))
    assert report.passed, report.sentences
    assert not check(bundle.folder, save(tmp_path / "dump.npz", stored), dtype="float32").passed


def test_check_takes_flat_arrays_and_other_formats(bundle: Bundle, healthy: Tensors, tmp_path: Path) -> None:
    changes: dict[str, Callable[[Array], Array]] = {
        "eval/activations/conv1": np.asfortranarray,
        "eval/activations/bn1": lambda array: array.reshape(-1),
        "train/activations/conv1": lambda array: array.astype(">f8"),
        "inputs/labels": lambda array: array.astype(">i4"),
        "train/buffers/bn1.num_batches_tracked": lambda array: array.astype(np.float32),
        "train/loss": lambda array: array.reshape(1, 1),
    }
    tensors = healthy | {name: change(healthy[name]) for name, change in changes.items()}
    for name, array in tensors.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"{name}.npy", array)
    assert check(bundle.folder, tmp_path).passed


def test_check_judges_a_float32_port_whose_file_is_float64_as_asked(
    bundle: Bundle, judge: Callable[..., GoldenReport]
) -> None:
    tensors = {name: array.astype(np.float64) for name, array in compute_dump(bundle, dtype="float32").items()}
    assert judge(tensors, dtype="float32").passed
    report = judge(tensors)
    assert not report.passed
    assert report.first is not None
    assert (report.first.tensor, report.first.direction) == ("inputs/images", "input")


def test_check_judges_a_loss_of_a_float32_port_as_float32(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    tensors = compute_dump(bundle, dtype="float32")
    assert judge(tensors | {"train/loss": tensors["train/loss"].astype(np.float64)}).passed


def test_check_maps_names(bundle: Bundle, healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    renamed = {name.replace("train/activations/", "fwd.").replace("/", "_"): a for name, a in healthy.items()}
    mapping = {name: name.replace("/", "_") for name in healthy if "train/activations" not in name}
    report = judge(renamed, mapping={**mapping, "train/activations/{name}": "fwd.{name}"})
    assert report.passed
    assert report.judged == len(healthy)


# Faults.


FAULTS: dict[str, tuple[Callable[[Any], None], str, str, str]] = {
    "output": (wrong_output("layer1.0.conv1"), "layer1.0.conv1", "forward", "eval/activations/layer1.0.conv1"),
    "input gradient": (
        wrong_backward("layer1.0.bn2", dx=1.1),
        "layer1.0.bn2",
        "backward",
        "train/activation_gradients/layer1.0.conv2",
    ),
    "parameter gradient": (
        wrong_backward("layer1.0.bn1", parameters=2.0),
        "layer1.0.bn1",
        "backward",
        "train/gradients/layer1.0.bn1.weight",
    ),
    "buffer": (wrong_buffer, "layer1.0.bn1", "forward", "train/buffers/layer1.0.bn1.running_mean"),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("plant", "operation", "direction", "tensor"), FAULTS.values(), ids=FAULTS)
def test_check_names_the_wrong_operation(
    bundle: Bundle,
    judge: Callable[..., GoldenReport],
    plant: Callable[[Any], None],
    operation: str,
    direction: str,
    tensor: str,
    dtype: str,
) -> None:
    report = judge(compute_dump(bundle, dtype=dtype, plant=plant))
    assert not report.passed
    assert report.first is not None
    assert (report.first.operation, report.first.direction, report.first.tensor) == (operation, direction, tensor)
    assert report.first.error > report.first.tolerance
    assert report.first.pattern == "structured"
    assert report.cause is not None
    assert {row.operation for row in report.failing} == {operation}
    with pytest.raises(GlassnetError, match=operation):
        report.raise_if_failed()


def test_check_lists_what_is_not_in_the_bundle(healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    report = judge(healthy | {"train/activation/conv1": np.zeros(3)})
    assert report.passed
    assert report.notes == (
        "train/activation/conv1 is none of the bundle's tensors; did you mean 'train/activations/conv1'?",
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_check_fails_for_numbers_that_are_not_finite(
    healthy: Tensors, judge: Callable[..., GoldenReport], value: float
) -> None:
    changed = healthy["train/activations/layer1.0.bn1"].copy()
    changed.flat[7] = value
    report = judge(healthy | {"train/activations/layer1.0.bn1": changed})
    assert report.first is not None
    assert report.first.tensor == "train/activations/layer1.0.bn1"
    assert report.first.pattern == "sparse"
    json.dumps(report.to_dict(), allow_nan=False)


def test_check_judges_in_the_order_of_the_dataflow(bundle: Bundle) -> None:
    tensors = [row.tensor for row in check(bundle.folder, bundle.folder).rows]
    groups = list(dict.fromkeys(name.split("/")[0] for name in tensors))
    assert groups[:3] == ["inputs", "eval", "train"]
    train = [name for name in tensors if name.startswith("train")]
    assert train.index("train/activations/fc") < train.index("train/loss") < train.index("train/gradients/fc.weight")
    assert train[-1] == "train/gradients/conv1.weight"


# Single operations.


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layers(tmp_path_factory.mktemp("golden") / "layers")


def test_check_judges_a_single_operation(layers: Path, tmp_path: Path) -> None:
    y = np.load(layers / "conv2d-stride-2" / "train" / "activations" / "layer.npy")
    assert check(layers / "conv2d-stride-2", save(tmp_path / "a.npz", {"train/activations/layer": y})).passed
    report = check(layers / "conv2d-stride-2", save(tmp_path / "b.npz", {"train/activations/layer": -y}))
    assert report.first is not None
    assert report.first.operation == "layer"


# What cannot be judged, and how the verdict is handed out.


def test_check_raises_for_inputs_alone(healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    told = r"dump\.npz must have a tensor that can be judged\. Got inputs"
    with pytest.raises(DataError, match=told):
        judge({"inputs/labels": healthy["inputs/labels"]})


def test_check_raises_for_an_unknown_dtype(healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    with pytest.raises(ConfigError, match="dtype must be one of float64, float32, float16, bfloat16. Got 'float23'"):
        judge(healthy, dtype="float23")


def test_check_raises_for_numbers_that_cannot_be_read(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "loss.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"loss\.npy must be a whole \.npy file of numbers"):
        check(bundle.folder, tmp_path)
