"""Arrow and Parquet files with images, one alone or the parts of a data set in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassnet.data.files.image_formats import is_named_as_image
from glassnet.data.files.image_rows import BATCH_ROWS, Part, damage_error, is_image_table, list_rows
from glassnet.data.files.layout import split_role
from glassnet.data.files.listing import Listing
from glassnet.errors import DataError

if TYPE_CHECKING:
    import pyarrow

_BATCH_BYTES = 256 << 20
_SUFFIXES = (".arrow", ".feather", ".parquet")


def find_arrow_files(path: Path, listing: Listing | None) -> list[Path]:
    """Return the Arrow and Parquet files that hold images: a file alone, or those of a folder without image files.

    A Parquet file that has text and no images is a table of paths, and none of them.

    :param listing: the files of the folder; None for a file.
    :raises DataError: if such a file is damaged, or pyarrow is missing.
    """
    names = [file.name for file in listing.files] if listing else [""]
    files = [path / name for name in names if (path / name).suffix.lower() in _SUFFIXES]
    if not files or any(map(is_named_as_image, names)):
        return []
    schema = _open(files[0], path).schema
    return files if is_image_table(schema) or files[0].suffix.lower() != ".parquet" else []


def list_arrow_files(source: Path, files: Sequence[Path]) -> Listing:
    """List the images of Arrow and Parquet files.

    Those of a folder have a split if a word in the file's name, or else in its folders' names, stands for it.

    :raises DataError: if a file is damaged, or has no images and labels.
    """
    return list_rows(str(source), [_open(file, source) for file in files])


def _open(path: Path, source: Path) -> Part:
    """Open a file.

    :raises DataError: if it cannot be read, or pyarrow is missing.
    """
    try:
        from pyarrow import ipc, memory_map, parquet
    except ImportError as error:
        raise DataError(f"{path} must be read by pyarrow. Got none. Use pip install 'glassnet[hub]'.") from error
    reader: Any
    try:
        if path.suffix.lower() == ".parquet":
            reader = parquet.ParquetFile(path, memory_map=True)
            schema, read = reader.schema_arrow, partial(_read_parquet, reader)
        else:
            content = memory_map(str(path))
            is_file = content.read(6) == b"ARROW1"  # of Arrow's two formats the one with a directory at its end
            content.seek(0)
            reader = ipc.open_file(content) if is_file else ipc.open_stream(content)
            schema, read = reader.schema, partial(_read_arrow, reader)
        if not schema.names:
            raise ValueError("no columns")
        status = path.stat()
        return Part(str(path), status.st_size, status.st_mtime_ns, _split(path, source), schema, read)
    except Exception as error:  # pyarrow raises several kinds of exceptions for damaged files
        raise damage_error(path, error) from error


def _read_parquet(reader: Any, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """Yield batches, smaller ones where a dictionary may repeat a large value in each row."""
    groups = [reader.metadata.row_group(index) for index in range(reader.num_row_groups)]
    largest = max((group.total_byte_size for group in groups), default=0)
    n_rows = max(1, min(BATCH_ROWS, _BATCH_BYTES // max(largest, 1)))
    return iter(reader.iter_batches(n_rows, columns=list(columns)))


def _read_arrow(reader: Any, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    n_batches = getattr(reader, "num_record_batches", None)
    for batch in reader if n_batches is None else map(reader.get_batch, range(n_batches)):
        for start in range(0, len(batch), BATCH_ROWS):
            yield batch.select(list(columns)).slice(start, BATCH_ROWS)


def _split(path: Path, source: Path) -> str | None:
    """Return the word that stands for the split: in the file's name, or else in its folders' names, the nearest."""
    parts = [path.stem, *reversed(path.relative_to(source).parts[:-1])] if path != source else []
    return next((word for part in parts for word in re.split(r"[-._ ]|\d+", part) if split_role(word)), None)
