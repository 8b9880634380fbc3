"""The two engines against each other, and against engines with one thing wrong."""

import json
import re
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim.adam import adam
from torch.optim.sgd import sgd

import glassnet as gn
from glassnet import architecture, cli, nn
from glassnet.architecture import PRESETS
from glassnet.engines import torch_engine, torch_layers, torch_optimizer, torch_trainer
from glassnet.errors import ConfigError, GlassnetError
from glassnet.recipe import Recipe
from glassnet.training import schedule
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.parity import check_parity
from glassnet.verify.parity_report import ParityReport, TensorDifference

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"image_size": 8, "blocks": 1, "width": 4}
VARIANTS: dict[str, gn.ResNetSpec] = {
    "tiny": gn.spec("tiny"),
    "tiny-bn": gn.spec("tiny-bn"),
    "resnet20": gn.spec("resnet20", image_size=16),
    "resnet18, small": gn.spec("resnet18", image_size=64, width=4, classes=5),
    "resnet50, small": gn.spec("resnet50", image_size=64, width=2, blocks=(1, 2, 1, 1), classes=5),
    "option A": gn.spec("resnet20", **SMALL),
    "projection": gn.spec("resnet20", **SMALL, shortcut="projection"),
    "plain": gn.spec("resnet20", **SMALL, skip=False),
    "pre-activation": gn.spec("resnet20", **SMALL, preactivation=True),
    "pre-activation, projection": gn.spec("resnet20", **SMALL, preactivation=True, shortcut="projection"),
    "no norm": gn.spec("resnet20", **SMALL, norm="none", shortcut="projection"),
    "dropout": gn.spec("tiny-bn", dropout=0.5),
    "average pool": gn.spec("tiny", pool="avg"),
    "strided convolution": gn.spec("tiny-bn", pool="stride"),
    "oblong": gn.spec("tiny-bn", image_size=(7, 10), in_channels=3),
    "zero init": gn.spec("tiny-bn", zero_init=True),
}
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def group(report: ParityReport, name: str) -> list[str]:
    return [row.tensor.removeprefix(f"{name}/") for row in report.rows if row.tensor.startswith(f"{name}/")]


# The engines are the same network.


@every_variant
def test_check_parity_passes_for_variants_in_float64(variant: gn.ResNetSpec) -> None:
    report = check_parity(variant, batch_size=4)
    report.raise_if_failed()
    assert report.passed
    assert (
        max(row.required_tolerance for row in report.rows) <= 1e-10
    )  # the tolerance leaves room for networks of 152 layers


@every_variant
def test_check_parity_passes_for_variants_in_float32(variant: gn.ResNetSpec) -> None:
    # One step: before a second one's gradients rounding may have turned a ReLU over, which no bound on rounding covers.
    report = check_parity(variant, dtype="float32", batch_size=4, steps=1)
    assert report.passed
    required = {row.tensor: row.required_tolerance for row in report.rows}
    assert required["eval/activations/fc"] <= 1e-5
    assert max(required.values()) <= 1e-3  # networks this shallow amplify little, in training mode too


SMALL_PRESETS = [name for name, preset in PRESETS.items() if preset.stem == "3x3"]
LARGE_PRESETS = [name for name in PRESETS if name not in SMALL_PRESETS]


@pytest.mark.parametrize(
    "preset", [*SMALL_PRESETS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_PRESETS)]
)
def test_check_parity_passes_for_every_preset(preset: str) -> None:
    report = check_parity(preset, steps=0)
    report.raise_if_failed()
    assert report.worst.required_tolerance <= 1e-12


@pytest.mark.parametrize("preset", SMALL_PRESETS)
def test_check_parity_passes_for_small_presets_in_float32(preset: str) -> None:
    """Logits, and with them every activation, are judged; gradients are shown."""
    report = check_parity(preset, steps=0, dtype="float32")
    report.raise_if_failed()
    judged = {row.tensor for row in report.rows if row.tolerance == 1e-4}
    assert {"eval/activations/fc", "train/activations/fc", "train/loss"} <= judged


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["resnet18", "resnet50"])
def test_logits_of_large_presets_agree_in_float32(preset: str) -> None:
    """Seen: 6e-7 at most, resnet152's included. All layers, which ``check parity`` judges alike, would take minutes."""
    case = GoldenCase(gn.spec(preset), "float32")
    state, (images, _) = case.state(), case.batch()
    logits = []
    for engine in ("numpy", "torch"):
        network = gn.build(case.spec, engine, dtype="float32", device="cpu")
        network.load_state_dict(state)
        logits.append(network.logits(images))
    assert np.abs(logits[0] - logits[1]).max() <= 1e-4 * np.abs(logits[0]).max()


RECIPES = {
    "sgd": Recipe(momentum=0.0),
    "momentum": Recipe(weight_decay=1e-2),
    "nesterov": Recipe(nesterov=True, weight_decay=1e-2),
    "all decay": Recipe(weight_decay=0.1, weight_decay_scope="all"),
    "adam": Recipe(optimizer="adam", lr=1e-3, weight_decay=1e-2),
    "adamw": Recipe(optimizer="adamw", lr=1e-3, weight_decay=1e-2),
    "smoothing": Recipe(label_smoothing=0.1, clip_grad_norm=0.5),
    "body": Recipe(body_lr=0.1, weight_decay=1e-2),
    "class weights": Recipe(class_weights="balanced", label_smoothing=0.1),
    "average": Recipe(ema=0.5),
    "average, adam": Recipe(ema=0.5, optimizer="adam", lr=1e-3),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("model", ["tiny", "tiny-bn"])
def test_check_parity_passes_after_ten_steps(model: str, recipe: Recipe) -> None:
    report = check_parity(model, steps=10, recipe=recipe, batch_size=16)
    assert max(row.required_tolerance for row in report.rows) <= 1e-10
    kept = {"adam": ["step", "exp_avg", "exp_avg_sq"], "adamw": ["step", "exp_avg", "exp_avg_sq"]}
    names = kept.get(recipe.optimizer, ["momentum_buffer"] if recipe.momentum else [])
    names = [*names, "average"] if recipe.ema else names
    steps = {row.tensor.split("/")[1] for row in report.rows if row.tensor.startswith("steps")}
    assert steps == {"learning_rates", "1", "state", *names}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_check_parity_takes_an_optimizer_by_name(optimizer: str) -> None:
    check_parity("tiny-bn", optimizer=optimizer).raise_if_failed()


def test_check_parity_compares_every_tensor_in_the_order_of_the_dataflow() -> None:
    report = check_parity("tiny-bn", steps=1)
    network = gn.build("tiny-bn")
    flow = [
        *("conv1", "bn1", "relu", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu1", "layer1.0.conv2", "layer1.0.bn2"),
        *("layer1.0.shortcut", "layer1.0.sum", "layer1.0.relu", "layer1.0", "pool", "flatten", "fc"),
    ]
    state = list(network.state_dict())
    parameters = [key for key in state if key.endswith(("weight", "bias"))]
    assert group(report, "inputs") == ["images", "labels", *(f"state/{key}" for key in state)]
    assert group(report, "eval/activations") == group(report, "train/activations") == flow
    assert group(report, "train/activation_gradients") == flow[::-1]
    assert group(report, "train/gradients") == parameters[::-1]
    assert group(report, "train/buffers") == [key for key in state if key not in parameters]
    assert group(report, "steps/state") == state
    assert group(report, "steps/momentum_buffer") == parameters
    assert group(report, "initial") == state
    order = list(dict.fromkeys("/".join(row.tensor.split("/")[:2]) for row in report.rows))[len(state) :]
    assert order.pop(0) == "steps/learning_rates"
    assert order[:5] == ["inputs/images", "inputs/labels", "inputs/state", "eval/activations", "train/activations"]
    assert order[5:8] == ["train/buffers", "train/loss", "train/activation_gradients"]
    assert order[8:] == ["train/gradients", "steps/1", "steps/state", "steps/momentum_buffer"]
    first = ["loss", *(f"gradients/{key}" for key in parameters), *(f"state/{key}" for key in state)]
    assert group(report, "steps/1") == first
    assert group(check_parity("tiny-bn", steps=0), "steps") == ["learning_rates"]


# A difference is caught, and the first tensor that it shows in is named.


def of_new(layer: Any, old: torch.Tensor, running: torch.Tensor) -> torch.Tensor:
    return (running - (1 - layer.momentum) * old) / layer.momentum


class BiasedVariance(torch.nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        old = self.running_var.clone()
        y = super().forward(x)
        if self.training:
            M = x.numel() / x.shape[1]
            new = of_new(self, old, self.running_var) * (M - 1) / M
            self.running_var.data.copy_((1 - self.momentum) * old + self.momentum * new)
        return y


class MomentumOnTheOld(torch.nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = [self.running_mean.clone(), self.running_var.clone()]
        y = super().forward(x)
        if self.training:
            for old, running in zip(before, (self.running_mean, self.running_var), strict=True):
                running.data.copy_(self.momentum * old + (1 - self.momentum) * of_new(self, old, running))
        return y


class OtherEps(torch.nn.BatchNorm2d):
    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        super().__init__(channels, eps=1.001 * eps, momentum=momentum)


class VarianceWithoutGradient(torch.nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        if not self.training:
            return y
        var, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        scale = self.weight[:, None, None] / (var.detach() + self.eps).sqrt()
        return (x - mean) * scale + self.bias[:, None, None]


class FlippedKernel(torch.nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight.flip(2, 3), self.bias)


class ReluBeforeTheSum(torch_layers.Residual):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for name in self.body_names:
            y = self.get_submodule(name)(y)
        return self.get_submodule(self.shortcut_name)(x) + self.get_submodule("relu")(y)


class WithoutTheShortcut(torch_layers.Residual):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for name in self.body_names:
            y = self.get_submodule(name)(y)
        self.get_submodule(self.shortcut_name)(x)
        return self.get_submodule("relu")(y)


class FlattenedChannelsLast(torch.nn.Flatten):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class PaddingBehind(torch_layers.ZeroPadShortcut):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.padding = (0, 0, 0, 0, 0, out_channels - in_channels)


class UnscaledDropout(torch_layers.Dropout):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 - self.p if self.training else 1)


PLANTED: list[tuple[type, str, gn.ResNetSpec, str]] = [
    (BiasedVariance, "BatchNorm2d", gn.spec("tiny-bn"), "train/buffers/bn1.running_var"),
    (MomentumOnTheOld, "BatchNorm2d", gn.spec("tiny-bn"), "train/buffers/bn1.running_mean"),
    (OtherEps, "BatchNorm2d", gn.spec("tiny-bn"), "eval/activations/bn1"),
    (OtherEps, "BatchNorm2d", VARIANTS["pre-activation"], "eval/activations/layer1.0.bn1"),
    (
        VarianceWithoutGradient,
        "BatchNorm2d",
        gn.spec("tiny-bn"),
        "train/activation_gradients/layer1.0.conv2",  # what goes back through layer1.0.bn2
    ),
    (FlippedKernel, "Conv2d", gn.spec("tiny"), "eval/activations/conv1"),
    (ReluBeforeTheSum, "Residual", gn.spec("tiny"), "eval/activations/layer1.0.sum"),
    (ReluBeforeTheSum, "Residual", VARIANTS["projection"], "eval/activations/layer1.0.sum"),
    (WithoutTheShortcut, "Residual", gn.spec("tiny-bn"), "eval/activations/layer1.0.sum"),
    (FlattenedChannelsLast, "Flatten", gn.spec("tiny"), "eval/activations/flatten"),
    (PaddingBehind, "ZeroPadShortcut", VARIANTS["option A"], "eval/activations/layer2.0.shortcut"),
    (UnscaledDropout, "Dropout", VARIANTS["dropout"], "train/activations/dropout"),
]


@pytest.mark.parametrize(
    ("layer", "name", "spec", "first"), PLANTED, ids=lambda value: getattr(value, "__name__", None)
)
def test_check_parity_fails_for_a_planted_difference(
    monkeypatch: pytest.MonkeyPatch, layer: type, name: str, spec: gn.ResNetSpec, first: str
) -> None:
    monkeypatch.setattr(torch_layers, name, layer)
    report = check_parity(spec, batch_size=4)
    assert not report.passed
    assert report.first is not None
    assert report.first.tensor == first
    with pytest.raises(GlassnetError, match=f" tensors differ, first {re.escape(first)}, by "):
        report.raise_if_failed()
    assert all(row["passed"] for row in report.table()[: [row.tensor for row in report.rows].index(first)])


AFTER_ONE, AFTER_TWO = "steps/1/state/conv1.weight", "steps/state/conv1.weight"
OPTIMIZERS: list[tuple[str, Any, str, str]] = [
    (
        "sgd",
        lambda *tensors, **options: sgd(*tensors, **options | {"dampening": 0.1}),
        AFTER_TWO,  # the first step has no momentum to dampen
        "sgd in PyTorch: steps/state/conv1.weight is wrong",
    ),
    (
        "adam",
        lambda *tensors, **options: adam(*tensors, **options | {"eps": 1e-6}),
        AFTER_ONE,
        "adam in PyTorch: the update is wrong",
    ),
    ("adamw", adam, AFTER_ONE, "weight decay in PyTorch: it is wrong in 4 of 8 parameters"),  # through the moments
]


@pytest.mark.parametrize(("name", "wrong", "first", "fault"), OPTIMIZERS)
def test_check_parity_fails_for_a_planted_difference_in_the_optimizer(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any, first: str, fault: str
) -> None:
    monkeypatch.setattr(torch_optimizer, name, wrong)
    report = check_parity("tiny", optimizer=name)
    assert report.first is not None
    assert (report.first.tensor, str(report.fault)) == (first, fault)


LOSSES: list[tuple[Recipe, Any]] = [
    (Recipe(class_weights="balanced"), lambda loss, z, t: cross_entropy(z, t)),
    (Recipe(class_weights="balanced"), lambda loss, z, t: cross_entropy(z, t, loss.weight, reduction="sum") / len(t)),
    (
        Recipe(class_weights="balanced", label_smoothing=0.1),  # the weights of the labels alone
        lambda loss, z, t: cross_entropy(z, t, loss.weight) * 0.9 + cross_entropy(z, t, label_smoothing=1.0) * 0.1,
    ),
    (Recipe(label_smoothing=0.1), lambda loss, z, t: cross_entropy(z, t)),
]


@pytest.mark.parametrize(("recipe", "wrong"), LOSSES)
def test_check_parity_fails_for_a_planted_difference_in_the_loss(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe, wrong: Any
) -> None:
    check_parity("tiny", recipe=recipe, batch_size=16).raise_if_failed()
    monkeypatch.setattr(torch.nn.CrossEntropyLoss, "forward", wrong)
    report = check_parity("tiny", recipe=recipe, batch_size=16)
    assert report.first is not None
    assert report.first.tensor == "steps/1/loss"
    assert str(report.fault) == "loss (CrossEntropyLoss) in PyTorch: forward returns a wrong loss"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"body_lr": 0.1}, "sgd"),  # told from the tensors that differ; the recipe has no body_lr
        ({"weight_decay_scope": "all"}, "weight decay"),
        ({"clip_grad_norm": None}, "clipping"),
    ],
)
def test_check_parity_fails_for_planted_groups_of_parameters(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], fault: str
) -> None:
    recipe = Recipe(weight_decay=0.1, clip_grad_norm=0.5)
    plain = torch_engine.TorchNetwork._trainer

    def with_change(network: Any, own: Recipe, *others: Any) -> Any:
        return plain(network, own.replace(**change), *others)

    monkeypatch.setattr(torch_engine.TorchNetwork, "_trainer", with_change)
    report = check_parity("tiny-bn", recipe=recipe, batch_size=16)
    assert report.fault is not None
    assert (report.fault.operation, report.fault.engine) == (fault, "PyTorch")


def test_check_parity_fails_for_a_planted_difference_in_the_average(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch_trainer.TensorAverage._move
    monkeypatch.setattr(torch_trainer.TensorAverage, "_move", lambda average, rate: plain(average, 0.99 * rate))
    report = check_parity("tiny-bn", recipe=Recipe(ema=0.9), batch_size=16)
    assert report.first is not None
    assert report.first.tensor == "steps/average/conv1.weight"


def test_check_parity_fails_where_both_engines_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they share is compared with a definition: here learning rates, then the architecture."""
    plain = schedule._schedule
    monkeypatch.setattr(schedule, "_schedule", lambda recipe, steps: plain(recipe, steps) / 2)
    message = "in both engines and by definition: .* Fault: schedule in both engines: the learning rates are not"
    with pytest.raises(GlassnetError, match=message):
        check_parity("tiny").raise_if_failed()
    monkeypatch.undo()
    normalization = architecture._normalization
    without = gn.spec("tiny-bn", bn_eps=1e-3)
    monkeypatch.setattr(
        architecture, "_normalization", lambda spec, *others: normalization(gn.spec("tiny-bn"), *others)
    )
    report = check_parity(without)
    assert report.fault is not None
    assert (report.fault.operation, report.fault.engine) == ("bn1", "both engines")


@pytest.mark.parametrize("fields", [{"shards": 2}, {"warmup": 2.0, "schedule": "step"}, {"kernels": "plain"}], ids=str)
def test_check_parity_takes_fields_of_the_recipe_and_kernels(fields: dict[str, Any]) -> None:
    check_parity("tiny-bn", dropout=0.3, **fields).raise_if_failed()


def test_check_parity_fails_for_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * float("nan")

    monkeypatch.setattr(torch_layers, "Linear", Broken)
    report = check_parity("tiny", dtype="float32")
    assert report.first is not None
    assert report.first.tensor == "eval/activations/fc"
    assert {row.tensor for row in report.rows if not row.passed} >= {"train/loss", "steps/state/conv1.weight"}
    row = next(row for row in report.table() if row["tensor"] == "eval/activations/fc")
    assert row == {
        "tensor": "eval/activations/fc",
        **dict.fromkeys(("absolute", "relative", "required_tolerance")),
        "tolerance": 1e-4,
        "wrong_in": "PyTorch",
        "passed": False,
        "has_tolerance": True,
    }


def test_check_parity_raises_for_a_tensor_that_one_engine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutIdentity(torch_layers.Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x
            for name in self.body_names:
                y = self.get_submodule(name)(y)
            return self.get_submodule("relu")(x + y)

    monkeypatch.setattr(torch_layers, "Residual", WithoutIdentity)
    with pytest.raises(
        GlassnetError,
        match=r"^PyTorch must have eval/activations/layer1\.0\.shortcut\. Got it from NumPy alone\. "
        r"Fault: layer1\.0 \(Residual\) in PyTorch: forward of layer1\.0\.shortcut is never called\.$",
    ):
        check_parity("tiny")


def test_check_parity_names_a_layer_whose_backward_is_never_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_the_shortcut(block: nn.Residual, dy: Any) -> Any:
        children = dict(block.named_children())
        for name in ("relu", "conv2", "relu1", "conv1"):
            dy = children[name].backward(dy)
        return dy

    monkeypatch.setattr(nn.Residual, "backward", without_the_shortcut)
    with pytest.raises(
        GlassnetError,
        match=r"^NumPy must have train/activation_gradients/layer1\.0\.s\w+\. Got it from PyTorch alone\. "
        r"Fault: layer1\.0 \(Residual\) in NumPy: backward of layer1\.0\.shortcut is never called\.$",
    ):
        check_parity("tiny")


# The report.


def row(tensor: str, required: float, tolerance: float = 1e-9) -> TensorDifference:
    return TensorDifference(tensor, required * 2, required, required, tolerance)


def test_parity_report_has_the_first_and_the_worst() -> None:
    rows = (row("a", 0.0), row("b", 1e-9), row("c", 3e-8), row("d", 1.0), row("e", 5.0, np.inf))
    report = ParityReport("net", "PyTorch", rows)
    assert not report.passed
    assert report.first == rows[2]
    assert report.worst == rows[3]
    message = (
        "Different numbers of net in NumPy and in PyTorch: 2 of 4 tensors differ, first c, by 6e-08. "
        "It requires a tolerance of 3.0e-08 and has 1e-09."
    )
    with pytest.raises(GlassnetError, match=f"^{re.escape(message)}$"):
        report.raise_if_failed()
    assert report.table()[4] == {
        "tensor": "e",
        "absolute": 10.0,
        "relative": 5.0,
        "required_tolerance": 5.0,
        "tolerance": None,
        "wrong_in": None,
        "passed": True,
        "has_tolerance": False,
    }
    assert repr(report) == (
        "ParityReport(net in NumPy and PyTorch: FAILED, 4 tensors, worst d, which requires a tolerance of 1.0e+00)"
    )
    fine = ParityReport("net", "PyTorch", rows[:2])
    fine.raise_if_failed()
    assert fine.worst == rows[1]


def test_parity_report_raises_for_nothing() -> None:
    with pytest.raises(GlassnetError, match=r"^The parity check of net must compare a tensor .* Got none among 0\. "):
        ParityReport("net", "PyTorch", ())


def test_parity_report_counts_only_rows_with_tolerance() -> None:
    free = row("gradient", 0.55, np.inf)
    assert ParityReport("net", "PyTorch", (row("a", 1e-12), free)).worst.tensor == "a"
    with pytest.raises(GlassnetError, match=r"Got none among 1\. Use float64, .*, or compare activations too\.$"):
        ParityReport("net", "PyTorch", (free,))


def test_difference_is_absolute_relative_and_in_units_of_the_scale() -> None:
    from glassnet.verify.golden.cases import TensorGroup
    from glassnet.verify.parity import _difference

    expected = {"large": np.array([4.0, -100.0]), "small": np.array([1e-7, 0.0]), "zero": np.zeros(2)}
    arrays = {"large": np.array([4.0, -101.0]), "small": np.array([1e-7, 1e-8]), "zero": np.array([0.0, 1e-8])}
    plain, gradients = TensorGroup("plain", expected), TensorGroup("gradients", expected, is_gradient=True)

    def measured(group: TensorGroup, key: str) -> tuple[float, float, float]:
        difference = _difference(group, key, arrays[key], 1e-9)
        return difference.absolute, difference.relative, difference.required_tolerance

    assert measured(plain, "large") == (1.0, 0.01, 0.01)
    assert measured(plain, "small") == pytest.approx((1e-8, 0.1, 0.1))
    assert measured(plain, "zero") == (1e-8, np.inf, np.inf)
    assert measured(gradients, "large") == (1.0, 0.01, 0.01)
    assert measured(gradients, "small") == pytest.approx((1e-8, 0.1, 1e-8 / 1e-4))  # a millionth of 100
    assert measured(gradients, "zero") == pytest.approx((1e-8, np.inf, 1e-4))
    assert _difference(plain, "zero", np.zeros(2), 1e-9).required_tolerance == 0
    with pytest.raises(GlassnetError, match=re.escape("plain/zero must have shape (2,). Got (3,).")):
        _difference(plain, "zero", np.zeros(3), 1e-9)


# Bad input.


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": "tniy"}, "Got 'tniy'; did you mean 'tiny'?"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'float64'. Got 'float16'"),
        ({"dtype": "flaot"}, "dtype must be one of 'float32', 'float64'. Got 'flaot'"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1. Got 0."),
        ({"steps": -1}, "steps must be an integer of at least 0. Got -1."),
        ({"optimizer": "lbfgs"}, "optimizer must be one of 'sgd', 'adam', 'adamw'. Got 'lbfgs'."),
        ({"seed": -1}, "seed must be an integer from 0 to 4294967295. Got -1."),
        (
            {"model": gn.spec("resnet20", **SMALL), "batch_size": 1},
            "must get at least 8 values per channel, or it amplifies rounding. Got 4 at layer3.0.bn1. Use a larger",
        ),
    ],
)
def test_check_parity_raises_for_wrong_arguments(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        check_parity(**{"model": "tiny", **options})


# The command.


def call(monkeypatch: pytest.MonkeyPatch, *words: Any) -> int:
    monkeypatch.setattr(sys, "argv", ["glassnet", "check", "parity", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_command_prints_every_tensor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "tiny") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["tensor", "absolute", "relative", "required_tolerance", "tolerance", "passed"]
    assert any(line.split()[0] == "eval/activations/layer1.0.sum" and line.endswith("1e-09  yes") for line in lines)
    assert re.match(r"Passed: 97 tensors, worst \S+, which requires a tolerance of \d\.\de-1\d$", lines[-1])


def test_command_marks_tensors_without_tolerance(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "tiny", "--dtype", "float32", "--steps", 0) == 0
    lines = capsys.readouterr().out.splitlines()
    gradients = [line for line in lines if "gradients/" in line and line.startswith("train/")]
    assert all(line.endswith("–  no tolerance") for line in gradients)
    judged = sum(line.endswith("  yes") for line in lines)
    assert lines[-2].startswith(f"Passed: {judged} tensors, worst ")
    assert lines[-1].startswith(f"No tolerance: {len(gradients)} tensors, ")
    assert lines[-1].endswith("; use float64")


def test_command_exits_with_1_for_a_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch_layers, "Flatten", FlattenedChannelsLast)
    assert call(monkeypatch, "tiny", "--json", "--dtype", "float32", "--steps", 0) == 1
    shown = capsys.readouterr()
    found = json.loads(shown.out, parse_constant=pytest.fail)  # no Infinity, no NaN
    assert (found["passed"], found["first"]) == (False, "eval/activations/flatten")
    assert {row["tensor"]: row["passed"] for row in found["rows"]}["eval/activations/pool"]
    where, error = shown.err.splitlines()
    assert where == "NumPy and PyTorch, in float32 on cpu"
    assert error.startswith("Error: Different numbers of tiny in NumPy and in PyTorch: ")
