"""The commands of the studies: what goes where, what is told, how they end."""

import json
from pathlib import Path

import pytest
from PIL import Image

import glassnet as gn
from glassnet.progress import Progress
from tests.calls import Call


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "run"
    gn.train("tiny-bn", "digits", run=path, recipe="tutorial", epochs=1, samples=200, progress=Progress(), report=False)
    return path


PAGES = {
    "augmentation": "study-augmentation-digits.html",
    "convolution": "study-convolution-tiny.html",
    "parameters": "study-parameters-resnet20.html",
    "gradient-flow": "study-gradient-flow-digits.html",
    "lr-range": "study-lr-range-digits-tiny.html",
}
QUICK = {
    "augmentation": ["--augment", "flip-crop"],
    "convolution": [],
    "parameters": ["resnet20"],
    "gradient-flow": ["--depths", "8", "--norms", "batch", "--steps", "2", "--width", "2"],
    "lr-range": ["--model", "tiny", "--steps", "20"],
}


@pytest.mark.parametrize("name", QUICK)
def test_a_study_writes_its_page_and_says_what_it_found(call: Call, tmp_path: Path, name: str) -> None:
    code, out, _ = call(name, *QUICK[name])
    assert code == 0
    *sentences, last = out.splitlines()
    assert last == f"Page {PAGES[name]}"
    assert len(sentences) >= 2
    assert (tmp_path / PAGES[name]).stat().st_size > 1_000_000  # plotly.js is inside


@pytest.mark.parametrize("name", QUICK)
def test_json_is_one_object(call: Call, tmp_path: Path, name: str) -> None:
    code, out, _ = call(name, *QUICK[name], "--json", "--output", tmp_path / "here.html")
    assert code == 0
    assert out.count("\n") == 1
    told = json.loads(out, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert told["page"] == str(tmp_path / "here.html")
    assert told["summary"]
    assert (tmp_path / "here.html").is_file()


def test_convolution_takes_a_image_and_a_run(call: Call, tmp_path: Path, run: Path) -> None:
    Image.new("RGB", (20, 10), "red").save(tmp_path / "red.png")
    code, out, _ = call("convolution", "red.png", "--model", run, "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["name"], told["image"], told["model"]) == ("red.png", [10, 20], "tiny-bn")
    code, out, err = call("convolution", "absent.png")
    assert (code, out, err) == (1, "", "Error: absent.png must be a readable image. Got: no such file.\n")


def test_parameters_takes_a_run_and_prints_every_layer(call: Call, run: Path) -> None:
    code, out, _ = call("parameters", run)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["layer", "shapes", "parameters", "dense"]
    assert lines[1].split() == ["conv1", "1→16,", "3×3", "on", "8×8", "144", "65,536"]
    code, _, err = call("parameters", "resnet21")
    assert code == 1
    assert err.startswith("Error: model must be one of tiny, ")


def test_gradient_flow_splits_a_runs_own_blocks(call: Call, run: Path) -> None:
    code, out, err = call("gradient-flow", "--run", run, *QUICK["gradient-flow"], "--json")
    assert code == 0
    told = json.loads(out)
    assert told["network"] == str(run)
    assert [block["block"] for block in told["blocks"]] == ["layer1.0"]
    assert told["adds_up"]
    assert "residual, 8 layers, with batch normalization: loss" in err
    code, _, err = call("gradient-flow", "--depths", "8,x")
    assert (code, err) == (1, "Error: --depths must be integers separated by commas. Got '8,x'.\n")


def test_gradient_flow_brings_images_to_a_size(call: Call, tmp_path: Path) -> None:
    for name, side in (("cat", 8), ("dog", 9)):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB", (side, side), (20 * number, side, 0)).save(tmp_path / name / f"{number}.png")
    assert "Set image_size (--image-size)" in call("gradient-flow", tmp_path, *QUICK["gradient-flow"])[2]
    assert call("gradient-flow", tmp_path, *QUICK["gradient-flow"], "--image-size", "8")[0] == 0


def test_lr_range_tests_a_run_and_leaves_it_alone(call: Call, run: Path, snapshot) -> None:  # type: ignore[no-untyped-def]
    before = snapshot(run)
    code, out, _ = call("lr-range", "--run", run, "--batch-size", "50", "--steps", "20", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["model"], told["optimizer"], told["batch_size"]) == ("tiny-bn", "adam", 50)
    assert snapshot(run) == before
    code, _, err = call("lr-range", "--min-lr", "1", "--max-lr", "0.1")
    assert (code, err) == (1, "Error: max_lr must be above min_lr (1). Got 0.1.\n")


def test_lr_range_on_the_other_engine_finds_the_same(call: Call) -> None:
    ours, theirs = (
        json.loads(call("lr-range", *QUICK["lr-range"], "--engine", engine, "--json")[1])
        for engine in ("numpy", "torch")
    )
    assert ours["losses"][:10] == pytest.approx(theirs["losses"][:10], rel=1e-3)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_ablation_orders_the_blocks_of_a_run(call: Call, run: Path, engine: str, snapshot) -> None:  # type: ignore[no-untyped-def]
    before = snapshot(run)
    code, out, err = call("ablation", run, "--engine", engine, "--json")
    assert code == 0
    told = json.loads(out)
    assert [block["block"] for block in told["blocks"]] == ["layer1.0"]
    assert told["count"] == 200
    assert err.startswith("without layer1.0: loss ")
    assert snapshot(run) == before
    code, out, _ = call("ablation", run, "--weights", "last")
    assert code == 0
    assert out.splitlines()[0].split()[0] == "without"


def test_a_page_that_cannot_be_written_is_a_stated_failure(call: Call, tmp_path: Path) -> None:
    code, out, err = call("parameters", "--output", tmp_path / "absent" / "page.html")
    assert (code, out) == (1, "")
    assert err.startswith("Error: The page ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gradient-flow --depths 8,8", "depths must be a list of distinct integers 6n + 2, such as 8, 20, 56."),
        ("gradient-flow --depths -4", "depths must be a list of distinct integers 6n + 2, such as 8, 20, 56."),
        ("gradient-flow --depths ,", "--depths must be integers separated by commas. Got ','."),
        ("gradient-flow --norms batch,batch", "norms must be a list of 'batch', 'none' or both."),
        ("gradient-flow --steps 0", "steps must be an integer of at least 1. Got 0."),
        (
            "augmentation digits",
            "augment must be other than none, or rotate, translate or jitter above 0.",
        ),
        ("augmentation digits --jitter -1", "jitter must be a finite number from 0 to 1; a factor, from 1 - jitter"),
        ("augmentation digits --jitter 1 --images 0", "n_images must be an integer of at least 1. Got 0."),
        ("lr-range --min-lr 0", "min_lr must be a finite number above 0. Got 0.0."),
        ("lr-range --max-lr nan", "max_lr must be a finite number above 0. Got nan."),
        ("lr-range --steps 3", "steps must be an integer of at least 10. Got 3."),
        ("lr-range --batch-size 0", "batch_size must be an integer of at least 1. Got 0."),
    ],
)
def test_a_study_refuses_options_out_of_range_in_one_line(call: Call, arguments: str, message: str) -> None:
    code, out, err = call(*arguments.split())
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {message}")
    assert err.count("\n") == 1
