"""What every engine promises, of the NumPy engine."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet.data import Normalization, Split
from glassnet.engines.base import EVAL_BATCH_SIZE
from glassnet.errors import ConfigError, DataError, GlassnetError, ShapeError
from glassnet.nn.kernels import layout
from tests.engines.oracle import Array, batch, build64, tensor, twin


def test_chunks_equal_one_pass() -> None:
    network = build64("tiny-bn")
    images, _ = batch(network.spec, 2 * EVAL_BATCH_SIZE + 3)
    logits = network.logits(images)
    assert logits.shape == (2 * EVAL_BATCH_SIZE + 3, 10)
    at_once = network.module.eval()(layout.channels_last(images))
    np.testing.assert_allclose(logits, at_once, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        logits[EVAL_BATCH_SIZE : EVAL_BATCH_SIZE + 1],
        network.logits(images[EVAL_BATCH_SIZE : EVAL_BATCH_SIZE + 1]),
        atol=1e-12,
    )


def test_no_images_give_no_logits() -> None:
    logits = gn.build("tiny").logits(np.zeros((0, 1, 8, 8)))
    assert logits.shape == (0, 10)
    assert logits.dtype == np.float32


def test_a_image_is_judged_by_itself_in_evaluation_mode() -> None:
    network = gn.build(gn.spec("tiny-bn", dropout=0.5), dtype="float64")
    images, labels = batch(network.spec, 8)
    network.trainer(gn.Recipe()).step(images, labels)  # leaves training mode on
    np.testing.assert_allclose(network.logits(images)[:1], network.logits(images[:1]), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(network.logits(images), network.logits(images))
    np.testing.assert_array_equal(network.activations(images)["dropout"], network.activations(images)["flatten"])


def test_looking_and_measuring_move_nothing() -> None:
    network = gn.build(gn.spec("tiny-bn", dropout=0.5))
    images, labels = batch(network.spec, dtype="float32")
    split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int64))
    before, drawn = network.state_dict(), network.module.dropout.generator.bit_generator.state
    network.logits(images)
    network.activations(images)
    network.evaluate(split, Normalization(16.0, (0.0,), (1.0,)))
    network.gradients(images, labels)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)
    assert network.module.dropout.generator.bit_generator.state == drawn


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_check_batch_moves_nothing_and_fails_where_a_step_would(engine: str) -> None:
    network, stepped = (gn.build(gn.spec("tiny-bn", dropout=0.5), engine) for _ in range(2))
    before, drawn = network.state_dict(), network.module.dropout.generator.bit_generator.state
    network.check_batch(np.ones((2, 1, 8, 8), np.float32))
    for size in (1, 10):  # one value per channel for the last BatchNorm is too few; fc takes 8×8 alone
        images = np.ones((1, 1, size, size), np.float32)
        with pytest.raises(GlassnetError):
            stepped.trainer(gn.Recipe()).step(images, np.zeros(1, int))
        with pytest.raises(GlassnetError):
            network.check_batch(images)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)
    assert network.module.dropout.generator.bit_generator.state == drawn


def test_gradients_that_fail_half_way_move_nothing() -> None:
    network = gn.build(gn.spec("tiny-bn", dropout=0.5))
    before = network.state_dict()
    with pytest.raises(ShapeError, match=re.escape("fc: input of Linear must have shape (N, 256). Got (3, 576).")):
        network.gradients(np.ones((3, 1, 12, 12)), np.zeros(3, int))  # conv1 and bn1 take any size
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("use", ["gradients", "trace", "step"])
def test_an_empty_batch_has_no_loss(engine: str, use: str) -> None:
    network = gn.build("tiny-bn", engine)
    images, labels = np.zeros((0, 1, 8, 8), np.float32), np.zeros(0, int)
    compute = network.trainer(gn.Recipe()).step if use == "step" else getattr(network, use)
    before = network.state_dict()
    with pytest.raises(DataError, match=r"^images must be at least 1 to compute a loss\. Got 0\.$"):
        compute(images, labels)
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)
    assert network.logits(images).shape == (0, 10)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_network_prints_its_layers(engine: str) -> None:
    text = repr(gn.build("tiny", engine))
    assert text.startswith("Sequential(\n  (conv1): Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))\n")


def test_the_same_gradients_twice() -> None:
    network = gn.build(gn.spec("tiny-bn", dropout=0.5))
    images, labels = batch(network.spec)
    (first_loss, first), (second_loss, second) = (network.gradients(images, labels) for _ in range(2))
    assert first_loss == second_loss
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key])


def test_gradients_between_steps_change_no_training() -> None:
    images, labels = batch(gn.spec("tiny-bn"), dtype="float32")
    networks = [gn.build(gn.spec("tiny-bn", dropout=0.5)) for _ in range(2)]
    trainers = [network.trainer(gn.Recipe()) for network in networks]
    for _ in range(3):
        for trainer in trainers:
            trainer.step(images, labels)
        networks[0].gradients(images, labels)
        networks[0].logits(images)
    for key, array in networks[0].state_dict().items():
        np.testing.assert_array_equal(array, networks[1].state_dict()[key], err_msg=key)


def test_activations_have_all_leaves_and_blocks_in_forward_order() -> None:
    network = gn.build(gn.spec("resnet20", blocks=1, shortcut="projection", pool="stride", image_size=8))
    images, _ = batch(network.spec, 2, dtype="float32")

    def block(name: str, *shortcut: str) -> list[str]:
        inside = ["conv1", "bn1", "relu1", "conv2", "bn2", *shortcut, "relu"]
        return [*(f"{name}.{leaf}" for leaf in inside), name]

    expected = [
        *("conv1", "bn1", "relu"),
        *block("layer1.0", "shortcut"),
        *block("layer2.0", "downsample.0", "downsample.1"),
        *block("layer3.0", "downsample.0", "downsample.1"),
        *("pool.conv", "pool.bn", "pool.relu", "avgpool", "flatten", "fc"),
    ]
    assert network.activation_names == expected
    assert list(network.activations(images)) == expected


def test_activations_are_torchs() -> None:
    network = build64("resnet20", blocks=1, width=4, shortcut="projection", dropout=0.5, image_size=8)
    images, _ = batch(network.spec)
    module = twin(network).eval()
    theirs: dict[str, torch.Tensor] = {}
    for name, part in module.named_modules():
        part.register_forward_hook(lambda _, __, y, name=name: theirs.update({name: y.detach().clone()}))
    logits = module(tensor(images)).detach().numpy()
    ours = network.activations(images)
    assert set(ours) <= set(theirs)
    for name, array in ours.items():
        assert array.flags.c_contiguous
        np.testing.assert_allclose(array, theirs[name].numpy(), rtol=0, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(ours["fc"], logits, rtol=0, atol=1e-12)


def test_named_activations_alone() -> None:
    network = gn.build("tiny")
    images, _ = batch(network.spec, dtype="float32")
    everything = network.activations(images)
    some = network.activations(images, names=iter(["layer1.0", "conv1"]))
    assert list(some) == ["conv1", "layer1.0"]  # forward order
    for name, array in some.items():
        np.testing.assert_array_equal(array, everything[name])
    assert network.activations(images, []) == {}


def test_an_unknown_activation() -> None:
    told = "Got 'layer1.0.conv3'; did you mean 'layer1.0.conv2'?"
    with pytest.raises(ConfigError, match=re.escape(told)):
        gn.build("tiny").activations(np.zeros((1, 1, 8, 8)), ["conv1", "layer1.0.conv3"])
    with pytest.raises(
        ConfigError, match=r"An activation of tiny must be one of conv1, .* Got 'layer1'"
    ):  # a stage is no layer
        gn.build("tiny").activations(np.zeros((1, 1, 8, 8)), ["layer1"])


IMAGES = np.zeros((2, 1, 8, 8))


def spoiled(value: float) -> Array:
    images = IMAGES.copy()
    images[1, 0, 3, 5] = value
    return images


BAD_IMAGES: list[tuple[Any, str]] = [
    (spoiled(np.nan), "The images must be finite in float32. Got nan in image 1, channel 0, row 3, column 5."),
    (spoiled(np.inf), "The images must be finite in float32. Got inf in image 1, channel 0, row 3, column 5."),
    (spoiled(-np.inf), "The images must be finite in float32. Got -inf in image 1"),
    (spoiled(1e300), "The images must be finite in float32. Got 1e+300 in image 1, channel 0, row 3, column 5."),
    (np.zeros((2, 3, 8, 8)), "The images must have shape (N, 1, H, W). Got (2, 3, 8, 8)."),
    (np.zeros((2, 8, 8, 1)), "The images must have shape (N, 1, H, W). Got (2, 8, 8, 1)."),
    (np.zeros((1, 8, 8)), "The images must have shape (N, 1, H, W). Got (1, 8, 8)."),
    (
        np.zeros((2, 1, 8, 8), np.uint8),
        "The images must be floats, as Normalization.apply makes them of uint8 images. Got uint8.",
    ),
    (np.zeros((2, 1, 8, 8), bool), "The images must be floats"),
    (np.zeros((2, 1, 8, 8), complex), "The images must be floats"),
    (None, "The images must have shape (N, 1, H, W). Got ()."),
]


@pytest.mark.parametrize(("images", "told"), BAD_IMAGES)
def test_bad_images(images: Any, told: str) -> None:
    network = gn.build("tiny")
    labels = np.zeros(2, int)
    for use in (
        network.logits,
        network.activations,
        lambda images: network.gradients(images, labels),
        lambda images: network.trainer(gn.Recipe()).step(images, labels),
    ):
        with pytest.raises(DataError, match=re.escape(told)):
            use(images)


def test_what_is_finite_in_float64_alone() -> None:
    assert np.isfinite(gn.build("tiny", dtype="float64").logits(spoiled(1e200))).all()


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((9, 10), "fc: input of Linear must have shape (N, 128). Got (2, 160)."),
        (
            (1, 8),
            "pool: image must be at least 2x2 for kernel_size (2, 2), dilation (1, 1) and padding",
        ),
    ],
)
def test_images_of_another_size_name_the_layer_that_they_do_not_fit(size: tuple[int, int], told: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(told)):
        gn.build("tiny").logits(np.zeros((2, 1, *size)))


def test_a_global_average_takes_any_size() -> None:
    network = gn.build("resnet20")
    assert network.logits(np.zeros((1, 3, 9, 20))).shape == (1, 10)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.array([0, 10]), "The labels must be from 0 to 9. Got 10."),
        (np.array([-1, 3]), "The labels must be from 0 to 9. Got -1."),
        (np.array([0]), "The labels must be 2 integers. Got int64 of shape (1,)."),
        (np.array([[0], [1]]), "The labels must be 2 integers. Got int64 of shape (2, 1)."),
        (np.array([0.0, 1.0]), "The labels must be 2 integers. Got float64 of shape (2,)."),
        (None, "The labels must be 2 integers. Got object of shape ()."),
    ],
)
def test_bad_labels(labels: Any, told: str) -> None:
    network = gn.build("tiny")
    for use in (network.gradients, network.trainer(gn.Recipe()).step):
        with pytest.raises(DataError, match=re.escape(told)):
            use(IMAGES, labels)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    preset=st.sampled_from(["tiny", "tiny-bn"]),
    in_order=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 100),
)
def test_every_array_is_the_callers_own(preset: str, in_order: bool, dtype: str, seed: int) -> None:
    """Whatever comes out may be written to, whatever goes in stays as it is and may be written to."""
    spec = gn.spec(preset, dropout=0.25)
    network = gn.build(spec, dtype=dtype)
    images, labels = batch(spec, 3, seed, dtype)
    if in_order:
        images = layout.channels_last(images)
    given_images, given_labels = images.copy(), labels.copy()

    def results() -> list[Array]:
        arrays = [network.logits(images), *network.activations(images).values(), *network.state_dict().values()]
        return [*arrays, *network.gradients(images, labels)[1].values()]

    first = results()
    copies = [array.copy() for array in first]
    second = results()
    for array, copy, again in zip(first, copies, second, strict=True):
        np.testing.assert_array_equal(array, copy)  # the second call left the first one's alone
        np.testing.assert_array_equal(again, copy)
        assert not np.shares_memory(array, again)
        assert not np.shares_memory(array, images)
        array[...] = 99
    for array, copy in zip(results(), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_array_equal(images, given_images)
    np.testing.assert_array_equal(labels, given_labels)


def test_a_loaded_state_is_copied() -> None:
    network = gn.build("tiny")
    state = network.state_dict()
    network.load_state_dict(state)
    before = network.state_dict()
    for array in state.values():
        array[...] = 99
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_evaluate_is_the_mean_over_the_split() -> None:
    network = build64("tiny")
    rng = np.random.default_rng(0)
    split = Split(
        rng.integers(0, 17, (EVAL_BATCH_SIZE + 7, 8, 8, 1), dtype=np.uint8),
        rng.integers(10, size=EVAL_BATCH_SIZE + 7, dtype=np.int64),
    )
    normalization = Normalization(16.0, (0.25,), (0.5,))
    evaluation = network.evaluate(split, normalization)
    logits = torch.from_numpy(network.logits((split.images.transpose(0, 3, 1, 2) / 16 - 0.25) / 0.5))
    labels = torch.from_numpy(split.labels)
    assert evaluation.count == EVAL_BATCH_SIZE + 7
    assert evaluation.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-12)
    assert evaluation.accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())


def test_logits_that_overflow_warn_of_nothing() -> None:
    network = gn.build("tiny")
    network.load_state_dict({key: array * np.float32(1e18) for key, array in network.state_dict().items()})
    split = Split(np.full((3, 8, 8, 1), 16, np.uint8), np.zeros(3, np.int64))
    assert not np.isfinite(network.evaluate(split, Normalization(16.0, (0.0,), (1.0,))).loss)
    images, labels = np.ones((3, 1, 8, 8)), np.zeros(3, int)
    assert not np.isfinite(network.logits(images)).all()
    assert not np.isfinite(network.gradients(images, labels)[0])
    trainer = network.trainer(gn.Recipe(clip_grad_norm=1.0))
    trainer.step(images, labels)
    assert not np.isfinite(trainer.pop_stats().loss)
