from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet.architecture import PRESETS, ResNetSpec
from glassnet.errors import ConfigError, DataError
from glassnet.foreign_keys import to_own_keys
from glassnet.progress import Progress
from glassnet.recognition import Recognition, describe_spec, recognize_state, state_shapes
from glassnet.weights import load_weights, save_tensors

torch = pytest.importorskip("torch")

from tests.recognition.other_projects import (  # noqa: E402  # it needs torch
    TransformersResNet,
    akamaster,
    chenyaofo,
    kuangliu,
    randomize,
)

FILE = Path("nowhere/weights.pth")
State = dict[str, Any]


class Log(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + key: tensor for key, tensor in state.items()}


def of_lightning(state: State) -> State:
    """Return the checkpoint of a Lightning module with the network as ``net``, a weighted loss and a metric."""
    other = {"criterion.weight": torch.ones(10), "accuracy.tp": torch.zeros(10, dtype=torch.int64)}
    weights = OrderedDict(prefixed("net.")(state) | other)
    return {"epoch": 3, "pytorch-lightning_version": "2.5.0", "state_dict": weights, "hyper_parameters": {"lr": 0.1}}


KUANGLIU = {"stem": "3x3", "pool": "none", "image_size": 32, "classes": 10}

# project → (its network, narrower than the original; how it is saved; the spec that must be found)
CHECKPOINTS: dict[str, tuple[Callable[[], Any], Callable[[State], Any], ResNetSpec]] = {
    "kuangliu ResNet18": (
        lambda: kuangliu((2, 2, 2, 2), width=8),
        lambda state: {"net": prefixed("module.")(state), "acc": np.float64(95.4), "epoch": 199},
        gn.spec("resnet18", width=8, **KUANGLIU),
    ),
    "kuangliu ResNet50": (
        lambda: kuangliu((3, 4, 6, 3), "bottleneck", width=2),
        lambda state: {"net": state, "acc": 95.4, "epoch": 199},
        gn.spec("resnet50", width=2, **KUANGLIU),
    ),
    "akamaster resnet20": (
        lambda: akamaster((3, 3, 3)),
        lambda state: {"state_dict": prefixed("module.")(state), "best_prec1": torch.tensor(91.7)},
        gn.spec("resnet20"),
    ),
    "akamaster resnet56": (lambda: akamaster((9, 9, 9), width=4), prefixed("module."), gn.spec("resnet56", width=4)),
    "chenyaofo cifar10_resnet20": (lambda: chenyaofo((3, 3, 3)), dict, gn.spec("resnet20", shortcut="projection")),
    "chenyaofo cifar100_resnet32": (
        lambda: chenyaofo((5, 5, 5), classes=100, width=4),
        dict,
        gn.spec("resnet32", width=4, classes=100, shortcut="projection"),
    ),
    "Hugging Face resnet-18": (
        lambda: TransformersResNet((2, 2, 2, 2), "basic", width=8, classes=12),
        dict,
        gn.spec("resnet18", width=8, classes=12),
    ),
    "Hugging Face resnet-50": (
        lambda: TransformersResNet((3, 4, 6, 3), "bottleneck", width=4, classes=12),
        dict,
        gn.spec("resnet50", width=4, classes=12),
    ),
    "Lightning": (
        lambda: chenyaofo((3, 3, 3), width=8),
        of_lightning,
        gn.spec("resnet20", width=8, shortcut="projection"),
    ),
    "Lightning with torch.compile": (
        lambda: kuangliu((2, 2, 2, 2), width=4),
        lambda state: {"state_dict": prefixed("model._orig_mod.")(state)},
        gn.spec("resnet18", width=4, **KUANGLIU),
    ),
    "{'model': ...}": (
        lambda: akamaster((1, 1, 1), width=4),
        lambda s: {"model": s},
        gn.spec("resnet20", width=4, blocks=1),
    ),
    "{'model_state_dict': ...}": (
        lambda: akamaster((2, 2, 2), width=4),
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        gn.spec("resnet20", width=4, blocks=2),
    ),
}


@pytest.mark.parametrize(("make", "save", "spec"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_recognize_finds_the_spec_whose_logits_are_the_projects(
    make: Callable[[], Any], save: Callable[[State], Any], spec: ResNetSpec, tmp_path: Path
) -> None:
    theirs, path = randomize(make()), tmp_path / "weights.pth"
    torch.save(save(dict(theirs.state_dict())), path)
    assert gn.recognize(path, Progress()) == spec
    network = gn.build(spec, dtype="float64")
    network.load_state_dict(load_weights(path))
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64) if spec.stem == "7x7" else (2, 3, 32, 32))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(network.logits(images), expected, rtol=0, atol=1e-11 * abs(expected).max())


def zeros(spec: ResNetSpec) -> dict[str, Any]:
    """Return a state dict of the spec whose arrays take no memory."""
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in state_shapes(spec).items()}


def zeros_of(make: Callable[[], Any]) -> dict[str, Any]:
    """Return a state dict of another project's network under glassnet's keys, whose arrays take no memory."""
    with torch.device("meta"):
        state = make().state_dict()
    own = to_own_keys(FILE, state)
    return {own[key]: np.broadcast_to(np.float32(0), tuple(tensor.shape)) for key, tensor in state.items()}


TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
ORIGINALS: dict[str, tuple[Callable[[], Any], ResNetSpec]] = {
    **{
        f"pytorch-cifar ResNet{number}": (
            partial(kuangliu, PRESETS[f"resnet{number}"].blocks, PRESETS[f"resnet{number}"].block),
            gn.spec(f"resnet{number}", **KUANGLIU),
        )
        for number in (18, 34, 50, 101, 152)
    },
    **{
        f"Transformers resnet-{number}": (
            partial(TransformersResNet, PRESETS[f"resnet{number}"].blocks, PRESETS[f"resnet{number}"].block),
            gn.spec(f"resnet{number}"),
        )
        for number in (18, 34, 50, 101, 152)
    },
    **{
        f"pytorch_resnet_cifar10 resnet{number}": (
            partial(akamaster, PRESETS[f"resnet{number}"].blocks),
            gn.spec(f"resnet{number}"),
        )
        for number in (20, 32, 44, 56, 110)
    },
    "pytorch-cifar-models cifar10_resnet20": (
        partial(chenyaofo, (3, 3, 3)),
        gn.spec("resnet20", shortcut="projection"),
    ),
    **{
        f"pytorch-cifar-models cifar100_resnet{number}": (
            partial(chenyaofo, PRESETS[f"resnet{number}"].blocks, 100),
            gn.spec(f"resnet{number}", classes=100, shortcut="projection"),
        )
        for number in (20, 32, 44, 56)
    },
}


@pytest.mark.parametrize(("make", "spec"), ORIGINALS.values(), ids=ORIGINALS)
def test_recognize_finds_the_spec_of_the_original_size(make: Callable[[], Any], spec: ResNetSpec) -> None:
    assert recognize_state(FILE, zeros_of(make)).spec == spec


def test_the_documentation_has_the_specs_that_are_tested() -> None:
    page = (Path(__file__).parents[2] / "docs/weights.md").read_text(encoding="utf-8")
    section = page.partition("## What is found")[2].partition("## What is assumed")[0]
    rows = dict(re.findall(r"^\| (.*) \| (.*) \|$", section, flags=re.MULTILINE))
    of_torchvision = {f"torchvision {name}": name for name in TORCHVISION}
    expected = of_torchvision | {name: describe_spec(spec) for name, (_, spec) in ORIGINALS.items()}
    assert rows == {"checkpoint": "spec"} | expected


@pytest.mark.filterwarnings("ignore:Failed to load image Python extension")
@pytest.mark.parametrize("name", TORCHVISION)
def test_recognize_finds_the_spec_of_torchvision(torchvision_models: Any, name: str) -> None:
    assert recognize_state(FILE, zeros_of(getattr(torchvision_models, name))).spec == gn.spec(name)


@pytest.mark.filterwarnings("ignore:Failed to load image Python extension")
def test_recognize_finds_torchvisions_logits(torchvision_models: Any, tmp_path: Path) -> None:
    theirs, path = randomize(torchvision_models.resnet18(num_classes=7)), tmp_path / "resnet18-f37072fd.pth"
    torch.save(theirs.state_dict(), path)
    spec = gn.recognize(path, Progress())
    assert spec == gn.spec("resnet18", classes=7)
    network = gn.build(spec, dtype="float64")
    network.load_state_dict(load_weights(path))
    images = np.random.default_rng(0).normal(size=(1, 3, 64, 64))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(network.logits(images), expected, rtol=0, atol=1e-11 * abs(expected).max())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.builds(
        dict,
        in_channels=st.integers(1, 4),
        image_size=st.one_of(st.integers(16, 40), st.tuples(st.integers(16, 40), st.integers(16, 40))),
        classes=st.integers(2, 12),
        width=st.integers(1, 8),
        blocks=st.lists(st.integers(1, 3), min_size=1, max_size=4),
        block=st.sampled_from(["basic", "bottleneck"]),
        stem=st.sampled_from(["3x3", "7x7"]),
        norm=st.sampled_from(["batch", "none"]),
        preactivation=st.booleans(),
        skip=st.booleans(),
        shortcut=st.sampled_from(["zero-pad", "projection"]),
        pool=st.sampled_from(["none", "max", "avg", "stride"]),
        head=st.sampled_from(["average", "flatten"]),
    )
)
def test_recognize_finds_a_spec_of_the_same_shapes_for_any_spec(fields: dict[str, Any]) -> None:
    try:
        spec = ResNetSpec(**fields)
    except ConfigError:
        return
    found = recognize_state(FILE, zeros(spec)).spec
    assert state_shapes(found) == state_shapes(spec)
    told = ("in_channels", "classes", "width", "blocks", "block", "stem", "norm")
    assert {name: getattr(found, name) for name in told} == {name: getattr(spec, name) for name in told}
    assert spec.norm == "none" or found.preactivation == spec.preactivation
    assert found.preset in PRESETS


@pytest.mark.parametrize(
    "spec",
    [*PRESETS.values(), gn.spec("resnet50", blocks=2), gn.spec("resnet20", width=32), gn.spec("tiny-bn", classes=3)],
    ids=describe_spec,
)
def test_recognize_finds_the_preset_that_is_nearest(spec: ResNetSpec) -> None:
    assert recognize_state(FILE, zeros(spec)).spec == spec


def test_recognize_says_what_it_assumes(tmp_path: Path) -> None:
    path, log = tmp_path / "weights.safetensors", Log()
    save_tensors(path, zeros(gn.spec("resnet50", width=2, classes=37)))
    gn.recognize(path, log)
    assert log.lines == [
        f"{path} has the weights of resnet50 with classes 37, width 2. Assumed, as the weights do not say: image_size "
        "224×224; bn_eps 1e-05; pool max; the stride on the 3×3 convolution of a bottleneck (v1.5)"
    ]


@pytest.mark.parametrize(
    ("spec", "assumed"),
    [
        (PRESETS["tiny"], "image_size 8×8; preactivation False; pool max; skip connections"),
        (
            PRESETS["resnet20"],
            "image_size 32×32; bn_eps 1e-05; pool none; "
            "skip connections, zero-padded where the shape changes (option A)",
        ),
        (PRESETS["resnet18"].replace(pool="stride"), "image_size 224×224; bn_eps 1e-05"),
    ],
)
def test_recognize_assumes_what_two_specs_of_the_same_shapes_differ_in(spec: ResNetSpec, assumed: str) -> None:
    assert "; ".join(recognize_state(FILE, zeros(spec)).assumptions) == assumed


def test_recognize_assumes_classes_without_a_head() -> None:
    backbone = {key: array for key, array in zeros(gn.spec("resnet18", classes=5)).items() if not key.startswith("fc.")}
    recognition = recognize_state(FILE, backbone)
    assert recognition.spec == gn.spec("resnet18")
    assert recognition.assumptions[-1] == "classes 1000, as there is no last layer"


def test_recognize_takes_the_spec_of_a_run_from_its_configuration(tmp_path: Path) -> None:
    spec = gn.spec("resnet20", bn_eps=1e-3, skip=False, width=2, image_size=20)
    config = {"format": 3, "spec": spec.to_dict()}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    path = tmp_path / "last.safetensors"
    assert recognize_state(path, zeros(spec)) == Recognition(path, spec)
    other = gn.spec("resnet20", width=4)  # a file of another run
    assert recognize_state(path, zeros(other)).spec == other


def told(state: dict[str, Any], path: Path = FILE, **options: Any) -> str:
    """Return the text of the error for weights that no spec describes."""
    with pytest.raises(DataError) as caught:
        recognize_state(path, state, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    return text


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda models: models.resnext50_32x4d,
            "Got a ResNeXt: layer1.0.conv2 has 32 groups. Beside the nearest spec, resnet50, it has 176 wrongly "
            "shaped, such as layer1.0.conv1.weight (128, 64, 1, 1) instead of (64, 64, 1, 1), layer1.0.bn1.weight "
            "(128,) instead of (64,), layer1.0.bn1.bias (128,) instead of (64,).",
        ),
        (
            lambda models: models.wide_resnet50_2,
            "Got a Wide ResNet: layer1.0.conv2 has 128 channels for 256 of the block, not a quarter. Beside the "
            "nearest spec, resnet50, it has 176 wrongly shaped, such as ",
        ),
        (lambda models: models.vgg11, "Got a VGG or AlexNet: features.0.weight, in 22 tensors."),
        (lambda models: models.vit_b_32, "Got a vision transformer: class_token, in 152 tensors."),
        (lambda models: models.densenet121, "Got a DenseNet: features.denseblock1.denselayer1.norm1.weight, in 727 "),
    ],
    ids=["resnext", "wide", "vgg", "vit", "densenet"],
)
@pytest.mark.filterwarnings("ignore:Failed to load image Python extension")
def test_recognize_names_other_networks_of_torchvision(
    torchvision_models: Any, make: Callable[[Any], Any], expected: str
) -> None:
    text = told(zeros_of(make(torchvision_models)))
    assert text.startswith(f"{FILE} must hold a network that a ResNetSpec describes. {expected}")


def changed(spec: ResNetSpec, **shapes: tuple[int, ...]) -> dict[str, Any]:
    """Return zeros of a spec with further or other arrays, whose keys have __ for a full stop."""
    arrays = {key.replace("__", "."): np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    return {key: array for key, array in {**zeros(spec), **arrays}.items() if array.ndim != 5}


REMOVED = (1,) * 5
RESNET18 = PRESETS["resnet18"]


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (changed(RESNET18, layer1__0__se__fc1__weight=(4, 64, 1, 1)), "a residual network with squeeze-and-excitation"),
        (changed(RESNET18, layer1__0__se__conv__weight=(1, 1, 3)), "a residual network with channel attention (ECA)"),
        (
            changed(RESNET18, conv1__weight=REMOVED, conv1__0__weight=(32, 3, 3, 3)),
            "a residual network with a stem of several convolutions (ResNet-C, -D): conv1.0.weight.",
        ),
        (
            changed(RESNET18, layer2__0__downsample__2__weight=(128,)),
            "a residual network with average pooling in its shortcuts (ResNet-D)",
        ),
        (
            changed(RESNET18.replace(preactivation=True), bn__weight=REMOVED),
            "a pre-activation network without a last BatchNorm (pytorch-cifar's PreActResNet)",
        ),
        (
            changed(RESNET18, layer1__0__bn1__running_mean=REMOVED),
            "a residual network with GroupNorm, or BatchNorm without running statistics",
        ),
        (
            changed(
                PRESETS["resnet20"],
                layer1__0__conv1__weight=(160, 16, 3, 3),
                layer1__0__conv2__weight=(160, 160, 3, 3),
            ),
            "a Wide ResNet: layer1 has 160 channels, the stem 16. Beside the nearest spec, resnet20, it has 2 wrongly ",
        ),
        (
            changed(PRESETS["resnet50"], layer1__0__conv2__weight=(64, 2, 3, 3)),
            "a ResNeXt: layer1.0.conv2 has 32 groups. Beside the nearest spec, resnet50, it has 1 wrongly shaped: ",
        ),
        (
            changed(
                PRESETS["resnet50"],
                layer1__0__conv1__weight=(128, 64, 1, 1),
                layer1__0__conv2__weight=(128, 128, 3, 3),
                layer1__0__conv3__weight=(256, 128, 1, 1),
            ),
            "a Wide ResNet: layer1.0.conv2 has 128 channels for 256 of the block, not a quarter. Beside the nearest ",
        ),
        (changed(RESNET18, conv1__bias=(64,)), "another one. Beside the nearest spec, resnet18, it has 1 unexpected: "),
        (
            changed(RESNET18, fc__bias=REMOVED),
            "another one. Beside the nearest spec, resnet18, it has 1 missing: fc.bias",
        ),
        (
            changed(RESNET18, fc__weight=(1, 512), fc__bias=(1,)),
            "another one. Beside the nearest spec, resnet18, it has 2 ",
        ),
        ({"a" * 900: np.zeros(1)}, f"1 tensor: {'a' * 80!r}..."),
        ({}, "0 tensors"),
    ],
    ids=[
        *("SE", "ECA", "deep stem", "ResNet-D", "PreAct", "GroupNorm", "WRN", "ResNeXt", "wide bottleneck"),
        "bias",
        "no bias",
        "1 class",
        "?",
        "empty",
    ],
)
def test_recognize_names_what_no_spec_has(state: dict[str, Any], name: str) -> None:
    assert told(state).startswith(f"{FILE} must hold a network that a ResNetSpec describes. Got {name}")


@pytest.mark.parametrize(
    "state",
    [
        {"conv1.weight": np.zeros((0, 3, 3, 3)), "layer1.0.conv1.weight": np.zeros((0, 0, 3, 3))},
        {"conv1.weight": np.zeros((4, 0, 3, 3)), "layer1.0.conv1.weight": np.zeros((4, 4, 3, 3))},
        {"conv1.weight": np.zeros(3), "layer1.0.conv1.weight": np.zeros(2)},
        {
            "conv1.weight": np.zeros((4, 3, 3, 3)),
            "layer1.0.conv1.weight": np.zeros((4, 4, 3, 3)),
            "fc.weight": np.zeros(4),
        },
        {f"layer{stage}.0.conv1.weight": np.zeros((4, 4, 3, 3)) for stage in range(1, 60)}
        | {"conv1.weight": np.zeros((4, 3, 3, 3))},
        {
            "conv1.weight": np.zeros((4, 3, 3, 3)),
            "layer1.0.conv1.weight": np.zeros((4, 4, 3, 3)),
            "layer9999.9999.x": np.zeros(1),
        },
        {
            "conv1.weight": np.zeros((4, 3, 3, 3)),
            "layer1.0.conv1.weight": np.zeros((4, 4, 3, 3)),
            "fc.weight": np.zeros((0, 4 * (2**59 - 55)), np.int8),
        },
    ],
)
def test_recognize_refuses_hostile_shapes_in_one_line(state: dict[str, Any]) -> None:
    told(state)


def test_recognize_lets_the_last_layer_be_any_for_initial_weights() -> None:
    for head in ({"fc__weight": (1, 512), "fc__bias": (1,)}, {"fc__weight": REMOVED}, {"fc__0__weight": (9, 512)}):
        assert recognize_state(FILE, changed(RESNET18, **head), as_backbone=True).spec.replace(classes=1000) == RESNET18


def beside(folder: Path, **config: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder / "model.safetensors"


def test_recognize_respects_a_configuration_of_transformers(tmp_path: Path) -> None:
    config = {"model_type": "resnet", "depths": [3, 4, 6, 3], "layer_type": "bottleneck", "hidden_act": "relu"}
    config |= {"downsample_in_first_stage": False, "downsample_in_bottleneck": False}
    state = zeros(PRESETS["resnet50"])
    recognition = recognize_state(beside(tmp_path, **config), state)
    assert recognition.spec == PRESETS["resnet50"]
    assert recognition.assumptions == ("image_size 224×224", "bn_eps 1e-05")
    older = beside(tmp_path, model_type="resnet", depths=[3, 4, 6, 3])  # without the fields of later versions
    assert recognize_state(older, state) == Recognition(older, recognition.spec, recognition.assumptions)
    one_stage = zeros(gn.spec("resnet18", blocks=(2,)))  # without a projection, but known to have skip connections
    recognition = recognize_state(beside(tmp_path, model_type="resnet", depths=[2]), one_stage)
    assert recognition.assumptions == ("image_size 224×224", "bn_eps 1e-05")
    for name, value, effect in (
        ("downsample_in_bottleneck", True, "the stride is on the first 1×1 convolution of a bottleneck (v1)"),
        ("downsample_in_first_stage", True, "the first stage halves the images"),
        ("hidden_act", "gelu", "the activation is another one"),
    ):
        path = beside(tmp_path, **{**config, name: value})
        assert told(state, path).endswith(f"Got {name} {value} in {tmp_path / 'config.json'}: {effect}.")
        assert recognize_state(path, zeros(RESNET18)).spec == RESNET18  # the configuration is of another network


def test_recognize_respects_a_configuration_of_timm(tmp_path: Path) -> None:
    config = {"architecture": "resnet50", "pretrained_cfg": {"input_size": [3, 176, 160]}}
    recognition = recognize_state(beside(tmp_path, **config), zeros(PRESETS["resnet50"]))
    assert recognition.spec == gn.spec("resnet50", image_size=(176, 160))
    assert recognition.assumptions == ("bn_eps 1e-05",)
    path = beside(tmp_path, architecture="resnetaa50")
    expected = "Got resnetaa50, which pools before it halves the images (anti-aliasing)."
    assert told(zeros(PRESETS["resnet50"]), path).endswith(expected)
    assert told(zeros(PRESETS["resnet50"]), tmp_path / "other/resnetaa50_a1h-4cf422b3.pth").endswith(expected)


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[]", b"[" * 100_000, b'{"format": 3, "spec": {"width": -1}}', b'{"pretrained_cfg": 3}']
)
def test_recognize_ignores_a_damaged_configuration(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert recognize_state(tmp_path / "model.safetensors", zeros(RESNET18)).spec == RESNET18
