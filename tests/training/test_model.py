import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import glassnet as gn
from glassnet.classification import evaluation_numbers
from glassnet.errors import ConfigError, DataError, GlassnetError, RunError, ShapeError
from glassnet.weights import save_tensors
from tests.training.runs import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows its digits."""
    return train("digits", tmp_path_factory.mktemp("model") / "run", recipe="default", epochs=4).path


@pytest.fixture(scope="module")
def model(trained: Path) -> gn.Model:
    return gn.load(trained)


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """The same run, to be spoiled."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="module")
def digits() -> gn.Dataset:
    return gn.load_data("digits")


def save(path: Path, pixels: Any, **arguments: Any) -> Path:
    Image.fromarray(np.asarray(pixels)).save(path, **arguments)
    return path


def as_png(path: Path, digit: Any) -> Path:
    """A digit of 0..16 as others would save it, in 0..255."""
    return save(path, np.rint(digit[..., 0] * (255 / 16)).astype(np.uint8))


def test_what_a_model_has(model: gn.Model, trained: Path) -> None:
    assert model.path == trained
    assert model.classes == [str(digit) for digit in range(10)]
    assert model.network.spec == gn.spec("tiny")
    assert (model.normalization.scale, model.normalization.mean, model.normalization.std) == (16.0, (0.0,), (1.0,))
    assert [record["epoch"] for record in model.history] == [1, 2, 3, 4]
    assert model.config == json.loads((trained / "config.json").read_text(encoding="utf-8"))


def test_evaluate_is_what_the_training_said(model: gn.Model, digits: gn.Dataset) -> None:
    result = model.evaluate(digits)
    last = model.history[-1]
    assert (result["loss"], result["accuracy"], result["count"]) == (last["test_loss"], last["test_accuracy"], 450)
    outcome = model.outcome(digits)
    is_test = {"split": "test", "test_accuracy": last["test_accuracy"], "contaminated": 0}
    assert result == is_test | evaluation_numbers(outcome, digits.classes)
    assert [score["correct"] for score in result["classes"]] == np.bincount(outcome.labels[outcome.correct]).tolist()
    assert result["accuracy"] > 0.9


def test_predictions_of_arrays(model: gn.Model, digits: gn.Dataset) -> None:
    images = digits.test.images[:40]
    predictions = model.predict(images)
    logits = model.network.logits(images.transpose(0, 3, 1, 2).astype(np.float32) / 16)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert [p.label for p in predictions] == [str(k) for k in logits.argmax(axis=1)]
    for prediction, expected in zip(predictions, probabilities, strict=True):
        assert prediction.probability == pytest.approx(expected.max(), rel=1e-5)
        assert prediction.top[0] == (prediction.label, prediction.probability)
        assert len(prediction.top) == 5
        assert prediction.top == sorted(prediction.top, key=lambda pair: -pair[1])
        for label, probability in prediction.top:
            assert probability == pytest.approx(expected[int(label)], rel=1e-4)
    assert sum(probability for _, probability in model.predict(images[0], top=99)[0].top) == pytest.approx(1)
    assert len(model.predict(images[0], top=1)[0].top) == 1


def test_one_image_or_many_in_any_wrapping(model: gn.Model, digits: gn.Dataset, tmp_path: Path) -> None:
    images = digits.test.images[:3]
    paths = [as_png(tmp_path / f"{number}.png", image) for number, image in enumerate(images)]
    together = model.predict(images)
    assert model.predict(list(images)) == together
    (alone,) = model.predict(images[0])
    assert alone.label == together[0].label
    assert alone.probability == pytest.approx(together[0].probability, rel=1e-5)  # BLAS may round one image otherwise
    assert model.predict([images[0], paths[1]])[0].label == together[0].label
    assert model.predict(paths[0]) == model.predict(str(paths[0])) == model.predict([paths[0]])
    assert model.predict(tuple(paths)) == model.predict(paths)
    assert model.predict([]) == []
    assert model.predict(images[:0]) == []


def test_a_digits_png_is_the_digit(model: gn.Model, digits: gn.Dataset, tmp_path: Path) -> None:
    images = digits.test.images[:50]
    paths = [as_png(tmp_path / f"{number}.png", image) for number, image in enumerate(images)]
    for by_array, by_file in zip(model.predict(images, top=10), model.predict(paths, top=10), strict=True):
        # 255 is no multiple of 16; of a digit between two classes the label may change.
        assert dict(by_file.top) == pytest.approx(dict(by_array.top), abs=0.03)
        if by_array.probability - by_array.top[1][1] > 0.05:
            assert by_file.label == by_array.label


def test_a_digits_folder_of_pngs_is_evaluated_in_its_own_scale(
    model: gn.Model, digits: gn.Dataset, tmp_path: Path
) -> None:
    for split, part in (("train", digits.train), ("test", digits.test)):
        for number in range(100):
            folder = tmp_path / split / str(part.labels[number])
            folder.mkdir(parents=True, exist_ok=True)
            as_png(folder / f"{number}.png", part.images[number])
    result = model.evaluate(gn.load_data(tmp_path, image_size=8))
    assert result["count"] == 100
    assert result["accuracy"] > 0.9


def test_files_of_any_mode_and_size(model: gn.Model, digits: gn.Dataset, tmp_path: Path) -> None:
    digit = np.rint(digits.test.images[4, ..., 0] * (255 / 16)).astype(np.uint8)
    (expected,) = model.predict(save(tmp_path / "gray.png", digit))
    huge = np.kron(digit, np.ones((40, 40), np.uint8))  # 320×320
    opaque = np.full_like(digit, 255)
    others = {
        "rgb.png": np.stack([digit] * 3, axis=-1),
        "rgba.png": np.stack([digit, digit, digit, opaque], axis=-1),
        "gray-alpha.png": np.stack([digit, opaque], axis=-1),
        "sixteen.png": digit.astype(np.uint16) * 257,
    }
    for name, pixels in others.items():
        (found,) = model.predict(save(tmp_path / name, pixels))
        assert found.label == expected.label, name
        assert found.probability == pytest.approx(expected.probability, abs=0.02), name
    for name in ("huge.png", "huge.bmp", "huge.jpg"):  # antialiasing blurs the edges of enlarged pixels
        (found,) = model.predict(save(tmp_path / name, huge))
        assert found.label == expected.label, name
    for name, pixels in (("dot.png", digit[:1, :1]), ("line.jpg", digit[:2]), ("wide.png", np.kron(digit, opaque[:1]))):
        (found,) = model.predict(save(tmp_path / name, pixels))
        assert found.label in model.classes


def test_files_of_the_training_folder_and_its_arrays_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, colour in (("b", 200), ("a", 60), ("c", 130)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            save(
                tmp_path / "data" / name / f"{number}.png", rng.integers(colour - 50, colour + 50, (9, 9, 3), np.uint8)
            )
    data = gn.load_data(tmp_path / "data")
    run = train(data, tmp_path / "run", model="tiny-bn", epochs=4, batch_size=8, dtype="float64")
    model = gn.load(run.path)
    assert model.classes == ["a", "b", "c"]  # in the config's order, which is the label's
    assert model.normalization == data.normalization
    paths = sorted((tmp_path / "data").rglob("*.png"))
    predictions = model.predict(paths)
    assert [p.label for p in predictions] == [path.parent.name for path in paths]
    arrays = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert model.predict(arrays) == predictions
    assert model.load_dataset().fingerprint == data.fingerprint


def test_classes_come_from_the_config(copied: Path, digits: gn.Dataset) -> None:
    path = copied / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["data"]["classes"] = list("abcdefghij")
    path.write_text(json.dumps(config), encoding="utf-8")
    named, numbered = (gn.load(run).predict(digits.test.images[:9]) for run in (copied, copied))
    assert named == numbered
    labels = [p.label for p in named]
    assert labels == [
        "abcdefghij"[label]
        for label in gn.load(copied).network.logits(digits.normalization.apply(digits.test.images[:9])).argmax(axis=1)
    ]


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((8, 8, 3), np.uint8), "uint8 of shape (H, W, C) = (8, 8, 1). Got uint8 of shape (8, 8, 3)."),
        (np.zeros((2, 9, 8, 1), np.uint8), "uint8 of shape (H, W, C) = (8, 8, 1). Got uint8 of shape (9, 8, 1)."),
        (np.zeros((8, 8, 1)), "uint8 of shape (H, W, C) = (8, 8, 1). Got float64 of shape (8, 8, 1)."),
        ([np.zeros((8, 8), np.uint8)], "uint8 of shape (H, W, C) = (8, 8, 1). Got uint8 of shape (8, 8)."),
    ],
)
def test_arrays_that_do_not_fit(model: gn.Model, image: Any, told: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"An image must be {told}")):
        model.predict(image)


def test_files_that_are_no_images(model: gn.Model, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image", encoding="utf-8")
    for name, told in (
        ("none.png", "no such file"),
        ("empty.png", "empty file"),
        ("text.png", "not an image"),
        (".", "not a file"),
    ):
        path = tmp_path / name
        with pytest.raises(DataError, match=re.escape(f"{path} must be a readable image. Got: {told}.")):
            model.predict(path)


def blank_images(shape: tuple[int, ...], labels: NDArray[np.int64]) -> gn.Dataset:
    images = np.zeros((len(labels), *shape), np.uint8)
    return gn.Dataset(images, labels, test_images=images, test_labels=labels)


def test_data_that_does_not_fit(model: gn.Model, digits: gn.Dataset) -> None:
    labels = np.arange(60) % 10
    with pytest.raises(DataError, match=re.escape("classes of the data must be ['0', '1', '2', ")):
        model.evaluate(blank_images((8, 8), np.arange(20) % 2))
    with pytest.raises(DataError, match=re.escape("as in the model. Got ['a', 'b', 'c',")):
        model.evaluate(gn.Dataset(digits.train.images, digits.train.labels, list("abcdefghij")))
    with pytest.raises(DataError, match=re.escape("images must have 1 channel, as the normalization has. Got 3.")):
        model.evaluate(blank_images((8, 8, 3), labels))
    with pytest.raises(ShapeError, match="fc: input of Linear must have shape"):
        model.evaluate(blank_images((12, 12), labels))


def test_the_data_is_loaded_again(digits: gn.Dataset, tmp_path: Path) -> None:
    for limits in ({"samples": 200}, {"samples": 200, "test_samples": 90}, {"test_samples": 90}):
        part = gn.load_data("digits", seed=3, **limits)
        again = gn.load(train(part, tmp_path / "run", epochs=1, overwrite=True).path).load_dataset()
        assert again.fingerprint == part.fingerprint
        assert again.source == part.source


def test_a_run_that_stored_no_limit_of_test_images_has_all(digits: gn.Dataset, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", stop_after_epoch=1).path
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["data"].pop("test_samples") == "all"
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")  # as glassnet 0.2.0 wrote it
    assert gn.load(run).load_dataset().fingerprint == digits.fingerprint
    assert len(train(digits, run, resume=True).history) > 1


def test_data_that_cannot_be_loaded_again(copied: Path, digits: gn.Dataset, tmp_path: Path) -> None:
    own = gn.Dataset(digits.train.images, digits.train.labels)
    arrays = gn.load(train(own, tmp_path / "arrays", epochs=1).path)
    with pytest.raises(DataError, match=r"arrays holds no images: it was trained on arrays. Pass the "):
        arrays.load_dataset()
    path = copied / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for source, told in (
        (
            {"source": str(tmp_path / "gone")},
            f"The data of {copied} cannot be loaded again: source must be digits, ",
        ),
        ({"source": str(tmp_path / "gone")}, ". Pass it from where it is now (--data)."),
        (
            {"samples": 100},
            f"The data in digits is no longer what {copied} was trained on: 1,247 images removed. To evaluate the run "
            "on what is there now, pass it: --data digits.",
        ),
    ):
        path.write_text(json.dumps({**config, "data": {**config["data"], **source}}), encoding="utf-8")
        with pytest.raises(DataError, match=re.escape(told)):
            gn.load(copied).load_dataset()


def test_best_or_last(tmp_path: Path, trained: Path) -> None:
    run = train("digits", tmp_path / "run", samples=200, validation_fraction=0.2, epochs=2).path
    shutil.copy(trained / "last.safetensors", run / "best.safetensors")  # visibly another

    def weights(name: str | None) -> bytes:
        return gn.load(run, name).network.state_dict()["fc.weight"].tobytes()

    assert weights(None) == weights("best") == gn.load(trained).network.state_dict()["fc.weight"].tobytes()
    assert weights("last") != weights("best")
    with pytest.raises(RunError, match=re.escape("weights must be one of best, last. Got 'first'")):
        gn.load(run, "first")
    with pytest.raises(RunError, match=re.escape("must have best.safetensors. Got a run without")):
        gn.load(trained, "best")


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (lambda model: model.predict(5), "images must be paths or uint8 arrays. Got 5."),
        (lambda model: model.predict(None), "images must be paths or uint8 arrays. Got None."),
        (lambda model: model.predict([], top="3"), "top must be an integer of at least 1. Got '3'."),
        (lambda model: model.evaluate("digits"), "data must be a Dataset, as glassnet.load_data returns."),
        (lambda model: gn.load(5), "A run folder must be a path. Got 5."),
        (lambda model: gn.load_weights(None), "A weights file must be a path. Got None."),
        (
            lambda model: model.network.trainer("sgd"),
            "recipe must be a Recipe, as in glassnet.Recipe(lr=0.1). Got 'sg",
        ),
        (lambda model: model.network.trainer(gn.Recipe(), "head"), "freeze must be None or 'backbone'. Got 'head'."),
        (lambda model: model.network.load_state_dict([]), "state must be a mapping from keys to arrays. Got list."),
        (
            lambda model: model.network.activations(np.zeros((1, 1, 8, 8)), "conv1"),
            "The names of activations must be several, as in ['conv1']. Got 'conv1'.",
        ),
        (lambda model: gn.build(5), "Got 5."),
    ],
)
def test_of_the_wrong_type(model: gn.Model, use: Any, told: str) -> None:
    with pytest.raises(GlassnetError, match=re.escape(told)) as caught:
        use(model)
    assert "\n" not in str(caught.value)


class TestWhatIsNoWholeRun:
    def told(self, run: Path, told: str) -> None:
        with pytest.raises(GlassnetError, match=re.escape(told)) as caught:
            gn.load(run)
        assert "\n" not in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        for path, received in ((tmp_path / "none", "nothing there"), (tmp_path, "a path without config.json")):
            self.told(path, f"{path} must be a run folder. Got {received}.")

    def test_before_its_first_epoch_was_done(self, copied: Path) -> None:
        (copied / "last.safetensors").unlink()
        self.told(copied, f"{copied} must have last.safetensors. Got a run without")

    def test_of_another_format(self, copied: Path) -> None:
        (copied / "config.json").write_text('{"format": 1}', encoding="utf-8")
        self.told(copied, f"{copied / 'config.json'} must have format 3. Got 1.")

    def test_half_a_config(self, copied: Path) -> None:
        path = copied / "config.json"
        path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")
        self.told(copied, f"{path} must be JSON. Got an error: ")

    @pytest.mark.parametrize(
        ("part", "content", "told"),
        [
            ("spec", {"colour": 1}, "spec field must be one of preset, in_channels, "),
            ("spec", None, "spec must be an object with the fields of model. Got None."),
            ("spec", {"width": 0}, "width must be an integer of at least 1. Got 0."),
            ("data", {"classes": list("0123456789")}, "data.source must be text. Got nothing."),
            ("recipe", {"lr": -1}, "config.json: recipe.lr must be a finite number above 0. Got -1."),
            ("recipe", {"speed": 1}, "recipe field must be one of optimizer, "),
            ("engine", "jax", "config.json: engine must be one of 'numpy', 'torch'. Got 'jax'."),
            ("device", 3, "config.json: device must be text. Got 3."),
            ("versions", [], "config.json: versions must be an object. Got []."),
            ("data", [], "data must be an object with the fields of data. Got []."),
            ("dtype", "float16", "config.json: dtype must be one of 'float32', 'float64'. Got 'float16'"),
            ("seed", "x", "seed must be an integer of at least 0. Got 'x'."),
            ("threads", "many", "config.json: threads must be an integer of at least 1 or None. Got 'many'."),
            ("init", 5, "config.json: init must be an object or None. Got 5."),
            ("init", {"from": 5}, "must be null or an object with a path as its from. Got {'from': 5}."),
            ("freeze", "head", "config.json: freeze must be 'backbone' or None. Got 'head'."),
        ],
    )
    def test_a_config_of_something_else(self, copied: Path, part: str, content: Any, told: str) -> None:
        path = copied / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**config, part: content}), encoding="utf-8")
        self.told(copied, told)

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("classes", "0123456789", "a list of texts. Got '0123456789'."),
            ("classes", ["a", "b"], "10 names, one for each output. Got ['a', 'b']."),
            ("classes", list(range(10)), "a list of texts. Got [0, 1,"),
            ("classes", ["a"] * 10, "different names. Got ['a',"),
            ("scale", "16", "a finite number above 0. Got '16'."),
            ("scale", 0, "a finite number above 0. Got 0."),
            ("mean", 0.5, "a list of finite numbers. Got 0.5."),
            ("mean", [0.1, 0.2, 0.3], "a list of 1 number, one for each channel. Got [0.1, 0.2, 0.3]."),
            ("mean", [math.nan], "a list of finite numbers. Got [nan]."),
            ("std", ["0.3"], "a list of finite numbers above 0. Got ['0.3']."),
            ("std", [0.0], "a list of finite numbers above 0. Got [0.0]."),
            ("std", None, "a list of finite numbers above 0. Got None."),
            ("scale", -(10**400), "a finite number above 0. Got -1000"),
            ("mean", [-(10**400)], "a list of finite numbers. Got [-1000"),
            ("scale", 10**400, "a finite number above 0. Got 1000"),
            ("train", "many", "an integer of at least 0. Got 'many'."),
            ("test", None, "an integer of at least 0. Got None."),
            ("test", 0, "an integer of at least 1. Got 0."),
            ("source", 7, "text. Got 7."),
            ("fingerprint", 7, "text or None. Got 7."),
            ("unreadable_files", "none", "a list of texts. Got 'none'."),
        ],
    )
    def test_data_edited_by_hand(self, copied: Path, name: str, content: Any, told: str) -> None:
        path = copied / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["data"][name] = content
        path.write_text(json.dumps(config), encoding="utf-8")
        self.told(copied, f"{path}: data.{name} must be {told}")

    def test_weights_that_are_not_finite(self, copied: Path) -> None:
        path = copied / "last.safetensors"
        weights = {**gn.load_weights(path), "fc.bias": np.full(10, np.nan, np.float32)}
        save_tensors(path, weights)
        self.told(copied, f"fc.bias in {path} must be finite. Got nan, 10 of 10 numbers.")

    def test_half_the_weights(self, copied: Path) -> None:
        path = copied / "last.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
        self.told(copied, f"{path} must be a whole safetensors file")

    def test_another_networks_weights(self, copied: Path, tmp_path: Path) -> None:
        other = train("digits", tmp_path / "other", samples=200, model="tiny-bn", epochs=1).path
        shutil.copy(other / "last.safetensors", copied / "last.safetensors")
        self.told(
            copied,
            "state must fit this network. Got 3 missing: conv1.bias, layer1.0.conv1.bias, layer1.0.conv2.bias; "
            "15 unexpected, such as bn1.bias, ",
        )

    def test_a_torn_last_line_of_metrics_is_no_hindrance(self, copied: Path) -> None:
        with (copied / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write('{"epoch": 5, "lo')
        assert len(gn.load(copied).history) == 4


def test_looking_at_a_run_changes_nothing(model: gn.Model, digits: gn.Dataset, trained: Path, snapshot: Any) -> None:
    before, weights = snapshot(trained), model.network.state_dict()
    model.predict(digits.test.images[:5])
    model.evaluate(digits)
    model.load_dataset()
    gn.load(trained)
    assert snapshot(trained) == before
    for key, array in model.network.state_dict().items():
        np.testing.assert_array_equal(array, weights[key])


def test_a_run_on_arrays_of_two_channels_predicts_arrays_only(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 2)).astype(np.uint8)
    labels = np.arange(12) % 2
    data = gn.Dataset(images, labels, test_images=images, test_labels=labels)
    model = gn.load(train(data, tmp_path / "run", epochs=1).path)
    assert model.evaluate(data)["count"] == len(model.predict(images)) == 12
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"channels must be one of 1, 3\. Got 2\."):
        model.predict(tmp_path / "a.png")
