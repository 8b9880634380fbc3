import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import ConfigError, DataError
from glassnet.measures.receptive_field import shortcuts
from glassnet.pages.page import render
from glassnet.progress import Progress
from glassnet.studies import ablation
from glassnet.studies.ablation import AblationStudy, zero_block

SPECS: list[dict[str, Any]] = [
    {},
    {"norm": "none"},
    {"shortcut": "projection"},
    {"preactivation": True},
    {"preactivation": True, "norm": "none", "shortcut": "projection"},
    {"block": "bottleneck", "shortcut": "projection"},
    {"block": "bottleneck"},
]


@pytest.fixture(scope="module")
def deep(digits: gn.Dataset, tmp_path_factory: pytest.TempPathFactory) -> gn.Model:
    """A small residual network of four blocks that has learned something."""
    path = tmp_path_factory.mktemp("ablation") / "run"
    fields = {"width": 4, "blocks": (2, 2), "epochs": 8, "lr": 0.1, "batch_size": 16, "augment": "none"}
    gn.train("resnet20", digits, run=path, progress=Progress(), report=False, **fields)
    return gn.load(path)


@pytest.fixture(scope="module")
def study(deep: gn.Model, digits: gn.Dataset) -> AblationStudy:
    return ablation.run_study(deep, digits)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("changes", SPECS, ids=str)
def test_zero_block_leaves_the_shortcut_alone(changes: dict[str, Any], engine: str) -> None:
    spec = gn.spec("resnet20", width=4, blocks=(2, 2), image_size=8, classes=3, **changes)
    network = gn.build(spec, engine, seed=1)
    images = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    network.trainer(gn.Recipe(lr=0.1)).step(images, np.arange(3))  # biases and running statistics are no longer 0
    state = network.state_dict()
    for block, kind in shortcuts(spec).items():
        network.load_state_dict(zero_block(state, block))
        values = network.activations(images)
        names = list(values)
        entering = values[names[next(i for i, name in enumerate(names) if name.startswith(block)) - 1]]
        ways = [name for name in names if name.startswith((f"{block}.shortcut", f"{block}.downsample"))]
        carried = values[ways[-1]]
        expected = carried if spec.preactivation else np.maximum(carried, 0)
        np.testing.assert_array_equal(values[block], expected)
        if kind == "identity":
            np.testing.assert_array_equal(values[block], entering)
        else:
            assert values[block].shape != entering.shape
    changed = [key for key, array in zero_block(state, "layer1.1").items() if not np.array_equal(array, state[key])]
    assert changed
    assert all(key.startswith("layer1.1.") for key in changed)


def test_run_study_leaves_the_model_as_it_is(deep: gn.Model, digits: gn.Dataset) -> None:
    before = deep.network.state_dict()
    ablation.run_study(deep, digits)
    for key, array in deep.network.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_whole_network_has_the_accuracy_of_evaluate(study: AblationStudy, deep: gn.Model, digits: gn.Dataset) -> None:
    evaluated = deep.evaluate(digits)
    assert (study.count, study.accuracy) == (evaluated["count"], evaluated["accuracy"])
    assert study.loss == pytest.approx(evaluated["loss"], rel=1e-6)


def test_block_ablation_is_the_loss_of_the_network_without_it(
    study: AblationStudy, deep: gn.Model, digits: gn.Dataset
) -> None:
    network, state = gn.build(deep.network.spec), deep.network.state_dict()
    images = deep.normalization.apply(digits.test.images, "float32")
    right = deep.network.logits(images).argmax(axis=1) == digits.test.labels
    assert sorted(block.block for block in study.blocks) == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    for block in study.blocks:
        network.load_state_dict(zero_block(state, block.block))
        without = network.logits(images).argmax(axis=1) == digits.test.labels
        assert block.accuracy == without.mean()
        assert block.lost - block.gained == right.sum() - without.sum()
        assert block.accuracy_drop == pytest.approx(study.accuracy - block.accuracy)
        assert block.loss_added == pytest.approx(block.loss - study.loss)
        assert block.loss_interval[0] <= block.loss_added <= block.loss_interval[1]
        assert block.accuracy_interval[0] <= block.accuracy_drop <= block.accuracy_interval[1]
    assert [block.accuracy_drop for block in study.blocks] == sorted(
        (block.accuracy_drop for block in study.blocks), reverse=True
    )
    assert {block.block: block.position for block in study.blocks}["layer2.0"] == 3


def test_block_ablation_is_0_for_a_block_that_does_nothing(deep: gn.Model, digits: gn.Dataset) -> None:
    idle = gn.load(deep.path)
    idle.network.load_state_dict(zero_block(deep.network.state_dict(), "layer2.1"))
    (block,) = (block for block in ablation.run_study(idle, digits).blocks if block.block == "layer2.1")
    assert (block.lost, block.gained, block.loss_added, block.p_value) == (0, 0, 0, 1)


def test_run_study_agrees_on_both_engines(study: AblationStudy, deep: gn.Model, digits: gn.Dataset) -> None:
    theirs = ablation.run_study(gn.load(deep.path, engine="torch"), digits)
    for ours, other in zip(study.blocks, theirs.blocks, strict=True):
        assert (ours.block, ours.lost, ours.gained) == (other.block, other.lost, other.gained)
        assert ours.loss == pytest.approx(other.loss, rel=1e-4)


def test_summary_follows_the_numbers(study: AblationStudy) -> None:
    most = study.blocks[0]
    counts = f"Without {most.block} it is {most.accuracy:.1%} ({round(most.accuracy * 450)} of 450)"
    assert counts in study.summary[0]
    significant = sum(block.is_significant for block in study.blocks)
    assert f"significant for {significant} of 4 blocks" in study.summary[2]
    idle = [replace(block, accuracy_drop=0.0, p_value=1.0) for block in study.blocks]
    summary = replace(study, blocks=tuple(idle)).summary
    assert "does not fall without any single block" in summary[0]
    assert "the accuracy does not change" in summary[1]
    assert "significant for 0 of 4 blocks" in summary[2]
    assert "0.0 percentage points for blocks that change the shape and 0.0 for the others" in summary[3]
    better = replace(study, blocks=(most, replace(study.blocks[1], accuracy_drop=-0.015)))
    assert "the accuracy rises by 1.5 percentage points" in better.summary[1]
    zero_pad = replace(most, remaining_path="zero-pad", accuracy_drop=0.02)
    changing = replace(study, blocks=(zero_pad, replace(most, remaining_path="identity", accuracy_drop=-0.01)))
    assert "2.0 percentage points for blocks that change the shape and −1.0 for the others" in changing.summary[-1]
    assert len(replace(study, blocks=(most,)).summary) == 2


def test_run_study_refuses_a_plain_network(digits: gn.Dataset, deep: gn.Model) -> None:
    plain = gn.Model(deep.path, deep.config, gn.build(deep.network.spec.replace(skip=False)), [])
    with pytest.raises(
        ConfigError, match=re.escape(f"The network of {deep.path} must have shortcuts. Got skip=False.")
    ):
        ablation.run_study(plain, digits)


def test_run_study_refuses_data_of_other_classes(deep: gn.Model) -> None:
    images, labels = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2
    with pytest.raises(DataError, match=re.escape("as in the model. Got ['0', '1'].")):
        ablation.run_study(deep, gn.Dataset(images, labels, test_images=images, test_labels=labels))


def test_run_study_needs_the_data_of_a_run_on_arrays(deep: gn.Model) -> None:
    model = gn.load(deep.path)
    model.config["data"]["source"] = "arrays"
    with pytest.raises(DataError, match="Pass the data"):
        ablation.run_study(model)


def test_build_page_renders(study: AblationStudy) -> None:
    html = render(ablation.build_page(study))
    assert "Accuracy lost without each block" in html
    json.dumps(study.to_dict(), allow_nan=False)


def test_figures_order_blocks_by_drop_and_by_position(study: AblationStudy) -> None:
    worth = ablation.ablation_figure(study.blocks)
    assert worth.layout.yaxis.categoryarray[-1] == study.blocks[0].block
    loss = ablation.block_loss_figure(study.blocks, study.loss)
    assert loss.layout.xaxis.ticktext == ("layer1.0", "layer1.1", "layer2.0", "layer2.1")
    assert list(loss.data[-1].y) == [study.loss] * 2
