"""The command line: what goes where, what is told, how it ends."""

import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import glassnet as gn
from glassnet import cli
from glassnet.errors import GlassnetError
from tests.calls import Call, caller
from tests.training.runs import untimed


def commands(group: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every command under the words that call it, groups included."""
    found = {" ".join(path): group}
    for name, command in getattr(group, "commands", {}).items():
        found.update(commands(command, (*path, name)))
    return found


COMMANDS = commands(get_command(cli.app))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """``glassnet ...`` in this process: exit code, stdout, stderr."""
    return caller(monkeypatch, capsys)


@pytest.fixture
def fails(call: Call) -> Callable[..., None]:
    """The command ends with exit code 1 and one line on stderr, and stdout stays empty."""

    def failing(told: str, *arguments: str | Path) -> None:
        code, out, err = call(*arguments)
        assert code == 1, err
        assert out == ""
        *before, last = err.splitlines()
        assert re.fullmatch(f"Error: .*{re.escape(told)}.*", last), err
        assert all(line.startswith("[NumPy] ") for line in before), err
        assert "Traceback" not in err

    return failing


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    path = tmp_path_factory.mktemp("cli") / "run"
    gn.train("tiny", "digits", run=path, recipe="tutorial", epochs=2, samples=400, report=False)
    return path


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "digit.png"
    pixels = gn.load_data("digits").test.images[0, ..., 0]
    Image.fromarray((pixels * 15).astype(np.uint8)).save(path)
    return path


SHORT = ("--model", "tiny", "--recipe", "tutorial", "--samples", "200", "--epochs", "2")


class TestTrain:
    def test_lines_go_to_stderr_and_the_result_to_stdout(self, call: Call, tmp_path: Path) -> None:
        code, out, err = call("train", "digits", *SHORT, "--run", tmp_path / "run", "--no-report")
        assert code == 0
        threads = gn.load(tmp_path / "run").config["threads"]
        assert err.splitlines()[0] == f"[NumPy] on cpu, {threads} thread{'s' * (threads > 1)}"
        lines = [line for line in err.splitlines() if " epoch " in line]
        values = r"loss \d\.\d{4}, accuracy \d+\.\d%"
        pattern = rf"\[NumPy\] epoch (\d)/2: train {values}; test {values}"
        assert [re.fullmatch(pattern, line)[1] for line in lines] == ["1", "2"]
        assert re.fullmatch(r"\[NumPy\] trained and evaluated in \d+\.\d s", err.splitlines()[-1])
        accuracy = gn.load(tmp_path / "run").history[-1]["test_accuracy"]
        first, second = out.splitlines()
        assert first.startswith(f"Test accuracy {accuracy:.1%}, loss ")
        assert first.endswith("after epoch 2")
        assert second.split(maxsplit=1) == ["Run", str(tmp_path / "run")]
        assert not (tmp_path / "run" / "report.html").exists()

    def test_json_is_one_object(self, call: Call, tmp_path: Path) -> None:
        code, out, err = call("train", "digits", *SHORT, "--run", tmp_path / "run", "--no-report", "--json")
        assert code == 0
        assert out.count("\n") == 1
        told = json.loads(out)
        assert told.pop("run") == str(tmp_path / "run")
        assert told.pop("report") is None
        assert told == gn.load(tmp_path / "run").history[-1]
        assert "epoch 2/2" in err

    def test_the_report_is_written_at_the_end(self, call: Call, tmp_path: Path) -> None:
        code, out, _ = call("train", "digits", *SHORT, "--run", tmp_path / "run", "--json")
        assert code == 0
        assert json.loads(out)["report"] == str(tmp_path / "run" / "report.html")
        assert (tmp_path / "run" / "report.html").stat().st_size > 100_000

    def test_every_option_reaches_the_run(self, call: Call, tmp_path: Path) -> None:
        spec: dict[str, Any] = {"width": 4, "blocks": 2, "norm": "batch", "pool": "avg", "shortcut": "projection"}
        spec |= {"head": "average", "dropout": 0.25}
        recipe: dict[str, Any] = {"epochs": 3, "seed": 9, "lr": 0.02, "schedule": "cosine", "optimizer": "sgd"}
        recipe |= {
            "momentum": 0.8,
            "weight_decay": 0.001,
            "weight_decay_scope": "all",
            "batch_size": 50,
            "nesterov": True,
        }
        recipe |= {"label_smoothing": 0.1, "validation_fraction": 0.2, "clip_grad_norm": 5.0, "augment": "flip-crop"}
        given = {name: value for name, value in (spec | recipe).items() if value is not True}
        options = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        flags = [
            "--nesterov",
            "--no-skip",
            "--preactivation",
            "--evaluate-train",
            "--stop-after-epoch",
            "1",
            "--no-report",
        ]
        code, _, err = call(
            *("train", "digits", "--model", "tiny-bn", "--samples", "150", "--test-samples", "all"),
            *("--dtype", "float64"),
            *("--run", tmp_path / "run", *options, *flags),
        )
        assert code == 0, err
        model = gn.load(tmp_path / "run")
        expected = {**spec, "blocks": [2], "skip": False, "preactivation": True, "preset": "tiny-bn"}
        assert {name: model.config["spec"][name] for name in expected} == expected
        assert {name: model.config["recipe"][name] for name in recipe} == recipe
        assert model.config["dtype"] == "float64"
        assert {name: model.config["data"][name] for name in ("samples", "test_samples", "test")} == {
            "samples": 150,
            "test_samples": "all",
            "test": 450,
        }
        assert len(model.history) == 1
        assert "train_evaluated_loss" in model.history[0]

    def test_resume(self, call: Call, tmp_path: Path, snapshot: Any) -> None:
        arguments = ("train", "digits", *SHORT)
        assert call(*arguments, "--run", tmp_path / "whole", "--no-report")[0] == 0
        assert call(*arguments, "--run", tmp_path / "run", "--stop-after-epoch", "1", "--no-report")[0] == 0
        assert call(*arguments, "--run", tmp_path / "run", "--resume")[0] == 0
        assert untimed(gn.load(tmp_path / "run").history) == untimed(gn.load(tmp_path / "whole").history)
        last = "last.safetensors"
        assert (tmp_path / "run" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()
        before = snapshot(tmp_path)
        code, out, err = call(*arguments, "--run", tmp_path / "run", "--resume", "--json")
        end = f"[NumPy] nothing was left to do: {tmp_path / 'run'} has 2 of 2 epochs"
        assert (code, err) == (0, f"{end}\n")
        assert json.loads(out)["epoch"] == 2
        assert snapshot(tmp_path) == before  # the report too

    def test_overwrite(self, call: Call, fails: Callable[..., None], run: Path, tmp_path: Path, snapshot: Any) -> None:
        copy = Path(shutil.copytree(run, tmp_path / "run"))
        before = snapshot(copy)
        fails(
            "Got a finished run. Choose another folder, or --overwrite.",
            "train",
            "digits",
            "--run",
            copy,
        )
        assert snapshot(copy) == before
        assert call("train", "digits", *SHORT, "--run", copy, "--overwrite", "--no-report")[0] == 0
        assert gn.load(copy).config["data"]["samples"] == 200

    def test_check_gradients_comes_first(
        self, call: Call, fails: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = ("train", "digits", *SHORT, "--no-report", "--check-gradients", "--run", tmp_path / "run")
        code, _, err = call(*arguments)
        assert code == 0
        first, *rest = err.splitlines()
        assert re.match(r"The gradients are correct: \d+ \w+, worst error \d\.\de-\d\d\.", first)
        assert all(line.startswith("[NumPy]") for line in rest)
        shutil.rmtree(tmp_path / "run")
        plain = gn.nn.ReLU.backward
        monkeypatch.setattr(gn.nn.ReLU, "backward", lambda self, dy: -plain(self, dy))
        fails("Wrong gradient in tiny at ", *arguments)
        assert not (tmp_path / "run").exists()

    def test_an_interrupt_says_what_is_saved(
        self, call: Call, fails: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.chdir(tmp_path)
        run = Path("runs", "tiny-digits")
        with monkeypatch.context() as patch:
            patch.setattr("glassnet.training.run.load_data", lambda *_, **__: interrupted())
            fails("Stopped before the training began.", "train", "digits", *SHORT)
        with monkeypatch.context() as patch:
            patch.setattr("glassnet.progress.TerminalProgress.advance", interrupted)
            fails(f"Stopped. No epoch was finished; nothing of the run is kept in {run}.", "train", "digits", *SHORT)
            assert not run.exists()
        with monkeypatch.context() as patch:
            patch.setattr("glassnet.training.loop.describe_epoch", interrupted)
            goes_on = f"resume with --run {run} --resume."
            fails(f"Stopped. {run} keeps the last finished epoch; {goes_on}", "train", "digits", *SHORT)
        monkeypatch.setattr("glassnet.api._write_report", interrupted)
        told = f"Stopped. The training in {run} is finished. Write its report with: glassnet report {run}"
        fails(told, "train", "digits", *SHORT, "--run", run, "--resume")
        assert len(gn.load(run).history) == 2


def test_no_ink_decodes_files_as_those_of_any_run(call: Call, digit: Path, tmp_path: Path) -> None:
    code, _, _ = call("train", "digits", "--epochs", "1", "--no-ink", "--no-report", "--run", tmp_path / "run")
    assert code == 0
    data = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["data"]
    assert (data["ink"], data["likeness"]) == (False, None)
    code, out, err = call("predict", tmp_path / "run", digit, "--json")
    assert (code, err) == (0, "")
    assert set(json.loads(out)) == {"path", "label", "probability", "error"}
    code, _, err = call("train", "digits", "--epochs", "1", "--ink", "--run", tmp_path / "run", "--resume")
    assert code == 1
    assert err.startswith(f"Error: data.ink must be False to resume {tmp_path / 'run'}. Got True. Leave it out")


def test_report(call: Call, run: Path) -> None:
    code, out, err = call("report", run, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"reports": [str(run / "report.html")]}
    assert call("report", run)[1] == f"{run / 'report.html'}\n"


def test_the_report_of_ones_own_arrays_says_what_is_missing(call: Call, tmp_path: Path) -> None:
    digits = gn.load_data("digits", samples=200)
    gn.train("tiny", gn.Dataset(digits.train.images, digits.train.labels), run=tmp_path / "run", epochs=1, report=False)
    assert call("report", tmp_path / "run")[0] == 0
    assert "was trained on arrays" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


class TestCompare:
    def test_what_it_prints_and_writes(
        self, call: Call, run: Path, tmp_path: Path, snapshot: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = tmp_path / "other"
        gn.train("tiny", "digits", run=other, recipe="tutorial", epochs=1, samples=400, report=False)
        before = snapshot(run), snapshot(other)
        monkeypatch.chdir(tmp_path)
        code, out, err = call("compare", run, other)
        assert (code, err.count("Error")) == (0, 0)
        *words, last = out.splitlines()
        assert last == "Comparison comparison.html"
        assert "The runs differ in epochs (2 against 1)." in " ".join(words)
        assert (tmp_path / "comparison.html").stat().st_size > 1_000_000
        assert call("compare", run, other)[1].splitlines()[-1] == "Comparison comparison.html (replaced)"
        code, out, _ = call("compare", run, other, "--json", "--output", tmp_path / "page.html")
        told = json.loads(out)
        assert told["comparison"] == str(tmp_path / "page.html")
        assert [one["epochs"] for one in told["runs"]] == [2, 1]
        assert told["summary"] == words
        assert (snapshot(run), snapshot(other)) == before

    def test_one_run_is_wrong_usage(self, call: Call, run: Path) -> None:
        code, out, err = call("compare", run)
        assert (code, out) == (2, "")
        assert "at least two runs" in " ".join(err.split())

    def test_runs_on_different_data(self, fails: Callable[..., None], run: Path, tmp_path: Path) -> None:
        gn.train("tiny", "digits", run=tmp_path / "other", recipe="tutorial", epochs=1, samples=300, report=False)
        fails("The runs of a comparison must have the same data", "compare", run, tmp_path / "other")

    def test_an_output_that_cannot_be_written(self, fails: Callable[..., None], run: Path, tmp_path: Path) -> None:
        fails("cannot be written", "compare", run, run, "--output", tmp_path / "absent" / "page.html")


def test_models(call: Call) -> None:
    code, out, err = call("models", "--json")
    assert (code, err) == (0, "")
    rows = {row["model"]: row for row in json.loads(out)["models"]}
    assert rows["tiny"]["parameters"] == 2538
    assert rows["resnet110"]["parameters"] == 1_727_962
    assert "tutorial" in rows["tiny"]["recipes"]
    assert "1,727,962" in call("models")[1]


def test_summary(call: Call, run: Path) -> None:
    code, out, err = call("summary", "resnet20", "--json")
    assert (code, err) == (0, "")
    total = json.loads(out)["total"]
    assert total["parameters"] == 269_722
    assert "269,722" in call("summary", "resnet20")[1]
    small = json.loads(
        call("summary", "resnet20", "--classes", "4", "--image-size", "16", "--in-channels", "1", "--json")[1]
    )
    assert small["total"]["parameters"] == 269_722 - 2 * 9 * 16 - 6 * 65
    assert json.loads(call("summary", run, "--json")[1])["total"]["parameters"] == 2538


def test_a_folder_of_a_presets_name_hides_no_preset(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert call("summary", "tiny")[0] == 0


class TestCheckGradients:
    def test_of_a_network(self, call: Call) -> None:
        code, out, err = call("check", "gradients", "tiny", "--json")
        assert (code, err) == (0, "")
        told = json.loads(out)
        assert told["passed"] is True
        assert told["worst"] < 1e-6
        assert {"input", "conv1.weight", "fc.bias"} <= {row["tensor"] for row in told["rows"]}
        assert "Passed: " in call("check", "gradients", "tiny")[1]

    def test_a_wrong_gradient_is_exit_code_1_with_the_table(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = gn.nn.Residual.backward
        monkeypatch.setattr(gn.nn.Residual, "backward", lambda self, dy: plain(self, dy) - dy)  # the skip is lost
        code, out, err = call("check", "gradients", "tiny", "--json")
        assert code == 1
        assert json.loads(out)["passed"] is False
        assert re.fullmatch(r"Error: Wrong gradient in tiny at .*\n", err)
        code, out, _ = call("check", "gradients", "tiny")
        assert code == 1
        assert "FAILED" in out


class TestHelp:
    @pytest.fixture(autouse=True)
    def _wide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "300")
        monkeypatch.setenv("TERMINAL_WIDTH", "300")
        monkeypatch.setenv("NO_COLOR", "1")

    @pytest.mark.parametrize("words", COMMANDS)
    def test_ends_with_an_example(self, words: str) -> None:
        for flag in ("--help", "-h"):
            result = CliRunner().invoke(cli.app, [*words.split(), flag])
            assert result.exit_code == 0, result.output
            last = result.stdout.rstrip().splitlines()[-1].strip()
            assert last.startswith(f"Example: glassnet {words}".rstrip()), last

    @pytest.mark.parametrize("words", COMMANDS)
    def test_the_example_can_be_pasted(self, words: str) -> None:
        program, *arguments = shlex.split(COMMANDS[words].epilog.removeprefix("Example: "))
        assert program == "glassnet"
        name = max((name for name in COMMANDS if " ".join(arguments).startswith(name)), key=len)
        command = COMMANDS[name]
        assert not hasattr(command, "commands"), "an example that does nothing"
        command.make_context(name, arguments[len(name.split()) :])  # raises a UsageError

    @pytest.mark.parametrize("words", COMMANDS)
    def test_everything_is_explained(self, words: str) -> None:
        command = COMMANDS[words]
        assert command.help
        for parameter in command.params:
            assert getattr(parameter, "help", None) or parameter.name in (
                *("help", "install_completion", "show_completion", "source"),
            ), parameter.name


class TestWrongUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["trian", "digits"],
            ["train"],
            ["train", "digits", "--modle", "tiny"],
            ["train", "digits", "--epochs", "ten"],
            ["predict", "runs/a"],
            ["predict", "runs/a", "x.png", "--top", "0"],
            ["check", "gradient"],
        ],
    )
    def test_is_exit_code_2(self, call: Call, arguments: list[str]) -> None:
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert "Usage: " in err
        assert "Traceback" not in err

    def test_version(self, call: Call) -> None:
        assert call("--version") == (0, f"{gn.__version__}\n", "")


def save_idx(path: Path, array: Any, magic: bytes | None = None) -> None:
    array = np.asarray(array, np.uint8)
    head = magic or bytes([0, 0, 8, array.ndim])
    path.write_bytes(head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def save_images(folder: Path, *classes: str, count: int = 8, size: int = 8) -> Path:
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 255, (size, size, 3), np.uint8)).save(folder / name / f"{number}.png")
    return folder


class TestBadInput:
    """One line that says what and where, exit code 1, and nothing is written."""

    @pytest.fixture
    def refused(
        self, fails: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: Any
    ) -> Callable[..., None]:
        monkeypatch.chdir(tmp_path)

        def refuse(told: str, *arguments: str | Path) -> None:
            before, folders = snapshot(tmp_path), sorted(tmp_path.rglob("*"))
            fails(told, *arguments)
            fails(told, *arguments, "--json")
            assert snapshot(tmp_path) == before
            assert sorted(tmp_path.rglob("*")) == folders

        return refuse

    def test_a_missing_source(self, refused: Callable[..., None], tmp_path: Path) -> None:
        refused("Got 'nowhere'.", "train", "nowhere")
        refused("Got 'nowhere'.", "train", "nowhere", "--run", tmp_path / "run")

    def test_an_empty_class_folder(self, refused: Callable[..., None], tmp_path: Path) -> None:
        save_images(tmp_path / "data", "cat", "dog")
        (tmp_path / "data" / "cow").mkdir()
        refused(f"{tmp_path / 'data' / 'cow'} must hold images, as a class folder.", "train", tmp_path / "data")

    def test_one_class_only(self, refused: Callable[..., None], tmp_path: Path) -> None:
        refused(
            "or a table of paths and labels. Got only 'cat'.",
            "train",
            save_images(tmp_path / "data", "cat"),
        )

    @pytest.mark.parametrize(
        ("magic", "cut", "label", "told"),
        [
            (b"\x00\x00\x09\x03", 0, 3, "images-idx3-ubyte"),
            (None, 5, 3, "images-idx3-ubyte"),
            (None, 0, 200, "labels"),
        ],
        ids=["magic", "length", "labels"],
    )
    def test_idx(
        self, refused: Callable[..., None], tmp_path: Path, magic: bytes | None, cut: int, label: int, told: str
    ) -> None:
        images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
        save_idx(images, np.zeros((40, 8, 8)), magic)
        images.write_bytes(images.read_bytes()[: len(images.read_bytes()) - cut])
        save_idx(labels, [label, *(np.arange(39) % 4)])
        refused(told, "train", tmp_path)

    def test_a_image_too_small_for_the_network(self, refused: Callable[..., None], tmp_path: Path) -> None:
        data = save_images(tmp_path / "data", "cat", "dog", size=4)
        arguments = ("train", data, "--model", "resnet20", "--blocks", "1", "--pool", "max", "--run", tmp_path / "run")
        refused("image_size must be larger for this model", *arguments)
        refused("image_size must be larger for this model", "train", data, "--model", "tiny", "--image-size", "1")

    def test_more_unreadable_images_than_allowed(self, refused: Callable[..., None], tmp_path: Path) -> None:
        data = save_images(tmp_path / "data", "cat", "dog")
        for number in range(4):
            (data / "cat" / f"{number}.png").write_text("no image", encoding="utf-8")
        refused("must have at most 3 unreadable images (1.00% or 3 of 16). Got 4: cat/0.png", "train", data)

    @pytest.mark.parametrize(
        ("told", "options"),
        [
            ("Got 'tniy'; did you mean 'tiny'?", ("--model", "tniy")),
            ("recipe of tiny must be one of default, tutorial", ("--recipe", "best")),
            ("lr must be a finite number above 0. Got 0.0.", ("--lr", "0")),
            ("lr must be a finite number above 0. Got nan.", ("--lr", "nan")),
            ("epochs must be an integer of at least 1. Got 0.", ("--epochs", "0")),
            ("schedule must be one of 'constant', 'step'", ("--schedule", "linear")),
            ("width must be an integer of at least 1. Got 0.", ("--width", "0")),
            ("pool must be one of 'none', 'max'", ("--pool", "mean")),
            ("dropout must be a finite number of at least 0 and below 1. Got 1.0.", ("--dropout", "1")),
            ("engine must be one of 'numpy'", ("--engine", "jax")),
            ("dtype must be one of 'float32', 'float64'. Got 'float16'", ("--dtype", "float16")),
            ("samples must be from 10, the number of classes, to", ("--samples", "5")),
            ("test_samples must be an integer of at least 1 or 'all'. Got 'some'.", ("--test-samples", "some")),
            ("max_unreadable must be from 0 to 1. Got 2.0.", ("--max-unreadable", "2")),
            ("fit must be one of crop, pad, squash. Got 'paad'; did you mean 'pad'?", ("--fit", "paad")),
            ("value_range must be two finite numbers, the lower one first. Got [2.0, 1.0].", ("--value-range", "2,1")),
            ("--value-range must be numbers separated by commas. Got 'wide'.", ("--value-range", "wide")),
            ("max_pixels must be an integer of at least 1. Got 0.", ("--max-pixels", "0")),
            ("image_size must be (8, 8), as the images of 'digits' have it", ("--image-size", "9")),
            ("resume and overwrite must not be given together. Got both.", ("--resume", "--overwrite")),
            ("resume must come with run, the folder to resume", ("--resume",)),
            (
                "stop_after_epoch must be an integer of at least 1. Got 0.",
                ("--stop-after-epoch", "0"),
            ),
            ("seed must be an integer of at least 0", ("--seed", "4294967296")),
        ],
    )
    def test_values_that_are_not_allowed(
        self, refused: Callable[..., None], told: str, options: tuple[str, ...]
    ) -> None:
        refused(told, "train", "digits", *options)

    @pytest.mark.parametrize(
        "command",
        [
            ("train", "digits", "--recipe", "tutorial", "--samples", "400", "--epochs", "2", "--resume", "--run"),
            ("evaluate",),
            ("report",),
        ],
        ids=["train", "evaluate", "report"],
    )
    def test_a_run_that_cannot_be_read(
        self, refused: Callable[..., None], run: Path, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        copy = Path(shutil.copytree(run, tmp_path / "run"))
        config = copy / "config.json"
        whole = config.read_text(encoding="utf-8")
        config.write_text(whole.replace('"format": 3', '"format": 99'), encoding="utf-8")
        refused(f"{config} must have format 3. Got 99.", *command, copy)
        config.write_text(whole[:50], encoding="utf-8")
        refused(f"{config} must be JSON. Got an error: ", *command, copy)
        config.write_text(whole, encoding="utf-8")
        for name in ("last.safetensors", "state/checkpoint.safetensors"):
            path = copy / name
            path.write_bytes(path.read_bytes()[:-10])
        refused("must be a whole safetensors file", *command, copy)

    def test_a_run_that_is_none(self, refused: Callable[..., None], tmp_path: Path, digit: Path) -> None:
        for command in ("evaluate", "report"):
            refused(f"{tmp_path / 'none'} must be a run folder. Got nothing there.", command, tmp_path / "none")
        refused(f"{tmp_path} must be a run folder. Got a path without config.json.", "predict", tmp_path, digit)

    def test_data_of_other_classes(self, refused: Callable[..., None], run: Path, tmp_path: Path) -> None:
        data = save_images(tmp_path / "data", "cat", "dog")
        refused("data must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9. Got 'cat'.", "evaluate", run, "--data", data)

    def test_weights_that_were_not_chosen(self, refused: Callable[..., None], run: Path) -> None:
        refused("must have best.safetensors", "evaluate", run, "--weights", "best")
        refused("weights must be one of best, last. Got 'first'", "evaluate", run, "--weights", "first")

    def test_models_that_are_none(self, refused: Callable[..., None]) -> None:
        refused("Got 'resnet19'; did you mean 'resnet1", "summary", "resnet19")
        refused("Got 'resnet19'; did you mean 'resnet1", "check", "gradients", "resnet19")
        refused("classes must be an integer of at least 2. Got 1.", "summary", "tiny", "--classes", "1")

    def test_a_place_that_cannot_be_written(self, fails: Callable[..., None], tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        fails("file", "train", "digits", *SHORT, "--run", tmp_path / "file")
        fails("file", "train", "digits", *SHORT, "--run", tmp_path / "file" / "run")

    def test_a_loss_that_is_not_finite(self, call: Call, tmp_path: Path) -> None:
        code, out, err = call("train", "digits", *SHORT, "--lr", "1e30", "--run", tmp_path / "run")
        assert (code, out) == (1, "")
        first, *_, last = err.splitlines()
        assert first.startswith("[NumPy] on cpu, ")
        assert last.startswith("Error: ")
        assert "Nothing was kept. Try a lower lr" in last
        assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["--debug", "evaluate", "nowhere"], ["evaluate", "nowhere", "--debug"]):
        monkeypatch.setattr(sys, "argv", ["glassnet", *arguments])
        with pytest.raises(GlassnetError, match="nowhere must be a run folder"):
            cli.main()


class TestRealProcesses:
    def started(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "glassnet", *arguments]
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        return subprocess.run(command, cwd=cwd, check=False, capture_output=True, encoding="utf-8", env=environment)

    def test_a_training(self, tmp_path: Path) -> None:
        done = self.started("train", "digits", *SHORT, "--no-report", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["run"] == str(Path("runs", "tiny-digits"))
        assert (tmp_path / "runs" / "tiny-digits" / "last.safetensors").is_file()
        assert "\r" not in done.stderr  # no bar without a terminal
        assert all(line.startswith("[NumPy] ") for line in done.stderr.splitlines())

    def test_a_failure_with_and_without_its_traceback(self, tmp_path: Path) -> None:
        plain = self.started("evaluate", "nowhere", cwd=tmp_path)
        assert (plain.returncode, plain.stdout) == (1, "")
        assert plain.stderr == "Error: nowhere must be a run folder. Got nothing there.\n"
        shown = self.started("evaluate", "nowhere", "--debug", cwd=tmp_path)
        assert (shown.returncode, shown.stdout) == (1, "")
        assert "Traceback (most recent call last)" in shown.stderr
        assert shown.stderr.endswith("RunError: nowhere must be a run folder. Got nothing there.\n")
