"""A part of benchmarks/proofs_bed.py: planted bugs are found and named, and healthy networks pass."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from glassnet.architecture import ResNetSpec
from glassnet.recipe import Recipe

torch.set_num_threads(1)

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# Each is found by another part of the checks: a gradient alone, a layer's output, a definition, a block, a step.
SAMPLE = [
    "conv2d_backward: dw transposed (tiny-bn, kernels fast)",
    "batch_norm_backward: dbeta the mean (resnet20, blocks 1, shortcut projection, kernels plain)",
    "update_running_stats: running mean stays (tiny-bn, bn_momentum None, kernels fast)",
    "Residual, backward: gradient of the body lost (tiny)",
    "Flatten, backward: KeyError (tiny-bn)",
    "CrossEntropyLoss, backward: gradient not divided (tiny, class_weights balanced, label_smoothing 0.1)",
    "architecture, _shortcut: projection for option A (resnet20, blocks 1)",
    "architecture, _normalization: bn_eps ignored (tiny-bn, bn_eps 0.01)",
    "training, decays: only matrices decay (tiny-bn, optimizer adamw)",
    "training, balanced_weights: weights by root (tiny, class_weights balanced, label_smoothing 0.1)",
    "training, _cosine: cosine ends at half (tiny, schedule cosine)",
    "training, pop: statistics of parts not weighted (tiny-bn, shards 2)",
    "torch, Residual: shortcut without gradient (resnet20, blocks 1, shortcut projection)",
    "torch, MaxPool2d: windows round up (tiny, in_channels 3)",
]


@pytest.fixture(scope="module")
def bed() -> Iterator[ModuleType]:
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield import_module("proofs_bed")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in set(sys.modules) - before:
            if name.startswith(("proofs_bed", "planted_bugs")):
                del sys.modules[name]


@pytest.fixture(scope="module")
def bugs(bed: ModuleType) -> dict[str, Any]:
    return {bug.name: bug for bug in bed.all_bugs()}


@pytest.mark.parametrize("name", SAMPLE)
def test_checks_find_and_name_a_planted_bug(bed: ModuleType, bugs: dict[str, Any], name: str) -> None:
    outcome = bed.outcome_of(bugs[name])
    assert outcome.is_found, outcome.said
    assert outcome.is_named, outcome.said


@pytest.mark.parametrize("name", SAMPLE[::3])
def test_checks_pass_without_the_bug(bed: ModuleType, bugs: dict[str, Any], name: str) -> None:
    assert not any(bed.run_checks(bugs[name].settings).values())


def test_bed_plants_a_hundred_bugs_over_the_options_that_change_a_network_or_a_step(bugs: dict[str, Any]) -> None:
    assert len(bugs) >= 150
    used = {field for bug in bugs.values() for field in bug.settings}
    data = {
        "augment",
        "rotate",
        "translate",
        "jitter",
        "validation_fraction",
        "patience",
        "batch_size",
        "epochs",
        "seed",
    }
    same = {
        "preset",
        "block",
        "stem",
        "head",
        "lr",
        "momentum",
        "weight_decay",
    }  # by presets, or in every bug of a step
    assert used >= {*ResNetSpec.types(), *Recipe.types()} - data - same


def test_outcome_is_neither_found_nor_named_where_the_checks_pass(bed: ModuleType, bugs: dict[str, Any]) -> None:
    outcome = bed.Outcome(bugs[SAMPLE[0]], {"gradients": "", "parity": ""})
    assert not outcome.is_found
    assert not outcome.is_named
    wrong = bed.Outcome(bugs[SAMPLE[0]], {"gradients": "Wrong. Fault: bn1 (BatchNorm2d): backward.", "parity": ""})
    assert (wrong.is_found, wrong.is_named) == (True, False)
