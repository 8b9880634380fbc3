import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import glassnet as gn
from glassnet.classification import Outcome
from glassnet.data import make_rng, stratified_split
from glassnet.engines.numpy_engine import NumpyTrainer
from glassnet.errors import ConfigError, DataError, GlassnetError, RunError, ShapeError
from glassnet.progress import Progress
from glassnet.recipe import get_recipe
from glassnet.training import RunFolder, spec_for_data
from glassnet.training.loop import split_validation
from glassnet.training.schedule import learning_rates
from tests.training.runs import EVERYTHING, assert_same_run, tensors, train, untimed


def test_the_run_folder(digits: gn.Dataset, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run")
    assert run.path == tmp_path / "run"
    files = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    assert files == {
        *("config.json", "images.csv.gz", "metrics.jsonl", "last.safetensors", "state/checkpoint.safetensors")
    }
    assert [json.loads(line) for line in (run.path / "metrics.jsonl").read_text("utf-8").splitlines()] == run.history
    assert run.metrics == run.history[-1]


def test_the_config_says_all_that_is_needed(digits: gn.Dataset, tmp_path: Path) -> None:
    config = json.loads((train(digits, tmp_path / "run").path / "config.json").read_text(encoding="utf-8"))
    assert config["format"] == 3
    machine = ("engine", "dtype", "device", "devices", "precision", "threads", "compile", "channels_last")
    threads = gn.build("tiny").threads
    assert [config[name] for name in machine] == ["numpy", "float32", "cpu", 1, None, threads, False, True]
    assert gn.ResNetSpec(**config["spec"]) == gn.spec("tiny")
    assert gn.Recipe(**config["recipe"]).epochs == 2
    assert config["seed"] == config["recipe"]["seed"] == 42
    data = config["data"]
    assert data["fingerprint"] == digits.fingerprint
    assert data["classes"] == [str(digit) for digit in range(10)]
    assert (data["scale"], data["mean"], data["std"]) == (16.0, [0.0], [1.0])
    assert (data["train"], data["test"], data["unreadable_files"]) == (200, 450, [])
    assert {name: data[name] for name in digits.source} == digits.source
    assert set(config["versions"]) == {"glassnet", "python", "numpy", "platform"}
    assert config["versions"]["numpy"] == np.__version__


def test_a_record_in_full(digits: gn.Dataset, tmp_path: Path) -> None:
    record = train(digits, tmp_path / "run", validation_fraction=0.2, evaluate_train=True).metrics
    assert list(record) == [
        *("epoch", "loss", "train_accuracy", "test_loss", "test_accuracy", "contaminated", "lr", "gradient_norms"),
        *("validation_loss", "validation_accuracy", "train_evaluated_loss", "train_evaluated_accuracy", "seconds"),
    ]
    assert record["epoch"] == 2
    assert list(record["gradient_norms"]) == list(gn.build("tiny").state_dict())
    assert all(norm > 0 for norm in record["gradient_norms"].values())
    assert record["seconds"] > 0


def test_what_was_not_asked_for_is_not_measured(digits: gn.Dataset, tmp_path: Path) -> None:
    record = train(digits, tmp_path / "run").metrics
    assert not [name for name in record if "validation" in name or "evaluated" in name]


def test_the_history_fits_a_data_frame(digits: gn.Dataset, tmp_path: Path) -> None:
    frame = pandas.DataFrame(train(digits, tmp_path / "run", epochs=3).history)
    assert frame["epoch"].tolist() == [1, 2, 3]
    assert frame["loss"].dtype == float
    assert (frame["loss"].diff().dropna() < 0).all()


def test_training_learns(tmp_path: Path) -> None:
    run = train("digits", tmp_path / "run", recipe="default", epochs=3)
    assert run.metrics["test_accuracy"] > 0.9
    assert run.metrics["train_accuracy"] > 0.9


def test_the_loop_is_steps_over_seeded_batches(digits: gn.Dataset, tmp_path: Path) -> None:
    """The whole training by hand: 200 images in batches of 64 are four steps, the last of 8."""
    recipe = gn.Recipe(schedule="one-cycle", lr=0.1, weight_decay=1e-4, epochs=2, seed=7)
    run = train(digits, tmp_path / "run", recipe=recipe)
    network = gn.build("tiny", seed=7)
    trainer = network.trainer(recipe)
    rates = iter(learning_rates(recipe, 8))
    images, labels = digits.normalization.apply(digits.train.images, "float32"), digits.train.labels
    for epoch in (1, 2):
        order = make_rng(7, "shuffle", epoch).permutation(200)
        losses, sizes = [], []
        for start in range(0, 200, 64):
            batch = order[start : start + 64]
            losses.append(trainer.step(images[batch], labels[batch], lr=(rate := next(rates))))
            sizes.append(len(batch))
        record = run.history[epoch - 1]
        assert sizes == [64, 64, 64, 8]
        assert record["loss"] == pytest.approx(np.average(losses, weights=sizes), rel=1e-12)  # over images
        assert record["lr"] == rate
        logits = network.logits(digits.normalization.apply(digits.test.images))
        assert record["test_accuracy"] == (logits.argmax(axis=1) == digits.test.labels).mean()
    weights = gn.load_weights(run.path / "last.safetensors")
    for key, array in network.state_dict().items():
        assert array.tobytes() == weights[key].tobytes(), key


def test_the_same_seed_twice(digits: gn.Dataset, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(digits, tmp_path / name, **EVERYTHING, seed=seed)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert untimed(gn.load(tmp_path / "a").history) != untimed(gn.load(tmp_path / "c").history)


def spy_on_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, float]]:
    """Every step's batch and rate."""
    steps: list[tuple[Any, float]] = []
    plain = NumpyTrainer.step

    def step(self: Any, batch: Any, labels: Any = None, lr: Any = None) -> float:
        steps.append((batch, lr))
        return plain(self, batch, labels, lr)

    monkeypatch.setattr(NumpyTrainer, "step", step)
    return steps


def test_every_image_once_an_epoch_each_epoch_in_another_order(
    digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spy_on_steps(monkeypatch)
    train(digits, tmp_path / "run", batch_size=60)
    index_of = {image.tobytes(): index for index, image in enumerate(digits.train.images)}
    epochs = [
        np.array([index_of[image.tobytes()] for batch, _ in part for image in batch.images])
        for part in (steps[:4], steps[4:])
    ]
    assert [len(batch) for batch, _ in steps] == [60, 60, 60, 20] * 2
    for order in epochs:
        assert sorted(order) == list(range(200))
    assert epochs[0].tolist() != epochs[1].tolist()


def test_a_last_batch_of_one_image_joins_the_one_before(
    digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spy_on_steps(monkeypatch)
    run = train(digits, tmp_path / "run", batch_size=199, schedule="one-cycle", lr=0.1)
    assert [len(batch) for batch, _ in steps] == [200, 200]
    assert [rate for _, rate in steps] == learning_rates(gn.Recipe(schedule="one-cycle", lr=0.1), 2).tolist()
    assert run.metrics["lr"] == steps[-1][1]


def test_augmentation_is_drawn_anew_for_every_batch_and_epoch(
    digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spy_on_steps(monkeypatch)
    train(digits, tmp_path / "run", batch_size=100, augment="flip-crop")
    unchanged = {image.tobytes() for image in digits.train.images}
    seen = [{image.tobytes() for image in batch.images} - unchanged for batch, _ in steps]
    assert len(seen) == 4
    assert all(len(images) > 90 for images in seen)
    assert all(len(seen[i] & seen[j]) < 5 for i in range(4) for j in range(i))


def test_augmentation_changes_training_images_only(digits: gn.Dataset, tmp_path: Path) -> None:
    plain, augmented = (
        train(digits, tmp_path / name, augment=name, lr=1e-30, schedule="constant", epochs=1, evaluate_train=True)
        for name in ("none", "flip-crop")
    )
    assert plain.metrics["loss"] != augmented.metrics["loss"]
    for name in ("test_loss", "train_evaluated_loss"):
        assert plain.metrics[name] == augmented.metrics[name]


def test_dropout_masks_differ_from_epoch_to_epoch(digits: gn.Dataset, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", dropout=0.5, lr=1e-30, schedule="constant", batch_size=200)
    first, second = run.history
    assert first["test_loss"] == second["test_loss"]
    assert first["loss"] != second["loss"]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_ema_is_what_is_evaluated_and_saved(digits: gn.Dataset, tmp_path: Path, engine: str) -> None:
    """The averages by hand, over the steps of two epochs; the checkpoint has the network's own weights, too."""
    changes: dict[str, Any] = {"model": "tiny-bn", "engine": engine, "dtype": "float64", "lr": 0.2, "device": "cpu"}
    changes |= {"schedule": "constant", "validation_fraction": 0.2}
    run = train(digits, tmp_path / "run", ema=0.6, **changes)
    train(digits, tmp_path / "plain", **changes)
    checkpoint = RunFolder(run.path).read_checkpoint()
    plain = RunFolder(tmp_path / "plain").read_checkpoint()
    for key, array in plain.network.items():
        np.testing.assert_array_equal(checkpoint.network[key], array, err_msg=key)
    last = gn.load_weights(run.path / "last.safetensors")
    assert not np.array_equal(last["fc.weight"], checkpoint.network["fc.weight"])
    for key, array in last.items():
        np.testing.assert_array_equal(array, checkpoint.weights[key], err_msg=key)
    assert checkpoint.optimizer["steps/average"] == 2 * 3
    model = gn.load(run.path, "last", engine)
    assert model.evaluate(digits)["loss"] == pytest.approx(run.metrics["test_loss"], rel=1e-12)
    assert run.metrics["loss"] == gn.load(tmp_path / "plain").history[-1]["loss"]  # before each step, not averaged
    best = gn.load(run.path, "best", engine)
    record = run.history[checkpoint.best_epoch - 1 if checkpoint.best_epoch else 0]
    assert best.evaluate(digits)["loss"] == pytest.approx(record["test_loss"], rel=1e-12)


def unbalanced(digits: gn.Dataset) -> gn.Dataset:
    """The digits with fewer images of the higher classes."""
    images, labels = digits.train.images, digits.train.labels
    kept = np.arange(len(labels)) % 12 >= labels
    test = {"test_images": digits.test.images, "test_labels": digits.test.labels}
    return gn.Dataset(images[kept], labels[kept], scale=16.0, **test)


def test_engines_train_alike_with_every_setting_in_float64(digits: gn.Dataset, tmp_path: Path) -> None:
    changes = {**EVERYTHING, "schedule": "cosine", "warmup": 1.5, "dtype": "float64", "batch_size": 30}
    data = unbalanced(digits)
    runs = [train(data, tmp_path / engine, engine=engine, **changes) for engine in ("numpy", "torch")]
    ours, theirs = (gn.load_weights(run.path / "last.safetensors") for run in runs)
    for key, array in ours.items():
        np.testing.assert_allclose(theirs[key], array, rtol=1e-9, atol=1e-11, err_msg=key)
    for record, other in zip(runs[0].history, runs[1].history, strict=True):
        norms = record.pop("gradient_norms"), other.pop("gradient_norms")
        assert norms[0] == pytest.approx(norms[1], rel=1e-7)
        assert {**record, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-9)


def test_class_weights_are_those_of_the_training_images(digits: gn.Dataset, tmp_path: Path) -> None:
    """The loss of an epoch without learning, by hand: images of rare classes count more, those held out not at all."""
    changes: dict[str, Any] = {"lr": 1e-30, "schedule": "constant", "epochs": 1, "validation_fraction": 0.3}
    data = unbalanced(digits)
    run = train(data, tmp_path / "run", class_weights="balanced", dtype="float64", **changes)
    split, _ = split_validation(data, gn.Recipe(validation_fraction=0.3))
    losses = Outcome.from_logits(
        split.labels, gn.build("tiny", dtype="float64").logits(data.normalization.apply(split.images, "float64"))
    ).losses
    counts = np.bincount(split.labels)
    assert len(set(counts)) > 1
    assert run.metrics["loss"] == pytest.approx(np.average(losses, weights=1 / counts[split.labels]), rel=1e-12)


def test_label_smoothing_is_in_the_training_loss_alone(digits: gn.Dataset, tmp_path: Path) -> None:
    plain, smoothed = (
        train(digits, tmp_path / str(epsilon), label_smoothing=epsilon, lr=1e-30, schedule="constant", epochs=1)
        for epsilon in (0.0, 0.5)
    )
    assert plain.metrics["test_loss"] == smoothed.metrics["test_loss"]
    assert plain.metrics["loss"] != smoothed.metrics["loss"]
    assert plain.metrics["train_accuracy"] == smoothed.metrics["train_accuracy"]


def test_validation_holds_a_stratified_share_out_of_training(
    digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spy_on_steps(monkeypatch)
    train(digits, tmp_path / "run", validation_fraction=0.2, epochs=1, seed=5)
    rest, _ = stratified_split(digits.train.labels, 0.2, 5)
    trained = [image.tobytes() for batch, _ in steps for image in batch.images]
    assert sorted(trained) == sorted(image.tobytes() for image in digits.train.images[rest])


def test_validation_alone_chooses_the_best(digits: gn.Dataset, tmp_path: Path) -> None:
    """With other test images, however labelled, the same epoch is best."""
    rng = np.random.default_rng(0)
    other = gn.Dataset(
        digits.train.images,
        digits.train.labels,
        test_images=digits.test.images,
        test_labels=rng.permutation(digits.test.labels),
        scale=16.0,
    )
    same = gn.Dataset(
        digits.train.images,
        digits.train.labels,
        test_images=digits.test.images,
        test_labels=digits.test.labels,
        scale=16.0,
    )
    chosen = []
    for name, data in (("a", same), ("b", other)):
        run = train(data, tmp_path / name, validation_fraction=0.2, epochs=6, lr=0.3, seed=3)
        ranks = [(-record["validation_accuracy"], record["validation_loss"], record["epoch"]) for record in run.history]
        best = min(ranks)[2]
        chosen.append(best)
        early = train(
            data, tmp_path / f"{name}-early", validation_fraction=0.2, epochs=6, lr=0.3, seed=3, stop_after_epoch=best
        )
        assert (run.path / "best.safetensors").read_bytes() == (early.path / "last.safetensors").read_bytes()
        assert gn.load(run.path).evaluate(data)["loss"] == run.history[best - 1]["test_loss"]
    assert chosen[0] == chosen[1] != 6  # a best that were the last would prove nothing


def test_the_best_of_equal_epochs_is_the_earliest(digits: gn.Dataset, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", validation_fraction=0.2, lr=1e-30, schedule="constant", epochs=3)
    assert len({record["validation_loss"] for record in run.history}) == 1
    assert gn.training.RunFolder(run.path).read_checkpoint().best_epoch == 1


def test_evaluate_train_is_the_training_split_in_evaluation_mode(digits: gn.Dataset, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", model="tiny-bn", dropout=0.5, evaluate_train=True)
    model = gn.load(run.path)
    logits = model.network.logits(digits.normalization.apply(digits.train.images))
    assert run.metrics["train_evaluated_accuracy"] == (logits.argmax(axis=1) == digits.train.labels).mean()
    assert run.metrics["train_evaluated_loss"] != run.metrics["loss"]


def test_measuring_more_trains_the_same(digits: gn.Dataset, tmp_path: Path) -> None:
    for name, more in (("a", {}), ("b", {"evaluate_train": True})):
        train(digits, tmp_path / name, model="tiny-bn", dropout=0.5, **more)
    assert tensors(tmp_path / "a") == tensors(tmp_path / "b")


def test_the_data_is_left_as_it_was(digits: gn.Dataset, tmp_path: Path) -> None:
    fingerprint = digits.fingerprint
    train(digits, tmp_path / "run", augment="flip-crop", validation_fraction=0.2)
    again = gn.load_data(**digits.source)
    assert again.fingerprint == fingerprint
    np.testing.assert_array_equal(digits.train.images, again.train.images)


class TestLossThatIsNotFinite:
    def test_the_last_good_epoch_is_kept(self, digits: gn.Dataset, tmp_path: Path) -> None:
        run = tmp_path / "run"
        recipe: dict[str, Any] = {"lr": 1e4, "schedule": "constant", "epochs": 4}
        told = r"Training diverged in epoch (\d): the .*loss became (nan|inf) at a learning rate of 10000\. (.*)"
        with pytest.raises(RunError, match=told) as caught:
            train(digits, run, **recipe)
        matched = re.search(told, str(caught.value))
        assert matched is not None
        good = int(matched[1]) - 1
        assert good >= 1
        assert matched[3] == f"{run} keeps the state after epoch {good}. Try a lower lr, or clip_grad_norm."
        train(digits, tmp_path / "good", **recipe, stop_after_epoch=good)
        assert_same_run(run, tmp_path / "good")

    @pytest.mark.parametrize("engine", ["numpy", "torch"])
    def test_nor_may_a_number_of_the_network_be(self, engine: str, digits: gn.Dataset, tmp_path: Path) -> None:
        """The loss may stay finite then: what is divided by an infinite variance is 0."""

        def before(network: Any, data: gn.Dataset) -> None:
            state = network.state_dict()
            state["bn1.running_var"][1] = np.inf
            network.load_state_dict(state)

        told = "diverged in epoch 1: the bn1.running_var became inf at a learning rate of .*\\. Nothing was kept."
        with pytest.raises(RunError, match=told):
            train(digits, tmp_path / "run", model="tiny-bn", engine=engine, before=before)

    def test_nor_may_one_of_the_optimizer_be(
        self, digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state = {"fc.weight/exp_avg_sq": np.array([1.0, np.inf])}
        monkeypatch.setattr(NumpyTrainer, "state", lambda trainer: state)
        with pytest.raises(RunError, match="in epoch 1: the fc.weight/exp_avg_sq became inf"):
            train(digits, tmp_path / "run")

    def test_in_the_first_epoch_nothing_is_kept(self, digits: gn.Dataset, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"in epoch 1: .* Nothing was kept\. Try a lower lr"):
            train(digits, tmp_path / "run", lr=1e30)
        left = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*")}
        assert left == {"config.json", "images.csv.gz", "metrics.jsonl", "state", "state/failure.json"}
        failure = RunFolder(tmp_path / "run").read_failure()
        assert failure is not None
        assert (failure["epoch"], failure["lr"], failure["value"] in ("nan", "inf")) == (1, 1e30, True)
        train(digits, tmp_path / "run")  # the folder is free
        assert not (tmp_path / "run" / "state" / "failure.json").exists()

    def test_in_the_first_epoch_of_a_run_that_replaces_another(
        self, digits: gn.Dataset, tmp_path: Path, snapshot: Any
    ) -> None:
        train(digits, tmp_path / "run")
        before = snapshot(tmp_path)
        with pytest.raises(RunError, match=r"in epoch 1: .* Nothing was kept\. Try a lower lr"):
            train(digits, tmp_path / "run", lr=1e30, overwrite=True)
        assert snapshot(tmp_path) == before

    @pytest.mark.parametrize(
        ("place", "told"),
        [("test_loss", "the test loss became inf"), ("validation_loss", "the validation loss became inf")],
    )
    def test_whichever_loss_it_is(
        self, digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, told: str
    ) -> None:
        labels = np.zeros(450 if place == "test_loss" else 40, int)
        infinite = Outcome.from_logits(labels, np.full((len(labels), 10), [-math.inf] + 9 * [0.0]))
        plain = gn.engines.Network.evaluate

        def evaluate(self: Any, split: Any, normalization: Any) -> Any:
            return infinite if len(split) == infinite.count else plain(self, split, normalization)

        monkeypatch.setattr(gn.engines.Network, "evaluate", evaluate)
        with pytest.raises(RunError, match=re.escape(told)):
            train(digits, tmp_path / "run", validation_fraction=0.2)

    def test_a_gradient_that_overflows_is_no_broken_record(
        self, digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(NumpyTrainer, "_norms", lambda self: {"conv1.weight": math.inf})
        with pytest.raises(RunError, match=re.escape("in epoch 1: the gradient norm of conv1.weight became inf")):
            train(digits, tmp_path / "run")
        assert not (tmp_path / "run" / "last.safetensors").exists()
        assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == b""


class TestResume:
    def test_in_parts_or_at_once(self, digits: gn.Dataset, tmp_path: Path) -> None:
        train(digits, tmp_path / "whole", **EVERYTHING)
        for stop in (1, 2, None):
            run = train(digits, tmp_path / "parts", **EVERYTHING, stop_after_epoch=stop, resume=stop != 1)
        assert len(run.history) == 3
        assert_same_run(tmp_path / "parts", tmp_path / "whole")

    @pytest.mark.parametrize("optimizer", ["adam", "adamw"])
    def test_in_parts_with_adam(self, digits: gn.Dataset, tmp_path: Path, optimizer: str) -> None:
        changes: dict[str, Any] = {"optimizer": optimizer, "lr": 0.01, "clip_grad_norm": 1.0}
        train(digits, tmp_path / "whole", **changes)
        train(digits, tmp_path / "parts", **changes, stop_after_epoch=1)
        train(digits, tmp_path / "parts", **changes, resume=True)
        assert_same_run(tmp_path / "parts", tmp_path / "whole")

    def test_stop_after_keeps_the_whole_schedule(self, digits: gn.Dataset, tmp_path: Path) -> None:
        whole = train(digits, tmp_path / "whole", epochs=3, schedule="cosine")
        part = train(digits, tmp_path / "part", epochs=3, schedule="cosine", stop_after_epoch=2)
        assert untimed(part.history) == untimed(whole.history[:2])
        assert gn.load(part.path).config["recipe"]["epochs"] == 3
        assert (
            len(train(digits, tmp_path / "part", epochs=3, schedule="cosine", stop_after_epoch=1, resume=True).history)
            == 2
        )

    def test_a_finished_run_is_left_alone(self, digits: gn.Dataset, tmp_path: Path, snapshot: Any) -> None:
        first = train(digits, tmp_path / "run", **EVERYTHING)
        before = snapshot(tmp_path)
        again = train(digits, tmp_path / "run", **EVERYTHING, resume=True)
        assert again.history == first.history
        assert snapshot(tmp_path) == before

    def test_a_finished_run_with_a_stale_last_gets_its_last(self, digits: gn.Dataset, tmp_path: Path) -> None:
        train(digits, tmp_path / "whole")
        train(digits, tmp_path / "run")
        (tmp_path / "run" / "last.safetensors").write_bytes(b"stale")
        train(digits, tmp_path / "run", resume=True)
        assert_same_run(tmp_path / "run", tmp_path / "whole")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"lr": 0.2}, "recipe.lr must be 0.1 to resume {run}. Got 0.2."),
            (
                {"recipe": "tutorial-full", "epochs": 3, "schedule": "step"},
                "recipe.schedule must be 'constant' to resume",
            ),
            ({"epochs": 5}, "recipe.epochs must be 3 to resume {run}. Got 5."),
            ({"seed": 1}, "seed must be 42 to resume {run}. Got 1."),
            ({"width": 4}, "spec.width must be 8 to resume {run}. Got 4."),
            ({"blocks": 2}, "spec.blocks must be (1,) to resume {run}. Got (2,)."),
            ({"model": "tiny-bn"}, "spec.preset must be 'tiny' to resume {run}. Got 'tiny-bn'."),
            ({"dtype": "float64"}, "dtype must be 'float32' to resume {run}. Got 'float64'."),
            ({"evaluate_train": True}, "evaluate_train must be False to resume {run}. Got True."),
            ({"data": "digits", "samples": 300}, "data.samples must be 200 to resume {run}. Got 300."),
            ({"data": "digits", "test_samples": 9}, "data.test_samples must be 'all' to resume {run}. Got 9."),
            ({"clip_grad_norm": 1.0}, "recipe.clip_grad_norm must be None to resume {run}. Got 1.0."),
        ],
    )
    def test_with_other_settings(
        self, digits: gn.Dataset, tmp_path: Path, changes: dict[str, Any], field: str, snapshot: Any
    ) -> None:
        kept: dict[str, Any] = {"epochs": 3, "lr": 0.1}
        train(digits, tmp_path / "run", **kept, stop_after_epoch=1)
        before = snapshot(tmp_path)
        told = field.format(run=tmp_path / "run")
        with pytest.raises(RunError, match=re.escape(told)):
            train(**{"data": digits, "run": tmp_path / "run", **kept, **changes}, resume=True)
        assert snapshot(tmp_path) == before

    def test_with_other_images(self, digits: gn.Dataset, tmp_path: Path) -> None:
        images, labels = digits.train.images, digits.train.labels
        train(gn.Dataset(images, labels, scale=16.0), tmp_path / "run", stop_after_epoch=1)
        changed = images.copy()
        changed[0, 0, 0, 0] += 1
        told = "The data is no longer what .*run was trained on: 1 image added, 1 removed. Restore the images, or "
        with pytest.raises(RunError, match=told):
            train(gn.Dataset(changed, labels, scale=16.0), tmp_path / "run", resume=True)
        train(gn.Dataset(images, labels, scale=16.0), tmp_path / "run", resume=True)

    def test_elsewhere(self, digits: gn.Dataset, tmp_path: Path) -> None:
        """The machine, the versions and the device may be others; the config then tells the new ones."""
        train(digits, tmp_path / "run", stop_after_epoch=1)
        path = tmp_path / "run" / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        elsewhere = {**config, "engine": "torch", "device": "cuda:0", "threads": 8, "versions": {}}
        elsewhere |= {"precision": "bf16-mixed", "devices": 4, "compile": True, "channels_last": False}
        path.write_text(json.dumps(elsewhere), encoding="utf-8")
        train(digits, tmp_path / "run", engine="numpy", device="cpu", resume=True)
        assert json.loads(path.read_text(encoding="utf-8")) == config

    @pytest.mark.parametrize("state", ["missing", "empty", "uncommitted"])
    def test_what_has_not_begun_begins(self, digits: gn.Dataset, tmp_path: Path, state: str) -> None:
        train(digits, tmp_path / "whole")
        run = tmp_path / "run"
        if state != "missing":
            run.mkdir()
        if state == "uncommitted":
            (run / "state").mkdir()
            (run / "metrics.jsonl").write_text('{"epoch": 1}\n{"ep', encoding="utf-8")
            shutil.copy(tmp_path / "whole" / "config.json", run)
        train(digits, run, resume=True)
        assert_same_run(run, tmp_path / "whole")

    def test_of_another_format_or_half_written(self, digits: gn.Dataset, tmp_path: Path, snapshot: Any) -> None:
        run = tmp_path / "run"
        train(digits, run, stop_after_epoch=1)
        for path, content, told in (
            (run / "config.json", b'{"format": 7}', "config.json must have format 3. Got 7."),
            (run / "config.json", b"{", "config.json must be JSON"),
            (run / "state" / "checkpoint.safetensors", b"half", "run must have a checkpoint to resume from. "),
        ):
            whole = path.read_bytes()
            path.write_bytes(content)
            before = snapshot(tmp_path)
            for arguments in ({"resume": True}, {}):
                with pytest.raises(RunError, match=re.escape(told)):
                    train(digits, run, **arguments)
            assert snapshot(tmp_path) == before
            path.write_bytes(whole)

    def test_needs_a_folder(self, digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match="resume must come with run, the folder to resume. Got no run"):
            train(digits, None, resume=True)
        assert not list(tmp_path.iterdir())


class TestAFolderInUse:
    def test_is_refused(self, digits: gn.Dataset, tmp_path: Path, snapshot: Any) -> None:
        train(digits, tmp_path / "finished")
        train(digits, tmp_path / "unfinished", stop_after_epoch=1)
        (tmp_path / "foreign").mkdir()
        (tmp_path / "foreign" / "cat.png").touch()
        before = snapshot(tmp_path)
        for name, told in (
            ("finished", "must be a new or empty folder. Got a finished run. Choose another folder, or --overwrite."),
            ("unfinished", "must be a new or empty folder. Got an unfinished run. Choose another folder, or --"),
            ("foreign", "must be a new or empty folder. Got a folder that contains 'cat.png'."),
        ):
            with pytest.raises(RunError, match=re.escape(f"{tmp_path / name} {told}")):
                train(digits, tmp_path / name)
        with pytest.raises(RunError, match=re.escape("contains 'cat.png'")):
            train(digits, tmp_path / "foreign", overwrite=True)
        assert snapshot(tmp_path) == before

    def test_is_replaced_where_asked(self, digits: gn.Dataset, tmp_path: Path) -> None:
        train(digits, tmp_path / "new")
        train(digits, tmp_path / "run", **EVERYTHING)
        (tmp_path / "run" / "report.html").touch()
        train(digits, tmp_path / "run", overwrite=True)
        assert_same_run(tmp_path / "run", tmp_path / "new")
        assert not (tmp_path / "run" / "report.html").exists()

    def test_is_looked_at_before_anything_is_loaded(self, digits: gn.Dataset, tmp_path: Path) -> None:
        train(digits, tmp_path / "run")
        with pytest.raises(RunError, match="Got a finished run"):
            train("no such data", tmp_path / "run")


def test_a_run_without_a_name_gets_a_new_folder(
    digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [train(digits, None, epochs=1).path for _ in range(3)]
    assert paths == [Path("runs/tiny-digits"), Path("runs/tiny-digits-2"), Path("runs/tiny-digits-3")]
    assert all(path.is_dir() for path in paths)
    assert train(gn.Dataset(digits.train.images, digits.train.labels), None, epochs=1).path == Path("runs/tiny-arrays")


def test_numpys_numbers_are_numbers(digits: gn.Dataset, tmp_path: Path) -> None:
    given: dict[str, Any] = {"lr": np.float32(0.125), "epochs": np.int64(1), "nesterov": np.True_, "seed": np.uint8(3)}
    given |= {
        "width": np.int32(4),
        "blocks": np.array([1]),
        "dropout": np.float64(0.5),
        "validation_fraction": np.float32(0.5),
    }
    run = train(digits, tmp_path / "run", **given, stop_after_epoch=np.int64(1), evaluate_train=np.True_)
    config = gn.load(run.path).config
    own = {"lr": 0.125, "epochs": 1, "nesterov": True, "seed": 3, "validation_fraction": 0.5}
    assert {name: config["recipe"][name] for name in own} == own
    assert (config["spec"]["width"], config["spec"]["blocks"], config["spec"]["dropout"]) == (4, [1], 0.5)


class TestWhatDoesNotFit:
    """Refused before anything is written, or written over."""

    CASES: tuple[tuple[dict[str, Any], type[GlassnetError], str], ...] = (
        ({"model": "tniy"}, ConfigError, "model must be one of tiny, tiny-bn, resnet20, "),
        ({"recipe": "tutorail"}, ConfigError, "recipe of tiny must be one of default, tutorial,"),
        ({"learning_rate": 1}, ConfigError, "A setting must be one of preset, "),
        ({"widht": 1}, ConfigError, "Got 'widht'; did you mean 'width'?"),
        ({"lr": -1}, ConfigError, "lr must be a finite number above 0. Got -1."),
        ({"width": 0}, ConfigError, "width must be an integer of at least 1. Got 0."),
        ({"engine": "jax"}, ConfigError, "engine must be one of 'numpy'"),
        ({"dtype": "float16"}, ConfigError, "dtype must be one of 'float32', 'float64'. Got 'float16'"),
        ({"device": "cuda"}, ConfigError, "device must be 'auto' or 'cpu' for engine='numpy'. Got 'cuda'."),
        (
            {"precision": "bf16"},
            ConfigError,
            "precision must be one of '32-true', 'bf16-mixed', '16-mixed' or None. ",
        ),
        (
            {"stop_after_epoch": 0},
            ConfigError,
            "stop_after_epoch must be an integer of at least 1. Got 0.",
        ),
        ({"resume": True}, ConfigError, "resume and overwrite must not be given together. Got both."),
        ({"seed": 2**32}, ConfigError, "seed must be an integer of at least 0"),
        ({"data": "no such folder"}, DataError, "Got 'no such folder'."),
        ({"samples": 3}, ConfigError, "samples must be from 10, the number of classes, to"),
        ({"classes": 3}, ConfigError, "classes of the model must be 10, as in the data. Got 3."),
        ({"model": None, "classes": 12}, ConfigError, "classes of the model must be 10, as in the data. Got 12."),
        ({"in_channels": 3}, ConfigError, "in_channels of the model must be 1, as in the data."),
        ({"image_size": 9}, ConfigError, "image_size must be (8, 8), as the images of 'digits' have it"),
        ({"model": gn.spec("tiny", classes=3)}, ConfigError, "classes of the model must be 10, as in the data. Got 3."),
        (
            {"model": gn.spec("tiny", image_size=9)},
            ConfigError,
            "image_size of the model must be (8, 8), as in the data. Got (9, 9).",
        ),
        (
            {"model": gn.spec("tiny", in_channels=3)},
            ConfigError,
            "in_channels of the model must be 1, as in the data. Got 3.",
        ),
        (
            {"model": "resnet20", "blocks": (1,) * 4, "pool": "max"},
            ConfigError,
            "image_size must be larger for this model",
        ),
        (
            {"model": "resnet20", "blocks": (1,) * 4, "batch_size": 1},
            ShapeError,
            "layer4.0.bn1: input of BatchNorm2d must have at least 2 values per channel. Got (1, 128, 1, 1)",
        ),
        (
            {"model": "resnet20", "blocks": (1,) * 4, "batch_size": 1, "engine": "torch"},
            GlassnetError,
            "Expected more than 1 value per channel when training",
        ),
        (
            {"validation_fraction": 0.01},
            DataError,
            "validation_fraction must leave an image for each of the 10 classes",
        ),
        # Of the wrong type.
        ({"model": 5}, ConfigError, "Got 5."),
        ({"recipe": 5}, ConfigError, "recipe of tiny must be one of default"),
        ({"recipe": {"lr": 1}}, ConfigError, "recipe of tiny must be one of default"),
        ({"data": 5}, ConfigError, "source must be a path. Got 5."),
        ({"run": 5}, ConfigError, "A run folder must be a path. Got 5."),
        ({"init": 5}, ConfigError, "init must be a path. Got 5."),
        ({"samples": "many"}, ConfigError, "samples must be an integer of at least 1. Got 'many'."),
        (
            {"stop_after_epoch": 1.5},
            ConfigError,
            "stop_after_epoch must be an integer of at least 1. Got 1.5.",
        ),
        ({"device": 5}, ConfigError, "device must be text. Got 5."),
        ({"device": 5, "engine": "torch"}, ConfigError, "device must be text. Got 5."),
        ({"threads": "2", "engine": "torch"}, ConfigError, "threads must be an integer of at least 1 or None."),
    )

    @pytest.mark.parametrize(("changes", "kind", "told"), CASES, ids=lambda case: str(case)[:40])
    def test_is_refused(
        self, tmp_path: Path, changes: dict[str, Any], kind: type[GlassnetError], told: str, snapshot: Any
    ) -> None:
        whole: dict[str, Any] = {"data": "digits", "run": tmp_path / "run", "samples": 200}
        (tmp_path / "run" / "state").mkdir(parents=True)
        for name in ("config.json", "metrics.jsonl", "last.safetensors", "state/checkpoint.safetensors"):
            (tmp_path / "run" / name).write_text("precious", encoding="utf-8")
        before = snapshot(tmp_path)
        with pytest.raises(kind, match=re.escape(told)) as caught:
            train(**{**whole, **changes}, overwrite=True)
        assert "\n" not in str(caught.value)
        assert snapshot(tmp_path) == before

    def test_what_before_raises_ends_the_training(self, digits: gn.Dataset, tmp_path: Path) -> None:
        seen: list[tuple[Any, Any]] = []

        def before(network: gn.Network, data: gn.Dataset) -> None:
            seen.append((network, data))
            raise GlassnetError("the gradients are wrong")

        with pytest.raises(GlassnetError, match="the gradients are wrong"):
            train(digits, tmp_path / "run", before=before)
        ((network, data),) = seen
        assert network.spec == gn.spec("tiny")
        assert data is digits
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_train_refuses_parts_of_one_value_per_channel(digits: gn.Dataset, tmp_path: Path, engine: str) -> None:
    """The last batch of 2 images has parts of one image, which the last stage has at a single pixel."""
    changes: dict[str, Any] = {"model": "resnet20", "blocks": (1,) * 4, "batch_size": 198, "shards": 2}
    told = "shards must leave each part of a batch at least 2 values per channel for BatchNorm."
    with pytest.raises(ConfigError, match=re.escape(told)):
        train(digits, tmp_path / "run", engine=engine, device="cpu", **changes)
    assert not (tmp_path / "run").exists()


def test_trying_the_fit_trains_nothing(digits: gn.Dataset, tmp_path: Path) -> None:
    """Two images go through before the first step; running statistics and dropout must not have seen them."""
    changes: dict[str, Any] = {"dropout": 0.5, "lr": 1e-30, "schedule": "constant", "batch_size": 200, "epochs": 1}
    run = train(digits, tmp_path / "run", model="tiny-bn", **changes)
    network = gn.build(gn.spec("tiny-bn", dropout=0.5))
    network.seed_dropout(make_rng(42, "dropout", 1))
    order = make_rng(42, "shuffle", 1).permutation(200)
    images = digits.normalization.apply(digits.train.images[order])
    network.trainer(gn.Recipe(lr=1e-30)).step(images, digits.train.labels[order])
    weights = gn.load_weights(run.path / "last.safetensors")
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, weights[key], err_msg=key)


def test_a_class_with_too_few_training_images_to_validate(tmp_path: Path) -> None:
    test = {"test_images": np.zeros((3, 8, 8), np.uint8), "test_labels": [0, 1, 2]}
    images = np.random.default_rng(0).integers(0, 255, (21, 8, 8), dtype=np.uint8)
    data = gn.Dataset(images, [0, 1] * 10 + [2], ["a", "b", "rare"], **test)
    with pytest.raises(
        DataError, match="Class 'rare' must have at least 2 images to hold out a validation_fraction of "
    ):
        train(data, tmp_path / "run", validation_fraction=0.2)


class TestFitSpec:
    def test_a_preset_takes_its_sizes_from_the_data(self) -> None:
        images = np.random.default_rng(0).integers(0, 255, (40, 6, 9, 3), dtype=np.uint8)
        data = gn.Dataset(images, np.arange(40) % 4)
        spec = spec_for_data("resnet20", data, blocks=1)
        assert (spec.in_channels, spec.size, spec.classes, spec.blocks) == (3, (6, 9), 4, (1, 1, 1))

    def test_without_a_model_the_images_choose(self, digits: gn.Dataset) -> None:
        assert spec_for_data(None, digits) == gn.spec("tiny")

    def test_a_spec_that_agrees_is_taken_as_it_is(self, digits: gn.Dataset) -> None:
        spec = gn.spec("tiny", width=3)
        assert spec_for_data(spec, digits) == spec
        assert spec_for_data(spec, digits, dropout=0.5) == spec.replace(dropout=0.5)


def test_ones_own_arrays_train(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.integers(0, 100, (60, 8, 8, 3), dtype=np.uint8)
    images[np.arange(60), :, :, labels] += 100
    data = gn.Dataset(images, labels, ["red", "green", "blue"])
    run = train(data, tmp_path / "run", epochs=5, batch_size=15)
    assert run.metrics["test_accuracy"] == 1.0
    model = gn.load(run.path)
    assert [p.label for p in model.predict(images[:6])] == ["red", "green", "blue"] * 2
    assert model.evaluate(data)["accuracy"] == 1.0


def test_float64_trains_in_float64(digits: gn.Dataset, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", dtype="float64", epochs=1)
    assert gn.load_weights(run.path / "last.safetensors")["fc.weight"].dtype == np.float64
    assert gn.load(run.path).network.dtype == np.float64


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, []),
        ({"width": 4, "lr": 0.03, "threads": 1}, ["lr 0.03, width 4, threads 1"]),
        ({"seed": 5, "norm": "batch", "bn_eps": 1e-3}, ["seed 5, norm batch, bn_eps 0.001"]),
        ({"blocks": (2,)}, ["blocks 2"]),
    ],
)
def test_the_log_names_the_settings_that_differ_from_the_defaults(
    digits: gn.Dataset, tmp_path: Path, given: dict[str, Any], line: list[str]
) -> None:
    """Values equal to those of the preset, the recipe or Compute are no changes."""
    logged: list[str] = []

    class Recording(Progress):
        def log(self, line: str) -> None:
            logged.append(line)

    defaults = vars(gn.spec("tiny")) | vars(get_recipe("tiny", "default"))
    same = {name: defaults[name] for name in ("pool", "lr", "momentum", "batch_size")}
    gn.train("tiny", data=digits, run=tmp_path / "run", progress=Recording(), report=False, **same | given)
    prefix = "[NumPy] settings other than the defaults: "
    assert [text.removeprefix(prefix) for text in logged if text.startswith(prefix)] == line


def test_progress_is_told_in_order(digits: gn.Dataset, tmp_path: Path) -> None:
    told: list[Any] = []

    class Recording(Progress):
        def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
            told.append((title, total, done, unit))

        def advance(self, count: int = 1) -> None:
            told.append(count)

        def log(self, line: str) -> None:
            told.append(line)
            if "] epoch " in line:  # it is safely kept
                assert f"train loss {gn.load(tmp_path / 'run').history[-1]['loss']:.4f}" in line

        def finish(self) -> None:
            told.append("finished")

    train(digits, tmp_path / "run", batch_size=100, validation_fraction=0.2, progress=Recording())
    assert told.pop(1).startswith("[NumPy] settings other than the defaults: ")
    assert told[0].startswith("[NumPy] on cpu")
    assert told.pop(1) == f"[NumPy] {digits.describe()}"
    assert told[1:4] == [("NumPy", 4, 0, "steps"), 1, 1]
    values = r"loss \d\.\d{4}, accuracy \d+\.\d%"
    line = rf"\[NumPy\] epoch 1/2: train {values}; validation {values}; test {values}"
    assert re.fullmatch(line, told[4])
    assert told[5:7] == [1, 1]
    assert told[7].startswith("[NumPy] epoch 2/2: train loss ")
    assert told[8] == "finished"
    assert re.fullmatch(r"\[NumPy\] trained and evaluated in \d+\.\d s", told[9])
    assert len(told) == 10


def test_one_training_at_a_time_in_a_folder(digits: gn.Dataset, tmp_path: Path, snapshot: Any) -> None:
    run = tmp_path / "run"
    refused: list[dict[str, bool]] = []

    class Meanwhile(Progress):
        def advance(self, count: int = 1) -> None:
            before = snapshot(run)
            for again in ({}, {"resume": True}, {"overwrite": True}):
                with pytest.raises(
                    RunError, match=re.escape(f"{run} must not be in use. Got a folder in which another process")
                ):
                    train(digits, run, **again)
                refused.append(again)
            assert snapshot(run) == before

    for way in ({"stop_after_epoch": 1}, {"resume": True}, {"overwrite": True}):
        refused.clear()
        train(digits, run, progress=Meanwhile(), batch_size=200, **way)
        assert refused
    assert len(gn.load(run).history) == 2


@pytest.mark.parametrize(("skipped", "end"), [(3, "out: a; b; c"), (4, "out: a; b; c; ...")])
def test_images_that_could_not_be_read_are_told(tmp_path: Path, skipped: int, end: str) -> None:
    notes: list[str] = []

    class Told(Progress):
        def log(self, line: str) -> None:
            if not re.search(r"\] (epoch |settings |trained and |\d+ training and )", line):
                notes.append(line)

    data = gn.load_data("digits", samples=200, test_samples=100)
    train(data, tmp_path / "sound", epochs=1, progress=Told())
    assert len(notes) == 1
    data.unreadable_files = list("abcd")[:skipped]
    train(data, tmp_path / "run", epochs=1, progress=Told())
    assert notes[-1] == f"[NumPy] {skipped} of {300 + skipped} images could not be read and were left {end}"


def test_a_run_that_ended_meanwhile_is_not_replaced(digits: gn.Dataset, tmp_path: Path, snapshot: Any) -> None:
    """The folder was free when the second training began, and is not when it is ready to write."""
    run, seen = tmp_path / "run", []

    def meanwhile(network: gn.Network, data: gn.Dataset) -> None:
        train(digits, run, epochs=1)
        seen.append(snapshot(run))

    with pytest.raises(RunError, match=re.escape(str(run))):
        train(digits, run, epochs=1, before=meanwhile)
    assert seen == [snapshot(run)]


def test_an_interrupt_keeps_the_last_finished_epoch(digits: gn.Dataset, tmp_path: Path) -> None:
    told: list[str] = []

    class Interrupting(Progress):
        steps = 0

        def advance(self, count: int = 1) -> None:
            self.steps += count
            if self.steps == 7:  # in the second epoch of four steps
                raise KeyboardInterrupt

        def log(self, line: str) -> None:
            told.append(line)

        def finish(self) -> None:
            told.append("finished")

    with pytest.raises(KeyboardInterrupt, match=f"^{re.escape(str(tmp_path / 'run'))} keeps the last finished epoch; "):
        train(digits, tmp_path / "run", **EVERYTHING, batch_size=40, progress=Interrupting())
    assert len(told) == 5  # the device, the settings, the data, one epoch, and no time in all
    assert told[-1] == "finished"
    assert [record["epoch"] for record in gn.load(tmp_path / "run").history] == [1]
    train(digits, tmp_path / "run", **EVERYTHING, batch_size=40, resume=True)
    train(digits, tmp_path / "whole", **EVERYTHING, batch_size=40)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
