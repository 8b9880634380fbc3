"""``glassnet doctor``: what it prints and writes, and its exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import glassnet as gn
from glassnet import cli
from glassnet.errors import RunError
from glassnet.progress import Progress

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command's exit code, stdout and stderr."""

    def called(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["glassnet", "doctor", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return called


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("doctor") / "sound"
    gn.train("tiny", "digits", samples=400, epochs=3, run=path, progress=Progress())
    return path


def test_a_healthy_run(doctor: Call, sound: Path, tmp_path: Path) -> None:
    run = shutil.copytree(sound, tmp_path / "run")
    code, out, _ = doctor(run)
    assert code == 0
    assert out.startswith(f"{run} looks healthy: 18 of 18 possible faults were looked for.\n")
    (listed,) = [line for line in out.splitlines() if line.startswith("Looked for and not found: ")]
    assert len(listed.split(", ")) == 18  # as many as the first line says
    assert "Looked for and not found: a wrong gradient, " in out
    assert out.endswith(f"Page {run}/doctor.html\n")
    assert (run / "doctor.html").stat().st_size > 1_000_000
    gn.train("tiny", "digits", samples=400, epochs=1, run=run, overwrite=True, progress=Progress())
    assert not (run / "doctor.html").exists()  # the page was of the old run


def test_a_run_that_failed_is_exit_code_0_and_says_why(doctor: Call, tmp_path: Path) -> None:
    with pytest.raises(RunError):
        gn.train("tiny", "digits", samples=400, lr=1000, epochs=1, run=tmp_path / "run", progress=Progress())
    code, out, _ = doctor(tmp_path / "run")
    assert code == 0
    assert ": learning rate too high (sureness: high)." in out.splitlines()[0]
    assert "\n  1. train again with the smaller lr named above\n" in out
    assert "; normal: finite, " in out


def test_json_is_one_object(doctor: Call, sound: Path, tmp_path: Path) -> None:
    code, out, _ = doctor(sound, "--json", "--output", tmp_path / "page.html")
    said = json.loads(out)
    assert (code, said["healthy"], said["page"]) == (0, True, str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").is_file()


def test_images_alone_leave_no_page(doctor: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = doctor("--data", "digits", "--json")
    assert (code, json.loads(out)["page"], list(tmp_path.iterdir())) == (0, None, [])
    assert "\nNot looked for (there is no run, only images): a wrong gradient, " in doctor("--data", "digits")[1]


def test_images_of_several_sizes_and_unreadable_ones(doctor: Call, tmp_path: Path) -> None:
    for name, side in (("cat", 8), ("dog", 9)):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("RGB", (side, side), (20 * number, side, 0)).save(tmp_path / name / f"{number}.png")
    assert "set image_size (--image-size)" in doctor("--data", tmp_path)[2]
    (tmp_path / "cat/0.png").write_bytes(b"hello")
    assert "--max-unreadable of train and doctor" in doctor("--data", tmp_path, "--image-size", "8")[2]
    code, out, _ = doctor("--data", tmp_path, "--image-size", "8", "--max-unreadable", "0.1")
    assert (code, " (14 training and 5 test images)" in out) == (0, True)


def test_neither_is_wrong_usage(doctor: Call) -> None:
    code, out, err = doctor()
    assert (code, out) == (2, "")
    assert "Name a run, or images with --data." in err


@pytest.mark.parametrize("arguments", [("nowhere",), ("nowhere", "--data", "digits"), ("--data", "nowhere")])
def test_what_is_not_there_is_one_line(doctor: Call, arguments: tuple[str, ...], tmp_path: Path) -> None:
    code, out, err = doctor(*(tmp_path / word if word == "nowhere" else word for word in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
