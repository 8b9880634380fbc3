"""Residual networks: the spec, the table of presets, and the layers that a spec stands for.

No other module decides which layers a network has. ``assemble`` composes them from a namespace of layers, and works
with that of any engine.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

from glassnet.errors import ConfigError, choice_error
from glassnet.settings import Settings, invalid, setting


@dataclass(frozen=True)
class ResNetSpec(Settings):
    """A residual network, as numbers and choices. Equal specs are equal networks.

    :raises ConfigError: if a field is out of its range, or the network could not run on images of its size.
    """

    title: ClassVar[str] = "model"
    default_source: ClassVar[str | None] = "the preset's"

    preset: str = setting("custom", "Preset that the model is, or was made from; it chooses the default recipe.")
    in_channels: int = setting(3, "Number of channels of the images.", minimum=1)
    image_size: int | tuple[int, int] = setting(
        32,
        "Height and width of the images, in pixels.",
        minimum=1,
        form="an integer or a (height, width) pair of integers of at least 1",
    )
    classes: int = setting(10, "Number of classes.", minimum=2)
    width: int = setting(
        16, "Number of channels of the stem and the first stage; each further stage doubles it.", minimum=1
    )
    blocks: tuple[int, ...] = setting(
        (3, 3, 3), "Number of residual blocks of each stage; one number means all stages.", minimum=1
    )
    block: Literal["basic", "bottleneck"] = setting(
        "basic", "Residual block: two 3×3 convolutions, or 1×1, 3×3, 1×1 with four times the channels."
    )
    stem: Literal["3x3", "7x7"] = setting("3x3", "First convolution: 3×3, or 7×7 with stride 2, followed by --pool.")
    norm: Literal["batch", "none"] = setting("batch", "Normalization: BatchNorm; none gives convolutions biases.")
    bn_eps: float = setting(1e-5, "Number that BatchNorm adds to each variance.", above=0)
    bn_momentum: float | None = setting(
        0.1,
        "Weight of the newest batch in BatchNorm's running statistics.",
        minimum=0,
        below=1,
    )
    preactivation: bool = setting(False, "Normalize and rectify before each convolution (He et al. 2016).")
    skip: bool = setting(True, "Use skip connections; without them: the plain network.")
    shortcut: Literal["zero-pad", "projection"] = setting(
        "zero-pad", "Shortcut where the shape changes: option A or option B of He et al. 2015."
    )
    pool: Literal["none", "max", "avg", "stride"] = setting(
        "none", "Layer that halves the images before the head, or after a 7×7 stem; stride is a convolution."
    )
    head: Literal["average", "flatten"] = setting("average", "Head: the mean of each channel, or all pixels.")
    dropout: float = setting(0.0, "Dropout probability before the last layer.", minimum=0, below=1)
    zero_init: bool = setting(
        False, "Start each block as its shortcut: its last BatchNorm has weight 0 (Goyal et al. 2017)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size[0] == self.size[1]:
            object.__setattr__(self, "image_size", self.size[0])

    def check(self) -> None:
        """Check that the network can run on images of its size.

        :raises ConfigError: if two fields exclude each other, or the images are too small.
        """
        if not self.blocks:
            raise invalid("blocks", "a list of integers of at least 1", self.blocks)
        if self.zero_init and (self.norm != "batch" or self.preactivation):
            raise ConfigError("zero_init must be False without norm='batch' or with preactivation. Got True.")
        if min(self.head_input_size) < 1:
            raise ConfigError(f"image_size must be larger for this model, whose pool needs 2×2. Got {self.image_size}.")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage's 3×3 convolutions."""
        return tuple(self.width * 2**stage for stage in range(len(self.blocks)))

    @property
    def expansion(self) -> int:
        """Factor between the channels of a stage's 3×3 convolutions and those of its output."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def head_input_size(self) -> tuple[int, int]:
        """(height, width) of the feature maps that reach the head."""
        # A convolution of stride 2, and a pool whose windows overlap, round up; the 2×2 pool rounds down.
        rounds_down = self.stem == "3x3" and self.pool in ("max", "avg")
        halvings = len(self.blocks) - 1 + (self.stem == "7x7") + (self.pool != "none" and not rounds_down)
        height, width = (-(-length // 2**halvings) for length in self.size)
        return (height // 2, width // 2) if rounds_down else (height, width)

    def replace(self, **changes: Any) -> Self:
        """Return a changed copy; ``blocks=2`` means two blocks in every stage.

        :raises ConfigError: if a name is no field, or a value is out of its range.
        """
        if isinstance(changes.get("blocks"), Integral):
            changes["blocks"] = (changes["blocks"],) * len(self.blocks)
        return super().replace(**changes)


def _digits(preset: str, width: int, norm: Literal["batch", "none"]) -> ResNetSpec:
    """Return a spec of the tutorial's size: one stage on 8×8 gray images, then a 2×2 pool and a flatten head."""
    return ResNetSpec(preset, 1, 8, 10, width, (1,), norm=norm, pool="max", head="flatten")


def _cifar(preset: str, blocks: int) -> ResNetSpec:
    """He et al. 2015, sec. 4.2: three stages of n blocks, 6n + 2 layers, option A shortcuts."""
    return ResNetSpec(preset, 3, 32, 10, 16, (blocks,) * 3)


def _imagenet(preset: str, block: str, *blocks: int) -> ResNetSpec:
    """He et al. 2015, table 1, with torchvision's keys: option B shortcuts, a bottleneck's stride on its 3×3."""
    layout: dict[str, Any] = {"block": block, "stem": "7x7", "shortcut": "projection", "pool": "max"}
    return ResNetSpec(preset, 3, 224, 1000, 64, blocks, **layout)


PRESETS: dict[str, ResNetSpec] = {
    "tiny": _digits("tiny", 8, norm="none"),
    "tiny-bn": _digits("tiny-bn", 16, norm="batch"),
    "resnet20": _cifar("resnet20", 3),
    "resnet32": _cifar("resnet32", 5),
    "resnet44": _cifar("resnet44", 7),
    "resnet56": _cifar("resnet56", 9),
    "resnet110": _cifar("resnet110", 18),
    "resnet18": _imagenet("resnet18", "basic", 2, 2, 2, 2),
    "resnet34": _imagenet("resnet34", "basic", 3, 4, 6, 3),
    "resnet50": _imagenet("resnet50", "bottleneck", 3, 4, 6, 3),
    "resnet101": _imagenet("resnet101", "bottleneck", 3, 4, 23, 3),
    "resnet152": _imagenet("resnet152", "bottleneck", 3, 8, 36, 3),
}


def default_preset(size: tuple[int, int]) -> str:
    """Return the name of the preset for images of (height, width) if none was given."""
    return "tiny" if max(size) <= 16 else "resnet20"


def spec(name: str, **changes: Any) -> ResNetSpec:
    """Return the spec of a preset, changed by field: ``spec("resnet20", classes=4)``.

    :raises ConfigError: if the preset or a field is unknown, or a value is out of its range.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise choice_error("model", PRESETS, name)
    return PRESETS[name].replace(**changes)


def assemble(spec: ResNetSpec, nn: Any) -> Any:
    """Return the network of ``spec``, an ``nn.Sequential`` of named children from (N, C, H, W) to logits (N, classes).

    ``nn`` is ``glassnet.nn`` or another namespace with torch.nn's names and ours.
    """
    large = spec.stem == "7x7"
    stem = _convolution(spec, nn, spec.in_channels, spec.width, stride=2 if large else 1, kernel_size=7 if large else 3)
    layers: dict[str, Any] = {"conv1": stem}
    # Pre-activation: the stem is a convolution alone, and BN + ReLU close the last stage (He et al. 2016, fig. 5).
    if not spec.preactivation:
        layers |= _normalization(spec, nn, "bn1", spec.width) | {"relu": nn.ReLU()}
    if large:
        layers |= _pool(spec, nn, spec.width, kernel_size=3)
    before = spec.width
    for stage, (count, channels) in enumerate(zip(spec.blocks, spec.channels, strict=True), start=1):
        blocks = {}
        for number in range(count):
            stride = 2 if stage > 1 and number == 0 else 1
            blocks[str(number)] = _block(spec, nn, before, channels, stride)
            before = channels * spec.expansion
        layers[f"layer{stage}"] = _sequential(nn, blocks)
    if spec.preactivation:
        layers |= _normalization(spec, nn, "bn", before) | {"relu": nn.ReLU()}
    if not large:
        layers |= _pool(spec, nn, before, kernel_size=2)
    return _sequential(nn, layers | _head(spec, nn, before))


def _sequential(nn: Any, layers: dict[str, Any]) -> Any:
    return nn.Sequential(OrderedDict(layers))


def _convolution(spec: ResNetSpec, nn: Any, before: int, channels: int, stride: int = 1, kernel_size: int = 3) -> Any:
    return nn.Conv2d(
        before, channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=spec.norm == "none"
    )  # BatchNorm has a bias of its own


def _normalization(spec: ResNetSpec, nn: Any, name: str, channels: int) -> dict[str, Any]:
    return {name: nn.BatchNorm2d(channels, spec.bn_eps, spec.bn_momentum)} if spec.norm == "batch" else {}


def _block(spec: ResNetSpec, nn: Any, before: int, channels: int, stride: int) -> Any:
    """Return a residual block (He et al. 2015, fig. 5; pre-activation: He et al. 2016, fig. 1b)."""
    after = channels * spec.expansion
    if spec.block == "basic":
        convolutions = [(before, channels, stride, 3), (channels, channels, 1, 3)]
    else:  # the paper strides in the first 1×1, torchvision, and we, in the 3×3
        convolutions = [(before, channels, 1, 1), (channels, channels, stride, 3), (channels, after, 1, 1)]
    body: dict[str, Any] = {}
    for number, (channels_in, channels_out, step, kernel_size) in enumerate(convolutions, start=1):
        convolution = {f"conv{number}": _convolution(spec, nn, channels_in, channels_out, step, kernel_size)}
        relu = {f"relu{number}": nn.ReLU()}
        if spec.preactivation:
            body |= _normalization(spec, nn, f"bn{number}", channels_in) | relu | convolution
        else:
            last = number == len(convolutions)  # the block's own ReLU comes after the sum
            body |= convolution | _normalization(spec, nn, f"bn{number}", channels_out) | ({} if last else relu)
    shortcut = _shortcut(spec, nn, before, after, stride) if spec.skip else None
    return nn.Residual(_sequential(nn, body), shortcut, None if spec.preactivation else nn.ReLU())


def _shortcut(spec: ResNetSpec, nn: Any, before: int, channels: int, stride: int) -> Any:
    if before == channels and stride == 1:
        return nn.Identity()
    if spec.shortcut == "zero-pad":
        return nn.ZeroPadShortcut(before, channels, stride)
    projection = {"0": _convolution(spec, nn, before, channels, stride, kernel_size=1)}
    if not spec.preactivation:  # there the shortcut stays free of anything but the projection
        projection |= _normalization(spec, nn, "1", channels)
    return _sequential(nn, projection)


def _pool(spec: ResNetSpec, nn: Any, channels: int, kernel_size: int) -> dict[str, Any]:
    """Return the pooling layer, which halves the image: windows of 2 side by side, or of 3 that overlap."""
    if spec.pool == "none":
        return {}
    if spec.pool == "stride":  # Springenberg et al. 2015: a convolution learns what the pool would do
        convolution = {"conv": _convolution(spec, nn, channels, channels, stride=2)}
        layers = convolution | _normalization(spec, nn, "bn", channels) | {"relu": nn.ReLU()}
        return {"pool": _sequential(nn, layers)}
    kind = nn.MaxPool2d if spec.pool == "max" else nn.AvgPool2d
    return {"pool": kind(kernel_size, stride=2, padding=(kernel_size - 1) // 2)}


def _head(spec: ResNetSpec, nn: Any, channels: int) -> dict[str, Any]:
    layers: dict[str, Any] = {"avgpool": nn.AdaptiveAvgPool2d(1)} if spec.head == "average" else {}
    layers["flatten"] = nn.Flatten()
    if spec.dropout:
        layers["dropout"] = nn.Dropout(spec.dropout)
    features = channels if spec.head == "average" else channels * prod(spec.head_input_size)
    return layers | {"fc": nn.Linear(features, spec.classes)}
