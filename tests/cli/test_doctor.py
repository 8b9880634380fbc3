"""``glassnet doctor``: what it prints and writes, and its exit codes."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import glassnet as gn
from glassnet import cli
from glassnet.doctor import CHECKS
from glassnet.errors import RunError
from glassnet.progress import Progress

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command's exit code, stdout and stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["glassnet", "doctor", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        return int(exited.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def healthy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("doctor") / "healthy"
    gn.train("tiny", "digits", samples=400, epochs=3, run=path, progress=Progress(), report=False)
    return path


def test_doctor_lists_the_passed_checks_and_writes_a_page(doctor: Call, healthy_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(healthy_run, tmp_path / "run")
    code, out, _ = doctor(run)
    assert code == 0
    assert out.startswith(f"{run} looks healthy. 18 of 20 checks passed, 2 skipped.\n")
    lines = out.splitlines()
    passed, *skipped = out.split("\nchecks skipped: ")
    names = [name.strip() for part in skipped for name in part.partition("\n")[2].partition("\n\n")[0].split(",")]
    assert len(names) == 2
    assert sum(line.startswith(check.name + "  ") for line in passed.splitlines() for check in CHECKS) == 18
    assert not {check.name for check in CHECKS} - {*names} - {line.split("  ")[0] for line in passed.splitlines()}
    assert max(map(len, lines)) < 160
    assert out.endswith(f"Page {run}/doctor.html\n")
    assert (run / "doctor.html").stat().st_size > 1_000_000
    gn.train("tiny", "digits", samples=400, epochs=1, run=run, overwrite=True, progress=Progress(), report=False)
    assert not (run / "doctor.html").exists()  # the page was of the replaced run


def test_doctor_exits_with_0_and_explains_a_failed_run(doctor: Call, tmp_path: Path) -> None:
    with pytest.raises(RunError):
        gn.train(
            "tiny", "digits", samples=400, lr=1000, epochs=1, run=tmp_path / "run", progress=Progress(), report=False
        )
    code, out, _ = doctor(tmp_path / "run")
    assert code == 0
    assert ": learning rate too high (confidence: high)." in out.splitlines()[0]
    step = r"\n   1\. train again with a smaller learning rate: (--lr [\d.]+)\n"
    assert re.search(rf"{step}      glassnet train digits .* \1\n", out)
    assert "\n   Expected: the loss is finite, " in out


def test_doctor_json_is_one_object(doctor: Call, healthy_run: Path, tmp_path: Path) -> None:
    code, out, _ = doctor(healthy_run, "--json", "--output", tmp_path / "page.html")
    content = json.loads(out)
    assert (code, content["healthy"], content["page"]) == (0, True, str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").is_file()


def test_doctor_of_images_alone_writes_no_page(doctor: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = doctor("--data", "digits", "--json")
    assert (code, json.loads(out)["page"], list(tmp_path.iterdir())) == (0, None, [])
    _, out, _ = doctor("--data", "digits")
    assert out.count("there is no run, only images\n  wrong gradient, wrong normalization, ") == 1


def test_doctor_of_imported_weights_asks_for_data(doctor: Call, healthy_run: Path, tmp_path: Path) -> None:
    given = {"classes": list("0123456789"), "mean": [0], "std": [1], "scale": 16, "run": tmp_path / "imported"}
    gn.import_weights(healthy_run / "last.safetensors", "tiny", **given)
    code, out, _ = doctor(tmp_path / "imported")
    assert (code, "cannot be judged" in out, "--data" in out) == (0, True, True)
    out = doctor(tmp_path / "imported", "--data", "digits")[1]
    assert re.search(r"\nchecks passed +measured\nwrong gradient +largest relative error ", out)


def test_doctor_takes_options_for_images_of_several_sizes_and_unreadable_ones(doctor: Call, tmp_path: Path) -> None:
    for name, side in (("cat", 8), ("dog", 9)):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("RGB", (side, side), (20 * number, side, 0)).save(tmp_path / name / f"{number}.png")
    assert "Set image_size (--image-size)" in doctor("--data", tmp_path)[2]
    for number in range(4):
        (tmp_path / f"cat/{number}.png").write_bytes(b"hello")
    assert "raise max_unreadable (--max-unreadable)" in doctor("--data", tmp_path, "--image-size", "8")[2]
    code, out, _ = doctor("--data", tmp_path, "--image-size", "8", "--max-unreadable", "0.2")
    assert code == 0
    assert sum(map(int, re.search(r" \((\d+) training and (\d+) test images\)", out).groups())) == 16


def test_doctor_exits_with_2_without_run_and_data(doctor: Call) -> None:
    code, out, err = doctor()
    assert (code, out) == (2, "")
    assert "Give a run folder, or images with --data." in err


@pytest.mark.parametrize("arguments", [("nowhere",), ("nowhere", "--data", "digits"), ("--data", "nowhere")])
def test_doctor_states_a_missing_path_in_one_line(doctor: Call, arguments: tuple[str, ...], tmp_path: Path) -> None:
    code, out, err = doctor(*(tmp_path / word if word == "nowhere" else word for word in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
