"""Names of networks that no spec describes, known by their keys and shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

# The first pattern that a key has decides.
_PATTERNS = {
    r"^layer1\.0\.conv[12]\.paths\.": "a selective kernel network (SKNet)",
    r"^layer1\.0\.se\.conv\.": "a residual network with channel attention (ECA)",
    r"^layer1\.0\.(se|se_module|fc1)\.": "a residual network with squeeze-and-excitation (SE)",
    r"^layer1\.0\.convs\.": "a Res2Net",
    r"^layer1\.0\.conv2\.(conv|fc1)\.": "a ResNeSt",
    r"^stage2\.0\.branch[12]\.": "a ShuffleNet",
    r"^conv1\.0\.": "a residual network with a stem of several convolutions (ResNet-C, -D)",
    r"^layer\d+\.0\.downsample\.2\.": "a residual network with average pooling in its shortcuts (ResNet-D)",
    r"^stages\.0\.blocks\.0\.downsample\.conv\.": "a pre-activation network of timm (ResNetV2)",
    r"block1\.layer\.0\.": "a Wide ResNet",
    r"relative_position_bias_table": "a Swin Transformer",
    r"cls_token|class_token|patch_embed": "a vision transformer",
    r"features\.denseblock1\.|encoder\.denseblock": "a DenseNet",
    r"trunk_output\.": "a RegNet",
    r"Mixed_5b\.": "an Inception network",
    r"inception3a\.": "a GoogLeNet",
    r"rbr_(dense|reparam)": "a RepVGG",
    r"layer_scale|stages\.\d+\.blocks\.\d+\.(gamma|conv_dw)": "a ConvNeXt",
    r"blocks\.\d+\.\d+\.(conv_dw|conv_pw)|features\.\d+\.\d+\.block\.": "an EfficientNet or a MobileNet",
    r"features\.\d+\.conv\.": "a MobileNet",
    r"features\.\d+\.squeeze\.": "a SqueezeNet",
    r"^features\.\d+\.weight": "a VGG or AlexNet",
}


def name_of_network(shapes: Shapes) -> str:
    """Return the kind of a network that is none of ResNetSpec, with what shows it, or an empty text if unknown."""
    for pattern, name in _PATTERNS.items():
        if key := next((key for key in shapes if re.search(pattern, key)), None):
            return f"{name}: {key[:80]}"
    return next(filter(None, (describe(shapes) for describe in _STRUCTURES)), "")


def _grouped(shapes: Shapes) -> str:
    first, second = (_shape(shapes, f"layer1.0.conv{number}.weight") for number in (1, 2))
    if not 0 < second[1] < first[0]:
        return ""
    return f"a ResNeXt: layer1.0.conv2 has {first[0] // second[1]} groups"


def _wide_bottleneck(shapes: Shapes) -> str:
    second, third = (_shape(shapes, f"layer1.0.conv{number}.weight") for number in (2, 3))
    if not third[0] or third[0] == 4 * second[0]:
        return ""
    return f"a Wide ResNet: layer1.0.conv2 has {second[0]} channels for {third[0]} of the block, not a quarter"


def _wide_basic(shapes: Shapes) -> str:
    stem, first = (_shape(shapes, f"{layer}.weight") for layer in ("conv1", "layer1.0.conv1"))
    if "layer1.0.conv3.weight" in shapes or not 0 < stem[0] < first[0]:
        return ""
    return f"a Wide ResNet: layer1 has {first[0]} channels, the stem {stem[0]}"


def _preactivation(shapes: Shapes) -> str:
    """Name pytorch-cifar's, whose shortcuts begin after the first ReLU and which does not end with BatchNorm."""
    has_bare_shortcut = "layer2.0.downsample.0.weight" in shapes and "layer2.0.downsample.1.weight" not in shapes
    is_other = has_bare_shortcut and "layer1.0.bn1.weight" in shapes and "bn.weight" not in shapes
    return "a pre-activation network without a last BatchNorm (pytorch-cifar's PreActResNet)" if is_other else ""


def _no_statistics(shapes: Shapes) -> str:
    has_others = "layer1.0.bn1.weight" in shapes and "layer1.0.bn1.running_mean" not in shapes
    return "a residual network with GroupNorm, or BatchNorm without running statistics" if has_others else ""


def _shape(shapes: Shapes, key: str) -> Shape:
    shape = shapes.get(key, ())
    return shape if len(shape) == 4 else (0, 0, 0, 0)


_STRUCTURES: tuple[Callable[[Shapes], str], ...] = (
    _grouped,
    _wide_bottleneck,
    _wide_basic,
    _preactivation,
    _no_statistics,
)
