import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import glassnet as gn
from glassnet import nn
from glassnet.data import Normalization
from glassnet.errors import ConfigError
from glassnet.pages.page import render
from glassnet.studies import gradient_flow
from glassnet.studies import gradient_flow_figures as figures
from glassnet.studies.gradient_flow import Flow, GradientFlowStudy, convolution_norms, split_gradient

BLOCKS: list[dict[str, Any]] = [
    {},  # identity, and zero-pad where the shape changes
    {"shortcut": "projection"},
    {"norm": "none"},
    {"norm": "none", "shortcut": "projection", "pool": "max"},
    {"preactivation": True},
    {"preactivation": True, "shortcut": "projection", "pool": "stride"},
    {"block": "bottleneck", "shortcut": "projection", "dropout": 0.5},
    {"stem": "7x7", "pool": "max", "shortcut": "projection"},
    {"zero_init": True},
]


def built(engine: str = "numpy", dtype: str = "float32", **changes: Any) -> gn.Network:
    spec = gn.spec("resnet20", **{"width": 4, "blocks": (2, 2), "image_size": 12, "classes": 3, **changes})
    return gn.build(spec, engine, dtype=dtype)


def batch(count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 3, 12, 12)), rng.integers(0, 3, count)


@pytest.fixture(scope="module")
def study(digits: gn.Dataset) -> GradientFlowStudy:
    return gradient_flow.run_study(digits, depths=(8, 14), norms=("batch",), steps=4, width=4)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("changes", BLOCKS, ids=str)
def test_skip_and_f_add_up_to_the_whole_in_every_block(changes: dict[str, Any], engine: str) -> None:
    """The parts come from NumPy's layers alone; with torch the whole is autograd's."""
    splits = split_gradient(built(engine, **changes), *batch())
    assert [split.block for split in splits] == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    for split in splits:
        assert split.error <= 1e-12
        assert split.whole > 0
        assert split.maps.shape[0] == 3
        np.testing.assert_allclose(split.maps[0] + split.maps[1], split.maps[2], rtol=0, atol=1e-12 * split.whole)
        # |a + b|² = |a|² + |b|² + 2 |a| |b| cos
        expected = split.skip**2 + split.body**2 + 2 * split.skip * split.body * split.cosine
        assert split.whole == pytest.approx(math.sqrt(expected), rel=1e-9)
    changed = "projection" if changes.get("shortcut") else "zero-pad"
    first = "projection" if changes.get("block") else "identity"
    assert [split.shortcut for split in splits] == [first, "identity", changed, "identity"]


def test_the_identity_hands_the_gradient_on_whole() -> None:
    """Where F is 0 at the start, as with zero_init, all of the gradient comes through the skip."""
    splits = split_gradient(built(zero_init=True), *batch())
    assert [split.body for split in splits if split.shortcut == "identity"] == [0, 0, 0]
    assert all(split.skip == split.whole for split in splits if split.shortcut == "identity")


@pytest.mark.parametrize("factor", [0.0, 0.999999], ids=["the skip forgotten", "a skip a little too weak"])
def test_a_wrong_backward_pass_is_caught(factor: float, digits: gn.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(self: nn.Residual, dy: np.ndarray) -> np.ndarray:
        children = dict(self.named_children())
        g = children["relu"].backward(dy)
        dx = g
        for name in reversed(self._body):
            dx = children[name].backward(dx)
        return factor * children[self._shortcut].backward(g) + dx if self._shortcut in children else dx

    monkeypatch.setattr(nn.Residual, "backward", backward)
    wrong = gradient_flow.run_study(digits, depths=(8,), norms=("batch",), steps=1, width=4)
    assert wrong.error > 1e-8
    assert not wrong.adds_up
    assert "do NOT add up" in wrong.summary[0]
    assert wrong.to_dict()["adds_up"] is False


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_looking_leaves_the_network_as_it_is(engine: str) -> None:
    network = built(engine, dropout=0.5)
    before = network.state_dict()
    generators = [dropout.generator.bit_generator.state for dropout in network._dropouts()]
    drawn = torch.get_rng_state()
    split_gradient(network, *batch())
    assert torch.equal(torch.get_rng_state(), drawn)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    assert generators == [dropout.generator.bit_generator.state for dropout in network._dropouts()]


def test_norms_are_those_of_the_gradients() -> None:
    network = built(shortcut="projection")
    images, labels = batch()
    loss, norms = convolution_norms(network, images, labels)
    _, gradients = network.gradients(images, labels)
    assert list(norms) == ["conv1", *(f"layer{s}.{b}.conv{c}" for s in (1, 2) for b in (0, 1) for c in (1, 2))]
    assert norms["layer2.0.conv1"] == pytest.approx(float(np.sqrt((gradients["layer2.0.conv1.weight"] ** 2).sum())))
    assert loss == network.gradients(images, labels)[0]


def test_plain_and_residual_have_the_same_layers_and_moments(study: GradientFlowStudy) -> None:
    assert [flow.name for flow in study.flows] == [
        *("plain, 8 layers", "residual, 8 layers", "plain, 14 layers", "residual, 14 layers")
    ]
    for flow in study.flows:
        assert len(flow.layers) == flow.depth - 1  # all but the last, dense one
        assert flow.steps == (0, 1, 4)
        assert len(flow.losses) == len(flow.norms) == 3
        assert all(len(norms) == len(flow.layers) for norms in flow.norms)
    assert len(study.splits) == 6  # of the residual network of 14 layers, the middle of two


def test_a_deep_plain_networks_gradient_explodes_or_vanishes(digits: gn.Dataset) -> None:
    """Seen on the digits with 8 channels at the start: 1,067-fold up with BatchNorm, 5,493-fold down without."""
    study = gradient_flow.run_study(digits, depths=(8, 56), steps=1)
    assert study.growth("batch", residual=False) > 100 > 20 > study.growth("batch", residual=True)
    assert study.growth("none", residual=False) < 1e-3
    assert study.summary[0].startswith("With batch normalization, from 8 to 56 layers, the gradient at the first layer")
    assert study.summary[0].endswith("the shortcuts keep it steadier.")


def flow(depth: int, residual: bool, first: float) -> Flow:
    return Flow(depth, residual, "batch", ("conv1", "conv2"), (0, 1), (1.0, 1.0), ((first, 1.0), (first, 1.0)))


@pytest.mark.parametrize(
    ("of_plain", "of_residual", "told"),
    [
        (100.0, 1.1, "grows 100-fold in the plain network and stays about the same in the residual one"),
        (1e-4, 1e-2, "shrinks 10,000-fold in the plain network and shrinks 100-fold in the residual one"),
        (1e-4, 1e-2, "the shortcuts keep it steadier, though it still vanishes there."),
        (1e-4, 488.0, "the shortcuts keep it steadier, though it still explodes there."),
        (1e-4, 9.0, "the shortcuts keep it steadier."),
        (2.0, 0.01, "here the shortcuts do not keep it steadier"),
        (0.0, 1.0, "vanishes in the plain network and stays about the same in the residual one"),
        (0.0, 1.0, "one of them is lost altogether"),
        (math.nan, 1.0, "is no number any more"),
    ],
)
def test_the_words_follow_the_numbers(study: GradientFlowStudy, of_plain: float, of_residual: float, told: str) -> None:
    flows = (flow(8, False, 1.0), flow(8, True, 1.0), flow(56, False, of_plain), flow(56, True, of_residual))
    assert told in replace(study, flows=flows).summary[0]


def test_one_depth_says_nothing_of_depth(study: GradientFlowStudy) -> None:
    assert len(replace(study, flows=study.flows[:2]).summary) == len(study.summary) - 1


def test_a_given_network_is_the_one_that_is_split(digits: gn.Dataset) -> None:
    network = gn.build(gn.spec("tiny"))
    study = gradient_flow.run_study(digits, network, name="mine", depths=(8,), norms=("none",), steps=1, width=2)
    assert [split.block for split in study.splits] == ["layer1.0"]
    assert study.summary[0].startswith("In mine the part through the skip and the part through F add up to the whole")


def test_a_given_network_reads_images_as_it_was_trained_to(digits: gn.Dataset) -> None:
    """Its mean and std, in the data's scale."""
    network, quick = gn.build(gn.spec("tiny")), {"depths": (8,), "norms": ("none",), "steps": 1, "width": 2}
    images, labels = digits.train.images[:16], digits.train.labels[:16]
    other = Normalization(255.0, (0.3,), (0.5,))
    study = gradient_flow.run_study(digits, network, normalization=other, **quick)
    expected = split_gradient(network, ((images / 16 - 0.3) / 0.5).transpose(0, 3, 1, 2), labels)
    assert study.splits[0].whole == pytest.approx(expected[0].whole, rel=1e-5)
    assert study.splits[0].whole != pytest.approx(gradient_flow.run_study(digits, network, **quick).splits[0].whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (9,)}, "A depth must be 6n + 2 with n of at least 1, such as 8, 20 or 56. Got 9."),
        ({"depths": (2,)}, "Got 2."),
        ({"steps": 0}, "The steps of this study must be at least 1. Got 0."),
        ({"norms": ("layer",)}, "norm must be one of 'batch', 'none'. Got 'layer'."),
    ],
)
def test_what_is_not_allowed(digits: gn.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        gradient_flow.run_study(digits, **options)


def test_a_plain_network_has_nothing_to_split() -> None:
    with pytest.raises(ConfigError, match="This network has none: skip=False"):
        split_gradient(built(skip=False), *batch())


def test_the_page(study: GradientFlowStudy) -> None:
    html = render(gradient_flow.build_page(study))
    assert html.count("after 4 steps") >= 2  # a button, and columns of the table
    json.dumps(study.to_dict(), allow_nan=False)
    assert "maps" not in study.to_dict()["splits"][0]


def test_a_norm_that_a_logarithmic_axis_cannot_show_leaves_a_gap(study: GradientFlowStudy) -> None:
    lost = replace(study.flows[0], norms=tuple((0.0, *norms[1:-1], math.inf) for norms in study.flows[0].norms))
    (line,) = figures.gradient_by_layer_figure([lost], "of a test").data
    assert (line.y[0], line.y[-1]) == (None, None)
    assert figures.first_layer_figure([lost]).data[0].y == (None,)


def test_one_depth_needs_no_figure_by_depth(study: GradientFlowStudy) -> None:
    alone = gradient_flow.build_page(replace(study, flows=study.flows[:2])).sections[1]
    several = gradient_flow.build_page(study).sections[1]
    assert (len(alone.blocks), len(several.blocks)) == (1, 2)
