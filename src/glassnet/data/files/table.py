"""Tables of images: a column of paths, one of labels, and perhaps one of splits; CSV, TSV or Parquet."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from glassnet.data.files.image_formats import is_named_as_image
from glassnet.data.files.layout import split_role
from glassnet.data.files.listing import name_some
from glassnet.errors import DataError

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")

# Names of columns, compared without case, spaces, _ and -, the ones that are looked for first.
_PATHS = ("path", "file", "filename", "filepath", "image", "imagepath")
_LABELS = ("label", "class", "target", "category", "classname")
_SPLITS = ("split", "subset", "partition")
_DELIMITERS = "\t;,| "
_SNIFFED_ROWS = 50
_EXCEL_DELIMITER = re.compile(r"\Asep=.\r?\n")  # a first line for Excel alone; the delimiter is found without it


@dataclass(frozen=True)
class Table:
    """The rows of a table: paths as they are written, labels, and words for the splits, or None without them.

    ``notes`` says which columns were taken where their names do not.
    """

    paths: list[str]
    labels: list[str]
    splits: list[str] | None
    notes: tuple[str, ...] = ()


def is_table_name(name: str) -> bool:
    """Return whether a file is a table by its suffix."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def read_table(name: str, content: bytes, exists: Callable[[str], bool]) -> Table:
    """Return the rows of a table. Columns are found by their names, or else they are the first and the second.

    :param name: the name of the table, for its kind and for errors.
    :param exists: whether a path names a file, which tells a first row of names from one of values.
    :raises DataError: if it has no such rows.
    """
    rows = _parquet_rows(name, content) if name.lower().endswith(".parquet") else _text_rows(name, content)
    rows = [[cell.strip() for cell in row] for row in rows]
    numbered = [(number, row) for number, row in enumerate(rows, start=1) if any(row)]
    if not numbered:
        raise DataError(f"{name} must have rows of a path and a label. Got none.")
    shown = numbered[0][1]
    names = [re.sub(r"[ _-]", "", cell.lower()) for cell in shown]
    has_names = bool({*_PATHS, *_LABELS} & {*names})
    if not has_names and any(exists(cell) or is_named_as_image(cell) for cell in numbered[0][1]):
        names, shown = [""] * len(names), [str(number) for number in range(1, len(names) + 1)]  # it has values
    else:
        numbered = numbered[1:]
    path, label, split = _find_columns(name, names)
    _check_cells(name, numbered, (path, label))
    if names[label] not in _LABELS:
        _check_not_one_hot(name, shown, [row for _, row in numbered], {path, split})
    splits = None if split is None else [_cell(row, split) for _, row in numbered]
    if splits is not None:
        _check_splits(name, [number for number, _ in numbered], splits)
    labels = [unicodedata.normalize("NFC", row[label]) for _, row in numbered]
    notes: tuple[str, ...] = ()
    if names[path] not in _PATHS or names[label] not in _LABELS:
        notes = (f"{name} has its paths in column {shown[path]} and its labels in column {shown[label]}.",)
    return Table([row[path] for _, row in numbered], labels, splits, notes)


def _find_columns(name: str, names: Sequence[str]) -> tuple[int, int, int | None]:
    """Return the indices of the columns of paths, labels and splits."""
    path, label, split = (
        next((names.index(known) for known in group if known in names), None) for group in (_PATHS, _LABELS, _SPLITS)
    )
    if len(names) - (split is not None) < 2:
        received = ", ".join(filter(None, names)) or "one without a name"
        raise DataError(f"{name} must have a column of paths and a column of labels. Got {received}.")
    others = [index for index in range(len(names)) if index not in (path, label, split)]
    if path is None:
        path = others.pop(0)
    if label is None:
        label = 1 if 1 in others else others[0]
    return path, label, split


def _check_cells(name: str, rows: Sequence[tuple[int, list[str]]], columns: tuple[int, int]) -> None:
    if not rows:
        raise DataError(f"{name} must have rows of a path and a label. Got the names of columns alone.")
    if empty := [str(number) for number, row in rows if not all(_cell(row, column) for column in columns)]:
        raise DataError(
            f"{name} must have a path and a label in each row. Got an empty one in {len(empty):,} of {len(rows):,} "
            f"rows ({name_some(empty)})."
        )


def _check_not_one_hot(name: str, shown: Sequence[str], rows: Sequence[Sequence[str]], others: set[int | None]) -> None:
    columns = [index for index in range(len(shown)) if index not in others]
    values = [{_cell(row, index) for row in rows} for index in columns]
    if len(columns) > 1 and all(column <= {"0", "1", "0.0", "1.0"} for column in values):
        names = name_some([shown[index] for index in columns])
        raise DataError(
            f"{name} must have the label of each image in one column. Got {len(columns)} columns of 0 and 1 ({names}). "
            "Write the name of the class into a column named label."
        )


def _check_splits(name: str, numbers: Sequence[int], splits: Sequence[str]) -> None:
    wrong = next((index for index, word in enumerate(splits) if split_role(word) is None), None)
    if wrong is not None:
        raise DataError(f"split must be train, val or test. Got {splits[wrong]!r} in row {numbers[wrong]} of {name}.")


def _cell(row: Sequence[str], column: int) -> str:
    return row[column] if column < len(row) else ""


def _text_rows(name: str, content: bytes) -> list[list[str]]:
    """Return the rows of CSV or TSV, with whichever delimiter gives all of them as many columns."""
    text = _EXCEL_DELIMITER.sub("", _decode_text(name, content), count=1)
    try:
        samples = {mark: list(islice(_reader(text, mark), _SNIFFED_ROWS)) for mark in _DELIMITERS}
        widths = {mark: {len(row) for row in rows if row} for mark, rows in samples.items()}
        even = [mark for mark, counts in widths.items() if len(counts) == 1 and min(counts) > 1]
        uneven = [mark for mark, counts in widths.items() if counts and min(counts) > 1]
        return list(_reader(text, (even or uneven or [","])[0]))
    except csv.Error as error:
        raise DataError(f"{name} must be a table of text (CSV or TSV). Got: {error}.") from error


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)


def _decode_text(name: str, content: bytes) -> str:
    """Decode UTF-8, UTF-16 with its mark, or else the Western European encoding of Windows."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    for codec in (encoding, "cp1252"):
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise DataError(f"{name} must be a table of text (CSV or TSV, in UTF-8), or end in .parquet. Got other bytes.")


def _parquet_rows(name: str, content: bytes) -> list[list[str]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{name} must be read by pyarrow. Got none. Use pip install 'glassnet[hub]'.") from None
    try:
        table = parquet.read_table(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{name} must be a Parquet file that can be read. Got: {reason}.") from error
    columns = [[_to_text(value) for value in column.to_pylist()] for column in table.itercolumns()]
    return [list(table.column_names), *map(list, zip(*columns, strict=True))]


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():  # whole numbers of a column that has gaps
        return str(int(value))
    return str(value)
