"""The trainer of the PyTorch engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glassnet.engines.records import Batch, TrainStats
from glassnet.engines.shards import TreeSum, dropout_of_batch, part_rows
from glassnet.engines.torch_averaging import TensorAverage
from glassnet.engines.torch_device import as_glassnet_error
from glassnet.engines.torch_optimizer import TorchOptimizer
from glassnet.engines.torch_parts import PartSums, sum_over_processes
from glassnet.engines.trainer import HEAD_LAYERS, Trainer, join_stats
from glassnet.recipe import Recipe

Array = NDArray[Any]


class TorchTrainer(Trainer):
    """The trainer of the PyTorch engine; ``step`` returns a tensor of shape () on the device."""

    def __init__(self, network: Any, recipe: Recipe, freeze: str | None, weights: Array | None) -> None:
        self.network, self.recipe = network, recipe
        children = dict(network.module.named_children())
        frozen = [name for name in children if freeze is not None and name not in HEAD_LAYERS]
        self.frozen = [children[name] for name in frozen]
        for name, layer in children.items():
            layer.requires_grad_(name not in frozen)
        self.parameters = {key: p for key, p in network.module.named_parameters() if p.requires_grad}
        network.module.eval()  # the first step, as the first after an evaluation, switches to training mode
        self.scaler = torch.amp.GradScaler(network.torch_device.type, enabled=network.precision == "16-mixed")
        self.shards = recipe.shards or network.processes.world_size
        self.parts = network.processes.parts(self.shards)
        layers = network.module.modules() if freeze is None else ()
        norms = [layer for layer in layers if isinstance(layer, torch.nn.BatchNorm2d)]
        self.part_sums = PartSums(self.parameters.values(), norms) if self.shards > 1 else None
        place = network.torch_device, network.torch_dtype
        self.class_weights = None if weights is None else torch.from_numpy(weights).to(*place)
        self.loss = torch.nn.CrossEntropyLoss(self.class_weights, label_smoothing=recipe.label_smoothing)
        self.optimizer = TorchOptimizer(recipe, self.parameters)
        without = tuple(f"{name}." for name in frozen)
        self.average = TensorAverage.of_module(recipe.ema, network.module, without) if recipe.ema else None
        self._reset_stats()

    def _reset_stats(self) -> None:
        # Sums stay on the device, so that no step waits for it. Apple's GPU has no float64.
        device = self.network.torch_device
        precise = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(len(self.parts), 2, dtype=precise, device=device)  # losses by weight, and weights
        self._n_correct = torch.zeros((), dtype=torch.int64, device=device)
        self._count = 0

    def _weight_of(self, targets: Tensor) -> Any:
        """Return the sum of the weights of these images' classes, or their number if classes have none."""
        weights = self.class_weights
        return len(targets) if weights is None else weights[targets.to(weights.device)].sum()

    def step(self, batch: Batch | Array, labels: Array | None = None, lr: float | None = None) -> Tensor:
        network = self.network
        if not isinstance(batch, Batch):
            batch = network._checked(batch)
            labels = network._checked_labels(np.asarray(labels), len(batch))
        if not network.module.training:
            network.module.train()
            for layer in self.frozen:
                layer.eval()
        with as_glassnet_error():
            if self.part_sums is None:
                network.module.zero_grad()
                loss = self._compute(0, *self._load_rows(batch, labels, slice(0, len(batch))))
            else:
                loss = self._compute_parts(self.part_sums, batch, labels)
        optimizer: Any = self.optimizer
        if self.recipe.clip_grad_norm is not None:
            self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.recipe.clip_grad_norm)
        self.optimizer.lr = self.recipe.lr if lr is None else lr
        self.scaler.step(optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()
        return loss

    def _compute(self, index: int, images: Tensor, targets: Tensor, total_weight: Any = None) -> Tensor:
        """Compute the loss of a part and its gradients, by the part's weight in a batch of ``total_weight``.

        :param index: the index of the part among those of this process.
        """
        logits = self.network._forward(self.network.compiled, images)
        loss: Tensor = self.loss(logits, targets)
        weight = self._weight_of(targets)
        scaled = self.scaler.scale(loss if total_weight is None else loss * (weight / total_weight))
        scaled.backward()
        loss = loss.detach()
        self._sums[index, 0] += loss * weight
        self._sums[index, 1] += weight
        self._n_correct += (logits.argmax(dim=1) == targets).sum()
        self._count += len(targets)
        return loss

    def _compute_parts(self, sums: PartSums, batch: Any, labels: Array | None) -> Tensor:
        """Compute this process's parts one after the other, and add the gradients of all processes' parts.

        :returns: the loss of this process's images, or 0 if it has none.
        """
        all_labels = batch.all_labels if labels is None else labels
        total_weight = self._weight_of(torch.from_numpy(all_labels))
        rows, total = part_rows(len(all_labels), self.shards), len(all_labels)
        sizes = [part.stop - part.start for part in rows]
        tree, before = TreeSum(self.shards), self._sums.sum(dim=0)
        shape = (total, self.parameters["fc.weight"].shape[1])
        sums.start()
        try:
            with dropout_of_batch(self.network._dropouts(), shape) as choose:
                for index, part in enumerate(self.parts):
                    value = None
                    if sizes[part]:
                        choose(rows[part])
                        self._compute(index, *self._load_rows(batch, labels, rows[part]), total_weight)
                        value = sums.pop(sizes[part] / total)
                    tree.add((part, 1), value)
        finally:
            sums.stop()
        in_order = self.network.compute.all_reduce == "tree"
        sums.apply(sum_over_processes(tree, self.network.processes, sizes, sums.vector, in_order=in_order))
        loss, weight = self._sums.sum(dim=0) - before
        mean: Tensor = loss / weight.clamp(min=1e-300)
        return mean

    def _load_rows(self, batch: Any, labels: Array | None, rows: slice) -> tuple[Tensor, Tensor]:
        """Return images and labels of these rows of a batch, on the device and in the network's dtype."""
        if labels is None:
            loaded: tuple[Tensor, Tensor] = self.network._load(batch.take(rows))
            return loaded
        images = self.network._ready(batch[rows])
        return images, torch.from_numpy(labels[rows]).to(images.device, torch.int64)

    def pop_stats(self) -> TrainStats:
        norms = {
            key: 0.0 if p.grad is None else float(torch.linalg.vector_norm(p.grad))
            for key, p in self.parameters.items()
        }
        sums, n_correct = self._sums.tolist(), int(self._n_correct)
        stats = join_stats(self.network.processes, sums, n_correct, self._count, norms)
        self._reset_stats()
        return stats

    def _optimizer_state(self) -> dict[str, Array]:
        return self.optimizer.state()

    def _load_optimizer_state(self, state: Mapping[str, Array]) -> None:
        self.optimizer.load_state(state)
