"""The flat list of a network's operations."""

import pytest

import glassnet as gn
from glassnet.verify.golden.operations import LOSS, consumers, operations

VARIANTS = {
    "tiny": gn.spec("tiny"),
    "plain": gn.spec("tiny-bn", skip=False),
    "option A": gn.spec("resnet20", blocks=1),
    "pre-activation, projections": gn.spec("resnet20", blocks=2, preactivation=True, shortcut="projection"),
    "bottleneck": gn.spec("resnet50", blocks=1, image_size=64, classes=5),
    "strided pool, dropout": gn.spec("resnet20", blocks=1, pool="stride", dropout=0.3),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_operations_have_the_names_and_the_order_of_the_engines(name):
    listed = operations(VARIANTS[name])
    network = gn.build(VARIANTS[name])
    assert [operation.name for operation in listed] == [*network.tensor_names, LOSS]


@pytest.mark.parametrize("name", VARIANTS)
def test_operations_read_what_came_before(name):
    known = {"input"}
    for operation in operations(VARIANTS[name]):
        assert known.issuperset(operation.inputs)
        known.add(operation.name)


@pytest.mark.parametrize("name", VARIANTS)
def test_operations_have_every_parameter_and_buffer_once(name):
    listed = operations(VARIANTS[name])
    keys = [key for operation in listed for key in (*operation.parameters, *operation.buffers)]
    assert sorted(keys) == sorted(gn.build(VARIANTS[name]).state_dict())


def test_consumers_of_a_blocks_input_are_both_paths():
    listed = operations(VARIANTS["tiny"])
    assert [reader.name for reader in consumers(listed)["relu"]] == ["layer1.0.conv1", "layer1.0.shortcut"]
    assert [reader.kind for reader in consumers(listed)["fc"]] == ["CrossEntropyLoss"]
