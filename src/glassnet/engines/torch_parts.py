"""Parts of a batch in the PyTorch engine: gradients and batch statistics of each in one vector, added along a tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed

from glassnet.engines.process_group import ProcessGroup, partner_errors
from glassnet.engines.shards import TreeSum, nodes_of


class PartSums:
    """The gradients of a part, and the mean and unbiased variance of each BatchNorm layer, in one ``vector``.

    Within a step the parameters' ``grad`` and the layers' running statistics are views of the vector. With a momentum
    of 1 a layer's running statistics are those of the part. The layers' own are updated once a step.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], norms: Iterable[torch.nn.BatchNorm2d]) -> None:
        """Allocate the vector.

        :param norms: the layers that are in training mode.
        """
        self.parameters, self.norms = list(parameters), list(norms)
        self._momenta = [norm.momentum for norm in self.norms]
        self._buffers = [dict(norm.named_buffers()) for norm in self.norms]
        statistics = [buffers[name] for buffers in self._buffers for name in ("running_mean", "running_var")]
        tensors: list[Tensor] = [*self.parameters, *statistics]
        self.vector = torch.zeros(sum(map(torch.numel, tensors)), dtype=tensors[0].dtype, device=tensors[0].device)
        offsets = torch.tensor([0, *map(torch.numel, tensors)]).cumsum(0).tolist()
        # Views in the memory order of the parameters. By ``data`` each counts its own changes: autograd would refuse a
        # backward pass after a change of what BatchNorm saved for it, and counts changes of a view as those of all.
        views = [
            self.vector.data.as_strided(tensor.shape, tensor.stride(), offset)
            for tensor, offset in zip(tensors, offsets, strict=False)
        ]
        self.statistics = self.vector[offsets[len(self.parameters)] :]
        self._gradients, moments = views[: len(self.parameters)], views[len(self.parameters) :]
        self._moments = list(zip(moments[::2], moments[1::2], strict=True))

    def start(self) -> None:
        """Let the next backward passes and BatchNorm layers fill the vector."""
        self.vector.zero_()
        for parameter, gradient in zip(self.parameters, self._gradients, strict=True):
            parameter.grad = gradient
        for norm, (mean, var) in zip(self.norms, self._moments, strict=True):
            norm.momentum = 1.0
            norm._buffers.update(running_mean=mean, running_var=var, num_batches_tracked=None)

    def pop(self, image_fraction: float) -> Tensor:
        """Return the gradients of a part, and its statistics by its fraction of the batch's images; zero the vector."""
        self.statistics *= image_fraction
        value = self.vector.clone()
        self.vector.zero_()
        return value

    def stop(self) -> None:
        """Give the BatchNorm layers their own running statistics back."""
        for norm, momentum, buffers in zip(self.norms, self._momenta, self._buffers, strict=True):
            norm.momentum = momentum
            norm._buffers.update(buffers)

    @torch.no_grad()
    def apply(self, total: Tensor) -> None:
        """Take the sums of all parts: as gradients, and for one update of the running statistics."""
        self.vector.copy_(total)
        for norm, (mean, var) in zip(self.norms, self._moments, strict=True):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked += 1
            momentum = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
            norm.running_var.mul_(1 - momentum).add_(var, alpha=momentum)


def sum_over_processes(
    tree: TreeSum, group: ProcessGroup, sizes: Sequence[int], like: Tensor, *, in_order: bool
) -> Tensor:
    """Return the sum of all processes' parts.

    :param tree: the sums of this process's parts.
    :param sizes: number of images of each part of the batch.
    :param like: a vector of the shape of the sums.
    :param in_order: whether to add along the tree, which has the same bits on any number of processes, or by an
        all-reduce, which is faster.
    :raises PartnerError: if the exchange failed.
    """
    if group.world_size == 1:
        return tree.total  # type: ignore[no-any-return]
    if not in_order:
        vectors = [value for value in tree.nodes.values() if value is not None]
        total = sum(vectors[1:], vectors[0]) if vectors else torch.zeros_like(like)
        with partner_errors():
            distributed.all_reduce(total)
        return total
    layouts = [nodes_of(group.parts_of(rank, len(sizes)), sizes) for rank in range(group.world_size)]
    n_rows = max(sum(layout.values()) for layout in layouts)
    vectors = [value for value in tree.nodes.values() if value is not None]
    vectors += [torch.zeros_like(like)] * (n_rows - len(vectors))
    received = [like.new_empty(n_rows * len(like)) for _ in layouts]
    with partner_errors():
        distributed.all_gather(received, torch.cat(vectors) if n_rows > 1 else vectors[0])
    whole = TreeSum(len(sizes))
    for layout, rows in zip(layouts, received, strict=True):
        values = iter(torch.split(rows, len(like)))
        for node, has_images in layout.items():
            whole.add(node, next(values) if has_images else None)
    return whole.total  # type: ignore[no-any-return]
