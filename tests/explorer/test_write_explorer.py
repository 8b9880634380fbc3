"""Pages of runs of every kind, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.explorer import write_explorer
from glassnet.progress import Progress
from glassnet.training import Model
from glassnet.weights import load_tensors, save_tensors

from .payloads import read_page

QUIET = {"progress": Progress(), "report": False, "ink": False}


def test_write_explorer_writes_into_the_run(run: Model) -> None:
    written = write_explorer(run)
    assert written.path == run.path / "explore.html"
    assert repr(written) == f"Explorer(tiny on digits: run run: {written.path})"
    config, tensors = read_page(written.path)
    assert config["data"]["complete"]
    assert len(tensors["images.train"]) == 1347


@pytest.mark.parametrize(("preset", "recipe"), [("tiny", "tutorial-full"), ("tiny-bn", "tutorial")])
def test_write_explorer_keeps_pages_of_digits_below_a_megabyte(
    tmp_path: Path, digits_data: gn.Dataset, preset: str, recipe: str
) -> None:
    gn.train(preset, digits_data, recipe=recipe, dtype="float64", stop_after_epoch=1, run=tmp_path / "run", **QUIET)
    size = write_explorer(gn.load(tmp_path / "run"), digits_data).path.stat().st_size
    assert 5e5 < size <= 1e6


def test_write_explorer_keeps_a_page_of_resnet20_below_4_megabytes(tmp_path: Path) -> None:
    rng, spec = np.random.default_rng(0), gn.spec("resnet20")
    save_tensors(tmp_path / "w.safetensors", gn.build(spec).state_dict())
    names, statistics = list("abcdefghij"), {"mean": [0.5] * 3, "std": [0.2] * 3}
    gn.import_weights(tmp_path / "w.safetensors", spec, classes=names, run=tmp_path / "run", **statistics)
    model = gn.load(tmp_path / "run", dtype="float64")
    for array in (state := model.network.state_dict()).values():
        if array.ndim > 1:
            array += rng.uniform(0, 0.1, array.shape)  # all bits random, as those of a float64 training
    model.network.load_state_dict(state)
    images, labels = rng.integers(0, 256, (100, 32, 32, 3)).astype(np.uint8), np.arange(100) % 10
    data = gn.Dataset(images, labels, names, test_images=images, test_labels=labels)
    path = write_explorer(model, data).path
    assert 2e6 < path.stat().st_size <= 4e6
    config, tensors = read_page(path)
    assert len(tensors["images.test"]) == 64
    assert [variant["title"] for variant in config["variants"]] == [
        "residual, 9 blocks, with BatchNorm",
        "plain, 9 blocks, with BatchNorm",
    ]


def test_write_explorer_names_missing_data(run: Model) -> None:
    config = run.path / "config.json"
    text = config.read_text(encoding="utf-8").replace('"source": "digits"', '"source": "/nowhere/photos"')
    config.write_text(text, encoding="utf-8")
    written = write_explorer(gn.load(run.path))
    page, tensors = read_page(written.path)
    assert written.missing == page["run"]["notes"][0]
    assert written.missing == (
        "The page has no images: /nowhere/photos is not there any more. Pass the data from where it is now (--data)."
    )
    assert page["data"] == {"complete": False, "n_train": 0, "n_test": 0, "source": "photos"}
    assert page["seeds"] == []
    assert tensors["images.test"].shape == (0, 1, 8, 8)


def test_write_explorer_takes_other_data(run: Model, digits: gn.Dataset) -> None:
    config, tensors = read_page(write_explorer(run, digits).path)
    assert not config["data"]["complete"]
    assert len(tensors["images.test"]) == 64
    assert config["run"]["notes"][0] == "The images are not those of the run: the page was written with other data."


def test_write_explorer_refuses_data_of_other_classes(run: Model, digits: gn.Dataset) -> None:
    names = list("abcdefghij")
    other = gn.Dataset(digits.train.images, digits.train.labels, names, scale=16)
    with pytest.raises(gn.GlassnetError, match=r"classes of the data must be \['0', .*\], as in the model. Got \['a'"):
        write_explorer(run, other)
    assert not (run.path / "explore.html").exists()


HOSTILE = ["</script><script>alert(1)</script>", "\"'&<!--", "\u202eevil", "שלום", "a\nb", "\\u2028"]


def test_write_explorer_keeps_hostile_class_names_in_the_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (24, 6, 10, 3)).astype(np.uint8), np.arange(24) % len(HOSTILE)
    data = gn.Dataset(images, labels, HOSTILE, test_images=images[:6], test_labels=labels[:6])
    run = gn.train("tiny", data, epochs=1, width=2, run=tmp_path / "<b>&", **QUIET)
    path = write_explorer(gn.load(run.path), data).path
    html = path.read_text(encoding="utf-8")
    assert "alert(1)" not in html
    assert "<title>tiny: run &lt;b&gt;&amp;</title>" in html
    config, tensors = read_page(path)
    assert config["classes"] == HOSTILE
    assert config["input"] == {"kind": "image", "size": [6, 10], "channels": 3, "fit": "crop"}
    assert tensors["images.train"].shape == (24, 3, 6, 10)
    assert config["run"]["command"] is None
    assert config["run"]["notes"][0] == (
        "6 of the 6 test images were trained on, by this run or by one that its weights come from, so the accuracy on "
        "them is no test accuracy."
    )


@pytest.mark.parametrize(
    ("spec", "received"),
    [
        (gn.spec("resnet110"), "1,727,962 parameters and images of 32×32"),
        (gn.spec("resnet20", image_size=(32, 65)), "269,722 parameters and images of 32×65"),
    ],
    ids=["parameters", "pixels"],
)
def test_write_explorer_refuses_a_large_network(tmp_path: Path, spec: gn.ResNetSpec, received: str) -> None:
    save_tensors(tmp_path / "w.safetensors", gn.build(spec).state_dict())
    names = list("abcdefghij")
    imported = gn.import_weights(
        tmp_path / "w.safetensors", spec, classes=names, mean=[0.5] * 3, std=[0.2] * 3, run=tmp_path / "run"
    )
    with pytest.raises(gn.GlassnetError) as refused:
        write_explorer(gn.load(tmp_path / "run"))
    assert imported.path == tmp_path / "run"
    assert str(refused.value) == (
        f"{tmp_path / 'run'} must have at most 1,000,000 parameters and images of 64×64 pixels for a live page. Got "
        f"{received}. Use glassnet report."
    )
    assert not (tmp_path / "run/explore.html").exists()


def test_weights_that_are_not_finite_are_named(run: Model) -> None:
    tensors, _ = load_tensors(run.path / "last.safetensors")
    tensors["layer1.0.conv2.weight"][0, 0, 0, 0] = np.nan
    save_tensors(run.path / "last.safetensors", tensors)
    with pytest.raises(gn.GlassnetError, match=r"layer1.0.conv2.weight in .* must be finite. Got nan, 1 of 576"):
        gn.explore(run.path)


def test_write_explorer_keeps_the_old_page_where_it_cannot_write(run: Model, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(gn.GlassnetError, match=f"The page {tmp_path / 'folder'} cannot be written: Is a directory."):
        write_explorer(run, output=tmp_path / "folder")
    assert not [*tmp_path.glob("*.tmp"), *tmp_path.glob(".*.tmp")]
    with pytest.raises(gn.GlassnetError, match="none must be a folder to write the page into. Got no such folder."):
        write_explorer(run, output=tmp_path / "none/page.html")


def test_explore_of_a_run_without_an_epoch_is_an_error(run: Model, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "begun")
    (tmp_path / "begun/last.safetensors").unlink()
    with pytest.raises(gn.GlassnetError, match="must have last.safetensors. Got a run without a finished"):
        gn.explore(tmp_path / "begun")
