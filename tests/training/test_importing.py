import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import ConfigError, DataError, GlassnetError, RunError
from glassnet.progress import Progress
from glassnet.training import RunFolder
from glassnet.weights import save_tensors
from tests.recorded_log import Log
from tests.training.runs import train

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def arguments(**changes: Any) -> dict[str, Any]:
    return {"classes": [str(n) for n in range(10)], "mean": [0.0], "std": [1.0], "scale": 16.0, **changes}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, gn.build("tiny", seed=7).state_dict())
    return path


def test_weights_become_a_run(weights: Path, tmp_path: Path, digits: gn.Dataset) -> None:
    model = gn.import_weights(weights, "tiny", run=tmp_path / "run", **arguments())
    own = gn.build("tiny", seed=7).state_dict()
    assert all(np.array_equal(model.network.state_dict()[key], array) for key, array in own.items())
    x = digits.normalization.apply(digits.test.images)
    np.testing.assert_array_equal(gn.load(tmp_path / "run").network.logits(x), gn.build("tiny", seed=7).logits(x))
    assert model.history == []
    assert model.evaluate(digits)["count"] == 450
    assert [p.label for p in model.predict(digits.test.images[:2])] == [
        str(n) for n in model.network.logits(x[:2]).argmax(axis=1)
    ]
    assert (model.normalization.scale, model.normalization.mean, model.normalization.std) == (16.0, (0.0,), (1.0,))


def test_it_has_no_data_of_its_own(weights: Path, tmp_path: Path) -> None:
    model = gn.import_weights(weights, "tiny", run=tmp_path / "run", **arguments())
    with pytest.raises(
        DataError, match="holds no images: it was imported without data. Pass the data, as in --data digits."
    ):
        model.load_dataset()


def test_it_counts_as_finished(weights: Path, tmp_path: Path, digits: gn.Dataset) -> None:
    gn.import_weights(weights, "tiny", run=tmp_path / "run", **arguments())
    assert RunFolder(tmp_path / "run").is_finished
    with pytest.raises(RunError, match="Got a finished run"):
        train(digits, tmp_path / "run")
    with pytest.raises(RunError, match="Got a finished run"):
        gn.import_weights(weights, "tiny", run=tmp_path / "run", **arguments())
    gn.import_weights(weights, "tiny", run=tmp_path / "run", overwrite=True, **arguments())


def test_a_custom_size(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, gn.build(gn.spec("resnet20", image_size=48, classes=3)).state_dict())
    given = arguments(classes=["a", "b", "c"], mean=[0.4] * 3, std=[0.2] * 3, image_size=48)
    assert gn.import_weights(path, "resnet20", run=tmp_path / "run", **given).network.spec.size == (48, 48)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mean": [0.1, 0.2]}, ConfigError, "mean and std must have one number for each of 1 channel"),
        ({"std": [0.0]}, ConfigError, "std above 0"),
        (
            {"mean": [123.7]},
            ConfigError,
            "mean must be at most 255 / scale, 15.9375, as that of pixels is. Got 123.7.",
        ),
        ({"mean": [float("nan")]}, ConfigError, "mean and std must have one number for each of 1 channel"),
        ({"classes": ["a", "b"]}, ConfigError, r"^classes must be 10 names, in the order of the outputs\. Got 2\.$"),
        ({"classes": None}, ConfigError, r"^classes must be 10 names, in the order of the outputs\. Got none\.$"),
        (
            {"mean": None},
            ConfigError,
            r"^mean and std must be those of the images that the weights expect\. Got none\.$",
        ),
        ({"classes": ["a"] * 10}, ConfigError, "classes must be unique. Got 'a' twice."),
        ({"scale": 0.0}, ConfigError, "scale must be a finite number above 0"),
        ({"model": "resnet20"}, GlassnetError, "missing, such as "),
    ],
)
def test_refusals_write_nothing(
    weights: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"model": "tiny", **arguments(**changes)}
    if given["model"] == "resnet20":
        given |= {"mean": [0.1] * 3, "std": [1.0] * 3}
    with pytest.raises(error, match=message):
        gn.import_weights(weights, run=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_import_weights_recognizes_the_model(weights: Path, tmp_path: Path) -> None:
    log = Log()
    model = gn.import_weights(weights, run=tmp_path / "run", progress=log, **arguments())
    assert model.network.spec == gn.spec("tiny")
    assert log.lines == [
        f"{weights} has the weights of tiny. Assumed, as the weights do not say: image_size 8×8; preactivation False; "
        "pool max; skip connections"
    ]


@pytest.mark.parametrize(
    ("spec", "suggestion"),
    [
        (
            gn.spec("resnet18", width=2, classes=10),
            " Networks of torchvision, Transformers and most networks of timm have mean 0.485,0.456,0.406 and std "
            "0.229,0.224,0.225.",
        ),
        (
            gn.spec("resnet20", width=2, shortcut="projection"),
            " Networks of pytorch-cifar and pytorch-cifar-models on CIFAR-10 have mean 0.4914,0.4822,0.4465 and std "
            "0.2023,0.1994,0.201.",
        ),
        (
            gn.spec("resnet20", width=2),
            " Networks of pytorch_resnet_cifar10 have mean 0.485,0.456,0.406 and std 0.229,0.224,0.225.",
        ),
        (gn.spec("resnet20", width=2, in_channels=1), ""),
    ],
)
def test_import_weights_suggests_mean_and_std_of_known_projects(
    spec: gn.ResNetSpec, suggestion: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, gn.build(spec).state_dict())
    told = f"mean and std must be those of the images that the weights expect. Got none.{suggestion}"
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}$"):
        gn.import_weights(path, classes=list("abcdefghij"), run=tmp_path / "run", progress=Progress())


def test_import_weights_suggests_mean_and_std_of_a_configuration_of_timm(weights: Path, tmp_path: Path) -> None:
    config = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5], "std": [0.25]}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"/config\.json has mean 0\.5 and std 0\.25\.$"):
        gn.import_weights(weights, run=tmp_path / "run", **arguments(mean=None))


def test_import_weights_raises_without_a_last_layer(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = gn.build("tiny").state_dict()
    save_tensors(path, {key: array for key, array in state.items() if not key.startswith("fc.")})
    told = (
        f"{path} must have a last layer. Got none among its 6 tensors. To train one on these weights, use them as init."
    )
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        gn.import_weights(path, run=tmp_path / "run", progress=Progress(), **arguments())


@pytest.mark.parametrize("overwrite", [False, True])
def test_numbers_too_large_for_float32_harm_no_run(weights: Path, tmp_path: Path, overwrite: bool) -> None:
    run, large = tmp_path / "run", tmp_path / "large.safetensors"
    if overwrite:
        gn.import_weights(weights, "tiny", run=run, **arguments())
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    state = gn.build("tiny").state_dict()
    save_tensors(large, {**state, "fc.bias": np.array([0.0] * 9 + [1e300])})
    told = f"fc.bias in {large} must be finite in float32. Got 1e+300."
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        gn.import_weights(large, "tiny", run=run, overwrite=overwrite, **arguments())
    assert run.exists() == overwrite
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_akamasters_resnet20(shared: Path, tmp_path: Path) -> None:
    """The figures of a network trained elsewhere: 20 of 20 lossless images right."""
    model = gn.import_weights(
        shared / "resnet20-cifar10.safetensors",
        "resnet20",
        classes=CIFAR,
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        run=tmp_path / "run",
    )
    images = sorted((shared / "cifar10-samples").glob("*.png"))
    labels = [CIFAR[int(path.stem[-1])] for path in images]
    assert [prediction.label for prediction in model.predict(images)] == labels
