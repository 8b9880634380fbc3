"""glassnet predict: what it takes, what it prints, and how it ends."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet import cli
from glassnet.training.file_predictions import FilePredictor
from tests.training.runs import train

Result = tuple[int, str, str]
Predict = Callable[..., Result]
COLUMNS = ["path", "label", "probability", "error"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that reads files as they are."""
    return train("digits", tmp_path_factory.mktemp("predict") / "plain", ink=False).path


@pytest.fixture(scope="module")
def ink_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that finds a digit in a file."""
    return train("digits", tmp_path_factory.mktemp("predict") / "ink").path


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Six images of test digits in the current directory."""
    monkeypatch.chdir(tmp_path)
    images = gn.load_data("digits").test.images[:6, ..., 0]
    names = [f"{index}.png" for index in range(6)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image * 15).save(name)
    return names


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Predict:
    """``glassnet predict ...`` in this process: exit code, stdout, stderr."""

    def called(*arguments: str | Path, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "argv", ["glassnet", "predict", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return called


def test_predict_prints_an_aligned_table(predict: Predict, run: Path, digits: list[str]) -> None:
    Path("a longer name.png").write_bytes(Path("0.png").read_bytes())
    code, out, err = predict(run, *digits, "a longer name.png")
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert header == "path               label  probability"
    for line, path, row in zip(
        lines, [*digits, "a longer name.png"], gn.load(run).predict([*digits, digits[0]]), strict=True
    ):
        assert line == f"{path:17}  {row.label:5}  {row.probability:11.1%}"


def test_predict_prints_the_top_classes(predict: Predict, run: Path, digits: list[str]) -> None:
    _, out, _ = predict(run, "0.png", "--top", "3")
    header, line = out.splitlines()
    assert header == "path   label    probability  label_2  probability_2  label_3  probability_3"
    cells = [text for label, value in gn.load(run).predict("0.png")[0].top[:3] for text in (label, f"{value:.1%}")]
    assert line.split() == ["0.png", *cells]


@pytest.mark.parametrize("top", [1, 3, 99])
def test_predict_writes_csv_and_json_of_the_same_rows(predict: Predict, run: Path, digits: list[str], top: int) -> None:
    paths = [*digits, "none.png"]
    expected = gn.load(run).predict(digits, top)
    columns = COLUMNS + [f"{name}_{place}" for place in range(2, min(top, 10) + 1) for name in ("label", "probability")]
    code, out, _ = predict(run, *paths, "--csv", "-", "--top", str(top))
    assert code == 1
    header, *rows = csv.reader(io.StringIO(out))
    assert header == columns
    *good, bad = [dict(zip(columns, row, strict=True)) for row in rows]
    assert bad == {**dict.fromkeys(columns, ""), "path": "none.png", "error": "no such file"}
    code, out, _ = predict(run, *paths, "--json", "--top", str(top))
    assert code == 1
    *records, last = map(json.loads, out.splitlines())
    assert last == {**dict.fromkeys(columns), "path": "none.png", "error": "no such file"}
    for path, row, record, prediction in zip(digits, good, records, expected, strict=True):
        assert list(record) == columns
        assert (record["path"], record["error"]) == (row["path"], row["error"] or None) == (path, None)
        ranked = [(prediction.label, prediction.probability), *prediction.top[1:]]
        for place, (label, probability) in enumerate(ranked, 1):
            suffix = f"_{place}" if place > 1 else ""
            assert row[f"label{suffix}"] == record[f"label{suffix}"] == label
            assert float(row[f"probability{suffix}"]) == record[f"probability{suffix}"] == pytest.approx(probability)


def test_predict_gives_each_unreadable_file_a_row_and_counts_them(
    predict: Predict, run: Path, digits: list[str], tmp_path: Path
) -> None:
    Path("empty.png").touch()
    Path("text.png").write_text("no image", encoding="utf-8")
    Path("cut.png").write_bytes(Path("0.png").read_bytes()[:60])
    Path("loop.png").symlink_to("loop.png")
    os.mkfifo("pipe.png")
    paths = ["0.png", "missing.png", "empty.png", "text.png", "cut.png", "loop.png", "pipe.png", "/dev/zero", "1.png"]
    paths += ["0.png", "x" * 300 + ".png", "none/*.png"]
    code, out, err = predict(run, *paths, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["path"] for row in rows] == paths
    errors = {row["path"]: row["error"] for row in rows}
    assert errors.pop("cut.png")
    assert errors == {
        **dict.fromkeys(["0.png", "1.png"]),
        "missing.png": "no such file",
        "loop.png": "Too many levels of symbolic links",
        **dict.fromkeys(["pipe.png", "/dev/zero"], "not a file"),
        "empty.png": "empty file",
        "text.png": "not an image",
        "x" * 300 + ".png": "File name too long",
        "none/*.png": "no file matches",
    }
    assert rows[0] == rows[9]
    assert code == 1
    assert err == ("Error: All files must be readable images. Got 9 of 12 that are not; their rows have the reasons.\n")


def test_predict_shows_the_reason_in_the_table(predict: Predict, run: Path, digits: list[str]) -> None:
    code, out, _ = predict(run, "0.png", "missing.png", "1.png")
    assert code == 1
    assert out.splitlines()[2] == "missing.png  error: no such file"
    assert len(out.splitlines()) == 4


def test_predict_takes_folders_patterns_and_stdin(predict: Predict, run: Path, digits: list[str]) -> None:
    Path("f/below").mkdir(parents=True)
    for name in ("f/b.png", "f/below/a.png", "f/[1].png"):
        Path(name).write_bytes(Path("3.png").read_bytes())
    for name in ("labels.txt", "below/a.json", "below/a.xml", "list"):
        Path("f", name).write_text("{}", encoding="utf-8")
    code, out, err = predict(
        run, "5.png", "f", "[0-1].png", "-", "f/**/a.*g", "f/[1].png", "--csv", "-", stdin=b"4.png\n"
    )
    paths = [row["path"] for row in csv.DictReader(io.StringIO(out))]
    assert code == 0
    assert paths == [
        *("5.png", "f/[1].png", "f/b.png", "f/below/a.png", "0.png", "1.png", "4.png", "f/below/a.png", "f/[1].png")
    ]
    assert err == "Files that are no images were left out: 4 (f/labels.txt, f/list, f/below/a.json, ...).\n"


def test_predict_names_what_it_leaves_out_of_an_archive(predict: Predict, run: Path, digits: list[str]) -> None:
    with tarfile.open("images.tar", "w") as archive:
        archive.add("0.png")
        Path("link.png").symlink_to("1.png")
        archive.add("link.png")
    code, out, err = predict(run, "images.tar")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["path", "images.tar/0.png"]
    assert "were left out: 1 (link.png)." in err


@pytest.mark.parametrize(
    ("paths", "error"),
    [
        (["empty"], "All files must be readable images. Got 1 of 1 that are not; their rows have the reasons."),
        (["only-text", "-"], "only-text stdin must have at least one image. Got none."),
    ],
)
def test_predict_fails_without_an_image(
    predict: Predict, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("only-text").mkdir()
    Path("only-text/a.txt").touch()
    code, _, err = predict(run, *paths)
    assert code == 1
    assert err.splitlines()[-1] == f"Error: {error}"


@pytest.mark.parametrize(
    ("stdin", "paths"),
    [
        (b"0.png\n1.png\n", ["0.png", "1.png"]),
        (b"0.png\n\n1.png", ["0.png", "1.png"]),
        (b"0.png\r\n1.png\r\n", ["0.png", "1.png"]),
        (b"0.png\0a\nb.png\0", ["0.png", "a\nb.png"]),
        (b"a b.png\n\xff.png\n", ["a b.png", "\udcff.png"]),
        (b"0.png\n" * 30_000, ["0.png"] * 30_000),  # several blocks
    ],
)
def test_paths_on_stdin_are_lines_or_end_in_nul(
    monkeypatch: pytest.MonkeyPatch, stdin: bytes, paths: list[str]
) -> None:
    from glassnet.cli.predict import _paths_on_stdin

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))  # type: ignore[arg-type]
    assert list(_paths_on_stdin()) == paths


def test_predict_prints_any_name_on_one_line(predict: Predict, run: Path, digits: list[str]) -> None:
    names = ["line\nbreak.png", "\x1b[31mred.png", os.fsdecode(b"\xff.png"), "画像.png"]
    for name in names:
        Path(name).write_bytes(Path("0.png").read_bytes())
    code, out, err = predict(run, *names)
    assert (code, err) == (0, "")
    assert [line.rsplit(maxsplit=2)[0] for line in out.splitlines()[1:]] == [
        *(r"line\nbreak.png", r"\x1b[31mred.png", r"\udcff.png", "画像.png")
    ]
    assert out.splitlines()[4].startswith("画像.png         ")  # its two characters take four columns
    _, out, _ = predict(run, *names, "--csv", "table.csv")
    table = Path("table.csv").read_text(encoding="utf-8")
    assert [row["path"] for row in csv.DictReader(io.StringIO(table))] == [*names[:2], r"\udcff.png", names[3]]
    _, out, _ = predict(run, *names, "--json")
    assert [json.loads(line)["path"] for line in out.splitlines()] == names


def test_predict_csv_file_replaces_the_table_at_the_end(predict: Predict, run: Path, digits: list[str]) -> None:
    Path("out.csv").write_text("old", encoding="utf-8")
    assert predict(run, *digits, "--csv", "out.csv") == (0, "6 rows in out.csv\n", "")
    rows = list(csv.reader(Path("out.csv").read_text(encoding="utf-8").splitlines()))
    assert [row[0] for row in rows] == ["path", *digits]
    assert not Path("out.csv.part").exists()
    Path("link.csv").symlink_to("out.csv")
    code, out, _ = predict(run, "0.png", "none.png", "--csv", "link.csv", "--json")
    assert code == 1
    assert len(out.splitlines()) == 2
    assert Path("link.csv").is_symlink()
    assert len(Path("out.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_predict_csv_file_that_cannot_be_written_fails_first(predict: Predict, run: Path, digits: list[str]) -> None:
    Path("folder").mkdir()
    for path, reason in (("folder", "Is a directory"), ("none/x.csv", "No such file or directory")):
        code, out, err = predict(run, "0.png", "--csv", path)
        assert (code, out) == (1, "")
        assert reason in err
        assert path in err


def test_predict_csv_keeps_the_old_file_and_the_rows_so_far_if_it_is_stopped(
    predict: Predict, run: Path, digits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_batch = FilePredictor._predict_batch

    def stop(self: FilePredictor, batch: list[Any]) -> Iterator[gn.FilePrediction]:
        yield from predict_batch(self, batch)
        if batch[0][0].path == "2.png":
            raise KeyboardInterrupt

    monkeypatch.setattr(FilePredictor, "_predict_batch", stop)
    Path("out.csv").write_text("old", encoding="utf-8")
    code, out, err = predict(run, *digits, "--csv", "out.csv", "--batch-size", "2")
    assert (code, out) == (1, "")
    assert err == "The rows so far are in out.csv.part.\nError: Stopped after 4 files.\n"
    assert Path("out.csv").read_text(encoding="utf-8") == "old"
    rows = list(csv.reader(Path("out.csv.part").read_text(encoding="utf-8").splitlines()))
    assert [row[0] for row in rows] == ["path", *digits[:4]]


def test_predict_writes_csv_into_devices_directly(predict: Predict, run: Path, digits: list[str]) -> None:
    assert predict(run, *digits, "--csv", os.devnull)[0] == 0
    assert not Path(os.devnull).is_file()
    assert not Path(f"{os.devnull}.part").exists()


def test_predict_refuses_json_and_csv_on_stdout(predict: Predict, run: Path) -> None:
    code, out, err = predict(run, "0.png", "--json", "--csv", "-")
    assert (code, out) == (2, "")
    assert "--csv must name a file beside --json. Got -." in re.sub(r"[│\s]+", " ", err)


def test_predict_draws_a_few_digits(predict: Predict, ink_run: Path, digits: list[str]) -> None:
    code, out, err = predict(ink_run, "0.png", "1.png", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out.splitlines()[0])
    assert list(record) == [*COLUMNS, "preprocessing", "unlike", "pixels"]
    assert (record["preprocessing"], record["unlike"]) == ("8×8 already", None)
    (prediction,) = gn.load(ink_run).predict("0.png")
    assert record["pixels"] == prediction.pixels[..., 0].astype(float).round(3).tolist()
    code, out, err = predict(ink_run, "0.png")
    first, *rows = err.splitlines()
    assert first == "0.png: 8×8 already. The network read:"
    shades = [" ░▒▓█"[round(4 * value)] for value in record["pixels"][0]]
    assert rows[0] == ("  " + "".join(2 * shade for shade in shades)).rstrip()
    assert len(rows) == 8
    assert predict(ink_run, *digits)[2] == ""  # of many files the pixels are not drawn


def test_predict_says_when_an_image_is_unlike(predict: Predict, ink_run: Path, digits: list[str]) -> None:
    Image.new("RGB", (60, 40), "white").save("white.png")
    note = "white.png looks unlike the training images: no ink was found.\n"
    assert predict(ink_run, "white.png")[2] == note
    code, out, err = predict(ink_run, "white.png", "--json")
    assert (code, err) == (0, note)
    record = json.loads(out)
    assert record["unlike"] == "no ink was found"
    assert record["pixels"] == np.zeros((8, 8)).tolist()
    assert predict(ink_run, *(13 * ["white.png"]))[2] == 10 * note + "3 more look unlike the training images.\n"


def test_predict_limits_the_pixels_of_an_image(predict: Predict, run: Path, digits: list[str]) -> None:
    Image.new("L", (9, 8)).save("wide.png")
    code, out, _ = predict(run, "0.png", "wide.png", "--max-pixels", "64")
    assert code == 1
    assert out.splitlines()[2] == "wide.png  error: more pixels than max_pixels (--max-pixels) allows, 64"
    assert predict(run, "0.png", "wide.png")[0] == 0


def test_predict_takes_an_engine_a_device_and_a_batch_size(predict: Predict, run: Path, digits: list[str]) -> None:
    plain = predict(run, *digits)
    assert predict(run, *digits, "--batch-size", "4", "--device", "cpu") == plain
    code, _, err = predict(run, *digits, "--device", "cuda")
    assert (code, err) == (
        1,
        "Error: device must be 'auto' or 'cpu' for engine='numpy'. Got 'cuda'. Add --engine torch.\n",
    )
    pytest.importorskip("torch", reason="torch is not installed")
    assert predict(run, *digits, "--engine", "torch", "--device", "cpu") == plain


class TestRealProcesses:
    def start(self, run: Path, *arguments: str, **pipes: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "glassnet", "predict", str(run), *arguments]
        return subprocess.Popen(command, env={**os.environ, "PYTHONWARNINGS": "error"}, **pipes)

    @pytest.fixture
    def endless(self, digits: list[str], tmp_path: Path) -> Path:
        """A list of paths that takes minutes."""
        path = tmp_path / "list.txt"
        path.write_text("0.png\n" * 2_000_000, encoding="utf-8")
        return path

    @staticmethod
    def wait_for_decoders(process: subprocess.Popen[bytes]) -> list[Path]:
        """Return the processes that decode, once there are some and rows were written."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("needs Linux's /proc")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pids = children.read_text(encoding="utf-8").split()
            part = Path("out.csv.part")
            if pids and part.exists() and part.stat().st_size > 20_000:
                return [Path("/proc") / pid for pid in pids]
            time.sleep(0.02)
        raise AssertionError("no decoding process was started")

    @staticmethod
    def wait_for_end(processes: list[Path]) -> None:
        deadline = time.monotonic() + 10
        while any(path.exists() and "Z" not in (path / "stat").read_text().split()[2] for path in processes):
            assert time.monotonic() < deadline, "a decoding process is left"
            time.sleep(0.02)

    def test_stdin_and_stdout_may_be_closed(self, run: Path, digits: list[str]) -> None:
        command = f"exec {sys.executable} -m glassnet predict {run} - 0.png --csv out.csv <&- >&-"
        done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert len(Path("out.csv").read_text(encoding="utf-8").splitlines()) == 2

    def test_head_ends_it(self, run: Path, endless: Path) -> None:
        with endless.open("rb") as stdin:
            process = self.start(run, "-", stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"path ")
            assert process.stdout.readline().startswith(b"0.png ")
            process.stdout.close()
            _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, b"")

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
    def test_a_signal_ends_it_and_its_processes(self, run: Path, endless: Path, sent: signal.Signals) -> None:
        Path("out.csv").write_text("old", encoding="utf-8")
        with endless.open("rb") as stdin:
            process = self.start(run, "-", "--csv", "out.csv", stdin=stdin, stderr=subprocess.PIPE)
            decoders = self.wait_for_decoders(process)
            process.send_signal(sent)
            _, err = process.communicate(timeout=30)
        self.wait_for_end(decoders)
        assert Path("out.csv").read_text(encoding="utf-8") == "old"
        lines = Path("out.csv.part").read_text(encoding="utf-8").splitlines()
        assert lines[0] == ",".join(COLUMNS)
        assert lines[1].startswith("0.png,")
        if sent == signal.SIGINT:
            assert process.returncode == 1
            first, last = err.decode().splitlines()
            assert first == "The rows so far are in out.csv.part."
            assert last == f"Error: Stopped after {len(lines) - 1:,} files."
        else:
            assert (process.returncode, err) == (-sent, b"")

    def test_a_terminal_shows_the_rate_while_the_rows_go_elsewhere(self, run: Path, endless: Path) -> None:
        terminal, theirs = pty.openpty()
        with endless.open("rb") as stdin, Path("rows.txt").open("wb") as stdout:
            environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
            command = [sys.executable, "-m", "glassnet", "predict", str(run), "-"]
            process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=theirs, env=environment)
            os.close(theirs)
            shown = b""
            while len(re.findall(rb"\[predicting\] [\d,]+ images, [\d,]+ a second", shown)) < 3:
                shown += os.read(terminal, 4096)
            process.kill()
            process.wait()
        os.close(terminal)
        assert b"0.png" not in shown
        assert Path("rows.txt").read_text(encoding="utf-8").startswith("path   label  probability\n0.png  ")
