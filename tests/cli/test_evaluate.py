"""``glassnet evaluate``: its numbers, its text and its CSV file."""

import csv
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet import cli
from glassnet.classification import Outcome
from glassnet.cli.evaluate import _csv, _headline, _tables
from tests.outcomes import outcome_of

Result = tuple[int, str, str]
Evaluate = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluate") / "run"
    gn.train("tiny", "digits", run=path, recipe="tutorial", epochs=2, samples=400, report=False)
    return path


@pytest.fixture
def evaluate(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """``glassnet evaluate RUN ...`` in this process: exit code, stdout, stderr."""

    def called(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["glassnet", "evaluate", str(run), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return called


def test_json_is_the_evaluation_of_python(evaluate: Evaluate, run: Path) -> None:
    code, out, err = evaluate("--json")
    assert (code, err) == (0, "")
    model = gn.load(run)
    last = model.history[-1]
    result = json.loads(out)
    assert result == {"run": str(run), **model.evaluate(model.load_dataset()), "unreadable_files": []}
    assert (result["loss"], result["accuracy"], result["count"]) == (last["test_loss"], last["test_accuracy"], 400)


def test_text_has_a_headline_and_the_worst_classes_and_errors(evaluate: Evaluate, run: Path) -> None:
    code, out, err = evaluate("--data", "digits", "--weights", "last")
    assert (code, err) == (0, "")
    headline, worst, errors = out.split("\n\n")
    model = gn.load(run)
    result = model.evaluate(model.load_dataset())
    low, high = result["accuracy_interval"]
    assert headline == (
        f"Accuracy {result['accuracy']:.1%} (95% confidence interval {low:.1%} to {high:.1%}), "
        f"loss {result['loss']:.4f}, on 400 test images"
    )
    assert f"{min(score['recall'] for score in result['classes']):.1%}" in worst.splitlines()[1]
    first = result["confusions"][0]
    assert errors.splitlines()[1].startswith(f"{first['true']} → {first['predicted']}  ")


def test_headline_calls_no_accuracy_on_training_images_a_test_accuracy() -> None:
    result = {"accuracy": 0.9, "accuracy_interval": [0.8, 0.95], "loss": 0.25, "count": 100, "split": "test"}
    clean = "Accuracy 90.0% (95% confidence interval 80.0% to 95.0%), loss 0.2500, on 100 "
    assert _headline(result | {"contaminated": 0}) == f"{clean}test images"
    assert _headline(result | {"contaminated": 0, "split": "val"}) == f"{clean}val images"
    not_a_test = "This is not a test accuracy: {} of these images took part in the run's training"
    assert _headline(result | {"contaminated": 1}) == f"{clean}images\n" + not_a_test.format(1)
    assert _headline(result | {"contaminated": 20}) == f"{clean}images\n" + not_a_test.format(20)


def test_tables_name_classes_without_test_images_and_shorten_long_names() -> None:
    outcome = outcome_of([0, 0, 1], np.eye(4)[[0, 1, 1]])
    worst, errors, absent = _tables(outcome, ["a" * 60, "b\n\nb", "c", "d"])
    short = "a" * 21 + "…" + "a" * 10
    assert [line.split("  ")[0] for line in worst.splitlines()] == ["Worst classes", short]
    assert errors.splitlines()[1].startswith(f"{short} → b b  ")
    assert absent == "2 classes without images here: c, d"
    assert _tables(outcome_of([0, 1], np.eye(2)), ["a", "b"]) == []
    labels = np.arange(9)
    tables = _tables(outcome_of(labels, np.roll(np.eye(9), 1, axis=1)), [*map(str, labels)])
    assert [len(text.splitlines()) for text in tables] == [6, 6]


def test_csv_has_every_test_image_in_the_order_of_the_data(evaluate: Evaluate, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    code, out, _ = evaluate("--csv", file)
    assert (code, out.splitlines()[-1]) == (0, f"400 rows in {file}")
    model = gn.load(run)
    data = model.load_dataset()
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["index", "truth", "prediction", "probability"]
    assert [row["index"] for row in rows] == [*map(str, range(400))]
    assert [row["truth"] for row in rows] == [data.classes[label] for label in data.test.labels]
    predictions = model.predict(data.test.images)
    assert [row["prediction"] for row in rows] == [prediction.label for prediction in predictions]
    probabilities = [prediction.probability for prediction in predictions]
    np.testing.assert_allclose([float(row["probability"]) for row in rows], probabilities, atol=1e-6)


def test_data_may_have_a_part_of_the_classes(evaluate: Evaluate, tmp_path: Path) -> None:
    images = gn.load_data("digits").test.images[:5, ..., 0] * 15
    for number, pixels in enumerate(images):
        folder = tmp_path / "data" / str(3 + number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    file = tmp_path / "a.csv"
    code, out, _ = evaluate("--data", tmp_path / "data", "--csv", file, "--json")
    assert code == 0
    result = json.loads(out)
    scores = {score["class"]: score for score in result["classes"]}
    assert {name: score["count"] for name, score in scores.items() if score["count"]} == {"3": 3, "4": 2}
    assert (scores["0"]["recall"], result["count"]) == (None, 5)
    with file.open(encoding="utf-8", newline="") as stream:
        rows = {row["path"]: row["truth"] for row in csv.DictReader(stream)}
    assert rows == {"3/0.png": "3", "3/2.png": "3", "3/4.png": "3", "4/1.png": "4", "4/3.png": "4"}
    _, out, _ = evaluate("--data", tmp_path / "data")
    assert out.endswith("8 classes without images here: 0, 1, 2, 5, 6, …\n")


def test_csv_goes_to_stdout_and_the_text_to_stderr(evaluate: Evaluate, tmp_path: Path) -> None:
    evaluate("--csv", tmp_path / "a.csv")
    code, out, err = evaluate("--csv", "-")
    assert (code, out) == (0, (tmp_path / "a.csv").read_text(encoding="utf-8"))
    assert err.startswith("Accuracy ")
    code, out, err = evaluate("--csv", "-", "--json")
    assert (code, out) == (2, "")


def test_csv_names_the_file_that_cannot_be_written(evaluate: Evaluate, tmp_path: Path) -> None:
    code, out, err = evaluate("--csv", tmp_path / "nowhere" / "a.csv")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"Error: .*No such file or directory: '.*nowhere/a\.csv'\n", err)


def test_csv_keeps_any_name() -> None:
    outcome = Outcome.from_logits(np.array([0, 1]), np.array([[0.0, 1.0], [np.nan, 0.0]]))
    lines = _csv(outcome, ['a "b", c', "ö\nن"], ["x,y.png", "caf\udce9.png"]).decode("utf-8")
    assert list(csv.reader(lines.splitlines(keepends=True))) == [
        ["path", "truth", "prediction", "probability"],
        ["x,y.png", 'a "b", c', "ö\nن", f"{1 / (1 + math.exp(-1))}"],
        ["caf\\udce9.png", "ö\nن", 'a "b", c', ""],
    ]


def test_other_data_names_the_files_that_cannot_be_read(evaluate: Evaluate, tmp_path: Path) -> None:
    for label in range(10):
        (tmp_path / "data" / str(label)).mkdir(parents=True)
        Image.fromarray(np.full((8, 8), 25 * label, np.uint8)).save(tmp_path / "data" / str(label) / "0.png")
    for number in range(4):
        (tmp_path / "data" / "7" / f"bad{number}.png").write_bytes(b"hello")
    code, _, err = evaluate("--data", tmp_path / "data")
    assert code == 1
    assert "must have at most 3 unreadable images (1.00% or 3 of 14). Got 4: 7/bad0.png" in err
    code, out, err = evaluate("--data", tmp_path / "data", "--max-unreadable", "0.5", "--json")
    assert code == 0
    assert "4 of 14 images could not be read and were left out: 7/bad0.png: " in err
    result = json.loads(out)
    assert (result["count"], len(result["unreadable_files"])) == (10, 4)
