"""The spec that is nearest to the shapes of a state dict, and what about it shapes do not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from glassnet.architecture import PRESETS, ResNetSpec

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

_BLOCK = re.compile(r"layer(\d{1,4})\.(\d{1,4})\.")
_MAX_STAGES = 16  # each halves the images
_COMPARED = ("block", "blocks", "width", "stem", "shortcut", "norm", "head")


def spec_from_shapes(shapes: Shapes) -> ResNetSpec | None:
    """Return the spec whose shapes are nearest, under torchvision's keys, or None without a stem or a first block.

    Where presets and options have the same keys and shapes, this chooses what ``assumptions`` describes.

    :raises ConfigError: if no spec has such a number of channels, blocks or pixels.
    """
    blocks = _count_blocks(shapes)
    stem = next((shape for key, shape in shapes.items() if re.fullmatch(r"conv1(\.0)?\.weight", key)), ())
    first = shapes.get("layer1.0.conv1.weight", ())
    if not blocks or len(blocks) > _MAX_STAGES or len(stem) != 4 or len(first) != 4:
        return None
    is_large = stem[-1] > 3 or "conv1.weight" not in shapes  # a stem of several convolutions halves the image, too
    has_norm = any(".bn1." in key or key.startswith("bn1.") for key in shapes)
    fields: dict[str, Any] = {
        "in_channels": stem[1],
        "width": first[1],
        "blocks": blocks,
        "block": "bottleneck" if "layer1.0.conv3.weight" in shapes else "basic",
        "stem": "7x7" if is_large else "3x3",
        "norm": "batch" if has_norm else "none",
        "preactivation": has_norm and "bn1.weight" not in shapes,
    }
    if any(".downsample." in key for key in shapes):
        fields["shortcut"] = "projection"
    elif len(blocks) > 1 or fields["block"] == "bottleneck":  # a block changes the shape, and no weights do it
        fields["shortcut"] = "zero-pad"
    fields |= _head_fields(shapes, fields)

    def distance(preset: ResNetSpec) -> tuple[int, bool]:
        n_different = sum(getattr(preset, name) != fields[name] for name in _COMPARED if name in fields)
        return n_different, preset.block != fields["block"]

    return min(PRESETS.values(), key=distance).replace(**fields)


def _count_blocks(shapes: Shapes) -> tuple[int, ...]:
    """Return the number of blocks of each stage, from the first stage to the last without a gap."""
    numbers: dict[int, set[int]] = {}
    for key in shapes:
        if match := _BLOCK.match(key):
            numbers.setdefault(int(match[1]), set()).add(int(match[2]))
    stages = next((stage for stage in range(1, len(numbers) + 1) if stage not in numbers), len(numbers) + 1)
    return tuple(len(numbers[stage]) for stage in range(1, stages))


def _head_fields(shapes: Shapes, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return classes, head, pool and image size: only a flatten head fixes the size."""
    is_large = fields["stem"] == "7x7"
    weight = shapes.get("fc.weight", ())
    n_classes, n_features = weight if len(weight) == 2 else (0, 0)
    channels = fields["width"] * 2 ** (len(fields["blocks"]) - 1) * (4 if fields["block"] == "bottleneck" else 1)
    pixels = n_features // channels if n_classes and channels and n_features % channels == 0 else 0
    is_flat = pixels > 1
    has_strided_pool = "pool.conv.weight" in shapes
    pool = "stride" if has_strided_pool else "max" if is_large or is_flat else "none"
    head: dict[str, Any] = {"head": "flatten" if is_flat else "average", "pool": pool}
    if n_classes > 1:
        head["classes"] = n_classes
    if is_flat:
        height = next(side for side in range(isqrt(pixels), 0, -1) if pixels % side == 0)
        halvings = len(fields["blocks"]) - 1 + is_large + (pool != "none")
        head["image_size"] = (height * 2**halvings, pixels // height * 2**halvings)
    else:
        head["image_size"] = 224 if is_large else 32
    return head


def assumptions(spec: ResNetSpec, shapes: Shapes) -> dict[str, str]:
    """Return what the weights of a recognized spec do not say, as texts under the names of the subjects."""
    assumed = {"image_size": f"image_size {'×'.join(map(str, spec.size))}"}
    if spec.norm == "batch":
        assumed["bn_eps"] = f"bn_eps {spec.bn_eps}"
    else:
        assumed["preactivation"] = "preactivation False"
    if spec.pool != "stride":
        assumed["pool"] = f"pool {spec.pool}"
    if spec.block == "bottleneck":
        assumed["stride"] = "the stride on the 3×3 convolution of a bottleneck (v1.5)"
    if not any(".downsample." in key for key in shapes):
        changes_shape = len(spec.blocks) > 1 or spec.block == "bottleneck"
        assumed["skip"] = "skip connections" + ", zero-padded where the shape changes (option A)" * changes_shape
    if "fc.weight" not in shapes:
        assumed["classes"] = f"classes {spec.classes}, as there is no last layer"
    return assumed
