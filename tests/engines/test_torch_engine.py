"""The PyTorch engine against the NumPy engine, and what is its own: devices, precision, a torch that is missing."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import glassnet as gn
from glassnet.data import Normalization, Split, make_rng
from glassnet.engines import Batch, Network, torch_engine
from glassnet.errors import ConfigError, GlassnetError
from glassnet.progress import Progress
from glassnet.recipe import Recipe
from tests.engines.oracle import Array, batch
from tests.training.runs import assert_same_run, train, untimed

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"image_size": 8, "blocks": 1, "width": 4}


def engines(preset: str, dtype: str = "float64", seed: int = 42, **changes: Any) -> tuple[Network, Network]:
    spec = gn.spec(preset, **changes)
    return gn.build(spec, "numpy", seed, dtype), gn.build(spec, "torch", seed, dtype, device="cpu")


def assert_close(ours: dict[str, Array], theirs: dict[str, Array], tolerance: float = 1e-12) -> None:
    assert list(ours) == list(theirs)
    for key, array in ours.items():
        assert (array.shape, array.dtype) == (theirs[key].shape, theirs[key].dtype), key
        np.testing.assert_allclose(theirs[key], array, rtol=0, atol=tolerance, err_msg=key)


# The same network as in NumPy. tests/verify/test_parity.py compares every tensor; this is the way in and out.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_start_equal_to_the_bit(dtype: str) -> None:
    ours, theirs = engines("resnet20", dtype, **SMALL)
    for key, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, theirs.state_dict()[key], strict=True)
        assert theirs.state_dict()[key].flags.c_contiguous
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.parameter_count == theirs.parameter_count
    assert ours.activation_names == theirs.activation_names
    assert ours.tensor_names == theirs.tensor_names
    assert (theirs.engine, theirs.engine_title, theirs.device) == ("torch", "PyTorch", "cpu")


def test_weights_come_back_to_the_bit() -> None:
    ours, theirs = engines("resnet20", "float32", **SMALL)
    theirs.trainer(Recipe()).step(*batch(theirs.spec, 4, dtype="float32"))
    state = theirs.state_dict()
    ours.load_state_dict(state)
    theirs.load_state_dict(ours.state_dict())
    for key, array in theirs.state_dict().items():
        np.testing.assert_array_equal(array, state[key], strict=True)


def test_logits_in_chunks_and_evaluation() -> None:
    ours, theirs = engines("tiny-bn")
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 17, (300, 8, 8, 1), dtype=np.uint8), rng.integers(10, size=300, dtype=np.int64)
    split, normalization = Split(images, labels), Normalization(16.0, (0.3,), (0.5,))
    first, second = (network.evaluate(split, normalization) for network in (ours, theirs))
    assert first.loss == pytest.approx(second.loss, rel=1e-12)
    assert (first.accuracy, first.count) == (second.accuracy, second.count)
    floats = normalization.apply(images, "float64")
    np.testing.assert_allclose(theirs.logits(floats), ours.logits(floats), rtol=0, atol=1e-12)
    assert theirs.logits(floats[:0]).shape == (0, 10)


def test_step_takes_a_batch_as_the_numpy_engine_does() -> None:
    rng = np.random.default_rng(3)
    images, labels = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), rng.integers(10, size=4, dtype=np.int64)
    normalization = Normalization(255.0, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    states = []
    for network in engines("tiny-bn", in_channels=3):
        network.trainer(Recipe()).step(Batch(images, labels, normalization))
        states.append(network.state_dict())
    assert_close(*states)


@pytest.mark.parametrize(
    "recipe",
    [Recipe(clip_grad_norm=0.5), Recipe(label_smoothing=0.1), Recipe(label_smoothing=0.1, class_weights="balanced")],
)
def test_totals(recipe: Recipe) -> None:
    totals = []
    for network in engines("tiny"):
        trainer = network.trainer(recipe, labels=np.repeat(np.arange(10), np.arange(1, 11)))
        for number, count in enumerate((6, 3)):
            loss = float(trainer.step(*batch(network.spec, count, seed=number), lr=0.01))
        assert loss > 0
        totals.append(trainer.pop_stats())
    ours, theirs = totals
    assert (ours.accuracy, ours.count) == (theirs.accuracy, theirs.count)
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-12)
    assert ours.gradient_norms == pytest.approx(theirs.gradient_norms, rel=1e-9)


OPTIMIZERS = {
    "sgd": Recipe(nesterov=True, weight_decay=1e-2),
    "adam": Recipe(optimizer="adam", lr=1e-2, weight_decay=1e-2),
    "adamw": Recipe(optimizer="adamw", lr=1e-2, weight_decay=1e-2),
}


@pytest.mark.parametrize("recipe", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("back", [False, True], ids=["to torch", "to NumPy"])
def test_a_training_goes_on_in_the_other_engine(recipe: Recipe, back: bool) -> None:
    """Three steps here, three there, are six in one."""
    first, second = engines("tiny-bn")[:: -1 if back else 1]
    batches = [batch(first.spec, 8, seed=number) for number in range(6)]
    trainer = first.trainer(recipe)
    for images, labels in batches[:3]:
        trainer.step(images, labels)
    second.load_state_dict(first.state_dict())
    other = second.trainer(recipe)
    other.step(*batches[5])  # moments that must be gone after loading
    second.load_state_dict(first.state_dict())
    other.load_state(trainer.state())
    assert trainer.state().keys() == other.state().keys()
    for images, labels in batches[3:]:
        trainer.step(images, labels)
        other.step(images, labels)
    assert_close(first.state_dict(), second.state_dict(), 1e-10)


def test_state_is_a_copy_and_a_state_that_fits_nothing_changes_nothing() -> None:
    _, network = engines("tiny")
    trainer = network.trainer(Recipe())
    trainer.step(*batch(network.spec))
    before = trainer.state()
    for array in trainer.state().values():
        array[...] = 99
    for path, array in (("conv9.weight/momentum_buffer", np.zeros(3)), ("fc.bias/momentum_buffer", np.zeros(3))):
        with pytest.raises(
            GlassnetError, match=re.escape(f"state {path} must belong to a parameter of its shape. Got shape (3,).")
        ):
            trainer.load_state({**{key: array + 1 for key, array in before.items()}, path: array})
    for key, array in trainer.state().items():
        np.testing.assert_array_equal(array, before[key])


NO_STATES: list[tuple[str, dict[str, Array | None], str]] = [
    (
        "sgd",
        {"fc.bias/momentum_buffer": np.array(0.0)},
        "fc.bias/momentum_buffer must belong to a parameter of its shape. Got shape ().",
    ),
    (
        "sgd",
        {"fc.bias/foo": np.zeros(10)},
        "The sgd optimizer's state of fc.bias must be momentum_buffer. Got foo, momentum_b",
    ),
    ("sgd", {"fc.bias/momentum_buffer": np.full(10, np.nan)}, "fc.bias/momentum_buffer must be finite. Got nan."),
    ("sgd", {"fc.bias/momentum_buffer": np.full(10, 1j)}, "must hold real numbers. Got an array of complex128."),
    ("sgd", {"fc.bias/momentum_buffer": np.array(["a"] * 10)}, "must hold real numbers. Got an array of <U1."),
    ("adam", {"fc.bias/step": np.array(-1.0)}, "fc.bias/step must be finite and at least 0. Got -1.0."),
    ("adam", {"fc.bias/step": np.array(np.nan)}, "fc.bias/step must be finite and at least 0. Got nan."),
    ("adam", {"fc.bias/step": np.zeros(10)}, "fc.bias/step must belong to a parameter of its shape. Got shape (10,)."),
    ("adamw", {"fc.bias/exp_avg_sq": np.full(10, -2.0)}, "exp_avg_sq must be finite and at least 0. Got -2.0."),
    (
        "adam",
        {"fc.bias/exp_avg": None},
        "The adam optimizer's state of fc.bias must be exp_avg, exp_avg_sq, step. Got exp_avg_sq",
    ),
    (
        "adam",
        {"fc.bias/momentum_buffer": np.zeros(10)},
        "Got exp_avg, exp_avg_sq, momentum_buffer, step",
    ),
]


@pytest.mark.parametrize(("optimizer", "change", "told"), NO_STATES)
@pytest.mark.parametrize("which", [0, 1], ids=["NumPy", "torch"])
def test_what_no_optimizer_keeps_is_refused(
    which: int, optimizer: str, change: dict[str, Array | None], told: str
) -> None:
    network = engines("tiny")[which]
    trainer = network.trainer(Recipe(optimizer=optimizer))
    trainer.step(*batch(network.spec))
    before = trainer.state()
    state = {key: array + 1 for key, array in before.items()} | change
    with pytest.raises(GlassnetError, match=re.escape(told)):
        trainer.load_state({key: array for key, array in state.items() if array is not None})
    for key, array in trainer.state().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("which", [0, 1], ids=["NumPy", "torch"])
def test_the_state_of_another_optimizer_is_refused(which: int) -> None:
    network = engines("tiny")[which]
    trainer = network.trainer(Recipe())
    trainer.step(*batch(network.spec))
    with pytest.raises(GlassnetError, match="adam optimizer's state of conv1.weight must be .* Got momentum_buffer"):
        network.trainer(Recipe(optimizer="adam")).load_state(trainer.state())


@pytest.mark.parametrize("which", [0, 1], ids=["NumPy", "torch"])
def test_an_empty_state_begins_anew(which: int) -> None:
    network = engines("tiny")[which]
    trainer = network.trainer(Recipe(optimizer="adam"))
    trainer.step(*batch(network.spec))
    assert trainer.state()
    trainer.load_state({})
    assert trainer.state() == {}
    trainer.step(*batch(network.spec))
    assert trainer.state()["fc.bias/step"] == 1


# Looking changes nothing.


def generator_states(network: Any) -> list[Any]:
    return [dropout.generator.bit_generator.state for dropout in network._dropouts()]


@pytest.mark.parametrize("which", [0, 1], ids=["NumPy", "torch"])
def test_a_trace_moves_nothing(which: int) -> None:
    network = engines("tiny-bn", dropout=0.5)[which]
    trainer = network.trainer(Recipe())
    images, labels = batch(network.spec)
    trainer.step(images, labels)
    before, drawn = network.state_dict(), generator_states(network)
    first, again = network.trace(images, labels), network.trace(images, labels)
    assert generator_states(network) == drawn
    assert_close(before, network.state_dict(), 0)
    assert first.loss == again.loss == network.gradients(images, labels)[0]
    for name in ("activations", "activation_gradients", "gradients", "buffers"):
        ours, theirs = getattr(first, name), getattr(again, name)
        assert_close(ours, theirs, 0)
        for key, array in ours.items():
            assert array.flags.c_contiguous
            assert not np.shares_memory(array, theirs[key])
            array[...] = 99
    assert list(first.activations) == list(first.activation_gradients) == network.tensor_names
    assert_close(before, network.state_dict(), 0)


@pytest.mark.parametrize("which", [0, 1], ids=["NumPy", "torch"])
def test_a_trace_that_fails_moves_nothing(which: int) -> None:
    network = engines("tiny-bn", dropout=0.5)[which]
    before = network.state_dict()
    with pytest.raises(GlassnetError):  # after both BatchNorms, in fc
        network.trace(np.ones((2, 1, 10, 10)), np.zeros(2, int))
    assert_close(before, network.state_dict(), 0)


@pytest.mark.parametrize("which", [0, 1], ids=["NumPy", "torch"])
def test_sums_by_name(which: int) -> None:
    network = engines("resnet20", **SMALL)[which]
    images, _ = batch(network.spec)
    seen = network.activations(images, ["layer2.0.sum", "layer2.0.bn2", "layer2.0.shortcut", "layer2.0"])
    assert list(seen) == ["layer2.0.bn2", "layer2.0.shortcut", "layer2.0.sum", "layer2.0"]
    np.testing.assert_allclose(seen["layer2.0.sum"], seen["layer2.0.shortcut"] + seen["layer2.0.bn2"], atol=1e-14)
    np.testing.assert_array_equal(seen["layer2.0"], np.maximum(seen["layer2.0.sum"], 0))
    assert "layer2.0.sum" not in network.activations(images)


def test_no_sums_where_nothing_is_added_before_a_relu() -> None:
    for changes in ({"skip": False}, {"preactivation": True}):
        network = gn.build(gn.spec("tiny-bn", **changes))
        assert network.tensor_names == network.activation_names


def test_gradients_of_a_frozen_body() -> None:
    found = []
    for network in engines("tiny-bn"):
        network.trainer(Recipe(), freeze="backbone")
        found.append(network.gradients(*batch(network.spec))[1])
        state = network.state_dict()
        network.trainer(Recipe(), freeze="backbone").step(*batch(network.spec))
        moved = {key for key, array in network.state_dict().items() if not np.array_equal(array, state[key])}
        assert moved == {"fc.weight", "fc.bias"}
    assert_close(*found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled() -> None:
    spec = gn.spec("tiny-bn", width=4)
    plain, compiled = (gn.build(spec, "torch", dtype="float64", device="cpu", compile=way) for way in (False, True))
    images, labels = batch(spec)
    np.testing.assert_allclose(compiled.logits(images), plain.logits(images), rtol=0, atol=1e-12)
    assert_close(plain.activations(images), compiled.activations(images))
    assert_close(plain.gradients(images, labels)[1], compiled.gradients(images, labels)[1])
    for network in (plain, compiled):
        network.trainer(Recipe()).step(images, labels)
    assert_close(plain.state_dict(), compiled.state_dict())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_training(digits: gn.Dataset, tmp_path: Path) -> None:
    """It begins as it is written and goes on compiled: evaluation, steps of two sizes, and the last epoch's weights."""
    options: dict[str, Any] = {"engine": "torch", "device": "cpu", "dtype": "float64", "epochs": 3, "batch_size": 64}
    whole = train(digits, tmp_path / "whole", **options)
    train(digits, tmp_path / "parts", **options, stop_after_epoch=1)
    run = train(digits, tmp_path / "parts", **options, compile=True, resume=True)
    assert gn.load(run.path).config["compile"] is True
    assert_close(weights(whole.path), weights(run.path), 1e-10)
    assert [record["test_accuracy"] for record in run.history] == [record["test_accuracy"] for record in whole.history]


# Memory order.


@pytest.mark.parametrize("preset", ["tiny-bn", "resnet20", "resnet50"])
def test_channels_last_computes_the_same(preset: str) -> None:
    spec = gn.spec(preset, width=4, **({} if preset == "tiny-bn" else {"blocks": 1, "image_size": 32}))
    usual, other = (
        gn.build(spec, "torch", dtype="float64", device="cpu", channels_last=chosen) for chosen in (False, True)
    )
    assert isinstance(other, torch_engine.TorchNetwork)
    kernels = [p for p in other.module.parameters() if p.ndim == 4 and p.shape[1] > 1]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    images, labels = batch(spec, 4)
    assert_close({"logits": usual.logits(images)}, {"logits": other.logits(images)})
    assert_close(usual.gradients(images, labels)[1], other.gradients(images, labels)[1])
    for network in (usual, other):
        trainer = network.trainer(Recipe(lr=1e-3))
        for _ in range(3):
            trainer.step(images, labels)
    assert_close(usual.state_dict(), other.state_dict(), 1e-10)


@pytest.mark.parametrize("width", [2, 4, 8, 16])
def test_channels_last_in_float32_over_few_channels(width: int) -> None:
    """Projections of stride 2 over few channels, where oneDNN writes beside its memory.

    Rounding may flip a ReLU whose input is almost 0, which moves gradients by some hundredths (seen: .024 at width 16).
    """
    spec = gn.spec("resnet20", width=width, blocks=1, image_size=16, shortcut="projection")
    numpy = gn.build(spec)
    network = gn.build(spec, "torch", device="cpu", channels_last=True)
    images, labels = batch(spec, 8, dtype="float32")
    expected, first = numpy.gradients(images, labels)[1], network.gradients(images, labels)[1]
    np.testing.assert_allclose(network.logits(images), numpy.logits(images), rtol=0, atol=1e-4)
    for key, gradient in expected.items():
        assert np.linalg.norm(first[key] - gradient) <= 0.05 * np.linalg.norm(gradient), key
    for _ in range(5):
        assert_close(first, network.gradients(images, labels)[1], 0)


def test_a_training_in_channels_last(digits: gn.Dataset, tmp_path: Path) -> None:
    options: dict[str, Any] = {"engine": "torch", "device": "cpu", "dtype": "float64", "epochs": 2}
    train(digits, tmp_path / "usual", **options, stop_after_epoch=1)
    assert gn.load(tmp_path / "usual").config["channels_last"] is False
    train(digits, tmp_path / "whole", **options)
    run = train(digits, tmp_path / "usual", **options, channels_last=True, resume=True)
    assert gn.load(run.path).config["channels_last"] is True
    assert_close(weights(tmp_path / "whole"), weights(run.path))


def test_the_numpy_engine_has_no_other_order() -> None:
    told = "channels_last must be None or True for engine='numpy'. Got False."
    with pytest.raises(ConfigError, match=re.escape(told)):
        gn.build("tiny", channels_last=False)


# Whole trainings.


def weights(run: Path) -> dict[str, Array]:
    return gn.load(run).network.state_dict()


def test_a_whole_training_is_the_same_training(tmp_path: Path) -> None:
    """220 steps of the tutorial's recipe on all digits."""
    runs = [
        train("digits", tmp_path / engine, engine=engine, device="cpu", dtype="float64", recipe="tutorial", epochs=10)
        for engine in ("numpy", "torch")
    ]
    ours, theirs = (weights(run.path) for run in runs)
    assert_close(ours, theirs, 1e-12)
    for first, second in zip(*(untimed(run.history) for run in runs), strict=True):
        norms = first.pop("gradient_norms"), second.pop("gradient_norms")
        assert first == pytest.approx(second, rel=1e-10)
        assert norms[0] == pytest.approx(norms[1], rel=1e-8)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_with_everything_that_is_random(digits: gn.Dataset, tmp_path: Path, optimizer: str) -> None:
    options: dict[str, Any] = {"model": "tiny-bn", "width": 4, "dropout": 0.25, "augment": "flip-crop", "epochs": 3}
    options |= {"optimizer": optimizer, "lr": 1e-3, "validation_fraction": 0.2, "dtype": "float64", "device": "cpu"}
    for engine in ("numpy", "torch"):
        train(digits, tmp_path / engine, engine=engine, **options)
    assert_close(weights(tmp_path / "numpy"), weights(tmp_path / "torch"), 1e-10)


@pytest.mark.parametrize("order", [("numpy", "torch"), ("torch", "numpy")], ids="then ".join)
@pytest.mark.parametrize("recipe", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_resuming_in_the_other_engine(
    digits: gn.Dataset, tmp_path: Path, order: tuple[str, str], recipe: Recipe
) -> None:
    options: dict[str, Any] = {"recipe": recipe, "epochs": 10, "dtype": "float64", "device": "cpu", "model": "tiny-bn"}
    options |= {"width": 4, "lr": 1e-3}
    train(digits, tmp_path / "whole", engine=order[0], **options)
    train(digits, tmp_path / "parts", engine=order[0], stop_after_epoch=5, **options)
    run = train(digits, tmp_path / "parts", engine=order[1], resume=True, **options)
    assert len(run.history) == 10
    assert gn.load(run.path).config["engine"] == order[1]
    assert_close(weights(tmp_path / "whole"), weights(tmp_path / "parts"), 1e-10)


def test_the_same_seed_twice_is_the_same_to_the_bit(digits: gn.Dataset, tmp_path: Path) -> None:
    options: dict[str, Any] = {"engine": "torch", "device": "cpu", "model": "tiny-bn", "width": 4, "dropout": 0.25}
    train(digits, tmp_path / "first", **options, optimizer="adam", lr=1e-3)
    train(digits, tmp_path / "second", **options, optimizer="adam", lr=1e-3, stop_after_epoch=1)
    train(digits, tmp_path / "second", **options, optimizer="adam", lr=1e-3, resume=True)
    assert_same_run(tmp_path / "first", tmp_path / "second")


PROGRAM = """
import sys
import torch
import glassnet as gn
from glassnet.progress import Progress

torch.set_num_threads(1)

class Loud(Progress):
    def log(self, line):
        if "] epoch " in line:
            print(line, flush=True)

gn.train("tiny-bn", "digits", engine="torch", device="cpu", run=sys.argv[1], resume=True, progress=Loud(), samples=300,
         report=False, recipe=gn.Recipe(schedule="one-cycle", optimizer="adamw", lr=1e-3), epochs=20, batch_size=25,
         width=4, dropout=0.25, augment="flip-crop", validation_fraction=0.2)
"""


def start(run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(run)], stdout=subprocess.PIPE, text=True)


def finish(run: Path) -> None:
    """Train to the end in this process, which has imported torch already."""
    n_threads, arguments = torch.get_num_threads(), sys.argv
    sys.argv = ["", str(run)]
    try:
        exec(PROGRAM, {})
    finally:
        sys.argv = arguments
        torch.set_num_threads(n_threads)


@pytest.mark.slow
def test_killed_and_resumed_to_the_same_bits(tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    for lines, seconds in ((1, 0.0), (8, 0.02)):
        run = tmp_path / f"killed after {lines}"
        process = start(run)
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        process.communicate(timeout=60)
        finish(run)
        assert_same_run(run, tmp_path / "whole")


# Devices, precision, and a torch that is not there.


def test_mixed_precision_trains_in_float32_weights() -> None:
    network = gn.build("tiny-bn", "torch", device="cpu", precision="bf16-mixed")
    exact = gn.build("tiny-bn", "torch", device="cpu")
    images, labels = batch(network.spec, 16, dtype="float32")
    np.testing.assert_allclose(network.logits(images), exact.logits(images), atol=0.1)
    assert not np.array_equal(network.logits(images), exact.logits(images))
    seen = network.activations(images)
    assert {array.dtype for array in seen.values()} == {np.dtype(np.float32)}
    trainer = network.trainer(Recipe(lr=0.01))
    losses = [float(trainer.step(images, labels)) for _ in range(10)]
    assert losses[-1] < losses[0]
    assert network.state_dict()["fc.weight"].dtype == np.float32
    assert network.gradients(images, labels)[1]["conv1.weight"].dtype == np.float32


def test_float64_is_float64_throughout() -> None:
    network = gn.build("tiny-bn", "torch", device="cpu", dtype="float64", precision="32-true")
    images, labels = batch(network.spec)
    assert network.logits(images).dtype == np.float64
    assert {array.dtype.name for array in network.activations(images).values()} == {"float64"}
    trainer = network.trainer(Recipe(optimizer="adam", lr=1e-3))
    trainer.step(images, labels)
    assert trainer.state()["fc.weight/exp_avg"].dtype == np.float64


def test_images_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(GlassnetError, match=r"^[^\n]*shapes cannot be multiplied[^\n]*$"):
        gn.build("tiny", "torch", device="cpu").logits(np.zeros((2, 1, 10, 10)))


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == blocked:
            raise {error}

blocked = sys.argv[1]
sys.meta_path.insert(0, Blocked())
sys.argv[1:] = ["train", "digits", "--engine", "torch", "--run", sys.argv[2]]
from glassnet.cli import main
main()
"""


@pytest.mark.parametrize(
    ("module", "error", "told"),
    [
        ("torch", "ModuleNotFoundError('blocked', name=name)", "needs PyTorch: pip install 'glassnet[torch]'"),
        ("torch", "ImportError('libcudart.so.13: no such file')", "fails to import: libcudart.so.13: no such file"),
        (
            "torch",
            "OSError('[WinError 126] c10.dll')",
            "PyTorch is installed but fails to import: [WinError 126] c10.dll",
        ),
        ("torch.nn", "ModuleNotFoundError('no sympy', name='sympy')", "is installed but fails to import: no sympy"),
        ("torch.nn", "RuntimeError('numpy 1 or 2')", "PyTorch is installed but fails to import: numpy 1 or 2"),
    ],
)
def test_a_torch_that_is_missing_or_broken(tmp_path: Path, module: str, error: str, told: str) -> None:
    program = [sys.executable, "-c", BLOCKED.format(error=error), module, str(tmp_path / "run")]
    done = subprocess.run(program, capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert told in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_computed_stands_in_the_config(digits: gn.Dataset, tmp_path: Path) -> None:
    told: list[str] = []

    class Noting(Progress):
        def log(self, line: str) -> None:
            told.append(line)

    run = train(digits, tmp_path / "run", engine="torch", threads=1, epochs=1, progress=Noting())
    config = gn.load(run.path).config
    assert (config["compile"], config["versions"]["torch"]) == (False, torch.__version__)
    assert told[:1] == [f"[PyTorch] on {config['device']}{', 1 thread' if config['device'] == 'cpu' else ''}"]


def test_torch_is_imported_only_when_asked_for() -> None:
    program = (
        "import sys, glassnet as gn; gn.build('tiny'); assert 'torch' not in sys.modules; gn.build('tiny', 'torch')"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_dropout_masks_are_the_numpy_generators() -> None:
    ours, theirs = engines("tiny", dropout=0.5)
    images, labels = batch(ours.spec, 8)
    for seed in (1, 2):
        for network in (ours, theirs):
            network.seed_dropout(make_rng(seed, "dropout"))
        assert ours.gradients(images, labels)[0] == pytest.approx(theirs.gradients(images, labels)[0], rel=1e-12)
