"""Tests of the layers of a network in the order in which they run."""

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn
from glassnet.architecture import assemble
from glassnet.course.anatomy import dissect, stride_of
from glassnet.course.calling import AnswerError

IMAGES = np.random.default_rng(0).standard_normal((2, 1, 8, 8))


def test_dissect_lists_layers_as_they_run_with_their_shapes() -> None:
    anatomy = dissect(assemble(gn.spec("tiny"), nn).to(np.float64), IMAGES)
    body = ["layer1.0.conv1", "layer1.0.relu1", "layer1.0.conv2", "layer1.0.shortcut", "layer1.0.relu"]
    assert [step.name for step in anatomy.steps] == ["conv1", "relu", *body, "pool", "flatten", "fc"]
    assert (anatomy.steps[7].input_shape, anatomy.steps[7].output_shape) == ((2, 8, 8, 8), (2, 8, 4, 4))
    assert len(anatomy.blocks) == 1
    assert anatomy.output_shape == (2, 10)
    assert [type(step.layer) for step in anatomy.steps_of(nn.Linear, nn.Flatten)] == [nn.Flatten, nn.Linear]


def test_dissect_explains_why_a_network_does_not_run() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(128, 10)).to(np.float64)
    with pytest.raises(AnswerError, match=r"^The network does not run on images \(2, 1, 8, 8\). ShapeError: 2: input"):
        dissect(network, IMAGES)


def test_stride_of_a_convolution_is_its_larger_one() -> None:
    assert [stride_of(nn.Conv2d(1, 1, 3, stride)) for stride in (1, (1, 2), 3)] == [1, 2, 3]
