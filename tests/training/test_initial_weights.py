import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.doctor.remedy import training_command
from glassnet.errors import ConfigError, DataError, RunError
from glassnet.progress import Progress
from glassnet.training.config import RunConfig
from glassnet.weights import save_tensors
from tests.recorded_log import Log
from tests.training.runs import train, untimed


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, digits: gn.Dataset) -> Path:
    run = tmp_path_factory.mktemp("base") / "run"
    train(digits, run, model="tiny-bn", width=4)
    return run


@pytest.fixture(scope="module")
def odd(digits: gn.Dataset) -> gn.Dataset:
    """Other classes, the same images, measured otherwise: is the digit odd?"""
    images, labels = digits.train.images * 15, digits.train.labels % 2
    test_images, test_labels = digits.test.images * 15, digits.test.labels % 2
    return gn.Dataset(images, labels, ["even", "odd"], test_images=test_images, test_labels=test_labels)


def tune(data: gn.Dataset, run: Path, **changes: Any) -> gn.Run:
    return gn.train(None, data, **{"run": run, "epochs": 1, "progress": Progress(), "report": False, **changes})


def test_all_but_the_head_is_taken_over(base: Path, odd: gn.Dataset, tmp_path: Path) -> None:
    seen: list[dict[str, np.ndarray]] = []
    tune(odd, tmp_path / "run", init=base, before=lambda network, data: seen.append(network.state_dict()))
    old, new = gn.load(base).network.state_dict(), seen[0]
    for key in old:
        if key.startswith("fc."):
            assert new[key].shape[0] == 2
        else:
            np.testing.assert_array_equal(new[key], old[key])


def test_the_runs_mean_std_and_model_come_along(base: Path, odd: gn.Dataset, tmp_path: Path) -> None:
    tune(odd, tmp_path / "run", init=base)
    model = gn.load(tmp_path / "run")
    assert model.network.spec == gn.load(base).network.spec.replace(classes=2)
    assert (model.normalization.mean, model.normalization.std) == ((0.0,), (1.0,))  # digits', not those of the odd
    assert model.normalization.scale == 255.0  # of the odd: 1 is still 1
    assert model.config["init"]["from"] == str(base.resolve())


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_frozen_body_stays_as_it_was(base: Path, odd: gn.Dataset, tmp_path: Path, engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    run = tune(odd, tmp_path / "run", init=base, freeze="backbone", engine=engine, epochs=3, validation_fraction=0.2)
    old, new = gn.load(base).network.state_dict(), gn.load(run.path, "last").network.state_dict()
    for key in old:
        if not key.startswith("fc."):
            np.testing.assert_array_equal(new[key], old[key])  # BatchNorm's running statistics as well
    assert run.metrics["train_accuracy"] > run.history[0]["train_accuracy"]
    assert set(run.metrics["gradient_norms"]) == {"fc.weight", "fc.bias"}


def test_a_frozen_body_takes_no_learning_rate_of_its_own(base: Path, odd: gn.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="^body_lr must be 1 with freeze, which trains the head alone. Got 0.5.$"):
        tune(odd, tmp_path / "run", init=base, freeze="backbone", body_lr=0.5)
    assert not (tmp_path / "run").exists()


def test_frozen_training_is_the_same_on_both_engines(base: Path, odd: gn.Dataset, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    weights = []
    for engine in ("numpy", "torch"):
        tune(
            odd, tmp_path / engine, init=base, freeze="backbone", engine=engine, dtype="float64", epochs=2, dropout=0.2
        )
        weights.append(gn.load(tmp_path / engine).network.state_dict())
    for key in weights[0]:
        np.testing.assert_allclose(weights[0][key], weights[1][key], rtol=0, atol=1e-12)


def test_without_freeze_the_backbone_learns_too(base: Path, odd: gn.Dataset, tmp_path: Path) -> None:
    run = tune(odd, tmp_path / "run", init=base)
    old, new = gn.load(base).network.state_dict(), gn.load(run.path).network.state_dict()
    assert not np.array_equal(old["conv1.weight"], new["conv1.weight"])


def test_a_weights_file_leaves_the_model_and_the_data_as_they_are(base: Path, odd: gn.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, gn.load(base).network.state_dict())
    run = gn.train(
        "tiny-bn", odd, run=tmp_path / "run", init=path, width=4, epochs=1, progress=Progress(), report=False
    )
    assert gn.load(run.path).normalization == odd.normalization


def save_foreign(folder: Path, spec: gn.ResNetSpec, **changes: Any) -> Path:
    """Write weights as a DataParallel network of pytorch-cifar has them, some changed or removed (None)."""
    state = gn.build(spec, seed=3).state_dict()
    names = {key: key.replace("fc.", "linear.").replace(".downsample.", ".shortcut.") for key in state}
    renamed = {f"module.{names[key]}": array for key, array in state.items()} | changes
    path = folder / "foreign.safetensors"
    save_tensors(path, {key: array for key, array in renamed.items() if array is not None})
    return path


SMALL = gn.spec("resnet20", width=2, blocks=1, in_channels=1, shortcut="projection", classes=7)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"module.linear.weight": None, "module.linear.bias": None},
        {"module.linear.weight": np.ones((1, 8), np.float32), "module.linear.bias": np.ones(1, np.float32)},
    ],
    ids=["7 classes", "no last layer", "1 output"],
)
def test_the_model_of_a_weights_file_is_recognized(changes: dict[str, Any], odd: gn.Dataset, tmp_path: Path) -> None:
    path, lines, seen = save_foreign(tmp_path, SMALL, **changes), Log(), []
    tune(
        odd,
        tmp_path / "run",
        init=path,
        progress=lines,
        before=lambda network, data: seen.append((network.spec, network.state_dict())),
    )
    spec, state = seen[0]
    assert spec == SMALL.replace(classes=2, image_size=8)
    for key, array in gn.build(SMALL, seed=3).state_dict().items():
        if not key.startswith("fc."):
            np.testing.assert_array_equal(state[key], array)
    found, assumed = next(line for line in lines.lines if "initial weights" in line).split(". ")
    assert found.startswith(
        f"[NumPy] initial weights, but for the last layer, which is new: {path} has the weights of resnet20 with "
        "in_channels 1, "
    )
    assert assumed == "Assumed, as the weights do not say: bn_eps 1e-05; pool none"


def test_a_model_of_a_weights_file_may_differ_where_the_weights_allow_it(odd: gn.Dataset, tmp_path: Path) -> None:
    path = save_foreign(tmp_path, SMALL)
    fields = {"width": 2, "blocks": 1, "shortcut": "projection", "bn_eps": 1e-3, "pool": "avg"}
    run = gn.train(
        "resnet20", odd, run=tmp_path / "run", init=path, epochs=1, report=False, progress=Progress(), **fields
    )
    assert gn.load(run.path).network.spec.bn_eps == 1e-3


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "resnet20",
            r"^model must be resnet20 with in_channels 1, classes 7, width 2, blocks 1\+1\+1, shortcut projection, "
            r"that of init, or None\. Got width 16 instead of 2, blocks 3\+3\+3 instead of 1\+1\+1, shortcut zero-pad "
            r"instead of projection\.$",
        ),
        ("tiny", "Got width 8 instead of 2, blocks 1 instead of"),
    ],
)
def test_another_model_than_that_of_a_weights_file_is_refused(
    model: str, message: str, odd: gn.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        gn.train(model, odd, run=tmp_path / "run", init=save_foreign(tmp_path, SMALL), progress=Progress())
    assert not (tmp_path / "run").exists()


def test_gray_image_files_get_the_channels_and_the_size_of_a_weights_file(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng([number, name == "cat"]).integers(0, 255, (9, 12), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    path = save_foreign(tmp_path, SMALL.replace(in_channels=3))
    run = gn.train(
        None, tmp_path / "data", run=tmp_path / "run", init=path, epochs=1, report=False, progress=Progress()
    )
    model = gn.load(run.path)
    assert model.network.spec == SMALL.replace(in_channels=3, classes=2)
    assert model.evaluate(model.load_dataset())["count"] == len(model.load_dataset().test)
    command = training_command(RunConfig.parse(model.config, run.path / "config.json"), {"lr": 0.1})
    assert command is not None
    assert command.startswith(f"glassnet train {tmp_path / 'data'} --model resnet20 --image-size 32 ")


def test_arrays_keep_their_size_with_a_weights_file(tmp_path: Path) -> None:
    path = save_foreign(tmp_path, SMALL)
    run = gn.train(None, "digits", run=tmp_path / "run", init=path, epochs=1, report=False, progress=Progress())
    assert gn.load(run.path).network.spec == SMALL.replace(image_size=8, classes=10)


def test_weights_that_no_spec_describes_are_refused(odd: gn.Dataset, tmp_path: Path) -> None:
    path = save_foreign(tmp_path, SMALL, **{"module.layer1.0.conv2.weight": np.ones((2, 1, 3, 3), np.float32)})
    with pytest.raises(DataError, match="Got a ResNeXt: layer1.0.conv2 has 2 groups"):
        tune(odd, tmp_path / "run", init=path)


def test_a_tuned_run_resumes_to_the_same_bits(base: Path, odd: gn.Dataset, tmp_path: Path) -> None:
    for name, stops in (("whole", [None]), ("parts", [1, None])):
        for stop in stops:
            given = {"init": base, "freeze": "backbone", "epochs": 2, "stop_after_epoch": stop}
            tune(odd, tmp_path / name, resume=name == "parts", **given)
    assert (tmp_path / "whole/last.safetensors").read_bytes() == (tmp_path / "parts/last.safetensors").read_bytes()


def test_a_tuned_run_resumes_without_the_weights_that_it_started_from(
    base: Path, digits: gn.Dataset, tmp_path: Path
) -> None:
    """The test images are those that the weights were trained on, which is still known."""
    one, other = digits.test, digits.train
    data = gn.Dataset(one.images, one.labels, test_images=other.images, test_labels=other.labels, scale=16.0)
    copy = shutil.copytree(base, tmp_path / "base")
    given = {"init": copy, "freeze": "backbone", "epochs": 2}
    tune(data, tmp_path / "whole", **given)
    tune(data, tmp_path / "parts", **given, stop_after_epoch=1)
    shutil.rmtree(copy)
    assert tune(data, tmp_path / "parts", resume=True, epochs=2).metrics["contaminated"] == 200
    assert (tmp_path / "whole/last.safetensors").read_bytes() == (tmp_path / "parts/last.safetensors").read_bytes()
    whole, parts = (gn.load(tmp_path / name) for name in ("whole", "parts"))
    assert parts.config == whole.config
    assert untimed(parts.history) == untimed(whole.history)
    with pytest.raises(RunError, match="init.from must be .* to resume"):
        tune(data, tmp_path / "parts", resume=True, init=base, epochs=2)


def test_another_model_than_that_of_init_is_refused_before_the_data_is_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassnet.training.run.load_data", lambda *_, **__: pytest.fail("data is loaded"))
    for path in (base, save_foreign(tmp_path, SMALL)):
        with pytest.raises(ConfigError, match="^model must be .*, that of init, or None. Got "):
            gn.train("resnet20", "digits", run=tmp_path / "run", init=path, progress=Progress())
        with pytest.raises(ConfigError, match=", that of init, or None. Got width 3 instead of"):
            gn.train(None, "digits", run=tmp_path / "run", init=path, width=3, progress=Progress())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"freeze": "backbone"}, ConfigError, "freeze must come with init, the weights to keep. Got no init."),
        ({"init": "BASE", "freeze": "head"}, ConfigError, "freeze must be None or 'backbone'. Got 'head'."),
        (
            {"init": "nowhere"},
            ConfigError,
            "init must be a run folder or a weights file. Got 'nowhere', which does not exist.",
        ),
        ({"init": "BASE", "model": "tiny"}, ConfigError, "model must be tiny-bn, that of init, or None. Got 'tiny'"),
        (
            {"init": "BASE", "width": 8, "blocks": 2},
            ConfigError,
            r"^model must be tiny-bn with width 4, that of init, or None\. "
            r"Got width 8 instead of 4, blocks 2 instead of 1\.$",
        ),
    ],
)
def test_refusals_write_nothing(
    base: Path, odd: gn.Dataset, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {name: base if value == "BASE" else value for name, value in changes.items()}
    model = given.pop("model", None)
    with pytest.raises(error, match=message):
        gn.train(model, odd, run=tmp_path / "run", epochs=1, progress=Progress(), report=False, **given)
    assert not (tmp_path / "run").exists()


def test_the_runs_form_of_images_comes_along_unless_another_is_given(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.random.default_rng([number, name == "cat"]).integers(300, 700, (8, 16), np.uint16)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    options = {"data": tmp_path / "data", "image_size": 8, "epochs": 1}
    gn.train("tiny", run=tmp_path / "base", fit="pad", value_range=(200, 800), report=False, **options)
    tuned = gn.train(None, run=tmp_path / "tuned", init=tmp_path / "base", report=False, **options)
    other = gn.train(None, run=tmp_path / "other", init=tmp_path / "base", fit="squash", report=False, **options)
    forms = [gn.load(run.path).config["data"] for run in (tuned, other)]
    assert [(form["fit"], list(form["value_range"])) for form in forms] == [("pad", [200, 800]), ("squash", [200, 800])]
