"""The NumPy engine against torch's autograd and optimizers, in float64."""

import json
import pickle
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

import glassnet as gn
from glassnet.architecture import PRESETS
from glassnet.data import Normalization, make_rng
from glassnet.engines import Batch, Network, Trainer, clone_network
from glassnet.errors import GlassnetError
from glassnet.nn import functional
from glassnet.nn.kernels import array_pool
from glassnet.recipe import Recipe
from tests.engines.oracle import Array, batch, build64, tensor, twin

RESNET = {"image_size": 16, "blocks": 1, "width": 8}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": ("tiny", {}),
    "tiny-bn": ("tiny-bn", {}),
    "tiny, dropout": ("tiny", {"dropout": 0.5}),
    "tiny-bn, strided convolution": ("tiny-bn", {"pool": "stride"}),
    "tiny-bn, average pool": ("tiny-bn", {"pool": "avg", "head": "average"}),
    "tiny-bn, oblong": ("tiny-bn", {"image_size": (7, 10), "in_channels": 3}),
    "resnet20": ("resnet20", {"image_size": 16}),
    "option A": ("resnet20", RESNET),
    "projection": ("resnet20", {**RESNET, "shortcut": "projection"}),
    "plain": ("resnet20", {**RESNET, "skip": False}),
    "pre-activation": ("resnet20", {**RESNET, "preactivation": True}),
    "pre-activation, projection": ("resnet20", {**RESNET, "preactivation": True, "shortcut": "projection"}),
    "no norm": ("resnet20", {**RESNET, "norm": "none", "shortcut": "projection"}),
    "odd width": ("resnet20", {**RESNET, "width": 3, "blocks": (2, 1)}),
    "odd size": ("resnet20", {**RESNET, "image_size": (15, 9), "head": "flatten", "pool": "max"}),
}


def close(ours: dict[str, Array], theirs: dict[str, torch.Tensor], tolerance: float = 1e-9) -> None:
    """Relative to each tensor's largest value, or a millionth of the largest of all, whichever is more."""
    assert list(ours) == list(theirs)
    largest = max(float(value.abs().max()) for value in theirs.values())
    for key, value in theirs.items():
        expected = value.detach().numpy()
        assert ours[key].shape == expected.shape
        scale = max(float(np.abs(expected).max()), 1e-6 * largest)
        np.testing.assert_allclose(ours[key], expected, rtol=0, atol=tolerance * scale, err_msg=key)


def gradients_of(module: Any) -> dict[str, torch.Tensor]:
    return {key: parameter.grad.clone() for key, parameter in module.named_parameters()}


@pytest.mark.parametrize(("preset", "changes"), NETWORKS.values(), ids=NETWORKS)
def test_logits_gradients_and_buffers_are_torchs(preset: str, changes: dict[str, Any]) -> None:
    network = build64(preset, **changes)
    module = twin(network)
    images, labels = batch(network.spec, 8)
    with torch.no_grad():
        close({"logits": network.logits(images)}, {"logits": module.eval()(tensor(images))})

    loss, gradients = network.gradients(images, labels)
    expected = torch.nn.functional.cross_entropy(module.train()(tensor(images)), tensor(labels))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    close(gradients, gradients_of(module))

    network.seed_dropout(make_rng(42, "dropout"))
    assert float(network.trainer(Recipe()).step(images, labels)) == pytest.approx(expected.item(), rel=1e-12)
    buffers = {key for key, _ in module.named_buffers()}
    ours = {key: array for key, array in network.state_dict().items() if key in buffers}
    if buffers:
        close(ours, dict(module.named_buffers()))
        assert all(array == 1 for key, array in ours.items() if key.endswith("num_batches_tracked"))


def test_the_state_dict_has_torchs_keys_order_shapes_and_types() -> None:
    for preset, changes in NETWORKS.values():
        network = build64(preset, **changes)
        theirs = twin(network).state_dict()
        ours = network.state_dict()
        assert list(ours) == list(theirs)
        for key, array in ours.items():
            assert array.flags.c_contiguous
            assert (array.shape, array.dtype) == (tuple(theirs[key].shape), theirs[key].numpy().dtype), key


def torch_optimizer(module: Any, recipe: Recipe) -> torch.optim.Optimizer:
    groups = [
        {
            "params": [parameter],
            "weight_decay": recipe.weight_decay if recipe.decays(parameter.ndim) else 0.0,
            "lr": recipe.lr if name.startswith("fc.") else recipe.lr * recipe.body_lr,
        }
        for name, parameter in module.named_parameters()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.nesterov)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](groups, recipe.lr)


RECIPES = {
    "sgd": Recipe(momentum=0.0),
    "momentum": Recipe(),
    "nesterov": Recipe(nesterov=True, weight_decay=1e-2),
    "weights decay": Recipe(weight_decay=0.1),
    "all decay": Recipe(weight_decay=0.1, weight_decay_scope="all"),
    "smoothing": Recipe(label_smoothing=0.1),
    "adam": Recipe(optimizer="adam", lr=1e-2),
    "adam, decay": Recipe(optimizer="adam", lr=1e-2, weight_decay=0.1),
    "adamw": Recipe(optimizer="adamw", lr=1e-2, weight_decay=0.1),
    "adamw, all decay": Recipe(optimizer="adamw", lr=1e-2, weight_decay=0.1, weight_decay_scope="all"),
    "clipped": Recipe(clip_grad_norm=0.5, weight_decay=0.1),
    "clipped nowhere": Recipe(clip_grad_norm=1e6),
    "body": Recipe(body_lr=0.1, weight_decay=0.1, nesterov=True),
    "body, adamw": Recipe(body_lr=3, weight_decay=0.1, optimizer="adamw", lr=1e-2),
    "class weights": Recipe(class_weights="balanced"),
    "everything": Recipe(class_weights="balanced", label_smoothing=0.2, clip_grad_norm=0.5, body_lr=0.3),
}
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@every_recipe
@pytest.mark.parametrize("preset", ["tiny", "tiny-bn"])
def test_ten_steps_are_torchs(preset: str, recipe: Recipe) -> None:
    network = build64(preset)
    module = twin(network)
    all_labels = np.repeat(np.arange(10), np.arange(1, 11))
    weights = None
    if recipe.class_weights == "balanced":
        weights = tensor(compute_class_weight("balanced", classes=np.arange(10), y=all_labels))
    optimizer, trainer = torch_optimizer(module, recipe), network.trainer(recipe, labels=all_labels)
    for number in range(10):
        images, labels = batch(network.spec, 16, seed=number)
        optimizer.zero_grad()
        expected = torch.nn.functional.cross_entropy(
            module(tensor(images)), tensor(labels), weights, label_smoothing=recipe.label_smoothing
        )
        expected.backward()
        if recipe.clip_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.clip_grad_norm)
        optimizer.step()
        assert float(trainer.step(images, labels)) == pytest.approx(expected.item(), rel=1e-9)
    norms = {key: np.asarray(norm) for key, norm in trainer.pop_stats().gradient_norms.items()}
    close(norms, {key: gradient.norm() for key, gradient in gradients_of(module).items()}, 1e-7)
    close(network.state_dict(), module.state_dict(), 1e-8)


def test_the_whole_gradient_is_clipped_and_keeps_its_direction() -> None:
    network = build64("tiny")
    images, labels = batch(network.spec, 16)
    _, gradients = network.gradients(images, labels)
    length = np.sqrt(sum(float((array**2).sum()) for array in gradients.values()))
    before = network.state_dict()
    network.trainer(Recipe(lr=1.0, momentum=0.0, clip_grad_norm=length / 4)).step(images, labels)
    for key, array in network.state_dict().items():
        np.testing.assert_allclose(before[key] - array, gradients[key] / 4, rtol=1e-5, atol=1e-12)


def test_the_recipes_lr_and_one_steps_own() -> None:
    images, labels = batch(gn.spec("tiny"))

    def moved(*rates: float | None) -> Array:
        network = build64("tiny")
        start = network.state_dict()["fc.bias"]
        trainer = network.trainer(Recipe(lr=0.1, momentum=0.0))
        for rate in rates:
            trainer.step(images, labels, lr=rate)
        return network.state_dict()["fc.bias"] - start

    np.testing.assert_allclose(moved(0.2), 2 * moved(None), rtol=1e-12)
    np.testing.assert_array_equal(moved(0.1), moved(None))
    assert not moved(0.0).any()
    np.testing.assert_array_equal(moved(0.0, None), moved(None))  # the override was for one step


def test_a_numpy_number_is_the_same_rate() -> None:
    """NumPy computes float32 times np.float64 in float64, and rounds elsewhere."""
    images, labels = batch(gn.spec("tiny"), dtype="float32")
    states = []
    for number in (float, np.float64):
        network = gn.build("tiny")
        trainer = network.trainer(Recipe(lr=number(0.1), weight_decay=number(1e-3), momentum=number(0.9)))
        for rate in (number(0.07), None, None):
            trainer.step(images, labels, lr=rate)
        states.append(network.state_dict())
    for key, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][key], err_msg=key)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step_takes_a_batch_as_its_normalized_images(dtype: str) -> None:
    rng = np.random.default_rng(3)
    images, labels = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), rng.integers(10, size=4, dtype=np.int64)
    normalization = Normalization(255.0, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    networks = [gn.build(gn.spec("tiny-bn", in_channels=3), dtype=dtype) for _ in range(2)]
    first = networks[0].trainer(Recipe()).step(Batch(images, labels, normalization))
    arrays = np.array(normalization.apply(images, dtype), order="C")  # another memory order than the batch's
    second = networks[1].trainer(Recipe()).step(arrays, labels)
    assert first == second
    for key, array in networks[0].state_dict().items():
        np.testing.assert_array_equal(array, networks[1].state_dict()[key], err_msg=key)


def test_totals_are_means_over_images_since_the_last_reading() -> None:
    network = build64("tiny")
    trainer = network.trainer(Recipe())
    images, labels = batch(network.spec, 9)
    right, losses = 0, []
    for part in (slice(0, 6), slice(6, 9)):  # judged before the step
        network_says = network.logits(images[part]).argmax(axis=1)
        right += int((network_says == labels[part]).sum())
        losses.append(trainer.step(images[part], labels[part]))
    totals = trainer.pop_stats()
    assert totals.count == 9
    assert totals.loss == pytest.approx((6 * losses[0] + 3 * losses[1]) / 9, rel=1e-12)
    assert totals.accuracy == pytest.approx(right / 9)
    assert (trainer.pop_stats().count, trainer.pop_stats().loss) == (0, 0.0)
    trainer.step(images[:2], labels[:2])
    assert trainer.pop_stats().count == 2


def restored(network: Network, trainer: Trainer, recipe: Recipe) -> tuple[Network, Trainer]:
    """Another network and trainer that stand where these do, by their states alone."""
    copy = gn.build(network.spec, dtype=network.dtype, seed=99)
    copy.load_state_dict(network.state_dict())
    follower = copy.trainer(recipe, labels=batch(network.spec)[1])
    follower.load_state(trainer.state())
    return copy, follower


@every_recipe
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_trainer_goes_on_to_the_same_bits(recipe: Recipe, dtype: str) -> None:
    network = gn.build("tiny-bn", dtype=dtype)
    trainer = network.trainer(recipe, labels=batch(network.spec)[1])
    for number in range(3):
        trainer.step(*batch(network.spec, seed=number))
    copy, follower = restored(network, trainer, recipe)
    for number in range(3, 6):
        assert trainer.step(*batch(network.spec, seed=number)) == follower.step(*batch(network.spec, seed=number))
    for ours, theirs in ((network.state_dict(), copy.state_dict()), (trainer.state(), follower.state())):
        assert list(ours) == list(theirs)
        for key, array in ours.items():
            assert array.tobytes() == theirs[key].tobytes(), key


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        (Recipe(), {"momentum_buffer"}),
        (Recipe(momentum=0.0), set()),
        (Recipe(optimizer="adam"), {"step", "exp_avg", "exp_avg_sq"}),
        (Recipe(optimizer="adamw"), {"step", "exp_avg", "exp_avg_sq"}),
    ],
)
def test_the_state_lies_under_the_parameters_keys(recipe: Recipe, names: set[str]) -> None:
    network = gn.build("tiny-bn")
    trainer = network.trainer(recipe)
    assert trainer.state() == {}
    trainer.step(*batch(network.spec))
    parameters = network.gradients(*batch(network.spec))[1]
    state = trainer.state()
    assert set(state) == {f"{key}/{name}" for key in parameters for name in names}
    for path, array in state.items():
        key, _, name = path.rpartition("/")
        assert array.shape == (() if name == "step" else parameters[key].shape)
        assert array.flags.c_contiguous
        array[...] = 99  # a copy
    assert all((array != 99).all() for array in trainer.state().values())


def test_a_loaded_state_replaces_the_old_one_and_is_copied() -> None:
    network = gn.build("tiny")
    trainer = network.trainer(Recipe())
    trainer.step(*batch(network.spec))
    state = trainer.state()
    for array in state.values():
        array[...] = 1
    trainer.load_state(state)
    for array in state.values():
        array[...] = 2
    assert all((array == 1).all() for array in trainer.state().values())
    trainer.load_state({})
    assert trainer.state() == {}


@pytest.mark.parametrize(
    ("path", "shape"),
    [("conv9.weight/momentum_buffer", (8, 1, 3, 3)), ("fc.bias/momentum_buffer", (9,)), ("momentum_buffer", ())],
)
def test_a_state_that_fits_no_parameter_changes_nothing(path: str, shape: tuple[int, ...]) -> None:
    network = gn.build("tiny")
    trainer = network.trainer(Recipe())
    trainer.step(*batch(network.spec))
    before = trainer.state()
    state = {"conv1.bias/momentum_buffer": np.zeros(8), path: np.zeros(shape)}
    told = f"The optimizer's state {path} must belong to a parameter of its shape. Got shape {shape}."
    with pytest.raises(GlassnetError, match=re.escape(told)):
        trainer.load_state(state)
    for key, array in trainer.state().items():
        np.testing.assert_array_equal(array, before[key])


def test_a_frozen_body_stays_as_it_is() -> None:
    network = gn.build(gn.spec("tiny-bn", dropout=0.5))
    trainer = network.trainer(Recipe(weight_decay=0.1), freeze="backbone")
    before = network.state_dict()
    images, labels = batch(network.spec, dtype="float32")
    for look in (lambda: network.logits(images), lambda: network.gradients(images, labels), lambda: None):
        trainer.step(images, labels)
        look()
    after = network.state_dict()
    assert {key for key in after if not np.array_equal(after[key], before[key])} == {"fc.weight", "fc.bias"}
    assert set(trainer.state()) == {"fc.weight/momentum_buffer", "fc.bias/momentum_buffer"}


def test_the_last_bits_do_not_depend_on_the_memory_order_of_the_images() -> None:
    images, labels = batch(gn.spec("tiny-bn"), dtype="float32")
    other = np.asfortranarray(images)
    first, second = (gn.build("tiny-bn").gradients(x, labels)[1] for x in (images, other))
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def golden(shared: Path) -> Network:
    path = shared / "resnet20-cifar10.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    network = gn.build("resnet20")
    network.load_state_dict(gn.load_weights(path))
    return network


@pytest.fixture(scope="module")
def samples(shared: Path) -> dict[str, Array]:
    """Twenty of CIFAR-10's test images, normalized; the label is the last number of each name."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    paths = sorted((shared / "cifar10-samples").glob("*.png"))
    return {
        path.stem: ((np.asarray(Image.open(path)) / 255 - mean) / std).transpose(2, 0, 1).astype(np.float32)
        for path in paths
    }


def test_a_trained_resnet20_knows_every_sample(golden: Network, samples: dict[str, Array]) -> None:
    labels = np.array([int(name.rsplit("_", 1)[1]) for name in samples])
    assert len(labels) == 20
    np.testing.assert_array_equal(golden.logits(np.stack(list(samples.values()))).argmax(axis=1), labels)


def test_golden_logits(golden: Network, samples: dict[str, Array]) -> None:
    expected = [-5.3097, -0.4958, 0.8773, 23.7305, -4.1050, 4.4637, -0.2343, -5.4179, -3.7118, -9.8822]
    np.testing.assert_allclose(golden.logits(samples["cifar10_00_3"][np.newaxis])[0], expected, rtol=0, atol=1e-3)


# Recycled memory.


def test_a_copy_after_a_step_computes_the_same() -> None:
    """Its scratch and its arrays are its own."""
    network: Any = build64("resnet20", image_size=16)
    images, labels = batch(network.spec)
    network.trainer(Recipe()).step(images, labels)
    for copy in (deepcopy(network), pickle.loads(pickle.dumps(network))):
        other, _ = batch(network.spec, seed=1)
        np.testing.assert_array_equal(copy.logits(other), network.logits(other))
        assert copy.array_pool is copy.module.kernels.array_pool is copy.module.layer1.kernels.array_pool


def trained(name: str, recycled: bool) -> tuple[dict[str, Array], list[Array]]:
    """Five steps of different batches, logits, gradients and activations between them; all that was handed out."""
    preset, changes = NETWORKS[name]
    network: Any = build64(preset, **changes)
    if not recycled:
        network.module.kernels.array_pool = None
    network.seed_dropout(np.random.default_rng(0))
    trainer, seen = network.trainer(Recipe(lr=0.05)), []
    for seed, count in enumerate([6, 6, 4, 6, 6]):
        images, labels = batch(network.spec, count, seed)
        trainer.step(images, labels)
        seen.append(network.logits(images))
        seen += network.activations(images).values()
        seen += network.gradients(images, labels)[1].values()
    return network.state_dict(), seen


@pytest.mark.parametrize(
    "name", ["tiny", "tiny, dropout", "tiny-bn, average pool", "resnet20", "projection", "odd size"]
)
def test_recycled_memory_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All arrays recycled, the small ones, too, and full of NaN when they are handed out."""
    expected, expected_seen = trained(name, recycled=False)
    hand_out = array_pool.ArrayPool.empty

    def spoilt(recycled: array_pool.ArrayPool, shape: tuple[int, ...], dtype: Any) -> Array:
        array = hand_out(recycled, shape, dtype)
        array.fill(np.nan if array.dtype.kind == "f" else 1)
        return array

    monkeypatch.setattr(array_pool, "MIN_POOLED_BYTES", 1)
    monkeypatch.setattr(array_pool.ArrayPool, "empty", spoilt)
    state, seen = trained(name, recycled=True)
    for key, value in expected.items():
        np.testing.assert_array_equal(state[key], value)
    for ours, theirs in zip(seen, expected_seen, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_memory_that_were_recycled_too_early_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""
    expected, _ = trained("resnet20", recycled=False)
    monkeypatch.setattr(array_pool, "MIN_POOLED_BYTES", 1)
    monkeypatch.setattr(array_pool, "FREE_REFCOUNT", array_pool.FREE_REFCOUNT + 1)  # one array in it is as good as none
    state, _ = trained("resnet20", recycled=True)
    assert any(not np.array_equal(state[key], value) for key, value in expected.items())


def test_a_network_asks_for_no_more_memory_after_its_first_step() -> None:
    # One thread: another may hold an array for a moment after its work.
    network: Any = gn.build(gn.spec("resnet20", image_size=16), threads=1)
    trainer = network.trainer(Recipe())
    images, labels = (array.astype(kind) for array, kind in zip(batch(network.spec, 32), ("f", "i"), strict=True))

    def kept() -> list[int]:
        return [piece.nbytes for pieces in network.array_pool._pieces.values() for piece in pieces]

    steps = []
    for _ in range(4):
        trainer.step(images, labels)
        steps.append(kept())
    assert len(steps[0]) > 10
    assert steps == [steps[0]] * 4
    trainer.step(images[:8], labels[:8])  # other work
    assert max(kept()) < max(steps[0])
    network.logits(images)
    assert len(kept()) < len(steps[0]) / 3


# Plain and fast kernels.


def small_spec(preset: str) -> gn.ResNetSpec:
    """A preset on images so small that two steps take a second; of the ImageNet ones, resnet18 keeps its width."""
    if gn.spec(preset).stem == "3x3":
        return gn.spec(preset, image_size=8)
    return gn.spec(preset, image_size=64, classes=10, width=64 if preset == "resnet18" else 8)


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset not in ("tiny", "tiny-bn")])
def test_plain_and_fast_kernels_agree_after_two_steps(preset: str) -> None:
    states, losses = [], []
    for kernels in ("fast", "plain"):
        network = gn.build(small_spec(preset), dtype="float64", kernels=kernels, threads=1)
        trainer = network.trainer(Recipe(lr=1e-4))
        losses.append([trainer.step(*batch(network.spec, 4, seed)) for seed in range(2)])
        states.append(network.state_dict())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    for key, array in states[0].items():
        scale = max(1, float(np.abs(array).max()))
        np.testing.assert_allclose(states[1][key], array, rtol=0, atol=1e-9 * scale, err_msg=key)


@pytest.mark.parametrize("preset", ["tiny", "tiny-bn"])
def test_plain_and_fast_kernels_agree_over_ten_epochs_of_digits(preset: str, tmp_path: Path) -> None:
    data = gn.load_data("digits")
    states = []
    for kernels in ("fast", "plain"):
        run = gn.train(
            preset, data, dtype="float64", kernels=kernels, threads=1, epochs=10, run=tmp_path / kernels, report=False
        )
        assert json.loads((run.path / "config.json").read_text(encoding="utf-8"))["kernels"] == kernels
        states.append(gn.load_weights(run.path / "last.safetensors"))
    assert states[0].keys() == states[1].keys()
    for key, array in states[0].items():
        np.testing.assert_allclose(states[1][key], array, rtol=0, atol=1e-12, err_msg=key)


def test_plain_kernels_are_kept_by_a_clone_and_used_everywhere() -> None:
    network: Any = gn.build("tiny", kernels="plain", dtype="float64")
    copy = clone_network(network)
    assert network.kernels == copy.kernels == "plain"
    assert all(module.kernels is functional for module in copy.module.modules())  # type: ignore[attr-defined]
    assert clone_network(network, kernels="fast").kernels == gn.build("tiny").kernels == "fast"
    fast = gn.build("tiny", dtype="float64")
    images, labels = batch(network.spec)
    for ours, theirs in (
        (network.logits(images), fast.logits(images)),
        (network.activations(images)["relu"], fast.activations(images)["relu"]),
        [traced.trace(images, labels).activation_gradients["conv1"] for traced in (network, fast)],
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
