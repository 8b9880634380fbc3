# Paths as text take a fraction of the memory and time of Path objects, and stay as the user gave them.
# ruff: noqa: PTH112, PTH113, PTH116, PTH118
"""The files behind paths that users give: files, folders and patterns."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from glassnet.data.files.archive import is_named_as_archive, list_archive
from glassnet.data.files.listing import is_system_name
from glassnet.errors import DataError, GlassnetError
from glassnet.progress import current_progress

_MAGIC = re.compile(r"[*?[]")


class FoundFile(NamedTuple):
    """A file to read.

    Attributes: ``path``, as the user gave it, or below the folder or archive as the user gave that; ``in_folder``,
    whether it was found in one, where files that are no images are expected; ``problem``, why there is nothing to read,
    or None; ``read``, a function that returns the bytes of an archive's member, None for a file on disk.
    """

    path: str
    in_folder: bool = False
    problem: str | None = None
    read: Callable[[], bytes] | None = None


def find_files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Iterator[FoundFile]:
    """Yield the files of paths in order, each path when it is asked for: any number of them takes the same memory.

    A folder stands for all files in it and then for those of its folders, sorted by name, but for hidden and system
    ones. Links to folders are followed, and each folder is visited once. An archive stands for its members. A path that
    does not exist and has ``*``, ``?`` or ``[`` is a pattern, where ``**`` stands for any folders. Everything else is a
    file, whether it exists or not.

    :raises DataError: if a path is something else.
    """
    for path in [paths] if isinstance(paths, str | bytes | os.PathLike) else paths:
        if not isinstance(path, str | bytes | os.PathLike):
            raise DataError(f"paths must be paths of files or folders. Got {path!r}.")
        name = os.fsdecode(path)
        found = False
        for match in _match(name) if _MAGIC.search(name) and not os.path.lexists(name) else [name]:
            found = True
            if os.path.isdir(match):
                yield from _list_folder(match)
            elif is_named_as_archive(match) and os.path.isfile(match):
                yield from _list_archive(match)
            else:
                yield FoundFile(match)
        if not found:
            yield FoundFile(name, problem="no file matches")


def _list_folder(top: str) -> Iterator[FoundFile]:
    found = False
    for folder, names, problem in _walk(top):
        if problem:
            yield FoundFile(folder, problem=problem)
        yield from (FoundFile(os.path.join(folder, name), in_folder=True) for name in names)
        found = found or bool(names or problem)
    if not found:
        yield FoundFile(top, problem="no files in this folder")


def _list_archive(path: str) -> Iterator[FoundFile]:
    try:
        listing = list_archive(Path(path))
    except GlassnetError as error:
        yield FoundFile(path, problem=str(error))
        return
    for note in listing.notes:
        current_progress().log(note)
    for file in listing.files:
        yield FoundFile(f"{path}/{file.name}", in_folder=True, read=file.read)
    if not listing.files:
        yield FoundFile(path, problem="no files in this archive")


def _walk(top: str) -> Iterator[tuple[str, list[str], str | None]]:
    """Yield each folder from ``top`` on with the sorted names of its files, or why it cannot be read."""
    visited: set[tuple[int, int]] = set()
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)
            names, below = _list_children(folder)
        except OSError as error:
            yield folder, [], error.strerror
            continue
        if (identity := (status.st_dev, status.st_ino)) in visited:
            continue
        visited.add(identity)
        folders += [os.path.join(folder, name) for name in reversed(below)]
        yield folder, names, None


def _list_children(folder: str) -> tuple[list[str], list[str]]:
    """Return the sorted names of the files and of the folders in a folder, but hidden and system ones."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_system_name(entry.name):
                is_folder = entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))
                (folders if is_folder else files).append(entry.name)
    return sorted(files), sorted(folders)


def _match(pattern: str) -> Iterator[str]:
    """Yield the sorted paths that match; with ``**``, only files, as the folders that match are on the way to them."""
    root = Path(pattern).anchor
    parts = [part for part in re.split(r"[/\\]" if os.sep == "\\" else "/", pattern[len(root) :]) if part]
    for path in _match_parts(root, parts):
        if "**" not in parts or not os.path.isdir(path):
            yield path


def _match_parts(folder: str, parts: list[str]) -> Iterator[str]:
    if not parts:
        yield folder
        return
    part, *others = parts
    if part == "**":
        for inner, _, _ in _walk(folder or os.curdir):
            yield from _match_parts(inner if folder else inner[2:], others or ["*"])  # ./a is a
    elif _MAGIC.search(part):
        matches = re.compile(translate(part)).match
        for name in _names(folder):
            if matches(name):
                yield from _match_parts(os.path.join(folder, name), others)
    elif os.path.lexists(path := os.path.join(folder, part)):
        yield from _match_parts(path, others)


def _names(folder: str) -> list[str]:
    try:
        return sorted(chain(*_list_children(folder or os.curdir)))
    except OSError:  # not a folder, or not a readable one: nothing in it matches
        return []
