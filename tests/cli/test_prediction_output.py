import errno
import io
from pathlib import Path
from typing import Any

import pytest

from glassnet.cli.prediction_output import Table, csv_file, csv_writer
from glassnet.training import FilePrediction


def predicted(path: str, label: str = "cat", probability: float = 0.5) -> FilePrediction:
    return FilePrediction(path, label, probability, [(label, probability)])


def test_table_stays_aligned_but_for_longer_paths(capsys: pytest.CaptureFixture[str]) -> None:
    first = [predicted("a.png"), predicted("bb.png", "albatross", 1)]
    table = Table(first, ["cat", "albatross"], top=1)
    for row in [*first, predicted("longer than those.png"), FilePrediction("c", error="not an\nimage")]:
        table.write(row)
    assert capsys.readouterr().out.splitlines() == [
        "path    label      probability",
        "a.png   cat              50.0%",
        "bb.png  albatross       100.0%",
        "longer than those.png  cat              50.0%",
        r"c       error: not an\nimage",
    ]


def test_csv_writer_leaves_numbers_out_that_are_none() -> None:
    stream = io.StringIO()
    write = csv_writer(stream, top=1)
    write(predicted("a, b.png", 'the "cat"', float("nan")))
    assert stream.getvalue() == 'path,label,probability,error\n"a, b.png","the ""cat""",,\n'


def test_csv_file_names_the_file_if_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            if "2.png" in text:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(text)

    def opened(path: Path, *arguments: Any, **named: Any) -> Full:
        return Full()

    monkeypatch.setattr(Path, "open", opened)
    target = tmp_path / "x.csv"

    def write_five() -> None:
        with csv_file(target, 1) as write:
            for number in range(5):
                write(predicted(f"{number}.png"))

    with pytest.raises(OSError, match="No space left on device") as raised:
        write_five()
    assert raised.value.filename == str(target)
    assert not target.exists()
    assert capsys.readouterr().err == f"The rows so far are in {target}.part.\n"
