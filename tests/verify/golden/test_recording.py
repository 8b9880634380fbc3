"""The numbers of a case are those of both engines."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.training.schedule import learning_rates
from glassnet.verify.golden.listing import listed_tensors
from glassnet.verify.golden.recording import CaseRun, inputs_of
from glassnet.verify.golden.request import requested_case

ALL = {"nesterov": True, "clip_grad_norm": 0.5, "ema": 0.9, "weight_decay_scope": "all", "body_lr": 0.3}
LOSS = {"label_smoothing": 0.1, "class_weights": "balanced"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("tiny-bn", {}),
    "all of sgd, and the loss": ("tiny-bn", {"dropout": 0.4, **ALL, **LOSS}),
    "no momentum, a warm-up": ("tiny", {"momentum": 0.0, "warmup": 5.0}),
    "adam": ("tiny", {"optimizer": "adam", "schedule": "one-cycle"}),
    "adamw": ("tiny-bn", {"optimizer": "adamw", "dropout": 0.4}),
    "option A": ("resnet20", {"blocks": 1, "width": 4, "pool": "avg"}),
    "pre-activation, projections": (
        "resnet20",
        {"blocks": 1, "width": 4, "preactivation": True, "shortcut": "projection", "bn_momentum": None},
    ),
    "bottleneck": ("resnet50", {"blocks": 1, "width": 4, "classes": 5, "optimizer": "adam"}),
    "no skip, no norm": ("tiny", {"skip": False, "blocks": 2, "schedule": "step"}),
}


def case(name: str) -> Any:
    preset, fields = CASES[name]
    return requested_case(preset, 3, "float64", None, 0, None, fields)


class GivenMasks:
    """A generator whose random numbers give the masks of the case, step by step."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.masks = [inputs[name] for name in inputs if name.startswith("inputs/dropout/")]

    def random(self, shape: tuple[int, ...]) -> Any:
        return (self.masks.pop(0).reshape(shape) > 0).astype(float)  # at least p where it is 1


WITH_TORCH = ("all of sgd, and the loss", "adam", "adamw", "no skip, no norm")  # the parity checks have the others


@pytest.mark.parametrize(
    ("name", "engine"), [*((name, "numpy") for name in CASES), *((name, "torch") for name in WITH_TORCH)]
)
def test_steps_are_those_of_the_engine(name: str, engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    made = case(name)
    inputs = inputs_of(made)
    state = {key.removeprefix("inputs/state/"): array for key, array in inputs.items() if "/state/" in key}
    network = gn.build(made.spec, engine, dtype="float64", state=state)
    network.seed_dropout(GivenMasks(inputs))  # type: ignore[arg-type]
    trainer = network.trainer(made.recipe, labels=inputs["inputs/labels"])
    run, names = CaseRun(made, inputs, "float64"), [tensor.name for tensor in listed_tensors(made)]
    for step, lr in enumerate(learning_rates(made.recipe, made.steps), start=1):
        loss = float(trainer.step(inputs["inputs/images"], inputs["inputs/labels"], lr))
        prefix = f"steps/{step}/"
        expected = {f"{prefix}loss": loss} | {f"{prefix}state/{key}": a for key, a in network.state_dict().items()}
        for path, array in trainer.state().items():
            key, _, kind = path.rpartition("/")
            expected[f"{prefix}{kind}/{key}"] = array
        expected.pop(f"{prefix}average/steps", None)
        gradients = {n: run.tensor(n) for n in names if n.startswith(f"{prefix}gradients/")}
        assert gradients.keys() | expected.keys() == {n for n in names if n.startswith(prefix)}
        for name_, array in expected.items():
            np.testing.assert_allclose(run.tensor(name_), array, rtol=1e-9, atol=1e-11, err_msg=name_)


@pytest.mark.parametrize(
    ("name", "engine"),
    [("sgd", "numpy"), ("pre-activation, projections", "numpy"), ("option A", "torch"), ("bottleneck", "torch")],
)
def test_passes_are_those_of_the_engine(name: str, engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    made = case(name)
    inputs = inputs_of(made)
    state = {key.removeprefix("inputs/state/"): array for key, array in inputs.items() if "/state/" in key}
    network = gn.build(made.spec, engine, dtype="float64", state=state)
    traced = network.trace(inputs["inputs/images"], inputs["inputs/labels"])
    expected = {f"train/{of}/{key}": array for of in PARTS for key, array in getattr(traced, of).items()}
    evaluated = network.activations(inputs["inputs/images"], network.tensor_names)
    expected |= {f"eval/activations/{key}": array for key, array in evaluated.items()} | {"train/loss": traced.loss}
    run, names = CaseRun(made, inputs, "float64"), [tensor.name for tensor in listed_tensors(made)]
    assert {n for n in names if n.startswith(("eval/", "train/"))} == expected.keys()
    for name_ in (n for n in names if n in expected):
        np.testing.assert_allclose(run.tensor(name_), expected[name_], rtol=1e-9, atol=1e-11, err_msg=name_)


PARTS = ("activations", "buffers", "activation_gradients", "gradients")


@pytest.mark.parametrize("name", ["all of sgd, and the loss", "adam", "pre-activation, projections"])
def test_listed_tensors_are_computed_in_their_shape_and_dtype(name: str) -> None:
    made = case(name)
    run = CaseRun(made, inputs_of(made), "float64")
    for tensor in listed_tensors(made):
        array = np.asarray(run.tensor(tensor.name))
        assert (array.shape, array.dtype) == (tensor.shape, tensor.dtype), tensor.name


def test_listed_tensors_are_zero_or_one_nowhere_throughout() -> None:
    """Biases of 0 and scales of 1 would hide what is done with them."""
    made = case("all of sgd, and the loss")
    run = CaseRun(made, inputs_of(made), "float64")
    for tensor in listed_tensors(made):
        array = run.tensor(tensor.name)
        assert tensor.name.endswith("num_batches_tracked") or not np.isin(array, (0, 1)).all(), tensor.name


def test_inputs_of_follow_from_seed_and_draw_alone() -> None:
    first, again, drawn = (inputs_of(made) for made in (case("sgd"), case("sgd"), case("sgd").redrawn(1)))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    changed = {name for name in first if not np.array_equal(first[name], drawn[name])}
    assert {"inputs/pixels", "inputs/images", "inputs/state/bn1.bias"} <= changed


def test_images_are_the_normalized_pixels() -> None:
    made = case("option A")
    inputs = inputs_of(made)
    scaled = inputs["inputs/pixels"].transpose(0, 3, 1, 2) / 255
    mean, std = (np.array(values)[:, None, None] for values in (made.normalization().mean, made.normalization().std))
    np.testing.assert_allclose(inputs["inputs/images"], (scaled - mean) / std, rtol=1e-12)
    assert len(set(made.normalization().mean)) == 3


def test_masks_are_zero_or_scaled_and_differ_by_step() -> None:
    inputs = inputs_of(case("adamw"))
    masks = [inputs[f"inputs/dropout/{name}"] for name in ("dropout", "2/dropout", "3/dropout")]
    for mask in masks:
        assert set(np.unique(mask)) == {0.0, 1 / 0.6}
    assert not np.array_equal(masks[0], masks[1])
