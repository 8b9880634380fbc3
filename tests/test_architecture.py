import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn
from glassnet.architecture import (
    PRESETS,
    ResNetSpec,
    assemble,
    default_preset,
    spec,
)
from glassnet.errors import ConfigError
from glassnet.initialization import build_uninitialized
from glassnet.layer_graph import parameter_count
from glassnet.nn.kernels import layout

PARAMETERS = {
    "tiny": 2_538,
    "tiny-bn": 7_418,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}

SMALL: dict[str, Any] = {"image_size": 8, "blocks": 1, "width": 4, "classes": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "option A": {},
    "two blocks": {"blocks": 2},
    "wide": {"width": 6},
    "no norm": {"norm": "none"},
    "pre-activation": {"preactivation": True},
    "pre-activation, no norm": {"preactivation": True, "norm": "none"},
    "plain": {"skip": False},
    "projection": {"shortcut": "projection"},
    "projection, no norm": {"shortcut": "projection", "norm": "none"},
    "projection, pre-activation": {"shortcut": "projection", "preactivation": True},
    "max-pool": {"pool": "max"},
    "avg-pool": {"pool": "avg"},
    "strided convolution": {"pool": "stride"},
    "strided convolution, no norm": {"pool": "stride", "norm": "none"},
    "flatten": {"head": "flatten"},
    "flatten after max-pool": {"head": "flatten", "pool": "max"},
    "flatten after strided convolution": {"head": "flatten", "pool": "stride"},
    "dropout": {"dropout": 0.5},
    "dropout after flatten": {"dropout": 0.5, "head": "flatten"},
    "gray": {"in_channels": 1},
    "oblong": {"image_size": (8, 12), "head": "flatten"},
    "odd sizes": {"image_size": (7, 9), "head": "flatten", "pool": "stride"},
}
every_variant = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


def small(**changes: Any) -> ResNetSpec:
    return spec("resnet20", **{**SMALL, **changes})


def keys(variant: ResNetSpec) -> list[str]:
    return list(assemble(variant, nn).state_dict())


@pytest.mark.parametrize(("preset", "count"), PARAMETERS.items())
def test_parameter_counts_are_the_papers(preset: str, count: int) -> None:
    assert parameter_count(spec(preset)) == count


def test_counting_draws_nothing() -> None:
    """Drawing the weights of all presets takes a quarter of a minute."""
    network = build_uninitialized(spec("tiny"))
    assert not any(parameter.data.any() for parameter in network.parameters())


def test_every_preset_is_counted() -> None:
    assert list(PARAMETERS) == list(PRESETS)


def test_keys_of_tiny() -> None:
    assert keys(spec("tiny")) == [
        *("conv1.weight", "conv1.bias"),
        *("layer1.0.conv1.weight", "layer1.0.conv1.bias", "layer1.0.conv2.weight", "layer1.0.conv2.bias"),
        *("fc.weight", "fc.bias"),
    ]


def test_keys_of_a_norm() -> None:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert keys(spec("tiny-bn")) == [
        *("conv1.weight", *(f"bn1.{name}" for name in norm)),
        *("layer1.0.conv1.weight", *(f"layer1.0.bn1.{name}" for name in norm)),
        *("layer1.0.conv2.weight", *(f"layer1.0.bn2.{name}" for name in norm)),
        *("fc.weight", "fc.bias"),
    ]


def test_the_plain_network_has_the_residual_ones_keys() -> None:
    assert keys(spec("resnet20", skip=False)) == keys(spec("resnet20"))


@pytest.mark.parametrize("shortcut", ["zero-pad", "projection"])
def test_the_plain_network_carries_nothing_past_a_block(shortcut: str) -> None:
    blocks = [m for m in assemble(spec("resnet20", skip=False, shortcut=shortcut), nn).modules() if hasattr(m, "conv2")]
    assert len(blocks) == 9
    assert not any(hasattr(block, name) for block in blocks for name in ("shortcut", "downsample"))


def test_projection_stands_where_the_shape_changes_and_nowhere_else() -> None:
    added = set(keys(spec("resnet20", shortcut="projection"))) - set(keys(spec("resnet20")))
    assert {key.rsplit(".", 1)[0] for key in added} == {
        f"{stage}.0.downsample.{layer}" for stage in ("layer2", "layer3") for layer in (0, 1)
    }


def test_the_projection_of_preactivation_is_a_convolution_alone() -> None:
    both = keys(spec("resnet20", shortcut="projection", preactivation=True))
    assert [key for key in both if "downsample" in key] == [f"layer{stage}.0.downsample.0.weight" for stage in (2, 3)]


def test_preactivation_normalizes_before_each_convolution_and_at_the_end() -> None:
    network = assemble(spec("resnet20", preactivation=True), nn)
    assert [name for name, _ in network.named_children()] == [
        *("conv1", "layer1", "layer2", "layer3", "bn", "relu", "avgpool", "flatten", "fc")
    ]
    block = next(network.layer2.modules()).named_children()
    assert [name for name, _ in dict(block)["0"].named_children()] == [
        *("bn1", "relu1", "conv1", "bn2", "relu2", "conv2", "shortcut")
    ]
    assert network.bn.num_features == 64


def test_without_norm_every_convolution_has_a_bias_and_nothing_is_tracked() -> None:
    bare = keys(spec("resnet20", norm="none", shortcut="projection"))
    assert all(key.endswith(("weight", "bias")) for key in bare)
    assert not any("bn" in key or "downsample.1" in key for key in bare)
    weights = [key for key in bare if key.endswith("weight")]
    assert all(key.replace("weight", "bias") in bare for key in weights)
    assert not any("conv" in key and key.endswith("bias") for key in keys(spec("resnet20")))


def test_the_head_in_its_order() -> None:
    network = assemble(small(pool="avg", dropout=0.25), nn)
    tail = [name for name, _ in network.named_children()][-5:]
    assert tail == ["pool", "avgpool", "flatten", "dropout", "fc"]
    assert network.dropout.p == 0.25
    assert not hasattr(assemble(small(), nn), "dropout")
    assert isinstance(assemble(small(pool="max"), nn).pool, nn.MaxPool2d)
    assert isinstance(assemble(small(pool="avg"), nn).pool, nn.AvgPool2d)
    strided = assemble(small(pool="stride"), nn).pool
    assert strided.conv.window.stride == (2, 2)


@pytest.mark.parametrize(("shortcut", "kind"), [("zero-pad", nn.ZeroPadShortcut), ("projection", nn.Sequential)])
def test_only_the_first_block_of_a_later_stage_strides(shortcut: str, kind: type) -> None:
    network = assemble(spec("resnet20", shortcut=shortcut), nn)
    for name, module in network.named_modules():
        if isinstance(module, nn.Residual):
            strides = name in ("layer2.0", "layer3.0")
            assert module.conv1.window.stride == ((2, 2) if strides else (1, 1))
            assert module.conv2.window.stride == (1, 1)
            own = module.downsample if hasattr(module, "downsample") else module.shortcut
            assert type(own) is (kind if strides else nn.Identity)


@every_variant
def test_every_variant_runs_both_ways(changes: dict[str, Any]) -> None:
    variant = small(**changes)
    network = assemble(variant, nn)
    x = layout.channels_last(
        np.random.default_rng(0).standard_normal((3, variant.in_channels, *variant.size)).astype(np.float32)
    )
    logits = network(x)
    assert logits.shape == (3, variant.classes)
    dx = network.backward(np.random.default_rng(1).standard_normal(logits.shape).astype(np.float32))
    assert dx.shape == x.shape
    assert np.abs(dx).max() > 0
    for name, parameter in network.named_parameters():
        assert np.isfinite(parameter.grad).all(), name
        assert np.abs(parameter.grad).max() > 0, name


# ImageNet's networks need more than two values per channel in the last stage, and are as deep but thinner here.
NETWORKS = {
    name: preset.replace(image_size=8) if preset.stem == "3x3" else preset.replace(image_size=64, width=4, classes=10)
    for name, preset in PRESETS.items()
}
NETWORKS |= {name: small(**changes) for name, changes in VARIANTS.items()}


@pytest.mark.parametrize("variant", NETWORKS.values(), ids=NETWORKS)
def test_every_array_is_channels_last_both_ways(variant: ResNetSpec) -> None:
    built = gn.build(variant)
    network, names = built.module, built.activation_names  # initial weights loaded, as a training starts
    x = layout.channels_last(
        np.random.default_rng(0).standard_normal((2, variant.in_channels, *variant.size)).astype(np.float32)
    )
    seen: dict[str, list[str]] = {"forward": [], "backward": []}

    def watch(way: str) -> nn.module.Hook:
        def look(name: str, *arrays: np.ndarray) -> None:
            seen[way].append(name)
            for array in arrays:
                assert array.dtype == np.float32, f"{name}, {way}: {array.dtype}"
                if array.ndim == 4:
                    assert layout.is_channels_last(array), f"{name}, {way}: strides {array.strides} of {array.shape}"

        return look

    with nn.module_hooks(network, names, forward=watch("forward"), backward=watch("backward")):
        logits = network(x)
        dx = network.backward(np.ones_like(logits) * np.arange(variant.classes, dtype=np.float32))
    assert sorted(seen["forward"]) == sorted(seen["backward"]) == sorted(names)
    assert layout.is_channels_last(dx)
    for name, parameter in network.named_parameters():
        if parameter.data.ndim == 4:
            assert layout.is_channels_last(parameter.data), name
            assert layout.is_channels_last(parameter.grad), name


def test_replace_changes_a_copy() -> None:
    first = spec("resnet20")
    second = first.replace(width=8, norm="none")
    assert (second.width, second.norm, second.preset) == (8, "none", "resnet20")
    assert first == spec("resnet20")
    assert first != second


def test_one_number_of_blocks_counts_for_every_stage() -> None:
    assert spec("resnet20", blocks=2).blocks == (2, 2, 2)
    assert spec("tiny", blocks=2).blocks == (2,)
    assert spec("resnet20", blocks=(1, 2)).channels == (16, 32)


def test_numpys_numbers_become_pythons() -> None:
    made = spec(
        "resnet20", classes=np.int64(4), blocks=np.int32(2), image_size=np.array([16, 16]), dropout=np.float32(0)
    )
    assert made == spec("resnet20", classes=4, blocks=2, image_size=16)
    numbers = [made.classes, *made.blocks, made.image_size, made.dropout]
    assert {type(number) for number in numbers} == {int, float}


def test_equal_sides_are_one_number() -> None:
    assert spec("tiny", image_size=(8, 8)) == spec("tiny", image_size=8) == spec("tiny")
    assert spec("tiny", image_size=(8, 6)).size == (8, 6)


@every_variant
def test_a_spec_survives_json(changes: dict[str, Any]) -> None:
    variant = small(**changes)
    again = ResNetSpec(**json.loads(json.dumps(dataclasses.asdict(variant))))
    assert again == variant
    assert type(again.blocks) is tuple


def test_the_preset_for_a_size() -> None:
    assert [default_preset(size) for size in ((8, 8), (16, 16), (8, 17), (32, 32))] == [
        *("tiny", "tiny", "resnet20", "resnet20")
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnet21", "model must be one of tiny, tiny-bn, resnet20"),
        ("tinybn", "Got 'tinybn'; did you mean 'tiny-bn'?"),
        ("vgg", "model must be one of tiny, tiny-bn, resnet20"),
    ],
)
def test_an_unknown_model(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        spec(name)


def test_an_unknown_field() -> None:
    with pytest.raises(ConfigError, match="model field must be one of preset, .* Got 'widht'; did you mean 'width'"):
        spec("tiny", widht=3)


COUNT = "must be an integer of at least 1. Got "
SIZE = "must be an integer or a (height, width) pair of integers of at least 1. Got "
BLOCKS = "must be a list of integers of at least 1. Got "
BAD_VALUES = [
    *[("in_channels", value, COUNT) for value in (0, -1, True, "3", 1.0, None, (1,), [1])],
    *[("width", value, COUNT) for value in (0, True, "8", 8.0, (8, 8))],
    *[("classes", value, "must be an integer of at least 2. Got ") for value in (1, 0, True, "10", 10.0)],
    *[("image_size", value, SIZE) for value in (0, True, "8", 8.0, None, (8,), (8, 8, 8), (8, 0), (8.5, 8), ("8", 8))],
    *[("blocks", value, BLOCKS) for value in ((), True, "12", 2.5, None, (0,), (1, True), (1, "a"), (1.0,), 0)],
    *[("norm", value, "must be one of 'batch', 'none'. Got ") for value in ("layer", None, 1)],
    *[("skip", value, "must be True or False. Got ") for value in ("no", None, 2)],
    ("preactivation", "yes", "must be True or False. Got "),
    ("shortcut", "B", "must be one of 'zero-pad', 'projection'. Got "),
    ("pool", "mean", "must be one of 'none', 'max', 'avg', 'stride'. Got "),
    ("head", "linear", "must be one of 'average', 'flatten'. Got "),
    *[
        ("dropout", value, "must be a finite number of at least 0 and below 1. Got ")
        for value in (1, 1.0, -0.1, float("nan"), True, False, "0.5", None)
    ],
]


@pytest.mark.parametrize(("field", "value", "allowed"), BAD_VALUES)
def test_a_bad_value_is_named_with_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{field} {allowed}")):
        spec("tiny", **{field: value})


@pytest.mark.parametrize(
    ("name", "fields"),
    [("tiny", {"image_size": 1}), ("tiny", {"image_size": (8, 1)}), ("resnet20", {"image_size": 4, "pool": "max"})],
)
def test_spec_is_refused_when_made_if_its_pool_finds_no_window(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"image_size must be larger for this model, whose pool needs 2×2\. Got "):
        spec(name, **fields)


def test_batch_norm_takes_eps_and_momentum_from_the_spec() -> None:
    network = assemble(spec("resnet20", bn_eps=1e-3, bn_momentum=None), nn)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, None)}
    assert len(norms) == 19
