"""The first fault of a port in words."""

from collections.abc import Callable

import numpy as np
import pytest

from glassnet.verify.golden import Bundle, GoldenReport
from tests.verify.golden.ports import Tensors, compute_dump, wrong_backward


def test_sentence_of_names_operation_tensor_and_numbers(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    report = judge(compute_dump(bundle, plant=wrong_backward("layer1.0.bn2", dx=1.1)))
    assert report.first is not None
    row, before = report.first, [row.tensor for row in report.rows].index(report.first.tensor)
    assert row.sentence == (
        "layer1.0.bn2.backward returned a wrong input gradient (train/activation_gradients/layer1.0.conv2: "
        f"error {row.error:.1e}, tolerance {row.tolerance:.1e}). The {before} tensors before it agree."
    )
    assert report.statistics is not None
    assert report.statistics.ratio == pytest.approx(1.1)
    assert report.sentences[0] == report.first.sentence


def test_sentence_of_says_which_operations_may_be_at_fault_and_what_to_dump(
    bundle: Bundle, healthy: Tensors, judge: Callable[..., GoldenReport]
) -> None:
    tensors = compute_dump(bundle, plant=wrong_backward("layer1.0.bn2", dx=1 + np.linspace(0, 1, 8)))  # type: ignore[arg-type]
    del tensors["train/activation_gradients/layer1.0.conv2"]
    del tensors["train/gradients/layer1.0.conv2.weight"]
    report = judge(tensors)
    assert report.first is not None
    assert report.first.tensor == "train/activation_gradients/layer1.0.relu1"
    assert report.first.sentence.startswith(
        "The backward pass of one of layer1.0.conv2, layer1.0.bn2 returned a wrong "
    )
    assert report.first.sentence.endswith(" To see which, dump train/activation_gradients/layer1.0.conv2 too.")


def test_sentence_of_gives_both_values_of_a_single_number(healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    report = judge(healthy | {"train/loss": healthy["train/loss"] + 1})
    assert report.first is not None
    assert (report.first.operation, report.first.tensor) == ("loss", "train/loss")
    assert f"{healthy['train/loss'] + 1:.9g} in place of {healthy['train/loss']:.9g}" in report.first.sentence


def test_sentence_of_gives_both_shapes(healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    name = "train/activations/layer1.0.conv2"
    shape = healthy[name].shape
    report = judge(healthy | {name: healthy[name][:, :, 1:]})
    assert report.first is not None
    assert (report.first.tensor, report.first.error) == (name, np.inf)
    assert f"its shape must be {shape}, and is {healthy[name][:, :, 1:].shape}" in report.first.sentence
    assert report.statistics is None
    assert [row.tensor for row in report.failing] == [name]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sentence_of_gives_both_values_where_the_port_alone_is_not_finite(
    healthy: Tensors, judge: Callable[..., GoldenReport], value: float
) -> None:
    name = "train/activations/layer1.0.bn1"
    changed = healthy[name].copy()
    changed[1, 2, 0, 3] = value
    report = judge(healthy | {name: changed})
    assert report.first is not None
    right = healthy[name][1, 2, 0, 3]
    assert f"at [1, 2, 0, 3] the port has {value:.6g}, the reference {right:.6g})" in report.first.sentence
