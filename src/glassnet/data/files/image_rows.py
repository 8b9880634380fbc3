"""Images in a column of an Arrow table, with their labels in another one, as the library `datasets` stores them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from glassnet.data.files.archive_member import MAX_MEMBERS, bomb_error, max_unpacked_bytes
from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.listing import Listing
from glassnet.data.files.shared_file import PartReader, spool
from glassnet.errors import DataError

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 16  # read at once, so that they are in memory together
_IMAGES = ("image", "img")  # names of columns, the ones that are looked for first
_LABELS = ("label", "labels", "class", "target")
_SPLIT = "split"
_NAMELESS = ".png"  # the suffix of a row without a file name, so that it counts as an image, even a damaged one


@dataclass(frozen=True)
class Part:
    """A part of a data set.

    Attributes: ``name``, for errors; ``n_bytes``, its size on disk; ``changed``, when it was last changed, in
    nanoseconds; ``split``, the word for its split, or None;
    ``schema``, its columns; ``read``, a function that yields the rows of the given columns, some at a time.
    """

    name: str
    n_bytes: int
    changed: int
    split: str | None
    schema: pyarrow.Schema
    read: Callable[[Sequence[str]], Iterable[pyarrow.RecordBatch]]


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    label: Any
    split: str | None
    n_bytes: int


@dataclass(frozen=True)
class _Columns:
    """The columns of images and of labels; the class names of label indices, or None; notes on the choice."""

    image: str
    label: str
    class_names: list[str] | None
    notes: tuple[str, ...]


def list_rows(source: str, parts: Sequence[Part], files_below: Path | None = None) -> Listing:
    """List the images of a data set. Their bytes are copied once to a file without a name.

    :param source: the data set, for errors.
    :param files_below: a folder whose files rows may name instead of holding the bytes of an image.
    :raises DataError: if there is no column of images or of labels, too many rows or bytes, or no row
        that has both.
    """
    columns = _find_columns(source, parts[0].schema)
    rows: list[_Row] = []
    left_out: Counter[str] = Counter()
    images = _collect(_enumerate_rows(source, parts, columns), columns, files_below, rows, left_out)
    if files_below is None:  # else the files, which are not packed, are not counted in n_bytes
        images = _bounded(source, sum(part.n_bytes for part in parts), images)
    shared = spool(source, images, sum(part.changed for part in parts))
    if not rows:
        received = ", ".join(f"{n:,} without {part}" for part, n in left_out.items()) or "none"
        raise DataError(f"{source} must have rows with the bytes of an image and a label. Got {received}.")
    labels, classes = _name_labels(source, [row.label for row in rows], columns.class_names)
    offsets = [0, *accumulate(row.n_bytes for row in rows)]
    files = [
        ImageFile(row.name, PartReader(shared, offset, row.n_bytes))
        for row, offset in zip(rows, offsets[:-1], strict=True)
    ]
    splits = [row.split for row in rows]
    notes = [f"Rows without {part} were left out: {n:,}." for part, n in left_out.items()]
    return Listing(files, labels, splits if any(splits) else None, classes, (*columns.notes, *notes))


def _collect(
    numbered: Iterable[tuple[Part, int, dict[str, Any]]],
    columns: _Columns,
    files_below: Path | None,
    rows: list[_Row],
    left_out: Counter[str],
) -> Iterator[bytes]:
    """Yield the bytes of each image that has a label, and add its row; count the others by what they lack."""
    for part, index, row in numbered:
        label = row[columns.label]
        data, suffix = _image_bytes(row[columns.image], files_below)
        if not data or label is None or (columns.class_names and label < 0):
            left_out["an image" if not data else "a label"] += 1
            continue
        split = row.get(_SPLIT) or part.split
        rows.append(_Row(f"{split or 'row'}/{index}{suffix}", label, split, len(data)))
        yield data


def _bounded(source: str, n_packed: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield chunks.

    :raises DataError: if they are more than ``n_packed`` bytes may unpack to.
    """
    n_bytes = 0
    for chunk in chunks:
        n_bytes += len(chunk)
        if n_bytes > max_unpacked_bytes(n_packed):
            raise bomb_error(source, n_packed)
        yield chunk


def is_image_table(schema: pyarrow.Schema) -> bool:
    """Return whether a column has the bytes of images, or else no column could have their paths."""
    from pyarrow import types

    return any(map(_is_image, schema)) or not any(
        types.is_string(kind) or types.is_large_string(kind) for kind in schema.types
    )


def _is_image(column: pyarrow.Field) -> bool:
    from pyarrow import types

    kind = column.type
    if types.is_struct(kind) and (index := kind.get_field_index("bytes")) >= 0:
        kind = kind.field(index).type
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_label(column: pyarrow.Field) -> bool:
    from pyarrow import types

    tests = (types.is_integer, types.is_boolean, types.is_string, types.is_large_string, types.is_dictionary)
    return any(test(column.type) for test in tests)


def _find_columns(source: str, schema: pyarrow.Schema) -> _Columns:
    """Return the columns of images and of labels, by their names, or else as the only ones of their kinds."""
    images = [column.name for column in schema if _is_image(column)]
    labels = [column.name for column in schema if _is_label(column) and column.name != _SPLIT]
    of_classes = [name for name in labels if _class_names(schema, name)]
    image = next((name for name in _IMAGES if name in images), images[0] if images else None)
    label = next((name for name in _LABELS if name in labels), None)
    notes: tuple[str, ...] = ()
    if label is None and of_classes:
        label, *others = of_classes
        notes = (f"The labels are those of the column {label}, and not of {', '.join(others)}.",) if others else ()
    elif label is None and len(labels) == 1:
        label = labels[0]
    if image is None or label is None:
        missing = "images (as bytes)" if image is None else "labels, named label"
        raise DataError(f"{source} must have a column of {missing}. Got the columns {', '.join(schema.names)}.")
    return _Columns(image, label, _class_names(schema, label), notes)


def _class_names(schema: pyarrow.Schema, column: str) -> list[str] | None:
    """Return the class names of a column of class indices, which `datasets` keeps as JSON beside the schema."""
    from pyarrow import types

    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return list(map(str, features[column]["names"])) if types.is_integer(schema.field(column).type) else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _enumerate_rows(
    source: str, parts: Sequence[Part], columns: _Columns
) -> Iterator[tuple[Part, int, dict[str, Any]]]:
    """Yield each row with its part and its number in the split."""
    n_rows: Counter[str | None] = Counter()
    for part in parts:
        names = [columns.image, columns.label]
        if missing := [name for name in names if name not in part.schema.names]:
            raise DataError(f"{part.name} must have the column {missing[0]!r}, as {parts[0].name} has. Got none.")
        if _SPLIT in part.schema.names and _is_label(part.schema.field(_SPLIT)):
            names.append(_SPLIT)
        for row in _read_part(part, names):
            yield part, n_rows[part.split], row
            n_rows[part.split] += 1
            if n_rows.total() > MAX_MEMBERS:
                raise DataError(f"{source} must have at most {MAX_MEMBERS:,} rows. Got more.")


def _read_part(part: Part, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    try:
        for batch in part.read(columns):
            batch.validate(full=True)  # damaged offsets would lead outside the memory
            for index in range(len(batch)):
                yield {name: batch.column(name)[index].as_py() for name in columns}
    except Exception as error:  # damaged files make pyarrow raise several kinds of exceptions
        raise damage_error(part.name, error) from error


def damage_error(name: object, error: Exception) -> DataError:
    """Return the error for a file or a data set that pyarrow or `datasets` cannot read."""
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return DataError(f"{name} must be undamaged Arrow or Parquet data. Got: {reason}.")


def _image_bytes(value: Any, files_below: Path | None) -> tuple[bytes | None, str]:
    """Return the bytes of an image, which may be in a file of the folder, and the suffix of its name."""
    if not isinstance(value, dict):
        return value, _NAMELESS
    name = str(value.get("path") or "")
    data = value["bytes"]
    if data is None and name and files_below and Path(name).resolve().is_relative_to(files_below.resolve()):
        data = Path(name).read_bytes()
    return data, PurePosixPath(name).suffix or _NAMELESS


def _name_labels(source: str, values: Sequence[Any], names: list[str] | None) -> tuple[list[str], list[str] | None]:
    """Return the class name of each row, and those in use in their order: as listed, or the order of the numbers."""
    used = set(values)
    if names is None:
        is_numbered = all(isinstance(value, int) for value in used)
        return list(map(str, values)), list(map(str, sorted(used))) if is_numbered else None
    if max(used) >= len(names):
        raise DataError(f"{source} must have labels below {len(names)}, the number of classes. Got {max(used)}.")
    return [names[value] for value in values], [name for index, name in enumerate(names) if index in used]
