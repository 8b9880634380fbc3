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
from glassnet.verify.golden import Bundle, GoldenReport, check, write
from glassnet.verify.golden.check import evaluate_pass
from glassnet.verify.golden.judging import PassTensors
from glassnet.verify.golden.operation_bundles import write_layers
from tests.verify.golden.ports import Array, Tensors, compute_dump, save


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a small network with every kind of operation of the presets but a projection."""
    return write("tiny-bn", tmp_path_factory.mktemp("golden") / "bundle", steps=1)


@pytest.fixture(scope="module")
def healthy(bundle: Bundle) -> Tensors:
    return compute_dump(bundle)


@pytest.fixture
def judge(bundle: Bundle, tmp_path: Path) -> Callable[..., GoldenReport]:
    """The report on a dump of tensors."""

    def judged(tensors: Tensors, **options: Any) -> GoldenReport:
        return check(bundle.folder, save(tmp_path / "dump.npz", tensors), **options)

    return judged


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


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        (name, "not in the dump") for name in bundle.names if name not in kept
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


def layer(network: Any, name: str) -> Any:
    return dict(network.module.named_modules())[name]


def wrong_output(name: str) -> Callable[[Any], None]:
    def plant(network: Any) -> None:
        right = layer(network, name).forward
        layer(network, name).forward = lambda x: right(x) * np.linspace(1, 1.5, x.shape[-1], dtype=x.dtype)

    return plant


def wrong_backward(name: str, dx: float = 1.0, parameters: float = 1.0) -> Callable[[Any], None]:
    def plant(network: Any) -> None:
        faulty = layer(network, name)
        right = faulty.backward

        def backward(dy: Array) -> Array:
            gradient = right(dy)
            for parameter in faulty.parameters():
                parameter.grad *= parameters
            return gradient * dx

        faulty.backward = backward

    return plant


def wrong_buffer(network: Any) -> None:
    layer(network, "layer1.0.bn1").momentum = 0.3


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


def test_check_names_the_loss(healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    report = judge(healthy | {"train/loss": healthy["train/loss"] + 1})
    assert report.first is not None
    assert (report.first.operation, report.first.tensor) == ("loss", "train/loss")
    assert f"{healthy['train/loss'] + 1:.9g} in place of {healthy['train/loss']:.9g}" in report.first.sentence


def test_check_says_what_is_wrong_in_words(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    report = judge(compute_dump(bundle, plant=wrong_backward("layer1.0.bn2", dx=1.1)))
    assert report.first is not None
    row, before = report.first, [row.tensor for row in report.rows].index(report.first.tensor)
    assert row.sentence == (
        "layer1.0.bn2.backward returned a wrong input gradient (train/activation_gradients/layer1.0.conv2: "
        f"error {row.error:.1e}, tolerance {row.tolerance:.1e}). The {before} tensors before it agree."
    )
    assert report.statistics is not None
    assert report.statistics.ratio == pytest.approx(1.1)
    assert report.sentences[0] == report.first.sentence


def test_check_says_which_operations_may_be_at_fault_and_what_to_dump(
    bundle: Bundle, healthy: Tensors, judge: Callable[..., GoldenReport]
) -> None:
    tensors = compute_dump(bundle, plant=wrong_backward("layer1.0.bn2", dx=1 + np.linspace(0, 1, 8)))  # type: ignore[arg-type]
    del tensors["train/activation_gradients/layer1.0.conv2"]
    del tensors["train/gradients/layer1.0.conv2.weight"]
    report = judge(tensors)
    assert report.first is not None
    assert report.first.tensor == "train/activation_gradients/layer1.0.relu1"
    assert report.first.sentence.startswith(
        "The backward pass of one of layer1.0.conv2, layer1.0.bn2 returned a wrong "
    )
    assert report.first.sentence.endswith(" To see which, dump train/activation_gradients/layer1.0.conv2 too.")


def test_check_lists_what_is_not_in_the_bundle(healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    report = judge(healthy | {"train/activation/conv1": np.zeros(3)})
    assert report.passed
    assert report.notes == (
        "train/activation/conv1 is none of the bundle's tensors; did you mean 'train/activations/conv1'?",
    )


def test_check_fails_for_another_shape(healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    name = "train/activations/layer1.0.conv2"
    shape = healthy[name].shape
    report = judge(healthy | {name: healthy[name][:, :, 1:]})
    assert report.first is not None
    assert (report.first.tensor, report.first.error) == (name, np.inf)
    assert f"its shape must be {shape}, and is {healthy[name][:, :, 1:].shape}" in report.first.sentence
    assert report.statistics is None
    assert [row.tensor for row in report.failing] == [name]


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


# Inputs.


def mean(bundle: Bundle) -> Array:
    return np.reshape(bundle.normalization.mean, (-1, 1, 1))


def std(bundle: Bundle) -> Array:
    return np.reshape(bundle.normalization.std, (-1, 1, 1))


INPUT_FAULTS: dict[str, tuple[str, Callable[[Bundle, Array], Array], str]] = {
    "shifted": ("inputs/images", lambda bundle, x: x + 1, "other inputs"),
    "not normalized": (
        "inputs/images",
        lambda bundle, x: bundle.tensor("inputs/pixels").transpose(0, 3, 1, 2) / 255,
        "not normalized",
    ),
    "scaled twice": (
        "inputs/images",
        lambda bundle, x: (bundle.tensor("inputs/pixels").transpose(0, 3, 1, 2) / 255**2 - mean(bundle)) / std(bundle),
        "scaled twice",
    ),
    "other labels": ("inputs/labels", lambda bundle, labels: (labels + 1) % 10, "other labels"),
    "impossible labels": ("inputs/labels", lambda bundle, labels: labels + 1000, "other labels"),
    "labels of floats": ("inputs/labels", lambda bundle, labels: labels + 0.5, "other labels"),
    "other pixels": ("inputs/pixels", lambda bundle, pixels: pixels[::-1], "other inputs"),
    "HWIO": ("inputs/state/layer1.0.conv1.weight", lambda bundle, w: w.transpose(2, 3, 1, 0), "HWIO"),
    "transposed": ("inputs/state/fc.weight", lambda bundle, w: w.T, "transposed linear"),
    "other weights": ("inputs/state/fc.weight", lambda bundle, w: 1.1 * w, "other weights"),
}


@pytest.mark.parametrize(("name", "change", "cause"), INPUT_FAULTS.values(), ids=INPUT_FAULTS)
def test_check_compares_the_inputs_first(
    bundle: Bundle,
    healthy: Tensors,
    judge: Callable[..., GoldenReport],
    name: str,
    change: Callable[[Bundle, Array], Array],
    cause: str,
) -> None:
    report = judge(healthy | {name: change(bundle, bundle.tensor(name))})
    assert report.first is not None
    assert (report.first.tensor, report.first.direction, report.cause) == (name, "input", cause)
    assert report.explanation
    assert f"Likely cause: {cause}: {report.explanation}." in report.sentences


def test_check_judges_the_passes_on_the_port_s_own_inputs(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    def other_weights(network: Any) -> None:
        state = network.state_dict()
        network.load_state_dict(state | {"conv1.weight": 1.5 * state["conv1.weight"]})

    weight = {"inputs/state/conv1.weight": 1.5 * bundle.tensor("inputs/state/conv1.weight")}
    report = judge(compute_dump(bundle, plant=other_weights) | weight)
    assert [row.tensor for row in report.failing] == ["inputs/state/conv1.weight"]


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


def test_check_judges_all_single_operations(layers: Path, tmp_path: Path) -> None:
    right = check(layers, layers)
    assert right.passed, right.sentences
    assert not right.not_judged
    names = [path.relative_to(layers).as_posix().removesuffix(".npy") for path in layers.rglob("*.npy")]
    assert {row.tensor for row in right.rows} == set(names)
    port = {name: np.load(layers / f"{name}.npy") for name in names if "/train/" in name}
    port["relu/train/activation_gradients/input"] = np.load(layers / "relu" / "inputs" / "output_gradient.npy")
    report = check(layers, save(tmp_path / "dump.npz", port))
    assert report.first is not None
    assert (report.first.operation, report.first.tensor) == ("relu", "relu/train/activation_gradients/input")
    assert report.first.sentence.startswith("relu: layer.backward returned a wrong input gradient ")
    assert report.cause == "missing ReLU mask"
    assert report.judged == len(port)
    assert len(report.not_judged) == len(names) - len(port)


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


def test_golden_report_is_plain_data(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    report = judge(compute_dump(bundle, plant=wrong_output("layer1.0.conv1")))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (data["passed"], data["judged"], data["cause"]) == (False, report.judged, report.cause)
    assert data["first"]["operation"] == "layer1.0.conv1"
    assert data["rows"] == json.loads(json.dumps(report.table()))
    assert {row["passed"] for row in data["rows"]} == {True, False}
    assert len(report.operations) == len(bundle.operations)


def test_golden_report_prints_one_line(bundle: Bundle, healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    assert repr(judge(healthy)) == f"GoldenReport(passed: {len(healthy)} tensors)"
    wrong = judge(compute_dump(bundle, plant=wrong_buffer))
    assert repr(wrong).startswith(f"GoldenReport(FAILED: 2 of {len(healthy)} tensors, first train/buffers/")
    assert "\n" not in repr(wrong)
