"""A part of benchmarks/golden_bed.py: planted faults are found and named, and healthy ports pass."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from glassnet.verify.golden.causes import KEYS

torch = pytest.importorskip("torch")
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
NETWORKS = ("tiny-bn", "no norm", "option A")  # the small ones
FAULTS = (
    "Conv2d forward flipped_kernel: tiny-bn/*, float64",
    "Conv2d forward read_as_hwio: option A/layer3.0.conv2",
    "Conv2d forward same_padding: option A/layer2.0.conv1",
    "Conv2d forward no_bias: no norm/layer1.0.conv2",
    "Linear forward matrix_transposed: tiny-bn/fc",
    "BatchNorm2d forward eps_outside: tiny-bn/*",
    "BatchNorm2d forward biased_running_variance: tiny-bn/*",
    "BatchNorm2d forward always_batch_statistics: tiny-bn/*",
    "ReLU forward gelu: option A/layer1.0.relu1",
    "Sum forward body_rectified: option A/*",
    "ZeroPadShortcut forward new_channels_behind: option A/*",
    "Flatten forward channels_last_row: no norm/flatten",
    "CrossEntropyLoss forward softmax_twice: tiny-bn/loss",
    "Conv2d forward in_float16: tiny-bn/*",
    "Conv2d backward unturned_kernel: tiny-bn/*",
    "BatchNorm2d backward constant_statistics: tiny-bn/*",
    "ReLU backward mask_of_gradient: tiny-bn/*",
    "backward path_lost: option A/layer1.0.shortcut",
    "CrossEntropyLoss backward not_divided_by_images: option A/loss",
    "input bgr: option A/input",
    "forward other_weights: tiny-bn/conv1",
    "forward all_as_nhwc: option A/conv1",
    "update decay_on_all: tiny-bn",
    "update late_rate: tiny-bn",
    "update no_clipping: option A",
)
HEALTHY = (
    "no norm in float32",
    "tiny-bn in float32 by a float64 bundle",
    "Conv2d by_blocks: tiny-bn",
    "BatchNorm2d fused: tiny-bn",
    "BatchNorm2d in_one_pass: tiny-bn",
    "ReLU open at 0: tiny-bn",
    "MaxPool2d to the last maximum: tiny-bn",
    "torch.optim: option A",
    "half of all: option A",
    "fused kernels: tiny-bn",
    "written in float32: option A",
)


@pytest.fixture(scope="module")
def bed() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield import_module("golden_bed")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def bundles(bed: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return bed.Bundles(tmp_path_factory.mktemp("bundles"))


def test_bed_has_faults_of_many_kinds(bed: Any, bundles: Any) -> None:
    cases, healthy = bed.planted(bundles), list(bed.healthy(bundles))
    names = Counter(case.name for case in [*cases, *healthy])
    assert [name for name, count in names.items() if count > 1] == []
    assert len(cases) - bed.CALIBRATION >= 150
    assert len({case.kind for case in cases}) >= 100
    assert len(healthy) >= 40
    assert {cause for case in cases for cause in case.causes} <= set(KEYS)
    assert sum(bed.is_calibration(cases)) == bed.CALIBRATION


def test_source_faults_apply_to_the_sources(bed: Any) -> None:
    ports = bed.source_ports
    for entry in ports.FAULTS["c"]:
        ports.edited((ports.EXAMPLES / "golden_tiny_bn.c").read_text(encoding="utf-8"), entry["edits"])
    for entry in ports.FAULTS["page"]:
        if "script" in entry:
            ports.edited((ports.ENGINE / entry["script"]).read_text(encoding="utf-8"), entry["edits"])
    with pytest.raises(ValueError, match="must contain"):
        ports.edited("text", [("other", "")])


def case_named(cases: Any, name: str) -> Any:
    (case,) = (case for case in cases if case.name.startswith(name) and case.network in NETWORKS)
    return case


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_check_names_operation_and_cause(bed: Any, bundles: Any, name: str) -> None:
    outcome = bed.check(case_named(bed.planted(bundles), name), bundles)
    assert outcome.is_right, str(outcome)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_check_passes_healthy_ports(bed: Any, bundles: Any, name: str) -> None:
    outcome = bed.check(case_named(bed.healthy(bundles), name), bundles)
    assert outcome.is_right, str(outcome)


def test_outcome_counts_wrong_verdicts(bed: Any) -> None:
    def outcome(cause: str | None, operation: str | None = "bn1", causes: tuple[str, ...] | None = ("HWIO",)) -> Any:
        def is_first(report: Any) -> bool:
            return report.first.operation == "conv1"

        first = operation and SimpleNamespace(operation=operation, direction="forward", tensor="x")
        case = bed.BedCase("a", "a", "tiny-bn", "float64", None, causes, causes == ("HWIO",), is_first)
        return bed.Outcome(case, SimpleNamespace(first=first, cause=cause, passed=operation is None))

    assert outcome("HWIO", "conv1").is_right
    assert not outcome("HWIO").is_right  # another operation
    assert not outcome("unknown", "conv1").is_right  # of a listed kind
    assert not outcome("NHWC", "conv1").is_right
    assert not outcome(None, None).is_right  # not found
    assert outcome("unknown", "conv1", ()).is_right
    assert not outcome("NHWC", "conv1", ()).is_right  # a cause where none is listed
    assert outcome(None, None, None).is_right
    assert not outcome("unknown", "conv1", None).is_right  # a false fault
    table = bed.kill_table([outcome("HWIO", "conv1"), outcome("NHWC", "conv1")])
    assert "| first operation right | 2 of 2 |" in table
    assert "| wrong cause | 1 of 2 |" in table
