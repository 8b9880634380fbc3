"""Speed of each layer of a network under the limits of the machine: a table, and a page with a roofline.

    python benchmarks/roofline.py [PAGE] [MODEL [BATCH_SIZE [ROUNDS]]]

Times every distinct convolution, normalization and ReLU of the model (resnet20, batch 128), forward, and forward with
backward, in the NumPy engine, in plain NumPy and in PyTorch, and a convolution's matrix products alone, on all cores;
all take turns. Operations count what any implementation needs: a multiply-add is two, and the first layer of a network
needs no gradient with respect to the images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from machine_peak import copy_bandwidth, matrix_product_peak
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import glassnet as gn
from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.bench.machine import describe_machine
from glassnet.bench.timing import Quartiles, TimedTask, time_interleaved
from glassnet.bench.torch_backend import TorchBackend
from glassnet.engines import torch_layers
from glassnet.engines.threads import limit_blas_threads
from glassnet.initialization import build_uninitialized
from glassnet.nn import functional
from glassnet.nn.kernels import Kernels
from glassnet.nn.kernels.array_pool import ArrayPool
from glassnet.nn.kernels.layout import channels_last
from glassnet.pages.colours import TEST, TEXT, TRAIN, VALIDATION
from glassnet.pages.page import Page, Section, Table, write_page
from glassnet.pages.theme import BUTTONS_HEIGHT, TITLE_HEIGHT, buttons, new_figure
from glassnet.resources import usable_cores

Array = NDArray[Any]

PASSES = ("forward", "forward and backward")
STYLES = {"NumPy fast": (TRAIN, "circle"), "NumPy plain": (VALIDATION, "square-open"), "PyTorch": (TEST, "diamond")}


@dataclass(frozen=True)
class OperationCount:
    """Floating-point operations, and the bytes that must be read or written at least once, in float32."""

    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class LayerTask:
    """One layer of a network; ``kind`` is its name in ``glassnet.nn``."""

    kind: str
    batch_size: int
    in_shape: tuple[int, int, int]  # (C, H, W)
    out_shape: tuple[int, int, int]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    is_first: bool = False

    @property
    def name(self) -> str:
        C, H, W = self.in_shape
        stride = "" if self.arguments.get("stride", 1) == 1 else f", stride {self.arguments['stride']}"
        channels = f"{C}→{self.out_shape[0]}" if self.kind == "Conv2d" else f"{C}"
        return f"{self.kind} {channels}, {H}×{W}{stride}"

    def make(self, namespace: Any) -> Any:
        return getattr(namespace, self.kind)(**self.arguments)

    def state(self) -> dict[str, Array]:
        """Return weights and buffers in float32, none of them 0 or 1."""
        rng = np.random.default_rng(0)
        state: dict[str, Array] = self.make(nn).state_dict()
        for key, array in state.items():
            if array.dtype == np.float32:
                scale = 1 / np.sqrt(prod(array.shape[1:]))
                values = rng.uniform(0.5, 1.5, array.shape) if array.ndim == 1 else rng.normal(0, scale, array.shape)
                state[key] = values.astype(np.float32)
        return state

    def arrays(self) -> tuple[Array, Array]:
        """Return x (N, C, H, W), and dy of y's shape, in float32."""
        rng = np.random.default_rng(1)
        shapes = [(self.batch_size, *shape) for shape in (self.in_shape, self.out_shape)]
        return rng.standard_normal(shapes[0], np.float32), rng.standard_normal(shapes[1], np.float32)

    @property
    def gemm(self) -> tuple[int, int, int]:
        """A convolution's matrix product: N·Ho·Wo rows, each C·k·k long, by out_channels columns."""
        out_channels, Ho, Wo = self.out_shape
        return self.batch_size * Ho * Wo, self.in_shape[0] * self.arguments["kernel_size"] ** 2, out_channels

    def count(self) -> dict[str, OperationCount]:
        """Return the operations of each pass."""
        x, y = (4 * self.batch_size * prod(shape) for shape in (self.in_shape, self.out_shape))
        if self.kind == "Conv2d":
            flops, weight = 2 * prod(self.gemm), 4 * self.gemm[1] * self.gemm[2]
            gradients = 1 if self.is_first else 2
            forward, backward = (flops, x + weight + y), (gradients * flops, gradients * (x + weight) + y)
        else:
            # BatchNorm: a mean, a variance and γ·x̂ + β there; two sums and (dy − … − x̂·…)·… back. ReLU: a comparison.
            flops = (7 if self.kind == "BatchNorm2d" else 1) * self.batch_size * prod(self.in_shape)
            forward, backward = (flops, x + y), (flops, 2 * x + y)
        both = (a + b for a, b in zip(forward, backward, strict=True))
        return dict(zip(PASSES, (OperationCount(*forward), OperationCount(*both)), strict=True))


def distinct_layers(spec: ResNetSpec, batch_size: int) -> list[LayerTask]:
    """Return the convolutions, normalizations and ReLUs of a network in forward order, each kind and size once."""
    network = build_uninitialized(spec).eval()
    modules = dict(network.named_modules())
    layers: list[LayerTask] = []

    def save_output(name: str, x: Array, y: Array) -> None:
        module = modules[name]
        arguments: dict[str, Any] = {}
        if isinstance(module, nn.Conv2d):
            names = ("in_channels", "out_channels")
            window = module.window
            arguments = {argument: getattr(module, argument) for argument in names} | {
                "kernel_size": window.kernel_size[0],
                "stride": window.stride[0],
                "padding": window.padding[0][0],
                "bias": module.bias is not None,
            }
        elif isinstance(module, nn.BatchNorm2d):
            arguments = {"num_features": module.num_features}
        layer = LayerTask(type(module).__name__, batch_size, x.shape[1:], y.shape[1:], arguments, is_first=not layers)
        if layer not in layers:
            layers.append(layer)

    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
    names = [name for name, module in modules.items() if isinstance(module, kinds)]
    with nn.module_hooks(network, names, forward=save_output):
        network(np.zeros((1, spec.in_channels, *spec.size), np.float32))
    return layers


# Each of these returns the two passes of a layer as functions, and the limit of threads under which they run.

Prepared = tuple[Callable[[], Any], Callable[[], Any], Callable[[], AbstractContextManager[None]]]


def prepare_module(task: LayerTask, layer: Any, arrays: tuple[Array, Array], limits: Any) -> Prepared:
    layer.load_state_dict(task.state())
    x, dy = arrays

    def both() -> None:
        layer(x)
        layer.backward_params(dy) if task.is_first else layer.backward(dy)

    return lambda: layer(x), both, limits


def prepare_fast(task: LayerTask, threads: int) -> Prepared:
    layer = task.make(nn)
    layer.use_kernels(Kernels(threads, ArrayPool()))
    x, dy = map(channels_last, task.arrays())
    return prepare_module(task, layer, (x, dy), limit_blas_threads)


def prepare_plain(task: LayerTask, threads: int) -> Prepared:
    return prepare_module(
        task, task.make(nn).use_kernels(functional), task.arrays(), lambda: threadpool_limits(threads, user_api="blas")
    )


def prepare_torch(task: LayerTask, threads: int) -> Prepared:
    layer = task.make(torch_layers).to(memory_format=torch.channels_last)
    layer.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in task.state().items()})
    x, dy = (torch.from_numpy(a).contiguous(memory_format=torch.channels_last) for a in task.arrays())
    x.requires_grad_(not task.is_first)
    wanted = [*([] if task.is_first else [x]), *layer.parameters()]
    return lambda: layer(x), lambda: torch.autograd.grad(layer(x), wanted, dy), TorchBackend(threads).thread_limits


def prepare_gemm(task: LayerTask, threads: int) -> Prepared:
    """Prepare a convolution's products alone, on columns that exist already: the limit of any engine with im2col."""
    rng = np.random.default_rng(0)
    M, K, N = task.gemm
    columns, weight, dy = (rng.standard_normal(shape, np.float32) for shape in ((M, K), (K, N), (M, N)))
    y, dweight, dcolumns = np.empty_like(dy), np.empty((N, K), np.float32), np.empty_like(columns)

    def both() -> None:
        np.matmul(columns, weight, out=y)
        np.matmul(dy.T, columns, out=dweight)
        if not task.is_first:
            np.matmul(dy, weight.T, out=dcolumns)

    return lambda: np.matmul(columns, weight, out=y), both, lambda: threadpool_limits(threads, user_api="blas")


PREPARE = {
    "NumPy fast": prepare_fast,
    "NumPy plain": prepare_plain,
    "PyTorch": prepare_torch,
    "bare GEMM": prepare_gemm,
}


Speeds = dict[tuple[str, str], float]  # FLOP/s by implementation and pass


def measure(task: LayerTask, threads: int, rounds: int) -> Speeds:
    """Time one layer in all implementations."""
    tasks = {}
    for name, prepare in PREPARE.items():
        if name != "bare GEMM" or task.kind == "Conv2d":
            *runs, limits = prepare(task, threads)
            tasks |= {(name, key): TimedTask(limits, run, dict) for key, run in zip(PASSES, runs, strict=True)}
    times = time_interleaved(tasks, rounds)
    return {key: task.count()[key[1]].flops / Quartiles.of(seconds).median for key, seconds in times.items()}


def table(layers: Sequence[tuple[LayerTask, Speeds]], peak: float) -> Table:
    rows = [
        [
            task.name,
            key,
            f"{task.count()[key].intensity:.2g}",
            *(f"{speeds[name, key] / 1e9:.3g}" if (name, key) in speeds else "–" for name in PREPARE),
            f"{speeds['NumPy fast', key] / peak:.0%}",
        ]
        for task, speeds in layers
        for key in PASSES
    ]
    columns = ["layer", "pass", "FLOP/byte", *(f"{name} GFLOP/s" for name in PREPARE), "fast ÷ peak"]
    return Table("Layers", columns, rows, nowrap=True)


def roofline_figure(layers: Sequence[tuple[LayerTask, Speeds]], peak: float, bandwidth: float) -> go.Figure:
    """Draw the speed of each layer over its arithmetic intensity, below the machine's limits (Williams, Waterman &
    Patterson 2009)."""
    figure = new_figure(
        "Roofline of the layers",
        caption=(
            "The marks of a layer stand above each other, further right the more it computes with each byte. Left of "
            "the bend memory is the limit, right of it arithmetic. A mark above the slanted line found its numbers in "
            "a cache."
        ),
        alt=(
            f"Scatter chart with logarithmic axes: {len(layers)} layers below a slanted limit of "
            f"{bandwidth / 1e9:.0f} GB/s and a level one of {peak / 1e9:.0f} GFLOP/s."
        ),
        height=TITLE_HEIGHT + BUTTONS_HEIGHT + 540,
        margin={"t": TITLE_HEIGHT + BUTTONS_HEIGHT, "b": 136, "l": 60},
    )
    intensities = [task.count()[key].intensity for task, _ in layers for key in PASSES]
    x = np.array([min(intensities) / 2, peak / bandwidth, max(intensities) * 2])
    limit = {"color": TEXT, "width": 1.5}
    name = f"{peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.0f} GB/s"
    figure.add_scatter(x=x, y=np.minimum(peak, x * bandwidth) / 1e9, mode="lines", line=limit, name=name)
    for key in PASSES:
        for implementation, (colour, symbol) in STYLES.items():
            figure.add_scatter(
                x=[task.count()[key].intensity for task, _ in layers],
                y=[speeds[implementation, key] / 1e9 for _, speeds in layers],
                text=[task.name for task, _ in layers],
                name=implementation,
                mode="markers",
                marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.5, "color": colour}},
                hovertemplate="%{text}<br>%{y:.3g} GFLOP/s at %{x:.3g} for each byte<extra></extra>",
                visible=key == PASSES[0],
            )
    shown = {key: [True] + [key == other for other in PASSES for _ in STYLES] for key in PASSES}
    choices = {key.capitalize(): {"visible": visible} for key, visible in shown.items()}
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"}
    figure.update_layout(updatemenus=buttons("restyle", choices), legend=legend)
    figure.update_xaxes(type="log", title_text="floating-point operations for each byte", dtick=1, tickformat="~g")
    figure.update_yaxes(type="log", title_text="GFLOP/s", dtick=1, tickformat="~g")
    return figure


def main(page: str = "roofline.html", model: str = "resnet20", batch_size: int = 128, rounds: int = 7) -> None:
    threads = usable_cores()
    peak = max(matrix_product_peak(1), matrix_product_peak(threads))
    bandwidth = copy_bandwidth(threads)
    layers = []
    for task in distinct_layers(gn.spec(model), batch_size):
        print(task.name, file=sys.stderr)
        layers.append((task, measure(task, threads, rounds)))
    machine = Table("Machine", ["Name", "Value"], [[name, str(value)] for name, value in describe_machine().items()])
    sections = [
        Section("Roofline", [roofline_figure(layers, peak, bandwidth)]),
        Section("Layers", [table(layers, peak)]),
        Section("Machine", [machine]),
    ]
    key_figures = [("Matrix product", f"{peak / 1e9:.0f} GFLOP/s"), ("Copying memory", f"{bandwidth / 1e9:.1f} GB/s")]
    summary = [f"Medians of {rounds} rounds of {model}, batch {batch_size}, {threads} threads."]
    print(write_page(Page(f"Layers of {model} below the machine's limits", key_figures, summary, sections), Path(page)))


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
