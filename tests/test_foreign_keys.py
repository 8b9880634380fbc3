from pathlib import Path

import pytest

from glassnet.errors import DataError
from glassnet.foreign_keys import to_own_keys

FILE = Path("weights.pth")
BLOCK = ["conv1.weight", "layer1.0.conv1.weight", "fc.weight"]


def own(*keys: str) -> list[str]:
    """Return glassnet's names of the keys, in order."""
    return list(to_own_keys(FILE, keys).values())


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.",
        "net.",
        "model._orig_mod.",
        "learner.model.module.",
        "_fsdp_wrapped_module.",
    ],
)
def test_to_own_keys_drops_the_prefix_of_a_wrapper(prefix: str) -> None:
    assert own(*(prefix + key for key in BLOCK)) == BLOCK


def test_to_own_keys_drops_wrappers_inside_a_network() -> None:
    assert own("layer1.0._orig_mod.conv1.weight", "layer1._checkpoint_wrapped_module.0.bn1.bias") == [
        "layer1.0.conv1.weight",
        "layer1.0.bn1.bias",
    ]


@pytest.mark.parametrize(
    "head",
    [
        *("fc", "linear", "classifier", "classifier.1", "head.fc", "head", "last_linear", "fc.1"),
        *("model.classifier.1", "model.net.fc", "model.net.linear"),
    ],
)
def test_to_own_keys_calls_the_last_layer_fc(head: str) -> None:
    keys = ["model.net.conv1.weight", "model.net.layer1.0.conv1.weight", f"{head}.weight", f"{head}.bias"]
    assert own(*keys) == ["conv1.weight", "layer1.0.conv1.weight", "fc.weight", "fc.bias"]


def test_to_own_keys_keeps_the_names_of_several_last_layers() -> None:
    assert own("layer1.0.conv1.weight", "fc.0.weight", "fc.2.weight")[1:] == ["fc.0.weight", "fc.2.weight"]


def test_to_own_keys_leaves_out_the_last_layer_of_another_network() -> None:
    keys = ["net.layer1.0.conv1.weight", "net.classifier.weight", "teacher.classifier.weight"]
    assert to_own_keys(FILE, keys) == {keys[0]: "layer1.0.conv1.weight", keys[1]: "fc.weight"}
    assert to_own_keys(FILE, [keys[0], keys[2]]) == {keys[0]: "layer1.0.conv1.weight"}


def test_to_own_keys_leaves_out_what_is_beside_the_network() -> None:
    keys = ["net.layer1.0.conv1.weight", "net.fc.weight", "criterion.weight", "accuracy.tp", "nets.x"]
    assert to_own_keys(FILE, keys) == {keys[0]: "layer1.0.conv1.weight", keys[1]: "fc.weight"}


def test_to_own_keys_keeps_what_it_does_not_know_inside_the_network() -> None:
    assert own("net.layer1.0.conv1.weight", "net.layer1.0.se.fc1.weight")[1] == "layer1.0.se.fc1.weight"


def test_to_own_keys_renames_the_layers_of_hugging_face() -> None:
    statistic = "normalization.running_mean"
    names = {
        "resnet.embedder.embedder.convolution.weight": "conv1.weight",
        f"resnet.embedder.embedder.{statistic}": "bn1.running_mean",
        "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight": "layer1.0.conv1.weight",
        f"resnet.encoder.stages.2.layers.11.layer.2.{statistic}": "layer3.11.bn3.running_mean",
        "resnet.encoder.stages.3.layers.0.shortcut.convolution.weight": "layer4.0.downsample.0.weight",
        f"resnet.encoder.stages.3.layers.0.shortcut.{statistic}": "layer4.0.downsample.1.running_mean",
        "classifier.1.weight": "fc.weight",
        "classifier.1.bias": "fc.bias",
    }
    assert to_own_keys(FILE, names) == names
    alone = {key.removeprefix("resnet."): name for key, name in names.items() if "classifier" not in key}
    assert to_own_keys(FILE, alone) == alone  # ResNetModel


def test_to_own_keys_raises_for_two_networks() -> None:
    told = "weights.pth must hold one network. Got 2, whose keys begin with 'student.', 'teacher.'."
    with pytest.raises(DataError, match=f"^{told}$"):
        own("student.layer1.0.conv1.weight", "teacher.layer1.0.conv1.weight")


@pytest.mark.parametrize(
    "key", ["", ".", "layer1.0.", "encoder.stages.0.layers.0.", f"encoder.stages.{'9' * 9999}.layers."]
)
def test_to_own_keys_returns_a_name_for_any_key(key: str) -> None:
    assert list(to_own_keys(FILE, [key])) == [key]
