import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn
from glassnet.data import Normalization
from glassnet.errors import ConfigError
from glassnet.studies import gradient_flow
from glassnet.studies.gradient_flow import GradientFlowStudy, GradientNorms, block_gradients
from glassnet.studies.gradient_flow.measure import convolution_norms
from tests.studies.gradient_flow.networks import batch, built


@pytest.mark.parametrize("factor", [0.0, 0.999999], ids=["the skip forgotten", "a skip a little too weak"])
def test_adds_up_is_false_for_a_wrong_backward_pass(
    factor: float, digits: gn.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backward(self: nn.Residual, dy: np.ndarray) -> np.ndarray:
        children = dict(self.named_children())
        g = children["relu"].backward(dy)
        dx = g
        for name in reversed(self._body):
            dx = children[name].backward(dx)
        return factor * children[self._shortcut].backward(g) + dx if self._shortcut in children else dx

    monkeypatch.setattr(nn.Residual, "backward", backward)
    wrong = gradient_flow.run_study(digits, depths=(8,), norms=("batch",), steps=1, width=4)
    assert wrong.worst_block.error > 1e-8
    assert not wrong.adds_up
    assert "do NOT add up" in wrong.summary[0]
    assert wrong.to_dict()["adds_up"] is False


def test_convolution_norms_are_those_of_the_gradients() -> None:
    network = built(shortcut="projection")
    images, labels = batch()
    loss, norms = convolution_norms(network, images, labels)
    _, gradients = network.gradients(images, labels)
    assert list(norms) == ["conv1", *(f"layer{s}.{b}.conv{c}" for s in (1, 2) for b in (0, 1) for c in (1, 2))]
    assert norms["layer2.0.conv1"] == pytest.approx(float(np.sqrt((gradients["layer2.0.conv1.weight"] ** 2).sum())))
    assert loss == network.gradients(images, labels)[0]


def test_run_study_measures_the_same_layers_and_steps_in_all_networks(study: GradientFlowStudy) -> None:
    assert [network.name for network in study.networks] == [
        *("plain, 8 layers", "residual, 8 layers", "plain, 14 layers", "residual, 14 layers")
    ]
    for network in study.networks:
        assert len(network.layers) == network.depth - 1  # all but the last, dense one
        assert network.steps == (0, 1, 4)
        assert len(network.losses) == len(network.norms) == 3
        assert all(len(norms) == len(network.layers) for norms in network.norms)
    assert len(study.blocks) == 6  # of the residual network of 14 layers, the middle of two


def test_growth_explodes_or_vanishes_in_deep_plain_networks(digits: gn.Dataset) -> None:
    """Seen on the digits with 8 channels at the start: 1,067-fold up with BatchNorm, 5,493-fold down without."""
    study = gradient_flow.run_study(digits, depths=(8, 56), steps=1)
    assert study.growth("batch", residual=False) > 100 > 20 > study.growth("batch", residual=True)
    assert study.growth("none", residual=False) < 1e-3
    assert study.summary[0].startswith("With batch normalization, from 8 to 56 layers, the gradient of the first layer")
    assert study.summary[0].endswith("The shortcuts keep it steadier.")


def norms(depth: int, residual: bool, first: float) -> GradientNorms:
    return GradientNorms(depth, residual, "batch", ("conv1", "conv2"), (0, 1), (1.0, 1.0), ((first, 1.0), (first, 1.0)))


@pytest.mark.parametrize(
    ("of_plain", "of_residual", "told"),
    [
        (100.0, 1.1, "grows 100-fold in the plain network and stays about the same in the residual one"),
        (1e-4, 1e-2, "shrinks 10,000-fold in the plain network and shrinks 100-fold in the residual one"),
        (1e-4, 1e-2, "The shortcuts keep it steadier, but it still vanishes."),
        (1e-4, 488.0, "The shortcuts keep it steadier, but it still explodes."),
        (1e-4, 9.0, "The shortcuts keep it steadier."),
        (2.0, 0.01, "The shortcuts do not keep it steadier."),
        (0.0, 1.0, "vanishes in the plain network and stays about the same in the residual one"),
        (0.0, 1.0, "One of them has no gradient left to compare."),
        (math.nan, 1.0, "is not finite in the plain network"),
    ],
)
def test_summary_follows_the_numbers(study: GradientFlowStudy, of_plain: float, of_residual: float, told: str) -> None:
    networks = (norms(8, False, 1.0), norms(8, True, 1.0), norms(56, False, of_plain), norms(56, True, of_residual))
    assert told in replace(study, networks=networks).summary[0]


def test_summary_leaves_out_growth_for_one_depth(study: GradientFlowStudy) -> None:
    assert len(replace(study, networks=study.networks[:2]).summary) == len(study.summary) - 1


def test_run_study_measures_the_blocks_of_a_given_network(digits: gn.Dataset) -> None:
    network = gn.build(gn.spec("tiny"))
    study = gradient_flow.run_study(digits, network, name="mine", depths=(8,), norms=("none",), steps=1, width=2)
    assert [block.block for block in study.blocks] == ["layer1.0"]
    assert study.summary[0].startswith(
        "In mine the parts of the gradient through the skip and through F add up to the total in 1"
    )


def test_run_study_takes_a_normalization_in_the_scale_of_the_data(digits: gn.Dataset) -> None:
    """Its mean and std, in the data's scale."""
    network, quick = gn.build(gn.spec("tiny")), {"depths": (8,), "norms": ("none",), "steps": 1, "width": 2}
    images, labels = digits.train.images[:16], digits.train.labels[:16]
    other = Normalization(255.0, (0.3,), (0.5,))
    study = gradient_flow.run_study(digits, network, normalization=other, **quick)
    expected = block_gradients(network, ((images / 16 - 0.3) / 0.5).transpose(0, 3, 1, 2), labels)
    assert study.blocks[0].total == pytest.approx(expected[0].total, rel=1e-5)
    assert study.blocks[0].total != pytest.approx(gradient_flow.run_study(digits, network, **quick).blocks[0].total)


DEPTHS = "depths must be a list of distinct integers 6n + 2, such as 8, 20, 56. Got "


NORMS = "norms must be a list of 'batch', 'none' or both. Got "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": []}, f"{DEPTHS}()."),
        ({"depths": (9,)}, f"{DEPTHS}(9,)."),
        ({"depths": (8, 2)}, f"{DEPTHS}(8, 2)."),
        ({"depths": (-4,)}, f"{DEPTHS}(-4,)."),
        ({"depths": (8, 20, 8)}, f"{DEPTHS}(8, 20, 8)."),
        ({"depths": 8}, f"{DEPTHS}8."),
        ({"depths": "8"}, f"{DEPTHS}'8'."),
        ({"depths": (8.0,)}, f"{DEPTHS}(8.0,)."),
        ({"norms": ()}, f"{NORMS}()."),
        ({"norms": ("layer",)}, f"{NORMS}('layer',)."),
        ({"norms": ("none", "none")}, f"{NORMS}('none', 'none')."),
        ({"norms": "batch"}, f"{NORMS}'batch'."),
        ({"steps": 0}, "steps must be an integer of at least 1. Got 0."),
        ({"steps": -3}, "steps must be an integer of at least 1. Got -3."),
        ({"steps": 1.5}, "steps must be an integer of at least 1. Got 1.5."),
        ({"width": 0}, "width must be an integer of at least 1. Got 0."),
        ({"width": "8"}, "width must be an integer of at least 1. Got '8'."),
        ({"seed": -1}, "seed must be an integer of at least 0 and below 4294967296. Got -1."),
        ({"network": "runs/a"}, "network must be a Network with shortcuts. Got 'runs/a'."),
        ({"depth": (8,)}, "Got 'depth'; did you mean 'depths'?"),
    ],
)
def test_run_study_refuses_options_out_of_range(digits: gn.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        gradient_flow.run_study(digits, **options)


def test_run_study_gives_all_networks_the_fields_of_the_model(digits: gn.Dataset) -> None:
    study = gradient_flow.run_study(digits, depths=(8,), norms=("batch",), steps=1, width=4, pool="stride")
    assert all("pool.conv" in network.layers for network in study.networks)
