"""The files of a source with their classes and splits, which folders or a table give them."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from glassnet.data.files.archive import is_named_as_archive
from glassnet.data.files.file_finder import FileFinder
from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.image_formats import is_named_as_image
from glassnet.data.files.layout import Layout, read_layout, split_role
from glassnet.data.files.listing import Listing, name_some, printable
from glassnet.data.files.table import is_table_name, read_table
from glassnet.errors import DataError
from glassnet.formats import pluralize

_MAX_TABLES = 20  # more of them are not tables of the images, but a file beside each


@dataclass(frozen=True)
class LabeledFiles:
    """Files that may be images, with their classes and splits.

    Attributes: ``files``, ``labels`` (class names) and ``splits`` (words, or None for all) of equal length;
    ``classes``, the class names in their order, or None to sort them; ``other_files``, names of files that are no
    images; ``notes``, sentences for the user.
    """

    files: Sequence[ImageFile]
    labels: Sequence[str]
    splits: Sequence[str | None]
    classes: Sequence[str] | None
    other_files: Sequence[str]
    notes: tuple[str, ...]


def label_files(listing: Listing, source: str, finder: FileFinder, known: Sequence[str] | None = None) -> LabeledFiles:
    """Find out the class and the split of each file of a listing.

    :param source: the folder, archive or data set, for errors.
    :param finder: finds the files that a table in the listing names.
    :param known: class names of which the source may have a part.
    :raises DataError: if neither its folders nor a table in it give two classes, or one of the known ones.
    """
    if listing.labels is not None:
        splits = listing.splits or [None] * len(listing.files)
        return LabeledFiles(listing.files, listing.labels, splits, listing.classes, listing.system_files, listing.notes)
    names = [file.name for file in listing.files]
    is_image = list(map(is_named_as_image, names))
    layout = read_layout(source, names, is_image, listing.empty_folders, known or ())
    classes = {label for label in layout.labels if label is not None}
    if len(classes) < 2 and not {*map(str.casefold, classes)} & {*map(str.casefold, known or ())}:
        return _label_by_table(listing, source, finder) or _raise_no_classes(source, names, is_image, classes)
    if layout.empty:
        raise DataError(
            f"{source}/{layout.empty[0]} must hold images, as a class folder. Got none. Add some or remove it."
        )
    return _label_by_layout(listing, layout, is_image)


def _label_by_table(listing: Listing, source: str, finder: FileFinder) -> LabeledFiles | None:
    """Return the files that the tables of a listing name, or None if there is no table.

    :raises DataError: if a table cannot be used. A text file need not be a table.
    """
    tables = [file for file in listing.files if is_table_name(file.name)]
    sure = [table for table in tables if not table.name.lower().endswith(".txt")]
    if not 0 < len(sure or tables) <= _MAX_TABLES:
        return None
    with suppress(DataError) if not sure else nullcontext():
        return replace(label_tables(sure or tables, source, finder), other_files=listing.system_files)
    return None


def label_tables(tables: Sequence[ImageFile], source: str, finder: FileFinder) -> LabeledFiles:
    """Return the files that tables name: one table, or one for each split, such as train.csv and test.csv.

    :raises DataError: if a table cannot be used, or there is more than one and they are not of different splits.
    """
    results = [_label_table_or_error(table, finder) for table in tables]
    usable = [
        (table, labeled) for table, labeled in zip(tables, results, strict=True) if isinstance(labeled, LabeledFiles)
    ]
    if not usable:
        raise next(result for result in results if isinstance(result, DataError))
    if len(usable) == 1:
        return usable[0][1]
    words = [_split_word(table.name) for table, _ in usable]
    if None in words or len({split_role(str(word)) for word in words}) < len(words):
        raise DataError(
            f"{source} must have class folders, one table, or tables of different splits (train.csv, test.csv). "
            f"Got {name_some([table.name for table, _ in usable])}. Give the path of one of them."
        )
    return LabeledFiles(
        files=[file for _, labeled in usable for file in labeled.files],
        labels=[label for _, labeled in usable for label in labeled.labels],
        splits=[word for word, (_, labeled) in zip(words, usable, strict=True) for _ in labeled.files],
        classes=None,
        other_files=(),
        notes=tuple(note for _, labeled in usable for note in labeled.notes),
    )


def _label_table_or_error(table: ImageFile, finder: FileFinder) -> LabeledFiles | DataError:
    folder = posixpath.dirname(table.name)
    try:
        content = table.read()
    except (OSError, DataError) as error:
        reason = getattr(error, "strerror", None) or error
        return DataError(f"{table.name} must be a table that can be read. Got: {reason}.")
    try:
        rows = read_table(table.name, content, lambda path: bool(finder.by_path(folder, path) or finder.by_name(path)))
    except DataError as error:
        return error
    files = [finder.by_path(folder, path) for path in rows.paths]
    notes = rows.notes
    if not any(files) and any(files := [finder.by_name(path) for path in rows.paths]):
        first = next(file for file in files if file is not None)
        notes += (f"{table.name} has no paths but names: the files are looked for in all folders ({first.name}, ...).",)
    if missing := [path for path, file in zip(rows.paths, files, strict=True) if file is None]:
        return DataError(
            f"{table.name} must name files that exist, by paths from its folder. Got {len(missing):,} of "
            f"{len(files):,} that do not ({name_some(missing)})."
        )
    existing = [file for file in files if file is not None]
    return LabeledFiles(existing, rows.labels, rows.splits or [None] * len(existing), None, (), notes)


def _split_word(name: str) -> str | None:
    """Return the word for a split that is the name of a table or of its folder."""
    *_, folder, stem = ["", *Path(name).with_suffix("").parts][-2:]
    return next((word for word in (stem, folder) if split_role(word)), None)


def _label_by_layout(listing: Listing, layout: Layout, is_image: Sequence[bool]) -> LabeledFiles:
    files, labels, splits = [], [], []
    outside: list[str] = []
    other_files = list(listing.system_files)
    classes = {label: _class_name(label) for label in {*layout.labels} - {None} if label is not None}
    for file, label, split, is_named in zip(listing.files, layout.labels, layout.splits, is_image, strict=True):
        if label is not None:
            name = printable(file.name)
            files.append(file if name is file.name else ImageFile(name, file.read))
            labels.append(classes[label])
            splits.append(split)
        else:
            (outside if is_named else other_files).append(printable(file.name))
    notes = [*listing.notes, *layout.notes]
    if outside:
        notes.append(f"Images outside the class folders were left out: {len(outside):,} ({name_some(outside)}).")
    if tables := [name for name in other_files if is_table_name(name) and not name.lower().endswith(".txt")]:
        notes.append(
            f"The folders give the classes, tables were not read: {name_some(tables)}. To use one, give its path."
        )
    return LabeledFiles(files, labels, splits, listing.classes, other_files, tuple(notes))


def _class_name(name: str) -> str:
    """Return the name in Unicode's composed form, as macOS may decompose it."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"The name of a class folder must be valid UTF-8. Got {name!a}.") from None
    return unicodedata.normalize("NFC", name)


def _raise_no_classes(source: str, names: Sequence[str], is_image: Sequence[bool], classes: set[str]) -> NoReturn:
    archives = [name for name in names if is_named_as_archive(name)]
    if archives and not any(is_image):
        raise DataError(f"{source} must hold images. Got archives in it. Unpack them: {name_some(archives)}.")
    if not any(is_image) and not classes:
        received = f"no image among {pluralize(len(names), 'file')}" if names else "no files"
        raise DataError(f"{source} must hold images. Got {received}.")
    received = f"only {next(iter(classes))!r}" if classes else f"{pluralize(sum(is_image), 'image')} in no class folder"
    raise DataError(
        f"{source} must have at least 2 folders of images, one for each class, or a table of paths and labels. "
        f"Got {received}."
    )
