"""Exported networks in ONNX Runtime: the largest difference of their logits from ours, and their speed beside ours.

    python benchmarks/onnx_export.py accuracy
    python benchmarks/onnx_export.py speed [ROUNDS]

``accuracy`` exports every preset with random weights of three seeds (ImageNet's with images of 64×64), and 50 random
specs, checks each file with ONNX's checker, and prints the largest difference of a logit relative to the largest
|logit|. ``speed`` measures the NumPy engine, the PyTorch engine and ONNX Runtime in turn, from uint8 images to logits:
processor time of one thread each, which other work on the machine disturbs less than the time on the clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from math import ceil
from time import process_time
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

import glassnet as gn
from glassnet.architecture import PRESETS
from glassnet.bench.machine import describe_machine
from glassnet.bench.timing import MIN_RUN_TIME, Quartiles
from glassnet.data import Normalization
from glassnet.exporting.onnx_graph import OPSET, onnx_graph
from glassnet.exporting.verification import Verification, import_runtime, verify
from glassnet.initialization import initial_state_dict
from glassnet.verify.golden import GoldenCase

SEEDS = (0, 1, 2)
SPECS = 50
IMAGES = 8
TIMED = (("tiny-bn", 1), ("tiny-bn", 64), ("resnet20", 1), ("resnet20", 128), ("resnet18", 1), ("resnet18", 8))

Array = NDArray[Any]


def main(what: str, rounds: int = 7) -> None:
    print_accuracy() if what == "accuracy" else print_speed(rounds)
    versions = ", ".join(f"{name} {version(name)}" for name in ("onnx", "onnxruntime", "torch", "numpy"))
    print(f"\n{describe_machine()['processor']}, {describe_machine()['cores']} cores, {versions}.")


def print_accuracy() -> None:
    print("| model | initial weights | random weights and statistics | largest logit |")
    print("|---|---|---|---|")
    for name in PRESETS:
        spec = gn.spec(name, image_size=64) if PRESETS[name].stem == "7x7" else gn.spec(name)
        states = [initial_state_dict(spec, seed) for seed in SEEDS], [random_state(spec, seed) for seed in SEEDS]
        initial, random = ([verified(spec, state) for state in part] for part in states)
        worst = [max(result.difference for result in results) for results in (initial, random)]
        logit = max(result.largest_logit for result in (*initial, *random))
        print(f"| `{name}` | {worst[0]:.1e} | {worst[1]:.1e} | {logit:.2g} |", flush=True)
    differences = [verified(spec, random_state(spec, 0)).difference for spec in random_specs(SPECS)]
    print(f"| {SPECS} random specs | | {max(differences):.1e} | median {np.median(differences):.1e} |")


def print_speed(rounds: int) -> None:
    print("| model, images at once | NumPy, ms | PyTorch, ms | ONNX Runtime, ms | beside NumPy | beside PyTorch |")
    print("|---|---|---|---|---|---|")
    for name, count in TIMED:
        numpy, torch, runtime = processor_times(dict(runners(gn.spec(name), count)), rounds).values()
        ratios = [Quartiles.of(list(np.divide(runtime, other))).format() for other in (numpy, torch)]
        medians = " | ".join(f"{1000 * np.median(part):.3g}" for part in (numpy, torch, runtime))
        print(f"| `{name}`, {count} | {medians} | {' | '.join(ratios)} |", flush=True)


def processor_times(tasks: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the processor seconds of each task in each round, in which all tasks have a turn of MIN_RUN_TIME."""
    for run in tasks.values():
        run()
    repeats = {name: ceil(MIN_RUN_TIME / processor_time(run, 1)) for name, run in tasks.items()}
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, run in tasks.items():
            times[name].append(processor_time(run, repeats[name]))
    return times


def processor_time(run: Callable[[], Any], repeats: int) -> float:
    start = process_time()
    for _ in range(repeats):
        run()
    return (process_time() - start) / repeats


def runners(spec: gn.ResNetSpec, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the name of each implementation, and the function that computes the logits of ``count`` images."""
    state, normalization, pixels = random_state(spec, 0), normalization_of(spec), images(spec, count)
    expected = None
    for engine in ("numpy", "torch"):
        network = gn.build(spec, engine, threads=1)
        network.load_state_dict(state)
        logits = network.logits(normalization.apply(pixels))
        expected = logits if expected is None else expected
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * abs(expected).max())
        yield engine, lambda network=network: network.logits(normalization.apply(pixels))
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(exported(spec, state), options, providers=["CPUExecutionProvider"])
    yield "onnxruntime", lambda: session.run(["logits"], {"images": pixels})


def verified(spec: gn.ResNetSpec, state: dict[str, Array]) -> Verification:
    """Return what ONNX Runtime computes of an exported network beside the network."""
    network = gn.build(spec, threads=1)
    network.load_state_dict(state)
    return verify(exported(spec, state), network, normalization_of(spec), images(spec, IMAGES), "images")


def exported(spec: gn.ResNetSpec, state: dict[str, Array]) -> bytes:
    opsets = [helper.make_opsetid("", OPSET)]
    graph = onnx_graph(spec, state, normalization_of(spec), "uint8")
    model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def random_state(spec: gn.ResNetSpec, seed: int) -> dict[str, Array]:
    """Return initial weights, with random numbers added to weights and statistics that start as 0 or 1."""
    return GoldenCase(spec, "float32", seed=seed).state()


def normalization_of(spec: gn.ResNetSpec) -> Normalization:
    return Normalization(255.0, spec.in_channels * (0.45,), spec.in_channels * (0.225,))


def images(spec: gn.ResNetSpec, count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *spec.size, spec.in_channels)).astype(np.uint8)


def random_specs(count: int) -> Iterator[gn.ResNetSpec]:
    """Yield specs with every field at random."""
    rng = np.random.default_rng(0)

    def choose(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    for _ in range(count):
        norm, preactivation = choose("batch", "batch", "none"), choose(False, True)
        yield gn.ResNetSpec(
            in_channels=choose(1, 2, 3),
            image_size=(int(rng.integers(8, 41)), int(rng.integers(8, 41))),
            classes=int(rng.integers(2, 30)),
            width=int(rng.integers(1, 12)),
            blocks=tuple(int(number) for number in rng.integers(1, 3, rng.integers(1, 4))),
            block=choose("basic", "bottleneck"),
            stem=choose("3x3", "7x7"),
            norm=norm,
            bn_eps=float(10 ** rng.uniform(-6, -1)),
            preactivation=preactivation,
            skip=choose(True, True, False),
            shortcut=choose("zero-pad", "projection"),
            pool=choose("none", "max", "avg", "stride"),
            head=choose("average", "flatten"),
            dropout=choose(0.0, 0.3),
            zero_init=norm == "batch" and not preactivation and choose(False, True),
        )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
