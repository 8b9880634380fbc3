"""torchvision's own ResNet as a port: hooks and autograd give every tensor of a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .torch_port import Arrays, Case


@contextmanager
def outputs_of(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of all layers and blocks by glassnet's names, while the network runs inside the context."""
    outputs: dict[str, Tensor] = {}

    def name_of(path: str) -> str:
        """Return glassnet's name: a block calls its ReLU twice, and the ImageNet stem's pool is ``pool``."""
        if path.endswith(".relu") and f"{path}1" not in outputs:
            return f"{path}1"
        return "pool" if path == "maxpool" else path

    def save(path: str, output: Tensor) -> Tensor:
        """Keep an output, and hand on a copy: a block adds its shortcut in place to what its last BatchNorm returns."""
        if output.requires_grad:
            output.retain_grad()
        outputs[name_of(path)] = output
        return output.clone()

    skipped = (nn.Sequential, nn.Identity)
    layers = [(path, layer) for path, layer in network.named_modules() if path and not isinstance(layer, skipped)]
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output, path=path: save(path, output))
        for path, layer in layers
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def run(case: Case, network: nn.Module) -> Arrays:
    """Return the dump of both passes of a torchvision ResNet with the state of a bundle."""
    network.to(case.dtype).load_state_dict(case.group("inputs/state/"))
    for layer in network.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    inputs = case.group("inputs/")
    network.eval()
    with torch.no_grad(), outputs_of(network) as outputs:
        network(inputs["images"])
    dump: dict[str, Any] = {f"eval/activations/{name}": output for name, output in outputs.items()}
    network.train()
    with outputs_of(network) as outputs:
        loss = nn.functional.cross_entropy(
            network(inputs["images"]), inputs["labels"], label_smoothing=case.recipe["label_smoothing"]
        )
    loss.backward()
    dump["train/loss"] = loss
    for name, output in outputs.items():
        dump[f"train/activations/{name}"] = output
        dump[f"train/activation_gradients/{name}"] = output.grad
    dump |= {f"train/buffers/{key}": buffer for key, buffer in network.named_buffers()}
    dump |= {f"train/gradients/{key}": parameter.grad for key, parameter in network.named_parameters()}
    return {name: np.array(tensor.detach().numpy()) for name, tensor in dump.items() if tensor is not None}
