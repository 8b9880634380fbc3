"""The keys of other projects' residual networks as torchvision's, which are glassnet's.

The names were read in the sources of torchvision, timm, Hugging Face Transformers (``ResNetForImageClassification``),
pytorch-cifar (kuangliu), pytorch_resnet_cifar10 (akamaster) and pytorch-cifar-models (chenyaofo).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from glassnet.errors import DataError

# torch.compile and FSDP wrap any module and put a name before its keys, DataParallel wraps a whole network.
_WRAPPER = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PARALLEL = re.compile(r"^(?:module\.)+")
_FIRST_BLOCK = re.compile(r"(|.*?\.)(?:layer1\.0|encoder\.stages\.0\.layers\.0)\.")
_HEAD = re.compile(r"(|.*?\.)((?:fc|linear|classifier|head|last_linear|logits)(?:\.(?:fc|\d+))?)\.(weight|bias)")


def to_own_keys(path: Path, keys: Iterable[str]) -> dict[str, str]:
    """Return glassnet's name for each key of the file, without the keys of what is beside a residual network.

    Lightning's and other wrappers have the network under a prefix, such as ``model.`` or ``net.``. The prefix is that
    of the first block. The last layer may be outside it; other tensors outside it, such as those of metrics, are left
    out. In a file without a first block all keys remain.

    :raises DataError: if there are several networks.
    """
    bare = {key: _PARALLEL.sub("", _WRAPPER.sub("", key)) for key in keys}
    prefixes = sorted({match[1] for key in bare.values() if (match := _FIRST_BLOCK.match(key))})
    if len(prefixes) > 1:
        shown = ", ".join(repr(prefix[:40]) for prefix in prefixes[:3])
        raise DataError(f"{path} must hold one network. Got {len(prefixes)}, whose keys begin with {shown}.")
    if not prefixes:
        return {key: _rename(name) for key, name in bare.items()}
    prefix = prefixes[0]
    heads = {name: match for name in bare.values() if (match := _HEAD.fullmatch(name)) and prefix.startswith(match[1])}
    has_one_head = len({match[1] + match[2] for match in heads.values()}) == 1
    own = {}
    for key, name in bare.items():
        if has_one_head and name in heads:
            own[key] = f"fc.{heads[name][3]}"
        elif name.startswith(prefix):
            own[key] = _rename(name.removeprefix(prefix))
    return own


def _rename(key: str) -> str:
    """Return the name of a layer of pytorch-cifar's or Transformers' networks as torchvision has it."""
    key = f"fc.{key.removeprefix('linear.')}" if key.startswith("linear.") else key
    key = key.replace("embedder.embedder.convolution.", "conv1.").replace("embedder.embedder.normalization.", "bn1.")
    key = re.sub(r"^encoder\.stages\.(\d{1,4})\.layers\.", lambda match: f"layer{int(match[1]) + 1}.", key)
    key = re.sub(r"\.layer\.(\d{1,4})\.convolution\.", lambda match: f".conv{int(match[1]) + 1}.", key)
    key = re.sub(r"\.layer\.(\d{1,4})\.normalization\.", lambda match: f".bn{int(match[1]) + 1}.", key)
    key = key.replace(".shortcut.convolution.", ".downsample.0.").replace(".shortcut.normalization.", ".downsample.1.")
    return key.replace(".shortcut.", ".downsample.")
