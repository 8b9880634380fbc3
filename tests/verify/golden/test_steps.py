"""Judgements of a training's steps, with torch.optim as the port that is right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import glassnet as gn
from glassnet.verify.golden.check import check
from glassnet.verify.golden.updates import Step
from glassnet.verify.golden.writing import write
from tests.verify.golden.trainings import SMALL, Port, judged, torch_optimizer, training

SGD = gn.Recipe(lr=0.05, momentum=0.9, weight_decay=1e-2, schedule="cosine")
RECIPES = st.builds(
    lambda **fields: gn.Recipe(**fields, nesterov=fields["momentum"] > 0.7),
    optimizer=st.sampled_from(["sgd", "adam", "adamw"]),
    lr=st.sampled_from([0.1, 1e-3]),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    weight_decay=st.sampled_from([0.0, 1e-4, 0.1]),
    weight_decay_scope=st.sampled_from(["weights", "all"]),
    body_lr=st.sampled_from([1.0, 0.3]),
    clip_grad_norm=st.sampled_from([None, 0.1, 100.0]),
    schedule=st.sampled_from(["constant", "step", "cosine", "one-cycle"]),
    label_smoothing=st.sampled_from([0.0, 0.1]),
    class_weights=st.sampled_from(["none", "balanced"]),
)


@settings(max_examples=6, deadline=None)
@given(RECIPES, st.sampled_from(["float64", "float32"]), st.booleans(), st.integers(0, 1000))
def test_judge_steps_finds_no_fault_in_torch_optim(recipe, dtype, gives_gradients, seed):
    plan = training(recipe, steps=2, seed=seed)
    port = Port(plan, dtype=dtype)
    dump = port.train(torch_optimizer(port), gradients=gives_gradients)
    judgements = judged(plan, dump, dtype)
    assert len(judgements) == len(dump)
    assert [j.row for j in judgements if not j.row.passed] == []


def healthy(recipe=SGD, dtype="float64"):
    plan = training(recipe)
    port = Port(plan, dtype=dtype)
    return plan, port.train(torch_optimizer(port))


def faults(plan, dump, dtype="float64"):
    return [judgement.row for judgement in judged(plan, dump, dtype) if not judgement.row.passed]


def test_judge_steps_goes_in_the_order_of_a_training():
    plan, dump = healthy()
    names = [judgement.row.tensor for judgement in judged(plan, dump)]
    steps = [name.split("/")[1] for name in names]
    assert steps == sorted(steps)
    first = [name.removeprefix("steps/1/") for name in names if name.startswith("steps/1/")]
    order = ["state/bn1.running_mean", "gradients/fc.weight", "gradients/conv1.weight"]
    order += ["momentum_buffer/conv1.weight", "state/conv1.weight", "state/fc.bias"]
    assert sorted(order, key=first.index) == order


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("tensor", ["gradients/conv1.weight", "momentum_buffer/bn1.bias", "state/fc.weight"])
def test_judge_steps_finds_a_wrong_tensor_alone(tensor, dtype):
    plan, dump = healthy(dtype=dtype)
    name = f"steps/3/{tensor}"
    dump[name] = dump[name] * 1.001
    rows = faults(plan, dump, dtype)
    assert rows[0].tensor == name
    assert (rows[0].operation, rows[0].kind, rows[0].direction) == ("step 3", "SGD", "update")
    assert len(rows) == (3 if tensor.startswith("gradients") else 1)  # buffer and weight follow from the gradient


def test_judge_steps_judges_a_step_from_the_ports_own_numbers():
    plan, _ = healthy()
    port = Port(training(SGD.replace(lr=0.2)))
    dump = port.train(torch_optimizer(port))
    rows = faults(plan, dump)
    assert {row.tensor.split("/")[2] for row in rows} == {"state"}  # gradients and buffers follow from wrong weights


def test_judge_steps_computes_what_a_port_does_not_give():
    plan, dump = healthy()
    some = {name: array for name, array in dump.items() if name.startswith("steps/3/state/")}
    assert len(judged(plan, some)) == len(some)
    assert faults(plan, some) == []
    some["steps/3/state/fc.bias"] = some["steps/3/state/fc.bias"] + 1e-6
    assert [row.tensor for row in faults(plan, some)] == ["steps/3/state/fc.bias"]


def test_judge_steps_takes_flat_tensors():
    plan, dump = healthy()
    assert faults(plan, {name: array.ravel() for name, array in dump.items()}) == []


def test_judge_steps_names_the_shape_of_a_tensor_of_another_size():
    plan, dump = healthy()
    dump["steps/1/state/fc.bias"] = np.zeros(7)
    row = faults(plan, dump)[0]
    assert (row.error, row.sentence) == (np.inf, "its shape must be (3,), and is (7,)")


def test_judge_steps_finds_numbers_that_are_not_finite():
    plan, dump = healthy()
    dump["steps/1/state/fc.bias"] = np.full(3, np.nan)
    rows = faults(plan, dump)
    assert (rows[0].tensor, rows[0].error) == ("steps/1/state/fc.bias", np.inf)


def test_judge_steps_counts_adams_steps():
    plan, dump = healthy(gn.Recipe(optimizer="adam", lr=1e-3))
    dump["steps/2/step/fc.bias"] = np.float32(3)
    assert [row.tensor for row in faults(plan, dump)] == ["steps/2/step/fc.bias"]


def with_a_kink_at_step_2():
    """A training one ReLU input of which is 1e-9 at step 2, and the gradients of a port that sees it below 0."""
    plan, dump = healthy()
    dump = {name: array for name, array in dump.items() if name.startswith("steps/1/")}
    x = Step(plan, dump, 2).evaluation.site("relu").x
    image, channel, row, column = np.unravel_index(np.abs(x).argmin(), x.shape)
    dump["steps/1/state/bn1.bias"][channel] -= x[image, channel, row, column] - 1e-9
    [flipped] = Step(plan, dump, 2).variants("gradients", "float32")
    gradients = {f"steps/2/gradients/{key}": flipped.expected("gradients", key) for key in flipped.shapes}
    return plan, dump, gradients


def rows_of_gradients(plan, dump, dtype):
    rows = [judgement.row for judgement in judged(plan, dump, dtype)]
    return [row for row in rows if row.tensor.startswith("steps/2/gradients/")]


def test_judge_steps_leaves_open_a_gradient_whose_relu_is_nearer_to_its_kink_than_rounding():
    plan, dump, gradients = with_a_kink_at_step_2()
    rows = rows_of_gradients(plan, dump | gradients, "float32")
    assert all(row.passed for row in rows)
    assert {row.not_judged for row in rows} == {
        "",
        "ReLU inputs or close maxima are nearer to a kink than rounding (1)",
    }
    assert not all(row.passed for row in rows_of_gradients(plan, dump | gradients, "float64"))


def test_judge_steps_finds_a_gradient_that_is_farther_off_than_a_kink_explains():
    plan, dump, gradients = with_a_kink_at_step_2()
    gradients["steps/2/gradients/conv1.weight"] = gradients["steps/2/gradients/conv1.weight"] * 1.5
    rows = rows_of_gradients(plan, dump | gradients, "float32")
    assert [row.tensor for row in rows if not row.passed] == ["steps/2/gradients/conv1.weight"]


def test_check_judges_every_tensor_of_the_steps(tmp_path):
    recipe = SGD.replace(ema=0.9, clip_grad_norm=0.5)
    write(SMALL.replace(dropout=0.5), tmp_path / "bundle", steps=2, recipe=recipe)
    tensors = load_file(tmp_path / "bundle" / "tensors.safetensors")
    steps = {name: array for name, array in tensors.items() if name.startswith("steps/")}
    save_file(steps, tmp_path / "port.safetensors")
    report = check(tmp_path / "bundle", tmp_path / "port.safetensors")
    assert (report.passed, report.judged) == (True, len(steps))
    name = "steps/2/average/bn1.running_mean"
    save_file(steps | {name: steps[name] + 1e-6}, tmp_path / "wrong.safetensors")
    first = check(tmp_path / "bundle", tmp_path / "wrong.safetensors").first
    assert first.tensor == name
    assert first.sentence.startswith(f"SGD returned a wrong average of bn1.running_mean in step 2 ({name}: error ")
